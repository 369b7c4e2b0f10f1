"""A look at every noise that leaves this package: is it finite, and is it still like unit Gaussian noise?

A diffusion model was trained to start from independent unit Gaussian values. Noise that was resampled, rescaled or
averaged is not that any more, and the images show it; a learned or re-denoised perturbation of a few per cent is.
"""

from __future__ import annotations

import math
import warnings
from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch

from noiseprompt.core.arguments import held
from noiseprompt.core.errors import NoisepromptWarning, ShapeError
from noiseprompt.core.ranges import WEIGHT, check_value
from noiseprompt.core.types import check_tensor
from noiseprompt.noise.seeds import check_noise

STANDARD_ERRORS = 5.0
"""Half width of the band of pure noise: one value in 1.7 million lies outside, so with 2 C + 2 = 10 values an image one
image in 170,000."""

ALLOWANCE = {"mean": 0.1, "std": 0.1, "correlation": 0.05}
"""What re-denoise may add on purpose, beyond chance. Over the first 1,000 pairs of the shapes world's data set (10
collection steps, perturbation 4.6 % of the norm on average and 15.9 % at most) it moved a channel's mean by at most
0.069 (root mean square 0.017), its standard deviation by at most 0.044 (0.006) and the neighbour correlation by at most
0.033 (0.007). Resampled noise, with correlations of 0.16 to 0.34 and a standard deviation of 0.66, stays outside.

Noise that carries a picture is, on purpose, the forward process at the sampler's first level: latents of unit size can
move each figure by about the factor that they are carried with, so that much more is allowed."""


def carried(strength: float, signal: float) -> float:
    """The factor of a picture that noise carries on purpose at a strength; beyond strength 1 more is not on purpose."""
    return min(abs(strength), 1.0) * signal


class NoiseWarning(NoisepromptWarning):
    """Noise outside the Gaussian band."""


@dataclass(frozen=True)
class NoiseReport:
    """Figures of a batch of latents.

    Fields:
        images: B.
        mean, std: per channel, over the images and pixels; pure noise has 0 and 1.
        horizontal, vertical: correlation of neighbouring values in a row and in a column, in [-1, 1], averaged over
            channels and images; pure noise has 0.
        perturbation: norm of latents - source over the norm of source, averaged over images; None without a source.
        finite: whether all values are.
        problems: what lies outside the band, of the batch or of its worst image; empty where all is well.
    """

    images: int
    mean: tuple[float, ...]
    std: tuple[float, ...]
    horizontal: float
    vertical: float
    perturbation: float | None
    finite: bool
    problems: tuple[str, ...]

    def __str__(self) -> str:
        figures = [f"mean {_list(self.mean)}", f"std {_list(self.std)}"]
        figures.append(f"neighbour correlation {self.horizontal:+.3f} {self.vertical:+.3f}")
        if self.perturbation is not None:
            figures.append(f"perturbation {self.perturbation:.1%}")
        return ", ".join(figures) if self.finite else "not finite"


@held
def inspect_noise(latents: torch.Tensor, source: torch.Tensor | None = None, signal: float = 0.0) -> NoiseReport:
    """Figures of latents, judged one image at a time and all together.

    The band around what pure noise has is 5 standard errors plus `ALLOWANCE`. For n values a channel and p pairs of
    neighbours the standard errors are 1 / sqrt(n) of the mean, 1 / sqrt(2 n) of the standard deviation and 1 / sqrt(p)
    of the correlation. One SDXL image (n = 16,384; p = 65,024): mean within 0.139, standard deviation within 0.128 of
    1, correlation within 0.070. One image of the shapes world (n = 256, p = 960): 0.413, 0.321 and 0.211.

    Args:
        latents: (B, C, H, W).
        source: the noise they were made from, the same shape.
        signal: factor of a picture that they carry on purpose; widens the band by as much.

    Raises:
        InputError: no tensors of floating point numbers, or a signal below 0.
        ShapeError: other shapes.
        NoiseError: a source that is not finite.
    """
    check_tensor(latents, "latents", "(B, C, H, W)")
    if source is not None:
        check_tensor(source, "source", "(B, C, H, W)")
    check_value("signal", float, signal, WEIGHT)
    if latents.ndim != 4 or not latents.numel() or (source is not None and source.shape != latents.shape):
        given = "" if source is None else f" with a source {tuple(source.shape)}"
        expected = "(B, C, H, W), B from 1 on, and a source of the same shape"
        raise ShapeError(f"latents {tuple(latents.shape)}{given}", expected)
    if source is not None:
        check_noise(source, "the source")
    x = latents.detach().float()
    if not bool(torch.isfinite(x).all()):
        gap = (math.nan,) * x.shape[1]
        return NoiseReport(len(x), gap, gap, math.nan, math.nan, None, False, ("values that are not finite",))
    mean = x.mean(dim=(2, 3))
    std = x.std(dim=(2, 3), correction=0)
    scaled = (x - mean[..., None, None]) / std[..., None, None].clamp_min(1e-12)
    horizontal = _correlation(scaled[..., :, :-1], scaled[..., :, 1:])
    vertical = _correlation(scaled[..., :-1, :], scaled[..., 1:, :])
    whole = x.mean(dim=(0, 2, 3)), x.std(dim=(0, 2, 3), correction=0)
    problems = _problems(tuple(x.shape), mean, std, horizontal, vertical, signal=signal)
    if len(x) > 1 and not problems:
        n, c, h, w = x.shape
        together = tuple(value[None] for value in (*whole, horizontal.mean(), vertical.mean()))
        problems = _problems(
            (1, c, n * h, w), *together, signal=signal
        )  # as if one tall image: n times the values and pairs
    moved = None
    if source is not None:
        flat = source.detach().to(x.device).float().flatten(1)
        moved = float(((x.flatten(1) - flat).norm(dim=1) / flat.norm(dim=1).clamp_min(1e-12)).mean())
    figures = (tuple(whole[0].tolist()), tuple(whole[1].tolist()), float(horizontal.mean()), float(vertical.mean()))
    return NoiseReport(len(x), *figures, moved, True, tuple(problems))


