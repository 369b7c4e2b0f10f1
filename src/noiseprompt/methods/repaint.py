"""RePaint at the first step: one step down, then fresh noise back up to level T. Two denoiser calls a round."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from noiseprompt.core.errors import InputError
from noiseprompt.core.ranges import COUNT, GUIDANCE, TRIES, setting
from noiseprompt.core.types import Redenoising, Sampling
from noiseprompt.methods.base import NoiseMethod, check_options
from noiseprompt.methods.gap import check_grid, levels_of
from noiseprompt.noise.fresh import fresh_noise

if TYPE_CHECKING:
    from noiseprompt.pipelines import Pipeline, TextEmbeds


@dataclass(frozen=True)
class Repaint(NoiseMethod):
    """x_{T-k} = step down of x_T, then x_T = sqrt(a_T / a_{T-k}) x_{T-k} + sqrt(1 - a_T / a_{T-k}) z with fresh z.

    Source: the resampling of RePaint (Lugmayr et al., arXiv 2201.09865, algorithm 1 and equation 1), here at the first
    step alone: a method changes the noise an image starts from and nothing after it. The paper's tables name RePaint
    without its settings; guidance and grid are therefore those of re-denoise, so that the two differ in one thing only:
    noise drawn afresh against noise inverted.

    Fields:
        guidance_scale: of the step down, 1 or more; the family's denoise guidance scale where None.
        steps: of the grid whose first step is taken, 1 or more; the family's collection steps where None.
        rounds: how often, one after the other.
    """

    name = "repaint"
    renamed = {"num_inference_steps": "steps"}

    guidance_scale: float | None = setting(None, GUIDANCE)
    steps: int | None = setting(None, COUNT)
    rounds: int = setting(1, TRIES)

    def __post_init__(self) -> None:
        check_options(self)

    def prepare(self, pipeline: Pipeline, sampling: Sampling) -> None:
        """Refuse flow models and schedules that end at alpha-bar 0: nothing of the source would survive fresh noise.

        Raises:
            InputError: level T holds nothing of the picture.
        """
        check_grid(pipeline, "repaint:steps", self.steps)
        self._weights(pipeline, pipeline.levels(self._down(pipeline).steps)[2:])

    def _down(self, pipeline: Pipeline) -> Any:
        """Re-denoise's step down, `denoise_guidance_scale` and `steps` of which count."""
        return Redenoising(self.guidance_scale, steps=self.steps).resolve(pipeline.family)

    def _weights(self, pipeline: Pipeline, levels: tuple[float, float]) -> tuple[float, float]:
        keep, fresh = renoise_weights(levels, pipeline.is_flow)
        if keep == 0:
            came = f"repaint with {pipeline.name!r}, whose noisiest level is pure noise"
            raise InputError(came, "a level T that holds some of the picture", "use method redenoise")
        return keep, fresh

    def perturb(self, pipeline: Pipeline, embeds: TextEmbeds, noise: torch.Tensor) -> torch.Tensor:
        """The renoised latents; the fresh noise follows from each row of `noise`.

        Raises:
            InputError: as `prepare`.
        """
        down = self._down(pipeline)
        keep, fresh = self._weights(pipeline, levels_of(pipeline, noise, down.steps))
        step = {"guidance_scale": down.denoise_guidance_scale, "num_inference_steps": down.steps}
        x = noise.to(torch.promote_types(noise.dtype, torch.float32))
        for index in range(self.rounds):
            z = fresh_noise(noise, "repaint", index).to(x)
            x = keep * pipeline.denoise_step(embeds, x, **step) + fresh * z
        return x.to(noise.dtype)


def renoise_weights(levels: tuple[float, float], flow: bool) -> tuple[float, float]:
    """Weights of x_{T-k} and of unit noise whose sum is at level T.

    Args:
        levels: alpha-bar (for flow sigma) at T and T-k.
        flow: x_s = (1 - s) x_0 + s eps.
    """
    level_from, level_to = levels
    if flow:
        keep = (1 - level_from) / (1 - level_to) if level_to < 1 else 0.0
        return keep, math.sqrt(max(0.0, level_from**2 - (keep * level_to) ** 2))
    return math.sqrt(level_from / level_to), math.sqrt(1 - level_from / level_to)
