"""A U-Net called with gradients: what a pipeline would hand to it is recorded, then the method calls it itself."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import torch

from noiseprompt.core.errors import InputError
from noiseprompt.pipelines.drivers import counted

if TYPE_CHECKING:
    from noiseprompt.pipelines.families.embeds import TextEmbeds
    from noiseprompt.pipelines.pipeline import Pipeline


def require_unet(pipeline: Pipeline, method: str) -> None:
    """Refuse anything but a UNet2DConditionModel that predicts eps or v.

    Raises:
        InputError: another network, or flow matching.
    """
    from diffusers import UNet2DConditionModel

    kind = pipeline.pipe.scheduler.config.get("prediction_type", "epsilon")
    if not isinstance(pipeline.denoiser, UNet2DConditionModel) or kind not in ("epsilon", "v_prediction"):
        came = f"{method} with {pipeline.name!r} ({type(pipeline.denoiser).__name__}, {kind})"
        raise InputError(came, "a UNet2DConditionModel that predicts epsilon or v_prediction", "choose another method")


@dataclass(frozen=True)
class UnetCall:
    """A U-Net and everything a pipeline hands to it for B prompts but the latents and the timestep.

    Fields:
        pipeline: whose denoiser calls are counted; a backward pass is not a call.
        named: keyword arguments.
        guidance_scale: g of eps_0 + g (eps_c - eps_0).
        guided: whether the batch holds the empty prompts first, then the prompts.
    """

    pipeline: Pipeline
    named: dict[str, Any]
    guidance_scale: float
    guided: bool

    def __call__(self, latents: torch.Tensor, timestep: Any) -> torch.Tensor:
        """The guided prediction for (B, C, H, W), in the dtype of `latents`, with a gradient."""
        unet = self.pipeline.denoiser
        rows = torch.cat([latents, latents]) if self.guided else latents
        with counted(unet, self._count):
            predicted = unet(rows.to(self.pipeline.dtype), timestep, **self.named)[0].to(latents.dtype)
        if not self.guided:
            return predicted
        without, with_prompt = predicted.chunk(2)
        return without + self.guidance_scale * (with_prompt - without)

    def _count(self, rows: int) -> None:
        self.pipeline.denoiser_calls += rows


class _Recorded(Exception):
    """The U-Net was reached."""


def record_call(pipeline: Pipeline, embeds: TextEmbeds, latents: torch.Tensor, guidance_scale: float = 1.0) -> UnetCall:
    """What the pipeline's own call hands to its U-Net; the U-Net itself does not run.

    Args:
        embeds: of B prompts.
        latents: (B, C, H, W).
        guidance_scale: 1 or more; 1 asks for the prompts alone.

    Raises:
        InputError: a guidance scale below 1, or a ControlNet, whose hints belong to one step only.
    """
    seen: dict[str, Any] = {}

    def before(module: Any, args: tuple, named: dict[str, Any]) -> None:
        seen.update(named)
        raise _Recorded

    hook = pipeline.denoiser.register_forward_pre_hook(before, with_kwargs=True, prepend=True)
    try:
        pipeline.denoise_step(embeds, latents, guidance_scale=guidance_scale, num_inference_steps=1)
    except _Recorded:
        pass
    finally:
        hook.remove()
    if any(name.endswith("residuals") and value is not None for name, value in seen.items()):
        raise InputError("one step of a U-Net with a ControlNet", "a pipeline without one", "choose another method")
    for name in ("sample", "timestep"):
        seen.pop(name, None)
    guided = len(seen["encoder_hidden_states"]) == 2 * len(latents)
    return UnetCall(pipeline, seen, guidance_scale, guided)