def _correlation(first: torch.Tensor, second: torch.Tensor) -> torch.Tensor:
    """(B,) mean product of standardised neighbours; 0 where there are none."""
    return (first * second).flatten(1).mean(dim=1) if first.numel() else first.new_zeros(len(first))


def _problems(
    shape: tuple[int, ...],
    mean: torch.Tensor,
    std: torch.Tensor,
    horizontal: torch.Tensor,
    vertical: torch.Tensor,
    *,
    signal: float,
) -> list[str]:
    """One phrase a figure whose farthest value lies outside the band."""
    _, channels, height, width = shape
    n = height * width
    across, down = channels * height * max(width - 1, 1), channels * max(height - 1, 1) * width
    checks = (
        ("mean", mean, 0.0, 1 / math.sqrt(n), "mean"),
        ("standard deviation", std, 1.0, 1 / math.sqrt(2 * n), "std"),
        ("horizontal neighbour correlation", horizontal, 0.0, 1 / math.sqrt(across), "correlation"),
        ("vertical neighbour correlation", vertical, 0.0, 1 / math.sqrt(down), "correlation"),
    )
    found = []
    for name, value, wanted, error, kind in checks:
        allowed = STANDARD_ERRORS * error + ALLOWANCE[kind] + signal
        flat = (value - wanted).flatten()
        worst = float(flat[int(flat.abs().argmax())])
        if abs(worst) > allowed:
            found.append(f"{name} {wanted + worst:.3f} (within {wanted - allowed:.3f} to {wanted + allowed:.3f})")
    return found


def _list(values: Sequence[float]) -> str:
    return " ".join(f"{value:+.3f}" if value < 0.5 else f"{value:.3f}" for value in values)


class Guard:
    """Watches the noise of a run: refuses what is not finite, warns once a label, and keeps the figures."""

    def __init__(self) -> None:
        self._reports: dict[str, list[NoiseReport]] = {}

    def watch(
        self, label: str, latents: torch.Tensor, source: torch.Tensor | None = None, signal: float = 0.0
    ) -> NoiseReport:
        """`inspect_noise`, with consequences.

        Args:
            label: what made the noise, e.g. a method's label.
            latents, source: (B, C, H, W).
            signal: as of `inspect_noise`.

        Raises:
            NoiseError: values that are not finite.
            ShapeError: as `inspect_noise`.

        Warns:
            NoiseWarning: outside the Gaussian band, the first time for a label.
        """
        check_noise(latents, f"the noise of {label!r}")
        report = inspect_noise(latents, source, signal)
        if report.problems and not any(before.problems for before in self._reports.get(label, ())):
            warnings.warn(
                f"the noise of {label!r} is not like unit Gaussian noise: {'; '.join(report.problems)}. A lower "
                "strength or renormalize brings it closer",
                NoiseWarning,
                stacklevel=2,
            )
        self.note(label, report)
        return report

    def note(self, label: str, report: NoiseReport) -> None:
        """Keep figures without consequences, of noise that was watched when it was made."""
        self._reports.setdefault(label, []).append(report)

    def summary(self) -> dict[str, dict[str, Any]]:
        """Label -> its figures over all batches: images, mean and std (per channel), horizontal, vertical,
        perturbation (None without sources) and outside_band, the number of batches outside the Gaussian band."""
        return {label: _merge(reports) for label, reports in self._reports.items()}

    def lines(self) -> list[str]:
        """The summary for people, a line a label."""
        return [f"{label}: {_merged_report(reports)}" for label, reports in self._reports.items()]


def _merge(reports: Sequence[NoiseReport]) -> dict[str, Any]:
    report = _merged_report(reports)
    return {
        "images": report.images,
        "mean": [round(value, 5) for value in report.mean],
        "std": [round(value, 5) for value in report.std],
        "horizontal": round(report.horizontal, 5),
        "vertical": round(report.vertical, 5),
        "perturbation": None if report.perturbation is None else round(report.perturbation, 5),
        "outside_band": sum(bool(r.problems) for r in reports),
    }


def _merged_report(reports: Sequence[NoiseReport]) -> NoiseReport:
    images = sum(r.images for r in reports)

    def average(values: Sequence[float]) -> float:
        return sum(r.images * value for r, value in zip(reports, values, strict=True)) / images

    channels = range(len(reports[0].mean))
    mean = tuple(average([r.mean[c] for r in reports]) for c in channels)
    square = tuple(average([r.std[c] ** 2 + r.mean[c] ** 2 for r in reports]) for c in channels)
    std = tuple(math.sqrt(max(s - m * m, 0.0)) for s, m in zip(square, mean, strict=True))
    moved = [r.perturbation for r in reports]
    known = [value for value in moved if value is not None]
    perturbation = average(known) if len(known) == len(moved) else None
    figures = (mean, std, average([r.horizontal for r in reports]), average([r.vertical for r in reports]))
    return NoiseReport(images, *figures, perturbation, True, ())
