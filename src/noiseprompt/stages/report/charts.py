"""The charts of a report, from the figures of an evaluation."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

from noiseprompt.noise.figures import BANDS
from noiseprompt.results.lines import Key
from noiseprompt.results.names import control_of
from noiseprompt.results.prices import by_price, front
from noiseprompt.results.summary import ACCURACY, BASELINE, Comparison, Summary
from noiseprompt.results.words import method_names, metric_name, number, rate_text
from noiseprompt.shapes.world import CHECKER
from noiseprompt.stages.report import svg
from noiseprompt.stages.report.svg import Mark

POINTS = 1000
"""Dots in a chart of scores, at most."""

SPREAD = 4
"""The dearest method costs more than so many times the cheapest: the axis of costs is then logarithmic."""


def styles(summary: Summary) -> dict[str, int]:
    """Label -> colour and shape, -1 for the baseline."""
    others = [label for label in summary.methods if label != BASELINE]
    return {BASELINE: -1, **{label: i for i, label in enumerate(others)}}


def charts(summary: Summary) -> list[str]:
    """Gains by metric, wins, quality against seconds, diversity, kinds of prompts."""
    main = summary.main_metric
    found = [gains(main, summary), wins(summary), cost(summary, "seconds")]
    found += [gains(metric, summary) for metric in summary.metrics if metric != main]
    found += [diversity(summary), kinds(summary)]
    return [chart for chart in found if chart]


def gains(metric: str, summary: Summary) -> str:
    """The gain of each method in one metric."""
    rows = {label: method.metrics[metric].against for label, method in summary.methods.items()}
    name = metric_name(metric, summary)
    return _gains(f"Gain over standard: {name}", rows, f"difference in {name}, 95 % interval", summary, metric)


def diversity(summary: Summary) -> str:
    """The change of diversity of each method."""
    rows = {label: method.diversity and method.diversity.against for label, method in summary.methods.items()}
    unit = "difference in mean feature distance, 95 % interval"
    return _gains("Change in diversity between the images of a prompt", rows, unit, summary)


def _gains(title: str, rows: Mapping[str, Comparison | None], unit: str, summary: Summary, metric: str = "") -> str:
    names, style = method_names(summary, metric), styles(summary)
    marks = [
        Mark(names[label], gain.mean, gain.low, gain.high, f"n = {gain.n}", style=style[label])
        for label, found in rows.items()
        if found and (gain := found.gain)
    ]
    return svg.gains(title, marks, unit) if marks else ""


def cost(summary: Summary, unit: str) -> str:
    """Mean of the main metric against "denoiser_calls" or "seconds" an image, by factors where they differ by many.

    A dashed line connects the methods that nothing beats for as few calls.
    """
    main, style, calls = summary.main_metric, styles(summary), unit == "denoiser_calls"
    names, labels = method_names(summary, main), by_price(summary)
    marks = []
    for label in labels:
        method = summary.methods[label]
        row = method.metrics[main]
        found = row.against
        low, high = (found.gain.low, found.gain.high) if found else (None, None)
        start = found.baseline_mean if found else 0.0
        ends = (None if low is None else start + low, None if high is None else start + high)
        spent = method.denoiser_calls if calls else method.seconds
        short = f"{spent:.4g} calls" if calls else f"{spent:.3g} s"
        marks.append(Mark(names[label], row.mean, *ends, f"{number(row.mean)} at {short}", spent, style[label]))
    n = max(method.metrics[main].n for method in summary.methods.values())
    words = "denoiser calls" if calls else "seconds"
    title = f"Quality against {words}, n = {n} prompts (bars: interval of the paired gain)"
    least, most = min(mark.x for mark in marks), max(mark.x for mark in marks)
    along = [labels.index(label) for label in front(summary)] if calls else []
    log = least > 0 and most > SPREAD * least
    return svg.scatter(title, marks, f"{words} per image", f"mean {metric_name(main, summary)}", log, along)


def wins(summary: Summary) -> str:
    """Won, tied and lost images of each method by the main metric."""
    main, rows = summary.main_metric, []
    names = method_names(summary, main)
    for label, method in summary.methods.items():
        if found := method.metrics[main].against:
            win = found.win
            rows.append((names[label], win.wins, win.ties, win.losses, f"win rate {rate_text(win)}"))
    if not rows:
        return ""
    title = f"Won, tied and lost by {metric_name(main, summary)}, n = {max(sum(row[1:4]) for row in rows)} images"
    return svg.win_bars(title, rows)


def kinds(summary: Summary) -> str:
    """The main metric by category of prompt."""
    main, style, groups = summary.main_metric, styles(summary), []
    names = method_names(summary, main)
    for kind in summary.kinds:
        rows = {label: (method.metrics[main].kinds or {}).get(kind) for label, method in summary.methods.items()}
        present = {label: row for label, row in rows.items() if row and not control_of(label)}
        marks = [
            Mark(names[label], row.mean, note=number(row.mean), style=style[label]) for label, row in present.items()
        ]
        if marks:
            groups.append((f"{kind}, n = {max(row.n for row in present.values())} prompts", marks))
    return svg.grouped_bars("By category of prompt", groups, f"mean {metric_name(main, summary)}") if groups else ""


def scatter_metric(summary: Summary) -> str:
    """The scorer whose scores are drawn one by one: the first judge with graded scores."""
    scorers = [m for m in summary.metrics if m != ACCURACY]
    judges = [m for m in scorers if m not in summary.filter_scorers and m != CHECKER]
    return (judges or [m for m in scorers if m == CHECKER] or scorers or [""])[0]


def score_charts(summary: Summary, scores: Mapping[str, Mapping[Key, float]]) -> list[str]:
    """A chart a method: the scores of standard and method for the same prompt and seed.

    Args:
        scores: label -> (prompt id, seed) -> score by `scatter_metric`.
    """
    metric, style, base = scatter_metric(summary), styles(summary), scores.get(BASELINE, {})
    names, name, found = method_names(summary, metric), metric_name(metric, summary), []
    for label, own in scores.items():
        common = [key for key in base if key in own]
        if label == BASELINE or control_of(label) or all(own[key] == base[key] for key in common):
            continue
        drawn = sorted(common, key=shuffled)[:POINTS]
        above = sum(own[key] > base[key] for key in common)
        part = f", {len(drawn)} of them drawn" if len(drawn) < len(common) else ""
        title = f"{names[label]}: {name}, n = {len(common)} images{part}, {above} above the line"
        points = [(base[key], own[key]) for key in drawn]
        found.append(svg.scores(title, points, style[label], f"{name} of standard", f"{name} of {names[label]}"))
    return found


def spectrum(summary: Summary, figures: Mapping[str, Mapping[str, Any]]) -> str:
    """Power of the noise by radial frequency."""
    names, style = method_names(summary), styles(summary)
    lines = [
        (Mark(names[label], 0.0, note=f"n = {found['images']} images", style=style[label]), found["spectrum"])
        for label, found in figures.items()
        if label in names
    ]
    title = "Spectrum of the noise (white noise: 1)"
    return svg.curves(title, lines, BANDS, "radial frequency in cycles a latent pixel", "mean power")


def shuffled(key: Key) -> str:
    """An order that has nothing to do with the scores and is the same every time."""
    return hashlib.sha256(f"{key[0]}/{key[1]}".encode()).hexdigest()
