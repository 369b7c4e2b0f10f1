"""Phases of the world's training (`settings.Phase`): which is on, the loss of its second head and its weighting."""

from __future__ import annotations

from collections.abc import Sequence

import torch

from noiseprompt.shapes.settings import Phase


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
