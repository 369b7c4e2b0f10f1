"""What a noise looks like: figures with the band of unit Gaussian noise, and a picture."""

from __future__ import annotations

import math
from typing import Any

import numpy as np
import torch
from PIL import Image, ImageDraw, ImageFont

from noiseprompt import inspect_noise, noise_spectrum

from .latents import as_picture, check_plain

SIDE, EDGE, LINE = 320, 20, 26
"""Pixels: of a panel, around it, and of a line of text."""

LETTERS = 20
"""Their height: the sheet is shown smaller than it is."""

INK, GUIDE, BAR, PAPER = (32, 32, 32), (200, 80, 40), (90, 130, 190), (250, 250, 250)
REACH = 4.0
"""Values from -4 to 4 are drawn."""


def examine(noise: torch.Tensor, source: torch.Tensor | None = None) -> tuple[str, torch.Tensor]:
    """The figures as text, and the picture (1, height, width, 3) in [0, 1] as an IMAGE.

    Args:
        noise: (B, C, H, W), or a film of one frame.
        source: what it was made of; adds the perturbation.

    Raises:
        NoisepromptError: latents that are no picture's.
    """
    check_plain(noise, "noise doctor")
    x = as_picture(noise, "noise doctor").detach().float()
    start = None if source is None else as_picture(source, "noise doctor").detach().float()
    text = figures(x, start)
    panels = [_tile(x[0]), _histogram(x), _bars(_spectrum(x))]
    if start is not None:
        panels.append(_tile((x - start)[0], normalise=True))
    titles = ["the first channels", "values, and the Gaussian", "power by frequency, 1 is white", "perturbation"]
    picture = np.asarray(_sheet(text, panels, titles), np.float32) / 255
    return text, torch.from_numpy(picture)[None]


def figures(noise: torch.Tensor, source: torch.Tensor | None) -> str:
    """One line a figure, then what lies outside the band of unit Gaussian noise."""
    report = inspect_noise(noise, source)
    images, channels, height, width = noise.shape
    lines = [
        f"{images} x {channels} channels of {height} x {width}",
        f"mean {_list(report.mean)} (0)",
        f"deviation {_list(report.std)} (1)",
        f"neighbour correlation {report.horizontal:+.3f} across, {report.vertical:+.3f} down (0)",
        f"power by frequency {_list(_spectrum(noise))} (1)",
    ]
    if report.perturbation is not None:
        lines.append(f"perturbation {report.perturbation:.1%} of the source's norm")
    verdict = [f"outside: {problem}" for problem in report.problems]
    return "\n".join(lines + (verdict or ["like unit Gaussian noise"]))


def _spectrum(noise: torch.Tensor) -> np.ndarray:
    """(8,), NaN of noise that is not finite, which is looked at too."""
    finite = bool(noise.isfinite().all())
    return noise_spectrum(noise.double().numpy()) if finite else np.full(8, np.nan)


def _list(values: Any) -> str:
    shown = [f"{value:.3f}" for value in values]
    return " ".join(shown[:8]) + (" ..." if len(shown) > 8 else "")


def _tile(image: torch.Tensor, normalise: bool = False) -> Image.Image:
    """(C, H, W) -> the first three channels as colours, nearest pixels."""
    scale = max(float(image.std()), 1e-6) if normalise else 1.0
    colours = image[:3] if len(image) >= 3 else image[:1].expand(3, -1, -1)
    grey = ((colours / scale).clamp(-REACH, REACH) / REACH + 1) / 2
    tile = Image.fromarray((grey.permute(1, 2, 0).nan_to_num().numpy() * 255).astype(np.uint8))
    tile.thumbnail((SIDE, SIDE))
    factor = max(SIDE // max(tile.size), 1)
    panel = Image.new("RGB", (SIDE, SIDE), PAPER)
    panel.paste(tile.resize((tile.width * factor, tile.height * factor), Image.Resampling.NEAREST))
    return panel


def _histogram(noise: torch.Tensor) -> Image.Image:
    values = noise.flatten().nan_to_num().clamp(-REACH, REACH).numpy()
    share, edges = np.histogram(values, bins=64, range=(-REACH, REACH), density=True)
    middles = (edges[1:] + edges[:-1]) / 2
    gaussian = [math.exp(-(x**2) / 2) / math.sqrt(2 * math.pi) for x in middles]
    return _columns(share, gaussian, top=max(0.5, float(share.max())))


def _bars(power: np.ndarray) -> Image.Image:
    known = np.nan_to_num(power)
    return _columns(known, [1.0] * len(known), top=max(2.0, float(known.max())))


def _columns(heights: Any, guide: Any, top: float) -> Image.Image:
    """Bars from the bottom, and a line through the heights that white noise would have."""
    panel = Image.new("RGB", (SIDE, SIDE), PAPER)
    draw, width = ImageDraw.Draw(panel), SIDE / len(heights)
    for i, height in enumerate(heights):
        level = SIDE - 1 - min(max(float(height), 0.0) / top, 1.0) * (SIDE - 1)
        draw.rectangle([i * width, level, (i + 1) * width - 1, SIDE - 1], fill=BAR)
    line = [((i + 0.5) * width, SIDE - 1 - value / top * (SIDE - 1)) for i, value in enumerate(guide)]
    draw.line(line, fill=GUIDE, width=2)
    return panel


def _sheet(text: str, panels: list[Image.Image], titles: list[str]) -> Image.Image:
    """The panels in a row with their titles, the text below."""
    lines = text.splitlines()
    width = EDGE + len(panels) * (SIDE + EDGE)
    sheet = Image.new("RGB", (width, 3 * EDGE + LINE + SIDE + LINE * len(lines)), (255, 255, 255))
    draw, font = ImageDraw.Draw(sheet), ImageFont.load_default(LETTERS)
    for i, (panel, title) in enumerate(zip(panels, titles, strict=False)):
        left = EDGE + i * (SIDE + EDGE)
        draw.text((left, EDGE / 2), title, fill=INK, font=font)
        sheet.paste(panel, (left, EDGE + LINE))
    for i, line in enumerate(lines):
        draw.text((EDGE, 2 * EDGE + LINE + SIDE + i * LINE), line, fill=INK, font=font)
    return sheet
