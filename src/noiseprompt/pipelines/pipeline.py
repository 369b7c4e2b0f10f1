"""Any supported diffusers pipeline: load, encode, sample from given noise, one step down or up. Nothing is forked.

Representations:
    texts           sequence of str
    TextEmbeds      what the pipeline call takes instead of texts, and what an NPNet sees
    latents         (B, C, H, W), unit Gaussian noise at level T; steps keep device and dtype; packing is inside
    guidance_scale  g of eps_0 + g (eps_c - eps_0), whatever the pipeline calls it; 1 means no unconditional pass
    images          uint8 (B, H, W, 3)

A Pipeline is for one thread at a time.
"""

from __future__ import annotations

import math
import sys
from collections.abc import Mapping, Sequence
from dataclasses import replace
from functools import partial
from pathlib import Path
from typing import Any

import numpy as np
import torch

from noiseprompt.core.arguments import held, told
from noiseprompt.core.errors import InputError
from noiseprompt.core.ranges import COUNT, NOT_NEGATIVE, check_value, shown
from noiseprompt.core.texts import check_texts
from noiseprompt.core.types import InvertAt, Redenoising, Sampling, StartLevel, check_shape
from noiseprompt.noise.seeds import check_noise
from noiseprompt.pipelines import autoencoder, calls
from noiseprompt.pipelines.assembly import load
from noiseprompt.pipelines.computing import computing
from noiseprompt.pipelines.drivers import WithoutFirstStep
from noiseprompt.pipelines.families import find_family
from noiseprompt.pipelines.families.base import Family
from noiseprompt.pipelines.families.embeds import TextEmbeds
from noiseprompt.pipelines.levels import is_flow, is_plain_ddim
from noiseprompt.pipelines.long_prompts import Limits, average_chunks, limits
from noiseprompt.pipelines.options import ModelOptions
from noiseprompt.pipelines.parts import parts_of
from noiseprompt.pipelines.soundness import check_denoiser, check_embeds
from noiseprompt.pipelines.start import start_level


