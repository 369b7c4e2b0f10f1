"""From the images of an evaluation to its figures: pairs by prompt and seed, one independent unit a prompt.

EvalResult ... ──> summarize ──> a plain dict ──> markdown
"""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from typing import Any

import numpy as np

from noiseprompt.errors import InputError
from noiseprompt.statistics import Interval, detectable_effect, holm, paired_bootstrap, sign_flip_test, wilson
from noiseprompt.types import EvalResult

BASELINE = "standard"
"""Label of the method all others are compared with."""

CHECKER = "shapes-checker"
ACCURACY = "shapes-checker accuracy"
"""A metric made here: 1 where the checker's score is exactly 1, else 0; its mean is the share of correct images."""


def summarize(
    results: Iterable[EvalResult], *, filter_scorer: str = "", seed: int = 0, resamples: int = 10_000
) -> dict[str, Any]:
    """The figures of an evaluation as plain JSON data; what cannot be computed is None.

    Scores of the seeds of a prompt are averaged first, so n counts prompts; wins, losses and ties count images, and the
    interval of the win rate takes the prompts as its trials. p is corrected (Holm) over all methods and metrics.

    Args:
        filter_scorer: the scorer that filtered the training pairs, marked in the result: it is no judge.
        seed: of the bootstrap and the permutation test.

    Returns:
        {"baseline", "filter_scorer", "main_metric", "metrics": [...], "kinds": [...], "prompts", "images",
        "methods": {label: {"images", "denoiser_calls", "noise_seconds", "sample_seconds", "metrics": {metric:
        {"n", "mean", "baseline_mean", "gain": {"mean", "low", "high", "n"}, "p", "p_holm", "detectable",
        "win": {"wins", "losses", "ties", "rate", "low", "high"}, "kinds": {kind: {...}}}}}}}. The baseline has
        "n", "mean" and "kinds" alone.

    Raises:
        InputError: no results, or methods scored by different scorers.
    """
    by_method: dict[str, list[EvalResult]] = defaultdict(list)
    for result in results:
        by_method[result.method].append(result)
    if not by_method:
        raise InputError("no results", "at least one evaluated image", "run the evaluation first")
    metrics = _metrics(by_method)
    tables = {label: {m: _scores(rows, m) for m in metrics} for label, rows in by_method.items()}
    kind_of = {r.prompt_id: r.kind for rows in by_method.values() for r in rows}
    kinds = sorted({kind for kind in kind_of.values() if kind})
    base = tables.get(BASELINE)
    methods: dict[str, Any] = {}
    for label, rows in by_method.items():
        entry = _costs(rows)
        entry["metrics"] = {
            m: _compare(
                tables[label][m], base[m] if base and label != BASELINE else None, kind_of, kinds, seed, resamples
            )
            for m in metrics
        }
        methods[label] = entry
    _correct(methods)
    return {
        "baseline": BASELINE if base else None,
        "filter_scorer": filter_scorer,
        "main_metric": _main_metric(metrics, filter_scorer),
        "metrics": metrics,
        "kinds": kinds,
        "prompts": len(kind_of),
        "images": sum(len(rows) for rows in by_method.values()),
        "methods": methods,
    }


def markdown(summary: dict[str, Any]) -> str:
    """The headline table: a row a method and metric."""
    titles = ("metric", "method", "n", "mean", "gain over standard [95 %]", "p (Holm)", "wins / losses / ties")
    titles += ("win rate [95 %]", "denoiser calls / image", "seconds / image")
    lines = ["| " + " | ".join(titles) + " |", "|---" * len(titles) + "|"]
    for metric in summary["metrics"]:
        for label, method in summary["methods"].items():
            row = method["metrics"][metric]
            cells = [metric_name(metric, summary), label.replace("|", "\\|"), str(row["n"]), number(row["mean"])]
            if "gain" in row:
                win = row["win"]
                cells += [
                    interval_text(row["gain"], signed=True),
                    p_text(row["p_holm"]),
                    f"{win['wins']} / {win['losses']} / {win['ties']}",
                ]
                cells += [interval_text({**win, "mean": win["rate"]})]
            else:
                cells += ["", "", "", ""]
            cells += [f"{method['denoiser_calls']:.4g}", f"{method['noise_seconds'] + method['sample_seconds']:.3g}"]
            lines.append("| " + " | ".join(cells) + " |")
    note = f"n: prompts ({summary['prompts']} in all, {summary['images']} images). "
    note += "Gains are paired by prompt and seed; bootstrap over prompts; p by sign flips."
    if summary["filter_scorer"] in summary["metrics"]:
        note += " (filter): this scorer chose the training pairs, so it is no independent judge."
    return "\n".join(lines) + f"\n\n{note}\n"


