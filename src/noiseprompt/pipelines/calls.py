"""One call of an unmodified diffusers pipeline, with a driver in place of its scheduler: the inside of `Pipeline`."""

from __future__ import annotations

from collections.abc import Callable
from contextlib import nullcontext
from dataclasses import dataclass
from typing import Any

import numpy as np
import torch

from noiseprompt.core.devices import is_out_of_memory
from noiseprompt.core.errors import InputError, NoisepromptError, ShapeError
from noiseprompt.core.ranges import GUIDANCE, Limits, check_value, kind_of
from noiseprompt.core.types import check_tensor
from noiseprompt.pipelines.computing import computing
from noiseprompt.pipelines.drivers import GridKnown, OneMove, borrowed, counted
from noiseprompt.pipelines.families import class_family
from noiseprompt.pipelines.families.base import Family
from noiseprompt.pipelines.families.embeds import TextEmbeds
from noiseprompt.pipelines.levels import Levels, ddim_levels, dpm_solver_levels, is_flow
from noiseprompt.pipelines.options import LONG_PROMPTS
from noiseprompt.pipelines.samplers import step_arguments
from noiseprompt.pipelines.soundness import check_drawn

Size = tuple[int | None, int | None]  # height and width in pixels


@dataclass
class Loaded:
    """A loaded pipeline as its calls need it.

    Fields:
        pipe: of diffusers.
        family: its facts.
        denoiser_calls: denoiser evaluations so far, times images: a guided step counts two an image.
    """

    pipe: Any
    family: Family
    denoiser_calls: float = 0.0

    def count(self, rows: int) -> None:
        """Add the rows of one denoiser pass."""
        self.denoiser_calls += rows

    @property
    def denoiser(self) -> Any:
        """The network that predicts noise."""
        return getattr(self.pipe, self.family.denoiser)

    @property
    def device(self) -> torch.device:
        """Where the pipeline computes."""
        return self.pipe._execution_device

    @property
    def dtype(self) -> torch.dtype:
        """Of the denoiser's weights."""
        return next(self.denoiser.parameters()).dtype


def call(
    loaded: Loaded,
    scheduler: Any,
    embeds: TextEmbeds,
    latents: torch.Tensor,
    size: Size,
    guidance_scale: float,
    *,
    with_gradient: bool = False,
    **settings: Any,
) -> Any:
    """One pipeline call, with `scheduler` in place of its own unless None; counts the rows the denoiser sees.

    Args:
        with_gradient: the pipeline's own `__call__` without the `torch.no_grad` around it.

    Raises:
        ShapeError: latents that do not fit the prompts, the model or the size.
        InputError: a pipeline of no known family fails.
    """
    height, width = check(loaded, embeds, latents, size)
    family, pipe = loaded.family, loaded.pipe
    x = family.pack(latents) if family.pack else latents
    x = x.to(loaded.device, torch.float32 if family.float32_latents else loaded.dtype)
    given = {**family.call_settings(pipe, embeds, guidance_scale), **settings}
    own = type(pipe).__call__
    if with_gradient:
        own = getattr(own, "__wrapped__", own)

    try:
        told = nullcontext() if family.generic else computing(pipe, "draws")
        counting, lent = counted(loaded.denoiser, loaded.count), borrowed(pipe, scheduler)
        with counting, lent, torch.set_grad_enabled(with_gradient), told:
            return own(pipe, latents=x, height=height, width=width, **given)
    except GridKnown:
        raise
    except NoisepromptError as error:
        _refuse_foreign(loaded, embeds, error)
        raise
    except Exception as error:
        if not family.generic or is_out_of_memory(error):
            raise
        came = f"a {type(pipe).__name__}, which is of no known family, fails ({type(error).__name__}: {error})"
        expected = "a pipeline that takes prompts as text and latents (B, C, H, W)"
        raise InputError(came, expected, "add a family for it") from error