@told
class Pipeline:
    """A diffusers pipeline and the facts of its family.

    Args:
        pipe: a loaded diffusers pipeline; it stays the caller's and is not changed.
        name: for records; by default the folder or id it was loaded from.
        companions: ids or files of what was put into it (denoiser, LoRAs): some have other default settings.
        family: its facts; by default found by its class and these names.

    Raises:
        ModelLoadError: a pipeline class that cannot work.
        InputError: no pipeline.
    """

    @held
    def __init__(self, pipe: Any, name: str = "", companions: Sequence[str] = (), family: Family | None = None) -> None:
        if isinstance(pipe, type) or not isinstance(getattr(pipe, "config", None), Mapping):  # a network has another
            fix = "a folder or hub id is for Pipeline.load"
            raise InputError(f"a pipeline that is {shown(pipe)}", "one of diffusers that is loaded", fix)
        self.pipe = pipe
        self.name = name or str(pipe.config.get("_name_or_path") or type(pipe).__name__)
        self.family = family or find_family(pipe, (*companions, self.name))
        check_denoiser(pipe, self.family.denoiser)
        self.schedule: str | None = None
        """A published timestep schedule that the sampler follows, e.g. "ays"."""
        self.long_prompts = "truncate"
        """What an NPNet sees of a prompt over the text encoder's limit: "truncate" or "average" (`long_prompts.py`)."""
        self.changes: dict[str, Any] = {}
        """What was changed about the model when it was loaded, for records (`ModelOptions.record`)."""
        self._empty: TextEmbeds | None = None
        self._loaded = calls.Loaded(pipe, self.family)

    @classmethod
    @held
    def load(cls, model: str | Path, options: ModelOptions | None = None, **changes: Any) -> Pipeline:
        """Load a model, onto the CPU unless told.

        Args:
            model: a folder in diffusers' layout, a hub id, or "shapes", the embedded world.
            options: how it is loaded and changed.
            changes: fields of `ModelOptions` with other values than in `options`, e.g. `device="cuda", lora=["FILE"]`.

        Raises:
            InputError: an unknown option, dtype or device, or a value that an option does not take.
            ModelLoadError: nothing loadable there, or a pipeline that cannot work.
        """
        options = (options or ModelOptions(device="cpu")).but(**changes)
        pipe, family = load(model, options)
        self = cls(pipe, name=str(model), family=family)
        self.schedule, self.long_prompts, self.changes = options.schedule, options.long_prompts, options.record()
        if self.family.announced:
            print(f"{model}: {self.family.describe_variant()}", file=sys.stderr)
        return self

    @property
    def denoiser(self) -> Any:
        """The network that predicts noise, a torch module with a `config`."""
        return self._loaded.denoiser

    @property
    def device(self) -> torch.device:
        """Where the pipeline computes."""
        return self._loaded.device

    @property
    def dtype(self) -> torch.dtype:
        """Of the denoiser's weights."""
        return self._loaded.dtype

    @property
    def denoiser_calls(self) -> float:
        """Denoiser evaluations so far, times images: a guided step counts two an image."""
        return self._loaded.denoiser_calls

    @denoiser_calls.setter
    def denoiser_calls(self, value: float) -> None:
        check_value("denoiser_calls", float, value, NOT_NEGATIVE)
        self._loaded.denoiser_calls = value

    @property
    def is_flow(self) -> bool:
        """Whether this is a flow-matching pipeline: levels are sigmas, the denoiser predicts eps - x_0."""
        return is_flow(self.pipe.scheduler)

    def parts(self) -> dict[str, str]:
        """Digests of what decides the pictures beside settings (`parts_of`)."""
        return parts_of(self.pipe, self.schedule, self.long_prompts)

    @property
    def default_size(self) -> tuple[int, int]:
        """(height, width) in pixels the model was made for."""
        return self.family.default_size(self.pipe)

    def latent_shape(self, height: int | None = None, width: int | None = None) -> tuple[int, int, int]:
        """(C, H, W) of the latents of one image of `height` x `width` pixels.

        Raises:
            ShapeError: a size the pipeline cannot draw.
            ConfigError: a size that is no whole number, or too large for any memory.
        """
        for name, size in (("height", height), ("width", width)):
            check_value(name, int | None, size)
        shape = self.family.latent_shape(self.pipe, height, width)
        check_shape(f"the latents of {height or 'default'} x {width or 'default'} pixels", shape)
        return shape

    def levels(
        self, num_inference_steps: int, height: int | None = None, width: int | None = None
    ) -> tuple[float, float, float, float]:
        """(t_from, t_to, alpha_from, alpha_to): timestep and alpha-bar (sigma for flow) of T and T-k on an N-step grid.

        Args:
            height, width: in pixels; the grid of some flow pipelines depends on the size.

        Raises:
            InputError: a number of steps out of range, or a size that is no whole number of pixels.
        """
        for name, edge in (("height", height), ("width", width)):
            check_value(name, int | None, edge, COUNT)
        known = calls.levels(self._loaded, num_inference_steps, (height, width), lambda: self.empty)
        return known.t_from, known.t_to, known.alpha_from, known.alpha_to

    def start_level(
        self, num_inference_steps: int | None = None, height: int | None = None, width: int | None = None
    ) -> StartLevel:
        """Where `sample` begins with these arguments, on the pipeline's own scheduler and schedule (see `start.py`).

        Raises:
            InputError: it begins at pure noise, which has no room for a picture; or steps the scheduler cannot do.
            ShapeError: a size the pipeline cannot draw.
        """
        how = Sampling(None, num_inference_steps, height, width).resolve(self.family)
        size = (how.height, how.width)
        return start_level(self._loaded, self.schedule, how.num_inference_steps, size, lambda: self.empty)

    @torch.no_grad()
    def encode(self, texts: Sequence[str]) -> TextEmbeds:
        """Encode prompts and as many empty ones.

        Raises:
            InputError: no texts, one str in place of a sequence, or a text with NUL or half a character.
            NoiseError: embeddings that are not finite.
        """
        check_texts(texts)
        calls.check_text(self.pipe, self.long_prompts)
        with computing(self.pipe, "encodes a prompt"):
            embeds = replace(self.family.encode(self.pipe, list(texts)), texts=tuple(texts))
        if self.long_prompts == "average":
            seen = average_chunks(self.text_limits, partial(self.family.encode, self.pipe), texts, embeds.prompt_embeds)
            embeds = replace(embeds, prompt_embeds=seen)
        check_embeds(embeds)
        return embeds

    @held
    def encode_images(self, images: np.ndarray) -> torch.Tensor:
        """(B, C, H, W) float32 latents of pictures, uint8 (B, height, width, 3), in the scale of x_0.

        What the pipeline's own autoencoder makes of them, its mean, shifted and scaled as the family does.

        Raises:
            ShapeError, InputError: as `autoencoder.encode_images`.
        """
        return autoencoder.encode_images(self._loaded, images)

    @property
    def text_limits(self) -> Limits:
        """Each tokenizer that is asked, with the number of tokens that is read of it: for `long_prompts`."""
        return limits(self.pipe, self.family)

    @property
    def empty(self) -> TextEmbeds:
        """One empty prompt, encoded once."""
        if self._empty is None:
            self._empty = self.encode([""])
        return self._empty

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
            guidance_scale, num_inference_steps, height, width: as of `Sampling` (`**vars(sampling)`); a size of None
                follows from the latents.
            after_first_step: `latents` are x_{T-k} of the same grid, from `denoise_step`; go on from there.
            generator: for samplers that add noise on the way.

        Returns:
            uint8 (B, H, W, 3).

        Raises:
            InputError: as `Sampling`, or `after_first_step` with a sampler for which it is not exact.
            ShapeError: latents that do not fit the prompts, the model or the size.
            NoiseError: latents or pictures that are not finite.
        """
        check_noise(latents, "the latents to sample from")
        calls.check_drawing(latents, generator, after_first_step)
        how = Sampling(guidance_scale, num_inference_steps, height, width).resolve(self.family)
        own = self.pipe.scheduler
        if after_first_step and not self.can_share_first_step:
            expected = "a DDIMScheduler without clipping or thresholding and with leading timestep spacing"
            raise InputError(f"after_first_step with {type(own).__name__}", expected, "sample from x_T instead")
        scheduler = WithoutFirstStep(own) if after_first_step else None
        settings: Any = {"output_type": "np", "generator": generator}
        return calls.as_uint8(calls.images(self._loaded, scheduler, embeds, latents, how, self.schedule, **settings))

    def denoise_step(
        self, embeds: TextEmbeds, latents: torch.Tensor, *, guidance_scale: float, num_inference_steps: int
    ) -> torch.Tensor:
        """x_T -> x_{T-k}, (B, C, H, W): the first DDIM step of an N-step grid (equation 1).

        Raises:
            InputError: a guidance scale below 1, or above where there is no guidance; a number of steps out of range.
            ShapeError: latents that do not fit the prompts or the model.
        """
        return calls.move(self._loaded, embeds, latents, guidance_scale, num_inference_steps)[0]

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
        how: Any = {"up": True, "invert_at": invert_at}
        return calls.move(self._loaded, embeds, latents, guidance_scale, num_inference_steps, **how)[0]

    def predictions(
        self, embeds: TextEmbeds, latents: torch.Tensor, *, guidance_scale: float, num_inference_steps: int
    ) -> torch.Tensor:
        """The guided prediction that the pipeline itself makes at level T of an N-step grid, (B, C, H, W) float32.

        eps of models that predict eps or v, and the velocity eps - x_0 of flow models.

        Raises:
            InputError, ShapeError: as `denoise_step`.
        """
        _, predicted, levels = calls.move(self._loaded, embeds, latents, guidance_scale, num_inference_steps)
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
        lower: torch.Tensor | None = None,
    ) -> torch.Tensor:
        """x_T -> x'_T, (B, C, H, W): one step down with strong guidance, one step up with weak guidance (algorithm 1).

        Args:
            denoise_guidance_scale, invert_guidance_scale, num_inference_steps, invert_at: as of `Redenoising`, `steps`
                of which is the number of steps of the grid.
            lower: x_{T-k} of these latents where it is known; saves the step down.

        Raises:
            InputError, ShapeError: no guidance gap, or as `denoise_step` and `invert_step`.
        """
        how = Redenoising(denoise_guidance_scale, invert_guidance_scale, num_inference_steps, invert_at)
        how = how.resolve(self.family)
        down, up, grid = how.denoise_guidance_scale, how.invert_guidance_scale, {"num_inference_steps": how.steps}
        self.family.check_gap(self.pipe, down, up)
        calls.check_lower(latents, lower)
        if lower is None:
            exact = latents.to(torch.promote_types(latents.dtype, torch.float32))
            lower = self.denoise_step(embeds, exact, guidance_scale=down, **grid)
        upper = self.invert_step(embeds, lower, guidance_scale=up, invert_at=invert_at, **grid)
        return upper.to(latents.dtype)
