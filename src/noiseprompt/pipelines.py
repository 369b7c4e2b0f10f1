"""Any supported diffusers pipeline: load, encode, sample from given noise, one step down or up. Nothing is forked.

Representations:
    texts           sequence of str
    TextEmbeds      what the pipeline call takes instead of texts, and what an NPNet sees
    latents         (B, C, H, W), unit Gaussian noise at level T; steps return the device and dtype they were given
    images          uint8 (B, H, W, 3)

A Pipeline is for one thread at a time.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import torch

from noiseprompt.drivers import OneMove, WithoutFirstStep, borrowed, counted, ddim_levels, is_plain_ddim
from noiseprompt.errors import InputError, NoisepromptError, ShapeError
from noiseprompt.families import FAMILIES, Family, TextEmbeds, find_family, load_diffusers
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

    Raises:
        ModelLoadError: a pipeline class of no supported family.
    """

    def __init__(self, pipe: Any, name: str = "") -> None:
        self.family = find_family(pipe)
        self.pipe = pipe
        self.name = name or str(pipe.config.get("_name_or_path") or type(pipe).__name__)
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
    ) -> Pipeline:
        """Load a model.

        Args:
            model: a folder in diffusers' layout, a hub id, or "shapes", the embedded world.
            device: "cpu", "cuda", "cuda:1", "mps".
            dtype: "float32", "float16" or "bfloat16".
            revision, variant: of a hub model, e.g. variant "fp16".

        Raises:
            InputError: an unknown dtype.
            ModelLoadError: nothing loadable there, or a pipeline of no supported family.
        """
        if dtype not in DTYPES:
            raise InputError(f"dtype {dtype!r}", f"one of {', '.join(DTYPES)}")
        pipe = load_diffusers(model, DTYPES[dtype], revision, variant)
        try:
            pipe.to(device)
        except (RuntimeError, AssertionError) as error:
            raise InputError(
                f"device {device!r} is not usable: {error}", "a device that torch sees", 'use device "cpu"'
            ) from error
        pipe.set_progress_bar_config(disable=True)
        self = cls(pipe, name=str(model))
        if torch.device(device).type == "cpu":  # convolutions run faster there, up to 4 times with several threads
            for network in (self.denoiser, pipe.vae):
                network.to(memory_format=torch.channels_last)
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
    def default_size(self) -> tuple[int, int]:
        """(height, width) in pixels the model was made for."""
        size = self.denoiser.config.sample_size
        height, width = (size, size) if isinstance(size, int) else size
        return height * self.pipe.vae_scale_factor, width * self.pipe.vae_scale_factor

    def latent_shape(self, height: int | None = None, width: int | None = None) -> tuple[int, int, int]:
        """(C, H, W) of the latents of one image of `height` x `width` pixels.

        Raises:
            ShapeError: a size the pipeline cannot draw.
        """
        height, width = height or self.default_size[0], width or self.default_size[1]
        factor = self.pipe.vae_scale_factor
        unit = max(8, factor)  # diffusers asks for multiples of 8 whatever the autoencoder
        if height < unit or width < unit or height % unit or width % unit:
            raise ShapeError(f"image size {height} x {width}", f"positive multiples of {unit} pixels")
        return self.denoiser.config.in_channels, height // factor, width // factor

    def levels(self, num_inference_steps: int) -> tuple[int, int, float, float]:
        """(t_from, t_to, alpha_from, alpha_to): timestep and alpha-bar of T and T-k on an N-step grid.

        Raises:
            InputError: a number of steps out of range.
        """
        levels = ddim_levels(self.pipe.scheduler.config, num_inference_steps)
        return levels.t_from, levels.t_to, levels.alpha_from, levels.alpha_to

    @torch.no_grad()
    def encode(self, texts: Sequence[str]) -> TextEmbeds:
        """Encode prompts and as many empty ones.

        Raises:
            InputError: no texts, or one str in place of a sequence.
        """
        if isinstance(texts, str) or not texts:
            raise InputError(f"texts {texts!r}", "a list with at least one text")
        return self.family.encode(self.pipe, texts)

    @property
    def can_share_first_step(self) -> bool:
        """Whether `sample(after_first_step=True)` is exact: plain DDIM on an even grid."""
        return is_plain_ddim(self.pipe.scheduler)

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
        images = self._call(
            WithoutFirstStep(own) if after_first_step else None,
            embeds,
            latents,
            (height, width),
            guidance_scale=self.family.guidance_scale if guidance_scale is None else guidance_scale,
            num_inference_steps=steps,
            output_type="np",
            generator=generator,
        )
        return (images * 255).round().astype(np.uint8)

    def denoise_step(
        self, embeds: TextEmbeds, latents: torch.Tensor, *, guidance_scale: float, num_inference_steps: int
    ) -> torch.Tensor:
        """x_T -> x_{T-k}, (B, C, H, W): the first DDIM step of an N-step grid (equation 1).

        Raises:
            InputError: a guidance scale below 1 or a number of steps out of range.
            ShapeError: latents that do not fit the prompts or the model.
        """
        return self._move(embeds, latents, guidance_scale, num_inference_steps)

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
            InputError: a guidance scale below 1, a number of steps out of range, or an unknown `invert_at`.
            ShapeError: latents that do not fit the prompts or the model.
        """
        return self._move(embeds, latents, guidance_scale, num_inference_steps, up=True, invert_at=invert_at)

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
            InputError, ShapeError: as `denoise_step` and `invert_step`.
        """
        family = self.family
        steps = family.collection_steps if num_inference_steps is None else num_inference_steps
        down = family.denoise_guidance_scale if denoise_guidance_scale is None else denoise_guidance_scale
        up = family.invert_guidance_scale if invert_guidance_scale is None else invert_guidance_scale
        exact = latents.to(torch.promote_types(latents.dtype, torch.float32))
        lower = self.denoise_step(embeds, exact, guidance_scale=down, num_inference_steps=steps)
        upper = self.invert_step(embeds, lower, guidance_scale=up, num_inference_steps=steps, invert_at=invert_at)
        return upper.to(latents.dtype)

    def _move(self, embeds: TextEmbeds, latents: torch.Tensor, guidance: float, steps: int, **how: Any) -> torch.Tensor:
        if guidance < 1:
            raise InputError(f"guidance scale {guidance}", "1 or more: diffusers pipelines take anything less as 1")
        config = self.pipe.scheduler.config
        driver = OneMove(ddim_levels(config, steps), exact=latents, config=config, **how)
        settings = {"guidance_scale": guidance, "num_inference_steps": steps, "output_type": "latent"}
        self._call(driver, embeds, latents, (None, None), **settings)
        if driver.result is None:
            raise NoisepromptError(
                f"{type(self.pipe).__name__} made no step", "a pipeline call that is not interrupted"
            )
        return driver.result.to(latents.device, latents.dtype)

    @torch.no_grad()
    def _call(self, scheduler: Any, embeds: TextEmbeds, latents: torch.Tensor, size: Size, **settings: Any) -> Any:
        """One pipeline call, with `scheduler` in place of its own unless None; counts the rows the denoiser sees."""
        height, width = self._check(embeds, latents, size)
        with counted(self.denoiser, self._count), borrowed(self.pipe, scheduler):
            x = latents.to(self.device, self.dtype)
            return self.pipe(latents=x, height=height, width=width, **embeds.call_kwargs, **settings).images

    def _count(self, rows: int) -> None:
        self.denoiser_calls += rows

    def _check(self, embeds: TextEmbeds, latents: torch.Tensor, size: Size) -> tuple[int, int]:
        """Image size in pixels of latents that fit."""
        came = f"latents {tuple(latents.shape)}"
        if latents.ndim != 4 or len(latents) != len(embeds):
            raise ShapeError(came, f"({len(embeds)}, C, H, W), one row a prompt")
        factor = self.pipe.vae_scale_factor
        height, width = size[0] or latents.shape[2] * factor, size[1] or latents.shape[3] * factor
        shape = self.latent_shape(height, width)
        if tuple(latents.shape[1:]) != shape:
            raise ShapeError(came, f"(B, {', '.join(map(str, shape))}) for {height} x {width} pixels")
        return height, width
