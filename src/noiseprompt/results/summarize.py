"""From the images of an evaluation to its figures: pairs by prompt and seed, one independent unit a prompt.

EvalResult ... (a stream) ──> summarize ──> Summary
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field, replace

import numpy as np

from noiseprompt.core.errors import InputError
from noiseprompt.core.types import EvalResult
from noiseprompt.results.names import control_of
from noiseprompt.results.statistics import detectable_effect, holm, paired_bootstrap, sign_flip_test, wilson
from noiseprompt.results.summary import (
    ACCURACY,
    BASELINE,
    Comparison,
    Diversity,
    Estimate,
    MethodSummary,
    Row,
    Sets,
    Summary,
    Wins,
)
from noiseprompt.shapes.world import CHECKER

COSTS = ("denoiser_calls", "noise_seconds", "sample_seconds")

Scores = dict[tuple[str, int], float]
"""(prompt id, seed) -> score."""


@dataclass
class _Column:
    """What is kept of the images of one method: a few numbers each."""

    scores: dict[str, Scores] = field(default_factory=lambda: defaultdict(dict))
    costs: dict[str, float] = field(default_factory=lambda: dict.fromkeys(COSTS, 0.0))
    images: int = 0


def summarize(
    results: Iterable[EvalResult],
    *,
    filter_scorers: Sequence[str] = (),
    sets: Sets | None = None,
    refused: Mapping[str, str] | None = None,
    steered: Mapping[str, str] | None = None,
    seed: int = 0,
    resamples: int = 10_000,
) -> Summary:
    """The figures of an evaluation.

    Scores of the seeds of a prompt are averaged first, so n counts prompts; wins, losses and ties count images, and the
    interval of the win rate takes the prompts as its trials. p is corrected (Holm) over all methods and metrics,
    diversity among them.

    Args:
        results: read once; scores and costs alone are kept.
        filter_scorers: the scorers that filtered the training pairs, marked in the result: they are no judges.
        sets: what `results.sets.measure` gives, or None.
        refused: methods that were left out -> the reason; of what they drew before they gave up nothing counts.
        steered: methods that chose or made the noise by a scorer -> that scorer: of them it is no judge.
        seed: of the bootstrap and the permutation test.

    Raises:
        InputError: no results, or methods scored by different scorers.
    """
    columns, kind_of, scorers = _gather(r for r in results if r.method not in (refused or {}))
    metrics = (*((ACCURACY,) if CHECKER in scorers else ()), *scorers)
    kinds = tuple(sorted({kind for kind in kind_of.values() if kind}))
    base = columns.get(BASELINE)
    methods: dict[str, MethodSummary] = {}
    for label, column in columns.items():
        compared = base if label != BASELINE else None
        rows = {
            m: _compare(column.scores[m], compared.scores[m] if compared else None, kind_of, kinds, seed, resamples)
            for m in metrics
        }
        costs = {name: total / column.images for name, total in column.costs.items()}
        figures = sets.figures.get(label) if sets else None
        spread = _diversity(label, sets, seed, resamples) if sets else None
        scorer = (steered or {}).get(label, "")
        methods[label] = MethodSummary(
            control_of(label), scorer, column.images, **costs, metrics=rows, sets=figures, diversity=spread
        )
    return Summary(
        baseline=BASELINE if base else None,
        filter_scorers=tuple(filter_scorers),
        main_metric=_main_metric(metrics, filter_scorers),
        metrics=metrics,
        kinds=kinds,
        prompts=len(kind_of),
        images=sum(column.images for column in columns.values()),
        refused=dict(refused or {}),
        sets=sets.reference if sets else None,
        methods=_corrected(methods),
    )


def _gather(results: Iterable[EvalResult]) -> tuple[dict[str, _Column], dict[str, str], list[str]]:
    """One pass: a column a method, the kind of each prompt, and the scorers."""
    columns: dict[str, _Column] = defaultdict(_Column)
    kind_of: dict[str, str] = {}
    ids: dict[str, str] = {}
    scorers: set[tuple[str, ...]] = set()
    for r in results:
        column, key = columns[r.method], (ids.setdefault(r.prompt_id, r.prompt_id), r.seed)
        column.images += 1
        kind_of.setdefault(key[0], r.kind)
        scorers.add(tuple(r.scores))
        for name in COSTS:
            column.costs[name] += getattr(r, name)
        for name, score in r.scores.items():
            column.scores[name][key] = float(score)
        if CHECKER in r.scores:
            column.scores[ACCURACY][key] = float(r.scores[CHECKER] == 1.0)
    if not columns:
        raise InputError("no results", "at least one evaluated image", "run the evaluation first")
    if len(scorers) != 1:
        raise InputError(f"images scored by different scorers: {sorted(scorers)}", "the same scorers for every image")
    return columns, kind_of, list(scorers.pop())


def _main_metric(metrics: Sequence[str], filter_scorers: Sequence[str]) -> str:
    judges = [m for m in metrics if (CHECKER if m == ACCURACY else m) not in filter_scorers] or list(metrics)
    return judges[0] if judges else ""


def _by_prompt(scores: Scores) -> dict[str, float]:
    """Mean over the seeds of each prompt, prompts sorted: no figure depends on the order of the lines."""
    groups: dict[str, list[float]] = defaultdict(list)
    for (prompt_id, _), value in sorted(scores.items()):
        groups[prompt_id].append(value)
    return {prompt_id: float(np.mean(values)) for prompt_id, values in groups.items()}


def _compare(
    own: Scores, base: Scores | None, kind_of: dict[str, str], kinds: Sequence[str], seed: int, resamples: int
) -> Row:
    prompts = _by_prompt(own)
    parts = {kind: {key: value for key, value in own.items() if kind_of[key[0]] == kind} for kind in kinds}
    rows = {kind: _compare(part, base, kind_of, (), seed, resamples // 4) for kind, part in parts.items() if part}
    return Row(
        n=len(prompts),
        mean=float(np.mean(list(prompts.values()))),
        against=None if base is None else _gains(own, base, seed, resamples),
        kinds=rows if kinds else None,
    )


def _gains(own: Scores, base: Scores, seed: int, resamples: int) -> Comparison | None:
    pairs = {key: (own[key], base[key]) for key in own if key in base}
    if not pairs:  # interrupted before the two methods met
        return None
    differences = list(_by_prompt({key: a - b for key, (a, b) in pairs.items()}).values())
    wins, losses = sum(a > b for a, b in pairs.values()), sum(a < b for a, b in pairs.values())
    ties = len(pairs) - wins - losses
    rate = (wins + ties / 2) / len(pairs)
    return Comparison(
        baseline_mean=float(np.mean(list(_by_prompt({key: b for key, (_, b) in pairs.items()}).values()))),
        gain=_estimate(differences, seed, resamples),
        p=sign_flip_test(differences, seed=seed),
        detectable=_known(detectable_effect(differences)),
        win=Wins(wins, losses, ties, rate, *wilson(rate, len(differences))),
    )


def _estimate(values: Sequence[float], seed: int, resamples: int) -> Estimate:
    found = paired_bootstrap(values, seed=seed, resamples=resamples)
    return Estimate(found.mean, _known(found.low), _known(found.high), found.n)


def _diversity(label: str, sets: Sets, seed: int, resamples: int) -> Diversity | None:
    spread = {name: {(p, 0): v for p, v in found.items()} for name, found in sets.diversity.items()}
    own, base = spread.get(label), spread.get(BASELINE)
    if not own:
        return None
    found = _estimate(list(_by_prompt(own).values()), seed, resamples)
    against = _gains(own, base, seed, resamples) if base is not None and label != BASELINE else None
    return Diversity(found.n, found.mean, found.low, found.high, against)


def _corrected(methods: Mapping[str, MethodSummary]) -> dict[str, MethodSummary]:
    """The methods with p corrected (Holm) over every comparison, those of diversity among them."""
    rows = {(label, m): row.against for label, method in methods.items() for m, row in method.metrics.items()}
    spread = {(label, ""): method.diversity.against for label, method in methods.items() if method.diversity}
    compared = {key: found for key, found in (rows | spread).items() if found is not None}
    ps = holm([found.p for found in compared.values()])
    done = {key: replace(found, p_holm=p) for (key, found), p in zip(compared.items(), ps, strict=True)}

    def method(label: str, of: MethodSummary) -> MethodSummary:
        metrics = {m: replace(row, against=done.get((label, m))) for m, row in of.metrics.items()}
        diversity = of.diversity and replace(of.diversity, against=done.get((label, "")))
        return replace(of, metrics=metrics, diversity=diversity)

    return {label: method(label, of) for label, of in methods.items()}


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