def _refuse_foreign(loaded: Loaded, embeds: TextEmbeds, error: Exception) -> None:
    """Tell embeddings of another width as what they are, where a call failed with them.

    Raises:
        ShapeError: they are.
    """
    try:
        own = loaded.family.encode(loaded.pipe, [""]).prompt_embeds.shape[-1]
    except Exception:  # of a model that fails at everything; that is told
        return
    if (given := embeds.prompt_embeds.shape[-1]) != own:
        came = f"text embeddings of width {given} in a pipeline whose own have {own}"
        raise ShapeError(came, "those that this pipeline gives", "encode the prompts with it") from error


def check_drawing(latents: torch.Tensor, generator: Any, after_first_step: Any) -> None:
    """Refuse what is no generator, or generators of another number than latents, and a flag that is none.

    Raises:
        ConfigError, InputError: with the one.
    """
    check_value("generator", torch.Generator | list[torch.Generator] | None, generator)
    if isinstance(generator, list) and len(generator) != len(latents):
        raise InputError(f"{len(generator)} generators for {len(latents)} latents", "one for each, or one for all")
    check_value("after_first_step", bool, after_first_step)


def check_lower(latents: torch.Tensor, lower: torch.Tensor | None) -> None:
    """Refuse latents, or what is known of the step down from them, that are no tensors or of two shapes.

    Raises:
        InputError, ShapeError: with the one.
    """
    check_tensor(latents, "latents", "(B, C, H, W)")
    if lower is not None:
        check_tensor(lower, "lower", "(B, C, H, W)")
        if lower.shape != latents.shape:
            raise ShapeError(f"lower {tuple(lower.shape)} of latents {tuple(latents.shape)}", "one shape for both")


def images(
    loaded: Loaded,
    scheduler: Any,
    embeds: TextEmbeds,
    latents: torch.Tensor,
    how: Any,
    schedule: str | None,
    **settings: Any,
) -> Any:
    """The images of one whole call, of the type that `output_type` names.

    Args:
        scheduler, settings: as of `call`.
        how: a `Sampling` that is resolved.
        schedule: a published one that the sampler follows, or None.

    Raises:
        ShapeError, InputError: as `call` and `step_arguments`.
    """
    timesteps = step_arguments(loaded.pipe, loaded.family, schedule, how.num_inference_steps)
    size, steps = (how.height, how.width), {"num_inference_steps": how.num_inference_steps}
    return call(loaded, scheduler, embeds, latents, size, how.guidance_scale, **steps, **settings, **timesteps).images


def as_uint8(images: np.ndarray) -> np.ndarray:
    """Pictures in [0, 1] as a call gives them -> uint8.

    Raises:
        NoiseError: pictures that are not finite.
    """
    check_drawn(images)
    return (images * 255).round().astype(np.uint8)


def check_text(pipe: Any, long_prompts: str) -> None:
    """Refuse a pipeline that was taken apart, or another word for long prompts, before texts are encoded.

    Raises:
        InputError: with what is missing, or the word.
    """
    check_value("long_prompts", str, long_prompts, Limits(words=LONG_PROMPTS))
    _check_parts(pipe, of_text=True)


def _check_parts(pipe: Any, of_text: bool) -> None:
    """Refuse a pipeline of which a part that is needed was set to None; those of text are needed to encode alone."""
    family = class_family(type(pipe))
    may = family.may_lack if family else ()
    together = all(getattr(pipe, name, None) is None for name in may)
    free = {*getattr(pipe, "_optional_components", ()), *(may if together else ())}
    lacking = [name for name, part in getattr(pipe, "components", {}).items() if part is None and name not in free]
    lacking = [name for name in lacking if name.startswith(("text_encoder", "tokenizer")) == of_text]
    if lacking:
        raise InputError(f"a {type(pipe).__name__} without its {', '.join(lacking)}", "a pipeline with all its parts")


