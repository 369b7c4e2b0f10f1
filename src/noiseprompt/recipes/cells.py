"""Cells of the document's tables as text."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from noiseprompt.results.summary import ACCURACY
from noiseprompt.shapes import world

NOT_HERE = "not run here: needs weights"

_TITLES = {ACCURACY: "accuracy", world.PREFERENCE: "preference"}


def metric_title(metric: str) -> str:
    """Short name of a metric."""
    return _TITLES.get(metric, metric)


def figures_text(paper: dict[str, Any], figures: Sequence[float | None]) -> list[str]:
    """The paper's figures of one row, with as many decimals as any figure of the column has."""
    groups = (paper.get("groups") or {"": paper.get("rows") or {}}).values()
    rows = [row for group in groups for row in group.values()]
    shown = []
    for column, value in enumerate(figures):
        texts = [f"{row[column]:.7g}" for row in rows if row[column] is not None]
        decimals = max((len(text.partition(".")[2]) for text in texts), default=0)
        plain = not any("e" in text for text in texts)
        shown.append("" if value is None else f"{value:.{decimals}f}" if plain else f"{value:g}")
    return shown


def mean_text(metric: str, figures: dict[str, Any]) -> str:
    """Accuracy in per cent, anything else with three decimals."""
    return f"{100 * figures['mean']:.1f} %" if metric == ACCURACY else f"{figures['mean']:.3f}"


def gain_text(metric: str, figures: dict[str, Any]) -> str:
    """ "+3.2 points [-0.2, +6.4]", with a star where p after Holm is below .05; "" for the baseline."""
    gain = figures.get("gain")
    if gain is None:
        return ""
    scale, digits, unit = (100, 1, " points") if metric == ACCURACY else (1, 3, "")
    low, high = ("?" if gain[end] is None else f"{scale * gain[end]:+.{digits}f}" for end in ("low", "high"))
    star = "\\*" if figures.get("p_holm", 1) < 0.05 else ""
    return f"{scale * gain['mean']:+.{digits}f}{unit} [{low}, {high}]{star}"


def win_text(figures: dict[str, Any]) -> str:
    """ "54 % [44, 63]": share of images that score higher than the standard one, ties as half."""
    win = figures.get("win")
    return "" if win is None else f"{100 * win['rate']:.0f} % [{100 * win['low']:.0f}, {100 * win['high']:.0f}]"


def verdict(paper: float | None, gain: dict[str, Any] | None) -> str:
    """Whether our difference has the sign of the paper's; "undecided" where its interval holds zero."""
    if paper is None or gain is None:
        return ""
    if gain["low"] is None or gain["low"] <= 0 <= gain["high"] or paper == 0:
        return "undecided"
    return "yes" if (gain["mean"] > 0) == (paper > 0) else "no"


def cost_text(cell: dict[str, Any]) -> list[str]:
    """Denoiser calls and seconds per image, noise included."""
    return [f"{cell['denoiser_calls']:.4g}", f"{cell['noise_seconds'] + cell['sample_seconds']:.3g}"]


def training_text(training: dict[str, Any] | None) -> str:
    """What the row's network was trained on and how much of the perturbation it explains on held-out prompts."""
    if training is None:
        return ""
    most = f", the first {training['limit']:,}" if training["limit"] else ""
    return (
        f"{100 * training['dropped']:.1f} % dropped, {training['kept']:,} of {training['pairs']:,} pairs{most}; "
        f"{training['steps']:,} steps; {100 * training['explained']:.1f} % explained"
    )
