"""What a picture will be: the pipeline's own call ended after its first steps, its estimate of x_0 decoded."""

from __future__ import annotations

import copy
import functools
import math
from collections.abc import Callable
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from noiseprompt.core.arguments import held
from noiseprompt.core.errors import InputError
from noiseprompt.core.ranges import Limits, check_value
from noiseprompt.core.types import Sampling
from noiseprompt.noise.moves import move
from noiseprompt.noise.seeds import check_noise
from noiseprompt.pipelines import calls
from noiseprompt.pipelines.levels import is_flow
from noiseprompt.pipelines.short_grids import alpha_at

if TYPE_CHECKING:
    from noiseprompt.pipelines.families.embeds import TextEmbeds
    from noiseprompt.pipelines.pipeline import Pipeline


class FirstSteps:
    """A copy of any scheduler, less the last timesteps of its grid; its last step gives x_0 as the denoiser sees it.

    Args:
        scheduler: the sampler, left as it is; everything but the end is its own.
        share: of its timesteps that are taken, in (0, 1], rounded up.

    Raises:
        InputError: a denoiser that predicts something else than epsilon, v_prediction or a flow.
    """

    def __init__(self, scheduler: Any, share: float) -> None:
        own = self._scheduler = copy.deepcopy(scheduler)
        self._share, self._done = share, 0
        kind = "flow_prediction" if is_flow(own) else own.config.get("prediction_type", "epsilon")
        if kind not in ("epsilon", "v_prediction", "flow_prediction") or not (is_flow(own) or _has_alphas(own)):
            came = f"an early picture of {type(own).__name__} with prediction type {kind!r}"
            raise InputError(came, "a model that predicts epsilon, v_prediction or a flow, on a schedule of betas")
        self._kind: Any = kind
        self.timesteps = own.timesteps
        # pipelines read the signatures of both: which arguments there are
        self.set_timesteps = _in_place_of(own.set_timesteps, self._set_timesteps)
        self.step = _in_place_of(own.step, self._step)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._scheduler, name)

    def _set_timesteps(self, *args: Any, **named: Any) -> None:
        self._scheduler.set_timesteps(*args, **named)
        every = self._scheduler.timesteps
        self.timesteps, self._done = every[: max(1, math.ceil(self._share * len(every) - 1e-9))], 0

    def _step(self, model_output: torch.Tensor, timestep: Any, sample: torch.Tensor, *args: Any, **named: Any) -> Any:
        self._done += 1
        if self._done < len(self.timesteps):
            return self._scheduler.step(model_output, timestep, sample, *args, **named)
        x_0 = self._estimate(model_output, timestep, sample)
        return SimpleNamespace(prev_sample=x_0) if named.get("return_dict", True) else (x_0, x_0)

    def _estimate(self, prediction: torch.Tensor, timestep: Any, sample: torch.Tensor) -> torch.Tensor:
        own = self._scheduler
        if self._kind == "flow_prediction":
            return move(sample, prediction, float(own.sigmas[self._done - 1]), 0.0, "flow_prediction")
        # schedulers that keep x_0 + sigma eps scale it to what the denoiser was trained on, others leave it
        x = own.scale_model_input(sample, timestep)
        alpha = alpha_at(own.alphas_cumprod.double().cpu().numpy(), float(timestep))
        return move(x, prediction, alpha, 1.0, self._kind)


@held
def early_images(
    pipeline: Pipeline,
    embeds: TextEmbeds,
    latents: torch.Tensor,
    *,
    share: float,
    guidance_scale: float | None = None,
    num_inference_steps: int | None = None,
    height: int | None = None,
    width: int | None = None,
    generator: torch.Generator | list[torch.Generator] | None = None,
) -> np.ndarray:
    """Pictures as the denoiser expects them after a share of the sampler's steps; costs that share of a drawing.

    Args:
        share: of the steps, in (0, 1]; rounded up to whole ones.
        embeds, latents and the rest: as of `Pipeline.sample`.

    Returns:
        uint8 (B, H, W, 3), blurred the more the smaller the share.

    Raises:
        InputError, ShapeError, NoiseError: as `Pipeline.sample`; a share out of its range, or a scheduler whose levels
            are not known.
    """
    check_value("share", float, share, Limits(above=0, most=1))
    check_noise(latents, "the latents to sample from")
    how = Sampling(guidance_scale, num_inference_steps, height, width).resolve(pipeline.family)
    loaded = calls.Loaded(pipeline.pipe, pipeline.family)
    try:
        first = FirstSteps(pipeline.pipe.scheduler, share)
        settings: Any = {"output_type": "np", "generator": generator}
        images = calls.images(loaded, first, embeds, latents, how, pipeline.schedule, **settings)
    finally:
        pipeline.denoiser_calls += loaded.denoiser_calls
    return calls.as_uint8(images)


def _in_place_of(own: Callable[..., Any], other: Callable[..., Any]) -> Callable[..., Any]:
    """`other`, with the signature of `own`."""

    @functools.wraps(own)
    def called(*args: Any, **named: Any) -> Any:
        return other(*args, **named)

    return called


def _has_alphas(scheduler: Any) -> bool:
    return hasattr(scheduler, "alphas_cumprod")
