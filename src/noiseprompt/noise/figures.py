"""What a method did to the noise, recorded while it is evaluated: how far it moved, its spectrum, its neighbours.

    diagnostics.jsonl    one line a batch and method; of lines made twice, the last counts

White noise has power 1 at every frequency and no correlation between neighbours: what differs is structure that the
method wrote into the noise.
"""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from noiseprompt.core.arguments import called
from noiseprompt.core.errors import InputError, NoiseError, ShapeError
from noiseprompt.core.json_lines import damaged, files_of_all, read_lines
from noiseprompt.core.ranges import SUMMABLE, kind_of
from noiseprompt.core.stores import Folder
from noiseprompt.core.texts import reason_of

if TYPE_CHECKING:
    import torch

BANDS = tuple((i + 0.5) / 16 for i in range(8))
"""Middles of the eight bands of radial frequency, in cycles a latent pixel; the corners above 0.5 are left out."""

FILE = "diagnostics.jsonl"


def measure(latents: torch.Tensor, source: torch.Tensor) -> dict[str, list[float]]:
    """Figures of each row.

    Args:
        latents: (B, C, H, W), the noise an image starts from.
        source: (B, C, H, W), the noise it was made of.

    Returns:
        "perturbation" (B,): norm of the difference over the norm of the source; "std" (B,); "neighbour" (B,): mean
        correlation of values next to each other, across and down; "spectrum" (8,): power in `BANDS`, mean of the rows,
        1 for white noise, nan for a band too narrow to hold a frequency of so small a latent.
    """
    noise, start = (t.detach().cpu().double().numpy() for t in (latents, source))  # MPS has no float64
    axes = (1, 2, 3)
    moved = np.sqrt(((noise - start) ** 2).sum(axes) / np.maximum((start**2).sum(axes), 1e-300))
    centred = noise - noise.mean(axis=(2, 3), keepdims=True)
    power = np.maximum((centred**2).mean(axes), 1e-300)
    across = (centred[..., 1:] * centred[..., :-1]).mean(axes)
    down = (centred[..., 1:, :] * centred[..., :-1, :]).mean(axes)
    return {
        "perturbation": moved.tolist(),
        "std": noise.std(axis=axes).tolist(),
        "neighbour": ((across + down) / 2 / power).tolist(),
        "spectrum": _bands(noise).tolist(),
    }


@called
def noise_spectrum(noise: np.ndarray) -> np.ndarray:
    """(B, C, H, W) -> (8,) mean power of the coefficients in each band of radial frequency; 1 for white noise.

    Raises:
        ShapeError: another shape.
        InputError: no array of numbers; of a tensor that is on a device or asks for gradients pass a copy.
        NoiseError: values that are not finite.
    """
    given = noise
    try:
        noise = np.asarray(given)
    except (TypeError, ValueError, RuntimeError) as error:  # a list of several lengths, a tensor that NumPy cannot read
        raise InputError(f"noise: {kind_of(noise)} ({reason_of(error)[:100]})", "an array (B, C, H, W)") from error
    if noise.dtype.kind not in "fiu":
        came = f"noise of {noise.dtype}" if hasattr(given, "dtype") else f"noise: {kind_of(given)}"
        raise InputError(came, "an array (B, C, H, W) of numbers")
    if noise.ndim != 4 or not noise.size:
        raise ShapeError(f"noise of shape {noise.shape}", "(B, C, H, W), B from 1 on")
    if not np.isfinite(noise).all():
        raise NoiseError(f"{np.sum(~np.isfinite(noise)):,} of {noise.size:,} values are not finite", "finite noise")
    if np.abs(noise).max() > SUMMABLE:
        raise NoiseError(f"noise up to {np.abs(noise).max():g}", f"values from {-SUMMABLE:g} to {SUMMABLE:g}")
    return _bands(noise)


def _bands(noise: np.ndarray) -> np.ndarray:
    """(8,): as `noise_spectrum`, NaN of what is not finite."""
    height, width = noise.shape[-2:]
    power = (np.abs(np.fft.fft2(noise)) ** 2).mean(axis=(0, 1)) / (height * width)
    radius = np.hypot(np.fft.fftfreq(height)[:, None], np.fft.fftfreq(width)[None, :])
    band = np.floor(radius * 16).astype(int)
    band[radius == 0.5] = 7
    with np.errstate(invalid="ignore"):
        return np.array([power[band == i].mean() if (band == i).any() else np.nan for i in range(len(BANDS))])


def record(method: str, batch: int, figures: dict[str, list[float]]) -> str:
    """The line of a batch."""
    rounded = {name: [None if v != v else round(v, 6) for v in values] for name, values in figures.items()}
    return json.dumps({"method": method, "batch": batch, **rounded}) + "\n"


@dataclass(frozen=True)
class _Line:
    """What `record` writes of a batch; None where a figure was no number."""

    method: str
    batch: int
    perturbation: list[float | None]
    std: list[float | None]
    neighbour: list[float | None]
    spectrum: list[float | None]


def read(folder: Folder) -> dict[str, dict[str, Any]]:
    """method -> {"images", "perturbation": [mean, 5 %, 95 %], "std", "neighbour", "spectrum"}; {} without a file.

    A line that a killed run left unfinished at the end is passed over.

    Raises:
        StoreError: another line that `record` did not write.
    """
    lines: dict[tuple[str, int], _Line] = {}
    fix = "delete that line: the noise of its batch is then told nowhere"
    for file in files_of_all(folder, FILE):
        for number, line in read_lines(file, _Line, fix):
            sizes = {len(line.perturbation), len(line.std), len(line.neighbour)}
            if len(sizes) > 1 or 0 in sizes or len(line.spectrum) != len(BANDS):
                raise damaged(file, number, "its lists do not belong together", fix)
            if line.batch < 0:
                raise damaged(file, number, f"the batch {line.batch}", fix)
            lines[line.method, line.batch] = line
    methods: dict[str, list[_Line]] = {}
    for (method, _), line in sorted(lines.items(), key=lambda entry: entry[0][1]):
        methods.setdefault(method, []).append(line)
    return {method: _together(parts) for method, parts in methods.items()}


def _together(parts: Sequence[_Line]) -> dict[str, Any]:
    moved, std, neighbour = (
        np.array([value for part in parts for value in getattr(part, name)], np.float64)
        for name in ("perturbation", "std", "neighbour")
    )
    sizes = [len(part.perturbation) for part in parts]
    bands = np.array([part.spectrum for part in parts], np.float64)
    return {
        "images": len(moved),
        "perturbation": [float(moved.mean()), *map(float, np.quantile(moved, [0.05, 0.95]))],
        "std": float(std.mean()),
        "neighbour": float(neighbour.mean()),
        "spectrum": [None if v != v else float(v) for v in np.average(bands, axis=0, weights=sizes)],
    }
