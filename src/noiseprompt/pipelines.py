"""Any supported diffusers pipeline: load, encode, sample from given noise, one step down or up. Nothing is forked.

Representations:
    texts           sequence of str
    TextEmbeds      what the pipeline call takes instead of texts, and what an NPNet sees
    latents         (B, C, H, W), unit Gaussian noise at level T; steps return the device and dtype they were given.
                    Families that pack theirs do so inside
    guidance_scale  g of eps_0 + g (eps_c - eps_0), whatever the pipeline calls it; 1 means no unconditional pass
    images          uint8 (B, H, W, 3)

A Pipeline is for one thread at a time.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import torch

from noiseprompt.drivers import (
    GridKnown,
    Levels,
    OneMove,
    WithoutFirstStep,
    borrowed,
    counted,
    ddim_levels,
    dpm_solver_levels,
    is_flow,
    is_plain_ddim,
)
from noiseprompt.errors import InputError, NoisepromptError, ShapeError
from noiseprompt.families import FAMILIES, Family, TextEmbeds, find_family, loading
from noiseprompt.families.samplers import schedule_arguments
from noiseprompt.noise import check_noise
from noiseprompt.types import InvertAt

__all__ = ["FAMILIES", "Family", "Pipeline", "TextEmbeds"]

Size = tuple[int | None, int | None]  # height and width in pixels
DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


class Pipeline:
    """A diffusers pipeline and the facts of its family.

    Args:
        pipe: a loaded diffusers pipeline; it stays the caller's and is not changed.
        name: for records; by default the folder or id it was loaded from.
        companions: ids or files of what was put into it (denoiser, LoRAs): some have other default settings.

    Raises:
        ModelLoadError: a pipeline class that cannot work.
    """

    def __init__(self, pipe: Any, name: str = "", companions: Sequence[str] = ()) -> None:
        self.pipe = pipe
        self.name = name or str(pipe.config.get("_name_or_path") or type(pipe).__name__)
        self.family = find_family(pipe, (*companions, self.name))
        self.schedule: str | None = None
        """A published timestep schedule that the sampler follows, e.g. "ays"."""
        self.denoiser_calls = 0.0
        """Denoiser evaluations so far, times images: a guided step counts two an image."""

    @classmethod
    def load(
        cls,
        model: str | Path,
        *,
        device: str = "cpu",
        dtype: str = "float32",
        revision: str | None = None,
        variant: str | None = None,
        scheduler: str | None = None,
        schedule: str | None = None,
        unet: str | None = None,
        lora: Sequence[str] = (),
        controlnet: str | None = None,
        control_image: str | Path | None = None,
        offload: str | None = None,
    ) -> Pipeline:
        """Load a model.

        Args:
            model: a folder in diffusers' layout, a hub id, or "shapes", the embedded world.
            device: "cpu", "cuda", "cuda:1", "mps", or "auto".
            dtype: "float32", "float16" or "bfloat16".
            revision, variant: of a hub model, e.g. variant "fp16".
            scheduler, schedule, unet, lora, controlnet, control_image: see `families.options`.
            offload: "model" or "sequential": keep on the accelerator only the part that computes.

        Raises:
            InputError: an unknown dtype, device, or option.
            ModelLoadError: nothing loadable there, or a pipeline that cannot work.
        """
        from noiseprompt.families.options import ModelOptions, apply_options, with_schedule

        if dtype not in DTYPES:
            raise InputError(f"dtype {dtype!r}", f"one of {', '.join(DTYPES)}")
        asked = {"scheduler": scheduler, "schedule": schedule, "unet": unet, "lora": ",".join(lora) or None}
        images = {"controlnet": controlnet, "control_image": None if control_image is None else str(control_image)}
        options = ModelOptions(**asked, **images, offload=offload)
        options.check()
        device = loading.pick_device(device)
        loading.check_offload(device, offload)
        pipe = loading.load_diffusers(model, DTYPES[dtype], revision, variant)
        pipe = apply_options(pipe, options, DTYPES[dtype])
        loading.place(pipe, device, offload)
        pipe.set_progress_bar_config(disable=True)
        self = cls(pipe, name=str(model), companions=options.names)
        self.schedule, self.family = schedule, with_schedule(self.family, schedule)
        if self.family.announced:
            print(f"{model}: {self.family.describe_variant()}", file=sys.stderr)
        if self.device.type == "cpu":
            for network in (self.denoiser, pipe.vae):
                loading.to_channels_last(network)
        return self

    @property
    def denoiser(self) -> Any:
        """The network that predicts noise, a torch module with a `config`."""
        return getattr(self.pipe, self.family.denoiser)

    @property
    def device(self) -> torch.device:
        """Where the pipeline computes."""
        return self.pipe._execution_device

    @property
    def dtype(self) -> torch.dtype:
        """Of the denoiser's weights."""
        return next(self.denoiser.parameters()).dtype

    @property
    def is_flow(self) -> bool:
        """Whether this is a flow-matching pipeline: levels are sigmas, the denoiser predicts eps - x_0."""
        return is_flow(self.pipe.scheduler)

    @property
    def has_guidance(self) -> bool:
        """Whether the pipeline can compute guided predictions, and so has a guidance gap."""
        return not self.family.why_no_guidance(self.pipe)

    @property
    def default_size(self) -> tuple[int, int]:
        """(height, width) in pixels the model was made for."""
        return self.family.default_size(self.pipe)

    def latent_shape(self, height: int | None = None, width: int | None = None) -> tuple[int, int, int]:
        """(C, H, W) of the latents of one image of `height` x `width` pixels.

        Raises:
            ShapeError: a size the pipeline cannot draw.
        """
        return self.family.latent_shape(self.pipe, height, width)

    def levels(
        self, num_inference_steps: int, height: int | None = None, width: int | None = None
    ) -> tuple[float, float, float, float]:
        """(t_from, t_to, alpha_from, alpha_to): timestep and alpha-bar (sigma for flow) of T and T-k on an N-step grid.

        Args:
            height, width: in pixels; the grid of some flow pipelines depends on the size.

        Raises:
            InputError: a number of steps out of range.
        """
        grid = self._grid(num_inference_steps)
        if not isinstance(grid, Levels):
            grid = self._flow_grid(num_inference_steps, height, width)
        return grid.t_from, grid.t_to, grid.alpha_from, grid.alpha_to

    def _grid(self, steps: int) -> Any:
        """The two levels, or a flow scheduler that knows them when the pipeline has told it the size."""
        scheduler = self.pipe.scheduler
        if self.is_flow:
            longest = int(scheduler.config.num_train_timesteps)
            if not 1 <= steps <= longest:
                raise InputError(f"num_inference_steps {steps}", f"1 to {longest}")
            return scheduler
        return (dpm_solver_levels if self.family.grid == "dpm-solver" else ddim_levels)(scheduler.config, steps)

    def _flow_grid(self, steps: int, height: int | None, width: int | None) -> Levels:
        """What the pipeline tells its scheduler in a call that ends before the denoiser is asked."""
        probe = OneMove(self.pipe.scheduler, config=self.pipe.scheduler.config, only_levels=True)
        latents = torch.zeros(1, *self.latent_shape(height, width))
        try:
            self._call(probe, self.encode([""]), latents, (height, width), 1.0, num_inference_steps=steps)
        except GridKnown as known:
            return known.levels
        raise NoisepromptError(f"{type(self.pipe).__name__} asked for no timesteps", "a pipeline that sets them")

    @torch.no_grad()
    def encode(self, texts: Sequence[str]) -> TextEmbeds:
        """Encode prompts and as many empty ones.

        Raises:
            InputError: no texts, or one str in place of a sequence.
        """
        if isinstance(texts, str) or not texts:
            raise InputError(f"texts {texts!r}", "a list with at least one text")
        return replace(self.family.encode(self.pipe, list(texts)), texts=tuple(texts))

    @property
    def can_share_first_step(self) -> bool:
        """Whether `sample(after_first_step=True)` is exact: plain DDIM on an even grid."""
        return self.family.grid == "ddim" and is_plain_ddim(self.pipe.scheduler)

    @torch.no_grad()
    def sample(
        self,
        embeds: TextEmbeds,
        latents: torch.Tensor,
        *,
        guidance_scale: float | None = None,
        num_inference_steps: int | None = None,
        height: int | None = None,
        width: int | None = None,
        after_first_step: bool = False,
        generator: torch.Generator | list[torch.Generator] | None = None,
    ) -> np.ndarray:
        """Draw images with the pipeline's own sampler, bit for bit what `pipe(prompt, latents=latents, ...)` gives.

        Args:
            embeds: of B prompts.
            latents: (B, C, H, W) unit Gaussian.
            guidance_scale, num_inference_steps: the family's defaults if None.
            height, width: in pixels; follow from the latents if None.
            after_first_step: `latents` are x_{T-k} of the same grid, from `denoise_step`; go on from there.
            generator: for samplers that add noise on the way.

        Returns:
            uint8 (B, H, W, 3).

        Raises:
            InputError: `after_first_step` with a sampler for which it is not exact.
            ShapeError: latents that do not fit the prompts, the model or the size.
            NoiseError: latents that are not finite.
        """
        check_noise(latents, "the latents to sample from")
        steps = self.family.num_inference_steps if num_inference_steps is None else num_inference_steps
        if steps < 1:
            raise InputError(f"num_inference_steps {steps}", "1 or more")
        own = self.pipe.scheduler
        if after_first_step and not self.can_share_first_step:
            expected = "a DDIMScheduler without clipping or thresholding and with leading timestep spacing"
            raise InputError(
                f"after_first_step with {type(own).__name__}", expected, "sample from the noise x_T instead"
            )
        timesteps = schedule_arguments(self.pipe, self.schedule, steps)
        images = self._call(
            WithoutFirstStep(own) if after_first_step else None,
            embeds,
            latents,
            (height, width),
            self.family.guidance_scale if guidance_scale is None else guidance_scale,
            num_inference_steps=steps,
            output_type="np",
            generator=generator,
            **timesteps,
        ).images
        return (images * 255).round().astype(np.uint8)

    def denoise_step(
        self, embeds: TextEmbeds, latents: torch.Tensor, *, guidance_scale: float, num_inference_steps: int
    ) -> torch.Tensor:
        """x_T -> x_{T-k}, (B, C, H, W): the first DDIM step of an N-step grid (equation 1).

        Raises:
            InputError: a guidance scale below 1, or above where there is no guidance; a number of steps out of range.
            ShapeError: latents that do not fit the prompts or the model.
        """
        return self._move(embeds, latents, guidance_scale, num_inference_steps)[0]

    def invert_step(
        self,
        embeds: TextEmbeds,
        latents: torch.Tensor,
        *,
        guidance_scale: float,
        num_inference_steps: int,
        invert_at: InvertAt = "paper",
    ) -> torch.Tensor:
        """x_{T-k} -> x'_T, (B, C, H, W): one step of DDIM inversion on an N-step grid (equation 2).

        Args:
            invert_at: timestep at which the prediction is made, "paper" T-k or "published" T.

        Raises:
            InputError: as `denoise_step`, or an unknown `invert_at`.
            ShapeError: latents that do not fit the prompts or the model.
        """
        return self._move(embeds, latents, guidance_scale, num_inference_steps, up=True, invert_at=invert_at)[0]

    def predictions(
        self, embeds: TextEmbeds, latents: torch.Tensor, *, guidance_scale: float, num_inference_steps: int
    ) -> torch.Tensor:
        """The guided prediction that the pipeline itself makes at level T of an N-step grid, (B, C, H, W) float32.

        eps of models that predict eps or v, and the velocity eps - x_0 of flow models.

        Raises:
            InputError, ShapeError: as `denoise_step`.
        """
        _, predicted, levels = self._move(embeds, latents, guidance_scale, num_inference_steps)
        predicted = predicted.to(latents.device, torch.float32)
        if levels.prediction_type != "v_prediction":
            return predicted
        return math.sqrt(levels.alpha_from) * predicted + math.sqrt(1 - levels.alpha_from) * latents.float()

    def redenoise(
        self,
        embeds: TextEmbeds,
        latents: torch.Tensor,
        *,
        denoise_guidance_scale: float | None = None,
        invert_guidance_scale: float | None = None,
        num_inference_steps: int | None = None,
        invert_at: InvertAt = "paper",
    ) -> torch.Tensor:
        """x_T -> x'_T, (B, C, H, W): one step down with strong guidance, one step up with weak guidance (algorithm 1).

        Values of None are the family's defaults (`num_inference_steps`: its collection steps).

        Raises:
            InputError, ShapeError: as `Family.check_gap`, `denoise_step` and `invert_step`.
        """
        family = self.family
        steps = family.collection_steps if num_inference_steps is None else num_inference_steps
        down = family.denoise_guidance_scale if denoise_guidance_scale is None else denoise_guidance_scale
        up = family.invert_guidance_scale if invert_guidance_scale is None else invert_guidance_scale
        family.check_gap(self.pipe, down, up)
        exact = latents.to(torch.promote_types(latents.dtype, torch.float32))
        lower = self.denoise_step(embeds, exact, guidance_scale=down, num_inference_steps=steps)
        upper = self.invert_step(embeds, lower, guidance_scale=up, num_inference_steps=steps, invert_at=invert_at)
        return upper.to(latents.dtype)

    def _move(
        self, embeds: TextEmbeds, latents: torch.Tensor, guidance: float, steps: int, **how: Any
    ) -> tuple[torch.Tensor, torch.Tensor, Levels]:
        """Latents after one move, the prediction it was made with, and the two levels."""
        self.family.check_guidance(self.pipe, guidance)
        pack, unpack = self.family.pack, self.family.unpack
        exact = pack(latents) if pack else latents
        driver = OneMove(self._grid(steps), exact=exact, config=self.pipe.scheduler.config, **how)
        self._call(driver, embeds, latents, (None, None), guidance, num_inference_steps=steps, output_type="latent")
        if driver.result is None or driver.prediction is None or driver.levels is None:
            raise NoisepromptError(
                f"{type(self.pipe).__name__} made no step", "a pipeline call that is not interrupted"
            )
        size = latents.shape[2:]
        moved, predicted = (unpack(x, *size) if unpack else x for x in (driver.result, driver.prediction))
        return moved.to(latents.device, latents.dtype), predicted, driver.levels

    @torch.no_grad()
    def _call(
        self, scheduler: Any, embeds: TextEmbeds, latents: torch.Tensor, size: Size, guidance: float, **settings: Any
    ) -> Any:
        """One pipeline call, with `scheduler` in place of its own unless None; counts the rows the denoiser sees."""
        height, width = self._check(embeds, latents, size)
        family = self.family
        x = family.pack(latents) if family.pack else latents
        x = x.to(self.device, torch.float32 if family.float32_latents else self.dtype)
        given = {**family.call_settings(self.pipe, guidance), **embeds.call_kwargs, **settings}
        with counted(self.denoiser, self._count), borrowed(self.pipe, scheduler):
            return self.pipe(latents=x, height=height, width=width, **given)

    def _count(self, rows: int) -> None:
        self.denoiser_calls += rows

    def _check(self, embeds: TextEmbeds, latents: torch.Tensor, size: Size) -> tuple[int, int]:
        """Image size in pixels of latents that fit."""
        came = f"latents {tuple(latents.shape)}"
        if latents.ndim != 4 or len(latents) != len(embeds):
            raise ShapeError(came, f"({len(embeds)}, C, H, W), one row a prompt")
        factor = self.family.factor(self.pipe)
        height, width = size[0] or latents.shape[2] * factor, size[1] or latents.shape[3] * factor
        shape = self.latent_shape(height, width)
        if tuple(latents.shape[1:]) != shape:
            raise ShapeError(came, f"(B, {', '.join(map(str, shape))}) for {height} x {width} pixels")
        return height, width
