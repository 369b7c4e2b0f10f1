"""Re-denoise sampling (algorithm 1 of the paper): three denoiser calls an image (two down, one up)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from noiseprompt.core.ranges import COUNT, OF_ONE_STEP, TRIES, setting
from noiseprompt.core.types import InvertAt, Redenoising, Sampling
from noiseprompt.methods.base import NoiseMethod, check_options
from noiseprompt.methods.gap import at_two_scales, check_grid, check_scales

if TYPE_CHECKING:
    from noiseprompt.pipelines import Pipeline, TextEmbeds


@dataclass(frozen=True)
class Redenoise(NoiseMethod):
    """One step down at the denoising guidance, the same step up at the inverting guidance.

    Fields:
        denoise_guidance_scale, invert_guidance_scale: the family's values where None (5.5 and 1.0 for SDXL).
        steps: of the grid whose first step is taken, the family's collection steps where None; fewer perturb more.
        invert_at: timestep of the inverting prediction, "paper" (T-k) or "published" (T).
        rounds: how often, one after the other.
    """

    name = "redenoise"
    renamed = {"num_inference_steps": "steps"}

    denoise_guidance_scale: float | None = setting(None, OF_ONE_STEP)
    invert_guidance_scale: float | None = setting(None, OF_ONE_STEP)
    steps: int | None = setting(None, COUNT)
    invert_at: InvertAt = "paper"
    rounds: int = setting(1, TRIES)

    def __post_init__(self) -> None:
        check_options(self)

    def prepare(self, pipeline: Pipeline, sampling: Sampling) -> None:
        """Refuse two guidance scales without a gap between them, a pipeline without guidance, or a grid that it lacks.

        Raises:
            InputError: with the reason.
        """
        check_grid(pipeline, "redenoise:steps", self.steps)
        how = self.how(pipeline.family)
        check_scales(pipeline, how.denoise_guidance_scale, how.invert_guidance_scale)

    def how(self, family: Any) -> Any:
        """The `Redenoising` of one round, nothing of it None."""
        given = (self.denoise_guidance_scale, self.invert_guidance_scale, self.steps, self.invert_at)
        return Redenoising(*given).resolve(family)

    def perturb(self, pipeline: Pipeline, embeds: TextEmbeds, noise: torch.Tensor) -> torch.Tensor:
        return self._rounds(pipeline, embeds, noise)

    def perturb_and_lower(
        self, pipeline: Pipeline, embeds: TextEmbeds, noise: torch.Tensor, sampling: Sampling
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The step down is the sampler's first step where both have the same grid and guidance: it is offered. Where
        both are guided, but not alike, their two predictions are the same, and serve both steps."""
        how, drawn = self.how(pipeline.family), sampling.resolve(pipeline.family)
        own, sampler = how.denoise_guidance_scale, drawn.guidance_scale
        alike = own == sampler or (own > 1 and sampler > 1)
        if not (alike and how.steps == drawn.num_inference_steps and pipeline.can_share_first_step):
            return self.perturb(pipeline, embeds, noise), None
        exact = noise.to(torch.promote_types(noise.dtype, torch.float32))

        def down(scale: float) -> torch.Tensor:
            return pipeline.denoise_step(embeds, exact, guidance_scale=scale, num_inference_steps=how.steps)

        mine, lower = (down(own),) * 2 if own == sampler else at_two_scales(pipeline, down, own, sampler)
        return self._rounds(pipeline, embeds, noise, mine), lower

    def _rounds(
        self, pipeline: Pipeline, embeds: TextEmbeds, noise: torch.Tensor, lower: torch.Tensor | None = None
    ) -> torch.Tensor:
        """The target noise; `lower` is the first round's x_{T-k} where it is known."""
        for _ in range(self.rounds):
            noise = pipeline.redenoise(
                embeds,
                noise,
                denoise_guidance_scale=self.denoise_guidance_scale,
                invert_guidance_scale=self.invert_guidance_scale,
                num_inference_steps=self.steps,
                invert_at=self.invert_at,
                lower=lower,
            )
            lower = None
        return noise
