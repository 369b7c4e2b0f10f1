"""Noise level guidance: small steps along the guidance gap, the norm kept. Two denoiser calls a round."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from noiseprompt.core.ranges import COUNT, RATE, TRIES, setting
from noiseprompt.core.types import Sampling
from noiseprompt.methods.base import NoiseMethod, check_options
from noiseprompt.methods.gap import check_grid, guidance_gap, require_guidance

if TYPE_CHECKING:
    from noiseprompt.pipelines import Pipeline, TextEmbeds


@dataclass
class Nlg(NoiseMethod):
    """Each round x <- x - step (eps_c - eps_0), the move no longer than `max_move` |x|, then the source's norm again.

    Source: Noise-Level Diffusion Guidance (Mannering et al., arXiv 2509.13936) and its published code, whose defaults
    these are: 20 rounds, step 1, moves clipped to a length of 0.5, which is 0.4 % of the norm of Stable Diffusion's
    noise (16,384 values) and is written so here for the sake of other sizes. Not taken over: the random noise that code
    adds in each round, and its timestep 999; predicted is at the first timestep of the run's sampler.

    Fields:
        rounds: 1 or more.
        step: factor of the gap, above 0.
        max_move: length of a move as a share of the noise's norm, above 0.
        num_inference_steps: of the sampler at whose first timestep the gap is predicted; the run's where None.
    """

    name = "nlg"

    rounds: int = setting(20, TRIES)
    step: float = setting(1.0, RATE)
    max_move: float = setting(0.004, RATE)
    num_inference_steps: int | None = setting(None, COUNT)
    sampling: Sampling = field(default=Sampling(), init=False)

    def __post_init__(self) -> None:
        check_options(self)

    def prepare(self, pipeline: Pipeline, sampling: Sampling) -> None:
        """Remember the run's grid; refuse a pipeline without guidance.

        Raises:
            InputError: with the reason.
        """
        require_guidance(pipeline)
        check_grid(pipeline, "nlg:num_inference_steps", self.num_inference_steps)
        self.sampling = sampling

    def perturb(self, pipeline: Pipeline, embeds: TextEmbeds, noise: torch.Tensor) -> torch.Tensor:
        """For flow the gap is that of the velocities.

        Raises:
            InputError: a pipeline without guidance, or a schedule that ends at alpha-bar 0.
        """
        steps = self.num_inference_steps
        if steps is None:
            steps = self.sampling.resolve(pipeline.family).num_inference_steps
        x = noise.to(torch.promote_types(noise.dtype, torch.float32))
        norm = _norm(x)
        for _ in range(self.rounds):
            move = self.step * guidance_gap(pipeline, embeds, x, steps).to(x)
            move = move * (self.max_move * norm / _norm(move).clamp_min(1e-12)).clamp_max(1)
            x = x - move
            x = x * (norm / _norm(x))
        return x.to(noise.dtype)


def _norm(x: torch.Tensor) -> torch.Tensor:
    return torch.linalg.vector_norm(x, dim=(1, 2, 3), keepdim=True)
