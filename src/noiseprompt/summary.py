"""From the images of an evaluation to its figures: pairs by prompt and seed, one independent unit a prompt.

EvalResult ... (a stream) ──> summarize ──> a plain dict ──> words, tables and charts
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from typing import Any

import numpy as np

from noiseprompt.errors import InputError
from noiseprompt.labels import control_of
from noiseprompt.statistics import Interval, detectable_effect, holm, paired_bootstrap, sign_flip_test, wilson
from noiseprompt.types import EvalResult

BASELINE = "standard"
"""Label of the method all others are compared with."""

CHECKER = "shapes-checker"
ACCURACY = "shapes-checker accuracy"
"""A metric made here: 1 where the checker's score is exactly 1, else 0; its mean is the share of correct images."""

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
    sets: Mapping[str, Any] | None = None,
    refused: Mapping[str, str] | None = None,
    steered: Mapping[str, str] | None = None,
    seed: int = 0,
    resamples: int = 10_000,
) -> dict[str, Any]:
    """The figures of an evaluation as plain JSON data; what cannot be computed is None.

    Scores of the seeds of a prompt are averaged first, so n counts prompts; wins, losses and ties count images, and the
    interval of the win rate takes the prompts as its trials. p is corrected (Holm) over all methods and metrics,
    diversity among them.

    Args:
        results: read once; scores and costs alone are kept.
        filter_scorers: the scorers that filtered the training pairs, marked in the result: they are no judges.
        sets: what `set_metrics.measure` gives, or None.
        refused: methods that were left out -> the reason; of what they drew before they gave up nothing counts.
        steered: methods that chose or made the noise by a scorer -> that scorer: of them it is no judge.
        seed: of the bootstrap and the permutation test.

    Returns:
        {"baseline", "filter_scorers", "main_metric", "metrics": [...], "kinds": [...], "prompts", "images", "refused",
        "sets": {"features", "reference", "reference_images"} or None, "methods": {label: METHOD}}.
        METHOD: {"control", "scorer", "images", "denoiser_calls", "noise_seconds", "sample_seconds", "metrics": {metric:
        ROW}, "sets": {"images", "fid", "precision", "recall"}, "diversity": ROW with "low" and "high" of its mean}.
        ROW: {"n", "mean", "baseline_mean", "gain": {"mean", "low", "high", "n"}, "p", "p_holm", "detectable", "win":
        {"wins", "losses", "ties", "rate", "low", "high"}, "kinds": {kind: ROW}}; that of the baseline has "n", "mean"
        and "kinds" alone.

    Raises:
        InputError: no results, or methods scored by different scorers.
    """
    columns, kind_of, scorers = _gather(r for r in results if r.method not in (refused or {}))
    metrics = [*([ACCURACY] if CHECKER in scorers else []), *scorers]
    kinds = sorted({kind for kind in kind_of.values() if kind})
    base = columns.get(BASELINE)
    methods: dict[str, Any] = {}
    for label, column in columns.items():
        compared = base if label != BASELINE else None
        entry: dict[str, Any] = {"control": control_of(label), "scorer": (steered or {}).get(label, "")}
        entry["images"] = column.images
        entry.update({name: total / column.images for name, total in column.costs.items()})
        entry["metrics"] = {
            m: _compare(column.scores[m], compared.scores[m] if compared else None, kind_of, kinds, seed, resamples)
            for m in metrics
        }
        methods[label] = entry
    _add_sets(methods, sets, seed, resamples)
    _correct(methods)
    return {
        "baseline": BASELINE if base else None,
        "filter_scorers": list(filter_scorers),
        "main_metric": _main_metric(metrics, filter_scorers),
        "metrics": metrics,
        "kinds": kinds,
        "prompts": len(kind_of),
        "images": sum(column.images for column in columns.values()),
        "refused": dict(refused or {}),
        "sets": {k: sets[k] for k in ("features", "reference", "reference_images")} if sets else None,
        "methods": methods,
    }


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
) -> dict[str, Any]:
    prompts = _by_prompt(own)
    row: dict[str, Any] = {"n": len(prompts), "mean": float(np.mean(list(prompts.values())))}
    if base is not None:
        row.update(_gains({key: (own[key], base[key]) for key in own if key in base}, seed, resamples))
    parts = {kind: {key: value for key, value in own.items() if kind_of[key[0]] == kind} for kind in kinds}
    if parts:
        row["kinds"] = {
            kind: _compare(part, base, kind_of, (), seed, resamples // 4) for kind, part in parts.items() if part
        }
    return row


def _gains(pairs: dict[tuple[str, int], tuple[float, float]], seed: int, resamples: int) -> dict[str, Any]:
    if not pairs:  # interrupted before the two methods met
        return {}
    differences = list(_by_prompt({key: a - b for key, (a, b) in pairs.items()}).values())
    wins, losses = sum(a > b for a, b in pairs.values()), sum(a < b for a, b in pairs.values())
    ties = len(pairs) - wins - losses
    rate = (wins + ties / 2) / len(pairs)
    low, high = wilson(rate, len(differences))
    return {
        "baseline_mean": float(np.mean(list(_by_prompt({key: b for key, (_, b) in pairs.items()}).values()))),
        "gain": _interval(differences, seed, resamples),
        "p": sign_flip_test(differences, seed=seed),
        "detectable": _known(detectable_effect(differences)),
        "win": {"wins": wins, "losses": losses, "ties": ties, "rate": rate, "low": low, "high": high},
    }


def _interval(values: Sequence[float], seed: int, resamples: int) -> dict[str, Any]:
    found: Interval = paired_bootstrap(values, seed=seed, resamples=resamples)
    return {"mean": found.mean, "low": _known(found.low), "high": _known(found.high), "n": found.n}


def _add_sets(methods: dict[str, Any], sets: Mapping[str, Any] | None, seed: int, resamples: int) -> None:
    measured = {label: m for label, m in (sets["methods"] if sets else {}).items() if label in methods}
    spread = {label: {(p, 0): v for p, v in m["diversity"].items()} for label, m in measured.items()}
    for label, figures in measured.items():
        methods[label]["sets"] = {name: figures[name] for name in ("images", "fid", "precision", "recall")}
        if spread[label]:
            base = spread.get(BASELINE) if label != BASELINE else None
            own = _interval(list(_by_prompt(spread[label]).values()), seed, resamples)
            methods[label]["diversity"] = {**_compare(spread[label], base, {}, (), seed, resamples), **own}


def _correct(methods: dict[str, Any]) -> None:
    rows = [row for method in methods.values() for row in method["metrics"].values() if "p" in row]
    rows += [method["diversity"] for method in methods.values() if "p" in method.get("diversity", {})]
    for row, p in zip(rows, holm([row["p"] for row in rows]), strict=True):
        row["p_holm"] = p


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