def check(loaded: Loaded, embeds: TextEmbeds, latents: torch.Tensor, size: Size) -> tuple[int, int]:
    """Image size in pixels of latents that fit.

    Raises:
        ShapeError: they do not.
        InputError: they are no latents, or the embeds are none.
    """
    _check_parts(loaded.pipe, of_text=False)
    check_tensor(latents, "latents", "(B, C, H, W)")
    if not isinstance(embeds, TextEmbeds):
        raise InputError(f"embeds: {kind_of(embeds)}", "TextEmbeds, what Pipeline.encode gives")
    came = f"latents {tuple(latents.shape)}"
    if latents.ndim != 4 or len(latents) != len(embeds):
        raise ShapeError(came, f"({len(embeds)}, C, H, W), one row a prompt")
    factor = loaded.family.factor(loaded.pipe)
    height = latents.shape[2] * factor if size[0] is None else size[0]
    width = latents.shape[3] * factor if size[1] is None else size[1]
    shape = loaded.family.latent_shape(loaded.pipe, height, width)
    if tuple(latents.shape[1:]) != shape:
        raise ShapeError(came, f"(B, {', '.join(map(str, shape))}) for {height} x {width} pixels")
    return height, width


def move(
    loaded: Loaded,
    embeds: TextEmbeds,
    latents: torch.Tensor,
    guidance_scale: float,
    num_inference_steps: int,
    **how: Any,
) -> tuple[torch.Tensor, torch.Tensor, Levels]:
    """Latents after one move, the guided prediction it was made with, and the two levels.

    Args:
        how: `up` and `invert_at` of `OneMove`.

    Raises:
        InputError, ShapeError: as `Pipeline.denoise_step` and `Pipeline.invert_step`.
    """
    pipe, family = loaded.pipe, loaded.family
    check_value("guidance_scale", float, guidance_scale, GUIDANCE)
    family.check_guidance(pipe, guidance_scale)
    exact = family.pack(latents) if family.pack else latents
    driver = OneMove(_grid(loaded, num_inference_steps), exact=exact, config=pipe.scheduler.config, **how)
    settings = {"num_inference_steps": num_inference_steps, "output_type": "latent"}
    call(loaded, driver, embeds, latents, (None, None), guidance_scale, **settings)
    if driver.result is None or driver.prediction is None or driver.levels is None:
        raise NoisepromptError(f"{type(pipe).__name__} made no step", "a pipeline call that is not interrupted")
    height, width = latents.shape[2:]
    moved, predicted = (
        family.unpack(x, height, width) if family.unpack else x for x in (driver.result, driver.prediction)
    )
    return moved.to(latents.device, latents.dtype), predicted, driver.levels


def levels(loaded: Loaded, num_inference_steps: int, size: Size, empty: Callable[[], TextEmbeds]) -> Levels:
    """The two noisiest levels of an N-step grid, for flow at a size in pixels.

    Args:
        empty: encodes one empty prompt; flow pipelines are asked with it.

    Raises:
        InputError: a number of steps out of range.
        ShapeError: a size the pipeline cannot draw.
    """
    grid = _grid(loaded, num_inference_steps)
    if isinstance(grid, Levels):
        return grid
    # what the pipeline tells its scheduler in a call that ends before the denoiser is asked
    probe = OneMove(grid, config=grid.config, only_levels=True)
    latents = torch.zeros(1, *loaded.family.latent_shape(loaded.pipe, *size))
    try:
        call(loaded, probe, empty(), latents, size, 1.0, num_inference_steps=num_inference_steps)
    except GridKnown as known:
        return known.levels
    raise NoisepromptError(f"{type(loaded.pipe).__name__} set no timesteps", "a pipeline that asks its scheduler")


def _grid(loaded: Loaded, steps: int) -> Any:
    """The two levels, or a flow scheduler that knows them when the pipeline has told it the size."""
    check_value("num_inference_steps", int, steps)
    scheduler = loaded.pipe.scheduler
    if is_flow(scheduler):
        longest = int(scheduler.config.num_train_timesteps)
        if not 1 <= steps <= longest:
            raise InputError(f"num_inference_steps {steps}", f"1 to {longest}")
        return scheduler
    if loaded.family.grid == "dpm-solver":
        return dpm_solver_levels(scheduler, steps)
    return ddim_levels(scheduler.config, steps)
