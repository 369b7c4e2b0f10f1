"""Theorem E.1 of the paper: re-denoise at once, from one guided prediction at level T. Two denoiser calls an image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import torch

from noiseprompt.core.ranges import COUNT, GUIDANCE, setting
from noiseprompt.core.types import Redenoising, Sampling
from noiseprompt.methods.base import NoiseMethod, check_options
from noiseprompt.methods.gap import check_grid, check_scales, guidance_gap, levels_of, require_guidance
from noiseprompt.noise.moves import closed_form

if TYPE_CHECKING:
    from noiseprompt.pipelines import Pipeline, TextEmbeds


@dataclass(frozen=True)
class ClosedForm(NoiseMethod):
    """x'_T = x_T + c (g_l - g_w) (eps_c - eps_0), all of it predicted at level T.

    The theorem speaks of the prediction half a step further down; re-denoise itself predicts at T and T-k.

    Fields:
        denoise_guidance_scale, invert_guidance_scale: g_l and g_w, any numbers; the family's values where None (5.5 and
            1.0 for SDXL).
        steps: of the grid whose levels T and T-k give c, 1 or more; the family's collection steps where None. c is
            about -0.385 at 10 steps of SDXL's schedule and -0.110 at 50.
    """

    name = "closed_form"
    renamed = {"num_inference_steps": "steps"}

    denoise_guidance_scale: float | None = setting(None, GUIDANCE)
    invert_guidance_scale: float | None = setting(None, GUIDANCE)
    steps: int | None = setting(None, COUNT)

    def __post_init__(self) -> None:
        check_options(self)

    def prepare(self, pipeline: Pipeline, sampling: Sampling) -> None:
        """Refuse a pipeline without guidance, and two scales that are one: nothing would move.

        Raises:
            InputError: with the reason.
        """
        how = Redenoising(self.denoise_guidance_scale, self.invert_guidance_scale).resolve(pipeline.family)
        require_guidance(pipeline)
        check_scales(pipeline, how.denoise_guidance_scale, how.invert_guidance_scale)
        check_grid(pipeline, "closed_form:steps", self.steps)

    def perturb(self, pipeline: Pipeline, embeds: TextEmbeds, noise: torch.Tensor) -> torch.Tensor:
        """As the theorem says; for flow x'_T = x_T + (s_{T-k} - s_T) (g_l - g_w) (v_c - v_0).

        Raises:
            InputError: a pipeline without guidance, or a schedule that ends at alpha-bar 0.
        """
        how = Redenoising(self.denoise_guidance_scale, self.invert_guidance_scale, self.steps)
        how = how.resolve(pipeline.family)
        difference = how.denoise_guidance_scale - how.invert_guidance_scale
        gap = guidance_gap(pipeline, embeds, noise, how.steps)
        level_from, level_to = levels_of(pipeline, noise, how.steps)
        if pipeline.is_flow:
            return (noise + (level_to - level_from) * difference * gap).to(noise.dtype)
        return closed_form(noise, gap, torch.zeros_like(gap), level_from, level_to, difference)
