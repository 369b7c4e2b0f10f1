"""Re-denoise sampling (algorithm 1 of the paper) used directly: three denoiser calls an image (two down, one up)."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from noiseprompt.core.errors import InputError
from noiseprompt.core.types import InvertAt, Sampling
from noiseprompt.methods.base import NoiseMethod

if TYPE_CHECKING:
    import torch

    from noiseprompt.pipelines import Pipeline
    from noiseprompt.pipelines.families import TextEmbeds


@dataclass(frozen=True)
class Redenoise(NoiseMethod):
    """One step down at the denoising guidance, the same step up at the inverting guidance.

    Fields:
        denoise_guidance_scale, invert_guidance_scale: the family's values where None (5.5 and 1.0 for SDXL).
        num_inference_steps: of the grid whose first step is taken, the family's collection steps where None; fewer
            perturb more.
        invert_at: timestep of the inverting prediction, "paper" (T-k) or "published" (T).
        rounds: how often, one after the other.
    """

    name = "redenoise"

    denoise_guidance_scale: float | None = None
    invert_guidance_scale: float | None = None
    num_inference_steps: int | None = None
    invert_at: InvertAt = "paper"
    rounds: int = 1

    def __post_init__(self) -> None:
        if self.rounds < 1:
            raise InputError(f"redenoise:rounds={self.rounds}", "1 or more")
        if self.num_inference_steps is not None and self.num_inference_steps < 1:
            raise InputError(f"redenoise:num_inference_steps={self.num_inference_steps}", "1 or more")

    def prepare(self, pipeline: Pipeline, sampling: Sampling) -> None:
        """Refuse two guidance scales without a gap between them, or a pipeline without guidance.

        Raises:
            InputError: with the reason.
        """
        down, up = self.denoise_guidance_scale, self.invert_guidance_scale
        family = pipeline.family
        down = family.denoise_guidance_scale if down is None else down
        pipeline.check_gap(down, family.invert_guidance_scale if up is None else up)

    def perturb(self, pipeline: Pipeline, embeds: TextEmbeds, noise: torch.Tensor) -> torch.Tensor:
        for _ in range(self.rounds):
            noise = pipeline.redenoise(
                embeds,
                noise,
                denoise_guidance_scale=self.denoise_guidance_scale,
                invert_guidance_scale=self.invert_guidance_scale,
                num_inference_steps=self.num_inference_steps,
                invert_at=self.invert_at,
            )
        return noise
