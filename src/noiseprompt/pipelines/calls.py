"""One call of an unmodified diffusers pipeline, with a driver in place of its scheduler: the inside of `Pipeline`."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import torch

from noiseprompt.core.errors import InputError, NoisepromptError, ShapeError
from noiseprompt.pipelines.drivers import GridKnown, OneMove, borrowed, counted
from noiseprompt.pipelines.levels import Levels, ddim_levels, dpm_solver_levels

if TYPE_CHECKING:
    from noiseprompt.pipelines.families.base import TextEmbeds
    from noiseprompt.pipelines.pipeline import Pipeline

Size = tuple[int | None, int | None]  # height and width in pixels


@torch.no_grad()
def call(
    pipeline: Pipeline,
    scheduler: Any,
    embeds: TextEmbeds,
    latents: torch.Tensor,
    size: Size,
    guidance_scale: float,
    **settings: Any,
) -> Any:
    """One pipeline call, with `scheduler` in place of its own unless None; counts the rows the denoiser sees.

    Raises:
        ShapeError: latents that do not fit the prompts, the model or the size.
        InputError: a pipeline of no known family fails.
    """
    height, width = check(pipeline, embeds, latents, size)
    family, pipe = pipeline.family, pipeline.pipe
    x = family.pack(latents) if family.pack else latents
    x = x.to(pipeline.device, torch.float32 if family.float32_latents else pipeline.dtype)
    named = embeds.call_kwargs
    if guidance_scale <= 1 and family.guidance_argument == "true_cfg_scale":  # some of these warn about each of them
        named = {key: value for key, value in named.items() if not key.startswith("negative_")}
    given = {**family.call_settings(pipe, guidance_scale), **named, **settings}

    def count(rows: int) -> None:
        pipeline.denoiser_calls += rows

    try:
        with counted(pipeline.denoiser, count), borrowed(pipe, scheduler):
            return pipe(latents=x, height=height, width=width, **given)
    except (GridKnown, NoisepromptError, MemoryError, torch.cuda.OutOfMemoryError):
        raise
    except Exception as error:
        if not family.generic:
            raise
        came = f"a {type(pipe).__name__}, which is of no known family, fails ({type(error).__name__}: {error})"
        expected = "a pipeline that takes prompts as text and latents (B, C, H, W)"
        raise InputError(came, expected, "add a family for it") from error


def check(pipeline: Pipeline, embeds: TextEmbeds, latents: torch.Tensor, size: Size) -> tuple[int, int]:
    """Image size in pixels of latents that fit.

    Raises:
        ShapeError: they do not.
    """
    came = f"latents {tuple(latents.shape)}"
    if latents.ndim != 4 or len(latents) != len(embeds):
        raise ShapeError(came, f"({len(embeds)}, C, H, W), one row a prompt")
    factor = pipeline.family.factor(pipeline.pipe)
    height = latents.shape[2] * factor if size[0] is None else size[0]
    width = latents.shape[3] * factor if size[1] is None else size[1]
    shape = pipeline.latent_shape(height, width)
    if tuple(latents.shape[1:]) != shape:
        raise ShapeError(came, f"(B, {', '.join(map(str, shape))}) for {height} x {width} pixels")
    return height, width


def move(
    pipeline: Pipeline,
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
    pipe, family = pipeline.pipe, pipeline.family
    family.check_guidance(pipe, guidance_scale)
    exact = family.pack(latents) if family.pack else latents
    driver = OneMove(_grid(pipeline, num_inference_steps), exact=exact, config=pipe.scheduler.config, **how)
    settings = {"num_inference_steps": num_inference_steps, "output_type": "latent"}
    call(pipeline, driver, embeds, latents, (None, None), guidance_scale, **settings)
    if driver.result is None or driver.prediction is None or driver.levels is None:
        raise NoisepromptError(f"{type(pipe).__name__} made no step", "a pipeline call that is not interrupted")
    height, width = latents.shape[2:]
    moved, predicted = (
        family.unpack(x, height, width) if family.unpack else x for x in (driver.result, driver.prediction)
    )
    return moved.to(latents.device, latents.dtype), predicted, driver.levels


def levels(pipeline: Pipeline, num_inference_steps: int, size: Size = (None, None)) -> Levels:
    """The two noisiest levels of an N-step grid, for flow at a size in pixels.

    Raises:
        InputError: a number of steps out of range.
        ShapeError: a size the pipeline cannot draw.
    """
    grid = _grid(pipeline, num_inference_steps)
    if isinstance(grid, Levels):
        return grid
    # what the pipeline tells its scheduler in a call that ends before the denoiser is asked
    probe = OneMove(grid, config=grid.config, only_levels=True)
    latents = torch.zeros(1, *pipeline.latent_shape(*size))
    try:
        call(pipeline, probe, pipeline.empty, latents, size, 1.0, num_inference_steps=num_inference_steps)
    except GridKnown as known:
        return known.levels
    raise NoisepromptError(f"{type(pipeline.pipe).__name__} set no timesteps", "a pipeline that asks its scheduler")


def _grid(pipeline: Pipeline, steps: int) -> Any:
    """The two levels, or a flow scheduler that knows them when the pipeline has told it the size."""
    scheduler = pipeline.pipe.scheduler
    if pipeline.is_flow:
        longest = int(scheduler.config.num_train_timesteps)
        if not 1 <= steps <= longest:
            raise InputError(f"num_inference_steps {steps}", f"1 to {longest}")
        return scheduler
    if pipeline.family.grid == "dpm-solver":
        return dpm_solver_levels(scheduler, steps)
    return ddim_levels(scheduler.config, steps)