def metric_name(metric: str, summary: dict[str, Any]) -> str:
    """The metric, marked if it filtered the training data."""
    return f"{metric} (filter)" if metric == summary["filter_scorer"] else metric


def number(value: float | None, signed: bool = False) -> str:
    """Three decimals, or a dash for None."""
    return "–" if value is None else f"{value:+.3f}" if signed else f"{value:.3f}"


def interval_text(interval: dict[str, Any], signed: bool = False) -> str:
    """ "mean [low, high]"."""
    return f"{number(interval['mean'], signed)} [{number(interval['low'], signed)}, {number(interval['high'], signed)}]"


def p_text(p: float) -> str:
    """A p with two digits, or "< .001"."""
    return "< .001" if p < 0.001 else f"{p:.2g}"


def _metrics(by_method: dict[str, list[EvalResult]]) -> list[str]:
    names = {tuple(result.scores) for rows in by_method.values() for result in rows}
    if len(names) != 1:
        raise InputError(f"images scored by different scorers: {sorted(names)}", "the same scorers for every image")
    scorers = list(names.pop())
    return [*([ACCURACY] if CHECKER in scorers else []), *scorers]


def _main_metric(metrics: Sequence[str], filter_scorer: str) -> str:
    judges = [m for m in metrics if m != filter_scorer] or list(metrics)
    return judges[0] if judges else ""


def _scores(rows: Iterable[EvalResult], metric: str) -> dict[tuple[str, int], float]:
    if metric == ACCURACY:
        return {(r.prompt_id, r.seed): float(r.scores[CHECKER] == 1.0) for r in rows}
    return {(r.prompt_id, r.seed): float(r.scores[metric]) for r in rows}


def _costs(rows: Sequence[EvalResult]) -> dict[str, Any]:
    fields = ("denoiser_calls", "noise_seconds", "sample_seconds")
    return {"images": len(rows), **{f: float(np.mean([getattr(r, f) for r in rows])) for f in fields}}


def _by_prompt(scores: dict[tuple[str, int], float]) -> dict[str, float]:
    """Mean over the seeds of each prompt, prompts sorted: no figure depends on the order of the lines."""
    groups: dict[str, list[float]] = defaultdict(list)
    for (prompt_id, _), value in sorted(scores.items()):
        groups[prompt_id].append(value)
    return {prompt_id: float(np.mean(values)) for prompt_id, values in groups.items()}


def _compare(
    own: dict[tuple[str, int], float],
    base: dict[tuple[str, int], float] | None,
    kind_of: dict[str, str],
    kinds: Sequence[str],
    seed: int,
    resamples: int,
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
    interval: Interval = paired_bootstrap(differences, seed=seed, resamples=resamples)
    wins, losses = sum(a > b for a, b in pairs.values()), sum(a < b for a, b in pairs.values())
    ties = len(pairs) - wins - losses
    rate = (wins + ties / 2) / len(pairs)
    low, high = wilson(rate, len(differences))
    return {
        "baseline_mean": float(np.mean(list(_by_prompt({key: b for key, (_, b) in pairs.items()}).values()))),
        "gain": {"mean": interval.mean, "low": _known(interval.low), "high": _known(interval.high), "n": interval.n},
        "p": sign_flip_test(differences, seed=seed),
        "detectable": _known(detectable_effect(differences)),
        "win": {"wins": wins, "losses": losses, "ties": ties, "rate": rate, "low": low, "high": high},
    }


def _correct(methods: dict[str, Any]) -> None:
    rows = [row for method in methods.values() for row in method["metrics"].values() if "p" in row]
    for row, p in zip(rows, holm([row["p"] for row in rows]), strict=True):
        row["p_holm"] = p


def _known(value: float) -> float | None:
    return value if math.isfinite(value) else None
