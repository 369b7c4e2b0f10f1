"""Phases of the world's training: learning rate, captions and loss weighting of each."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

import torch

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
    """

    steps: int
    lr: float
    warmup: int
    clean_share: float
    unrelated: float
    altered: float
    snr_floor: float = 0.0

    def captions(self, step: int, empty: float) -> CaptionNoise:
        """The noise on captions at a step of this phase."""
        if step < self.clean_share * self.steps:
            return CaptionNoise(0.0, 0.0, empty)
        return CaptionNoise(self.unrelated, self.altered, empty)


PHASES = (
    Phase(steps=3_600, lr=1e-3, warmup=200, clean_share=0.55, unrelated=0.35, altered=0.10),
    Phase(steps=700, lr=4e-4, warmup=50, clean_share=0.0, unrelated=0.15, altered=0.05),
    Phase(steps=3_000, lr=8e-4, warmup=100, clean_share=0.5, unrelated=0.40, altered=0.05, snr_floor=0.25),
)
"""As the shipped world was trained; the third teaches where things are, which the first two left to chance."""


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
