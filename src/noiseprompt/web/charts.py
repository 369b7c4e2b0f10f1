"""The tabs Compare and The noise as HTML: intervals as they come, spectra, noises and perturbations as pictures."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import numpy as np
import torch

from noiseprompt.noise.figures import BANDS, measure, noise_spectrum
from noiseprompt.noise.guard import inspect_noise
from noiseprompt.results.summary import ACCURACY, BASELINE
from noiseprompt.results.words import number
from noiseprompt.stages.report import svg
from noiseprompt.stages.report.page import table
from noiseprompt.stages.report.svg import Mark
from noiseprompt.web.album import Png
from noiseprompt.web.cards import text
from noiseprompt.web.standings import CAUTION, Standing, Standings

if TYPE_CHECKING:
    from noiseprompt.web.studio import Noises

HEAD = ("method", "seeds", "mean", "gain over standard [95 %]", "won / lost / tied")
NOISE_HEAD = ("noise", "moved by", "mean", "deviation", "neighbours →", "neighbours ↓", "outside the band")
WAVES = "cycles per latent pixel"


# ------------------------------------------------------------------------------------------------------------ compare


def standings(found: Standings, names: Mapping[str, str], steered: Mapping[str, str], command: str = "") -> str:
    """A chart and a table a metric; "" before the first pictures.

    Args:
        names: label -> short name.
        steered: label -> the scorer that chose its noise.
        command: that tests what this only looks at.
    """
    parts = []
    for metric in found.metrics:
        rows = found.of(metric)
        if not rows:
            continue
        marked = {row.method: _named(row.method, metric, names, steered) for row in rows}
        parts.append(f'<section class="np-metric"><h3>{text(metric)}</h3>{_gains(metric, rows, marked)}')
        parts.append(f"{table(HEAD, [_cells(row, marked[row.method]) for row in rows])}</section>")
    if not parts:
        return ""
    test = f"<p>A test on prompts that chose nothing: <code>{text(command)}</code></p>" if command else ""
    return f'<div class="np-standings">{"".join(parts)}<div class="np-note"><p>{text(CAUTION)}</p>{test}</div></div>'


def _named(method: str, metric: str, names: Mapping[str, str], steered: Mapping[str, str]) -> str:
    return names[method] + (" (chosen by this scorer: no evidence)" if steered.get(method) == metric else "")


def _gains(metric: str, rows: Sequence[Standing], names: Mapping[str, str]) -> str:
    others = [row for row in rows if row.method != BASELINE]
    marks = [
        Mark(names[row.method], row.gain, row.low, row.high, f"n = {row.n}", style=i) for i, row in enumerate(others)
    ]
    unit = (
        "gain over standard, share of pictures" if metric == ACCURACY else "gain over standard, in units of the score"
    )
    return svg.gains(f"Paired gain: {metric}", marks, unit) if marks else ""


def _cells(row: Standing, name: str) -> list[str]:
    if row.win is None:
        return [name, str(row.n), number(row.mean), "", ""]
    ends = "no interval yet" if row.low is None else f"{number(row.low, True)}, {number(row.high, True)}"
    counts = f"{row.win.wins} / {row.win.losses} / {row.win.ties}"
    return [name, str(row.n), number(row.mean), f"{number(row.gain, True)} [{ends}]", counts]


# ---------------------------------------------------------------------------------------------------------- the noise


def noises(found: Noises, names: Mapping[str, str], prompt: str, seed: int) -> tuple[str, dict[str, bytes]]:
    """Each noise and its perturbation as pictures, their figures, and two charts of their spectra.

    Returns:
        HTML, and the pictures in it by name.
    """
    source, made = found.made[BASELINE], {}
    cards = "".join(_pictures(label, noise, source, names[label], made) for label, noise in found.made.items())
    rows = [_figures(names[label], label, noise, source, found.signals[label]) for label, noise in found.made.items()]
    heading = f'<h2 class="np-said">{text(prompt)} · seed {seed}</h2>'
    shape = " × ".join(map(str, source.shape))
    note = (
        f"Latents of {shape} (channels, rows, columns); the pictures show the first three channels as red, green and "
        "blue, a perturbation enlarged to the power of noise. White noise has mean 0, deviation 1, no correlation "
        "between neighbours and power 1 at every frequency; what differs is what the method wrote into the noise."
    )
    html = (
        f'<div class="np-noise">{heading}<div class="np-cards">{cards}</div>{_spectra(found, names)}'
        f'{table(NOISE_HEAD, rows)}<p class="np-note">{text(note)}</p></div>'
    )
    return html, made


def as_picture(latents: torch.Tensor) -> tuple[np.ndarray, float]:
    """uint8 (H, W, 3) of latents (C, H, W), and what they were multiplied with: their root mean square is then 1.

    The first three channels are red, green and blue (of fewer the first one is all three); 0 is grey, 2.5 is the end.
    """
    scale = 1 / max(float(latents.square().mean().sqrt()), 1e-12)
    chosen = latents[:3] if len(latents) >= 3 else latents[:1].expand(3, -1, -1)
    values = (chosen * scale / 2.5).clamp(-1, 1).permute(1, 2, 0).numpy()
    return np.round(127.5 + 127.5 * values).astype(np.uint8), scale


def _pictures(label: str, noise: torch.Tensor, source: torch.Tensor, name: str, made: dict[str, bytes]) -> str:
    moved = noise - source
    parts = [(as_picture(noise)[0], f"The noise of {name}", "noise")]
    if label != BASELINE and float(moved.abs().max()) > 0:
        picture, scale = as_picture(moved)
        parts.append((picture, f"What {name} added to the noise", f"perturbation, × {scale:.3g}"))
    html = ""
    for image, alt, caption in parts:
        png = Png.of(image)
        made[png.name] = png.data
        html += f'<div><img src="{png.url}" alt="{text(alt)}"><p class="np-cost">{text(caption)}</p></div>'
    heading = f"<figcaption><strong>{text(name)}</strong></figcaption>"
    return f'<figure class="np-card np-small">{heading}<div class="np-two">{html}</div></figure>'


def _figures(name: str, label: str, noise: torch.Tensor, source: torch.Tensor, signal: float) -> list[str]:
    report = inspect_noise(noise[None], source[None], signal)
    found = measure(noise[None], source[None])
    moved = "" if label == BASELINE else f"{found['perturbation'][0]:.1%}"
    mean = sum(report.mean) / len(report.mean)
    figures = [f"{mean:+.3f}", f"{found['std'][0]:.3f}", f"{report.horizontal:+.3f}", f"{report.vertical:+.3f}"]
    return [name, moved, *figures, "; ".join(report.problems) or "no"]


def _spectra(found: Noises, names: Mapping[str, str]) -> str:
    source, made = found.made[BASELINE], found.made
    styles = {label: i for i, label in enumerate(label for label in made if label != BASELINE)}
    noise = [(_mark(names[label], styles.get(label, -1)), _power(latents)) for label, latents in made.items()]
    moved = [(_mark(names[label], style), _power(_unit(made[label] - source))) for label, style in styles.items()]
    charts = svg.curves("Power of the noise by frequency", noise, BANDS, WAVES, "power (white noise: 1)")
    charts += svg.curves("Power of the perturbation by frequency", moved, BANDS, WAVES, "power over its mean")
    return f'<div class="np-charts">{charts}</div>'


def _mark(name: str, style: int) -> Mark:
    return Mark(name, 0.0, style=style)


def _unit(latents: torch.Tensor) -> torch.Tensor:
    """Scaled to a mean power of 1; zeros stay."""
    return latents / latents.square().mean().sqrt().clamp_min(1e-12)


def _power(latents: torch.Tensor) -> list[float | None]:
    return [None if value != value else float(value) for value in noise_spectrum(latents[None].double().numpy())]
