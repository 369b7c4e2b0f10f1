"""Phases of the world's training: learning rate, captions and loss weighting of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

from noiseprompt.core.ranges import COUNT, NOT_NEGATIVE, POSITIVE, SHARE, check, setting
from noiseprompt.core.schedules import warm_cosine
from noiseprompt.shapes.captions import CaptionNoise


@dataclass(frozen=True)
class Phase:
    """A number of steps with a warm-up and a half cosine of their own.

    Args:
        steps: of the optimizer.
        lr: peak learning rate.
        warmup: steps of linear warm-up.
        clean_share: share of the steps, from the first on, with true captions, in [0, 1].
        unrelated, altered: shares of captions after those, see `CaptionNoise`.
        snr_floor: see `loss_weights`.
        decay_steps: of the half cosine where it is longer than the phase, else 0.
        layout_weight: of the text encoder's second loss, see `Layout`.
        layout_only: of the steps, the first with that loss alone.

    Raises:
        ConfigError: numbers out of range, all of them at once.
    """

    steps: int = setting(limits=COUNT)
    lr: float = setting(limits=POSITIVE)
    warmup: int = setting(limits=NOT_NEGATIVE)
    clean_share: float = setting(limits=SHARE)
    unrelated: float = setting(limits=SHARE)
    altered: float = setting(limits=SHARE)
    snr_floor: float = setting(0.0, NOT_NEGATIVE)
    decay_steps: int = setting(0, NOT_NEGATIVE)
    layout_weight: float = setting(0.0, NOT_NEGATIVE)
    layout_only: int = setting(0, NOT_NEGATIVE)

    def __post_init__(self) -> None:
        check(self)

    def rate(self, step: int) -> float:
        """Learning rate at a step of this phase."""
        return self.lr * warm_cosine(step, max(self.steps, self.decay_steps), self.warmup)

    def captions(self, step: int, empty: float) -> CaptionNoise:
        """The noise on captions at a step of this phase."""
        if step < self.clean_share * self.steps:
            return CaptionNoise(0.0, 0.0, empty)
        return CaptionNoise(self.unrelated, self.altered, empty)


PHASES = (
    Phase(steps=3_600, lr=1e-3, warmup=200, clean_share=0.55, unrelated=0.35, altered=0.10),
    Phase(steps=700, lr=4e-4, warmup=50, clean_share=0.0, unrelated=0.15, altered=0.05),
    Phase(
        steps=1_108,
        decay_steps=3_000,
        lr=8e-4,
        warmup=100,
        clean_share=1.0,
        unrelated=0.40,
        altered=0.05,
        snr_floor=0.25,
    ),
    Phase(
        steps=2_900,
        lr=8e-4,
        warmup=50,
        clean_share=0.5,
        unrelated=0.40,
        altered=0.05,
        snr_floor=0.5,
        layout_weight=0.1,
        layout_only=300,
    ),
)
"""As the shipped world was trained. After the third phase the text encoder still told nothing of "left of" from "right
of" (embeddings apart by 0.1 %); `Layout` broke that tie within 300 steps, and the fourth phase went on from there."""


class Layout(torch.nn.Module):
    """What each word's embedding, (B, L, D), tells of the picture's layout: its latents averaged to 4 x 4, (B, L, 64).

    Without this loss the text encoder never learns relations: as long as no embedding depends on "left" or "right",
    the U-Net cannot use them, and as long as it does not, nothing teaches the text encoder.

    Args:
        width: D.
    """

    SIDE = 4
    FIRST = 3
    """Words before this one (start, article, colour) know too little to be asked."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.layers = torch.nn.Sequential(
            torch.nn.Linear(width, 256), torch.nn.GELU(), torch.nn.Linear(256, 4 * self.SIDE**2)
        )

    def forward(self, embeds: torch.Tensor, latents: torch.Tensor) -> torch.Tensor:
        """Mean squared error, a scalar, of the layout of latents (B, 4, 16, 16) predicted from their captions."""
        target = torch.nn.functional.adaptive_avg_pool2d(latents, self.SIDE).flatten(1)
        target = target / target.std(0).clamp_min(0.05)
        return (self.layers(embeds[:, self.FIRST :]) - target[:, None]).square().mean()


def locate(phases: Sequence[Phase], step: int) -> tuple[int, int]:
    """(number of the phase, step within it) of a step of the whole training; beyond the end: the last phase."""
    for number, phase in enumerate(phases):
        if step < phase.steps:
            return number, step
        step -= phase.steps
    return len(phases) - 1, step + phases[-1].steps


def loss_weights(alphas: torch.Tensor, snr_floor: float) -> torch.Tensor:
    """Weight of the squared error of epsilon at each timestep, (T,), from alpha-bar (T,).

    Min-SNR (arXiv:2303.09556, gamma 5): errors of the clean picture count as min(SNR, 5). With a floor they count as
    at least that much: under plain min-SNR the levels at which the layout is decided hardly count at all.
    """
    snr = alphas / (1 - alphas)
    return snr.clamp(snr_floor, 5.0) / snr
