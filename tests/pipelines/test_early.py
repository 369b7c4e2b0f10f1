"""Early pictures: x_0 as diffusers' own schedulers tell it, on samplers and families of every kind."""

from __future__ import annotations

import functools

import numpy as np
import pytest
import torch
from diffusers import EDMEulerScheduler

from noiseprompt.core.errors import InputError
from noiseprompt.pipelines import Pipeline
from noiseprompt.pipelines.early import FirstSteps, early_images
from noiseprompt.pipelines.samplers import make_scheduler
from tests import tiny
from tests.pipelines.families import every
from tests.pipelines.tiny_pair import PROMPTS, noise

TOLD = ("ddim", "ddpm", "euler", "euler-ancestral", "lms", "kdpm2", "euler:timestep_spacing=trailing")
"""Samplers whose step tells its estimate of x_0."""


def generators() -> list[torch.Generator]:
    return [torch.Generator().manual_seed(i) for i in range(len(PROMPTS))]


@pytest.mark.parametrize(
    ("sampler", "kind"),
    [
        *((sampler, "epsilon") for sampler in TOLD),
        *((sampler, "v_prediction") for sampler in TOLD if sampler not in ("kdpm2", "lms")),  # diffusers lacks these
    ],
)
def test_the_estimate_is_the_schedulers_own(sampler: str, kind: str) -> None:
    pipe = tiny.stable_diffusion(prediction_type=kind)
    pipe.scheduler = make_scheduler(pipe, sampler)
    pipeline = Pipeline(pipe)
    estimates, own = [], pipe.scheduler.step

    def step(*args, **named):
        named.pop("return_dict", None)
        told = own(*args, **named)
        estimates.append(told.pred_original_sample)
        return (told.prev_sample,)

    embeds, x = pipeline.encode(PROMPTS), noise(pipeline)
    mine = early_images(
        pipeline, embeds, x, share=0.3, num_inference_steps=10, guidance_scale=3.0, generator=generators()
    )
    assert pipeline.denoiser_calls == len(PROMPTS) * 2 * (6 if sampler == "kdpm2" else 3)
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(pipe.scheduler, "step", functools.wraps(own)(step))
        pipeline.sample(embeds, x, num_inference_steps=10, guidance_scale=3.0, generator=generators())
    seen = estimates[5 if sampler == "kdpm2" else 2]
    with torch.no_grad():
        image = pipe.vae.decode(seen / pipe.vae.config.scaling_factor).sample
    expected = (image / 2 + 0.5).clamp(0, 1).permute(0, 2, 3, 1).numpy() * 255
    assert np.abs(mine - expected).max() <= 1.01 and mine.std() > 1


@pytest.mark.parametrize("sampler", ["dpm++", "unipc", "deis", "heun", "pndm", "tcd", "lcm"])
def test_other_samplers_end_early_too(sampler: str) -> None:
    pipe = tiny.stable_diffusion()
    pipe.scheduler = make_scheduler(pipe, sampler)
    pipeline = Pipeline(pipe)
    whole = pipeline.sample(pipeline.encode(PROMPTS), noise(pipeline), num_inference_steps=10, guidance_scale=3.0)
    calls, pipeline.denoiser_calls = pipeline.denoiser_calls, 0.0
    settings = {"num_inference_steps": 10, "guidance_scale": 3.0}
    early = early_images(pipeline, pipeline.encode(PROMPTS), noise(pipeline), share=0.5, **settings)
    assert calls / 2 <= pipeline.denoiser_calls < calls * 0.7
    assert early.shape == whole.shape and early.std() > 1


@pytest.mark.parametrize("name", every.PIPELINES)
def test_every_family(name: str) -> None:
    """With all its steps the estimate is the picture, where the last level is x_0 itself; with half it is another."""
    pipeline = every.build(name)
    embeds, x = pipeline.encode(every.PROMPTS), every.noise(pipeline)
    settings = {"num_inference_steps": 4, "guidance_scale": 3.0}
    before = pipeline.pipe.scheduler
    half = early_images(pipeline, embeds, x, share=0.5, generator=every.generators(), **settings)
    assert pipeline.denoiser_calls == 2 * 2 * len(x)
    assert pipeline.pipe.scheduler is before
    assert half.shape == (2, 64, 64, 3)
    if pipeline.is_flow and name != "sana":
        whole = pipeline.sample(embeds, x, **settings)
        end = early_images(pipeline, embeds, x, share=1.0, **settings)
        assert np.abs(end.astype(int) - whole).max() <= 1
        assert not np.array_equal(half, whole)


def test_whole_steps_are_rounded_up() -> None:
    grid = FirstSteps(tiny.scheduler(), 0.25)
    for steps, taken in ((4, 1), (8, 2), (10, 3), (1, 1), (50, 13)):
        grid.set_timesteps(steps)
        assert len(grid.timesteps) == taken


def test_what_has_no_early_picture() -> None:
    with pytest.raises(InputError, match="prediction type 'sample'"):
        FirstSteps(tiny.scheduler(prediction_type="sample"), 0.5)
    with pytest.raises(InputError, match="EDMEulerScheduler"):
        FirstSteps(EDMEulerScheduler(), 0.5)
