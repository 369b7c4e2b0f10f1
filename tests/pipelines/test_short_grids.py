"""A short chain on a longer sampler's levels, against diffusers' own schedulers that take timesteps or sigmas."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from diffusers import EulerDiscreteScheduler

from noiseprompt.core.errors import InputError
from noiseprompt.pipelines import Pipeline
from noiseprompt.pipelines.gradients import draw
from noiseprompt.pipelines.samplers import make_scheduler
from noiseprompt.pipelines.short_grids import ShortGrid, alpha_at, thinned
from tests import tiny, tiny_flow
from tests.pipelines.tiny_pair import PROMPTS, noise

SHORT = [901, 801, 601, 401, 201, 1]
"""Six of 901, 801, ..., 1."""


def test_the_first_and_the_last_level_are_kept_and_the_rest_evenly() -> None:
    grid = list(range(901, 0, -100))
    assert [grid[i] for i in thinned(10, 6)] == SHORT
    assert [grid[i] for i in thinned(10, 4)] == [901, 601, 301, 1]
    assert thinned(10, 1) == [0] and thinned(10, 2) == [0, 9] and thinned(10, 10) == list(range(10))
    for count, kept in ((10, 11), (10, 0)):
        with pytest.raises(InputError, match=f"{kept} steps of a grid of {count} levels"):
            thinned(count, kept)


def images(pipeline: Pipeline, steps: int = 6, of: int = 10) -> np.ndarray:
    drawn = draw(
        pipeline, pipeline.encode(PROMPTS), noise(pipeline), num_inference_steps=steps, grid_of=of, guidance_scale=3.0
    )
    return drawn.permute(0, 2, 3, 1).numpy()


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_ddim_on_some_levels_is_eulers_method_on_the_same_timesteps(kind: str) -> None:
    """In x / sqrt(alpha-bar) and sigma the two are one formula."""
    pipe = tiny.stable_diffusion(prediction_type=kind, set_alpha_to_one=True)
    mine = images(Pipeline(pipe))
    x = noise(Pipeline(pipe))
    pipe.scheduler = EulerDiscreteScheduler.from_config(pipe.scheduler.config)
    expected = pipe(PROMPTS, latents=x, timesteps=SHORT, guidance_scale=3.0, output_type="np").images
    assert np.abs(mine - expected).max() < 1e-4 and expected.std() > 0.01


def test_flow_on_some_levels_is_the_plain_call_with_these_sigmas() -> None:
    pipe = tiny_flow.stable_diffusion_3(shift=1.0)
    pipeline = Pipeline(pipe)
    mine = images(pipeline)
    pipe.scheduler.set_timesteps(10)
    sigmas = [float(pipe.scheduler.sigmas[i]) for i in (0, 1, 3, 5, 7, 9)]
    x = noise(pipeline)
    expected = pipe(PROMPTS, latents=x, sigmas=sigmas, guidance_scale=3.0, output_type="np").images
    assert np.abs(mine - expected).max() < 1e-4 and expected.std() > 0.01


SAMPLERS = ("ddim", "ddpm", "deis", "dpm++", "dpm++-single", "euler", "euler-ancestral", "heun", "kdpm2", "lcm", "lms")
SAMPLERS += ("pndm", "tcd", "unipc", "euler:use_karras_sigmas=true", "euler:timestep_spacing=trailing")


@pytest.mark.parametrize("sampler", SAMPLERS)
def test_every_sampler_has_a_short_chain_that_begins_where_it_begins(sampler: str) -> None:
    pipe = tiny.stable_diffusion()
    pipeline = Pipeline(pipe)
    pipe.scheduler = make_scheduler(pipe, sampler)
    told: list[float] = []
    hook = pipe.unet.register_forward_pre_hook(lambda m, args: told.append(float(args[1])))
    generators = [torch.Generator().manual_seed(i) for i in range(len(PROMPTS))]
    pipeline.sample(pipeline.encode(PROMPTS), noise(pipeline), num_inference_steps=10, generator=generators)
    own, told[:] = set(told), []
    first = max(own)
    drawn = images(pipeline, 4)
    hook.remove()
    assert len(told) == 4 and told[0] == first and set(told) <= own
    assert told == sorted(told, reverse=True) and np.isfinite(drawn).all()


@pytest.mark.parametrize("spacing", ["leading", "trailing", "linspace"])
def test_the_noise_at_the_first_level_is_as_large_as_the_sampler_makes_it(spacing: str) -> None:
    """x_0 + sigma eps, which Euler's scheduler keeps, is divided by sqrt(1 + sigma^2)."""
    pipe = tiny.stable_diffusion()
    pipe.scheduler = make_scheduler(pipe, f"euler:timestep_spacing={spacing}")
    grid = ShortGrid(pipe.scheduler, 4)
    grid.set_timesteps(10)
    pipe.scheduler.set_timesteps(10)
    sigma = float(pipe.scheduler.sigmas[0])
    expected = float(pipe.scheduler.init_noise_sigma) / (1 + sigma**2) ** 0.5
    assert grid.init_noise_sigma == pytest.approx(expected, rel=1e-4)


def test_alpha_between_two_timesteps() -> None:
    alphas = np.array([0.9, 0.5, 0.0])
    assert alpha_at(alphas, 1.0) == 0.5 and alpha_at(alphas, 2.0) == 0.0
    sigma = np.sqrt(np.sqrt((0.1 / 0.9) * (0.5 / 0.5)))  # the geometric mean of the two sigmas
    assert alpha_at(alphas, 0.5) == pytest.approx(1 / (1 + sigma**2))


def test_what_has_no_such_chain() -> None:
    with pytest.raises(InputError, match="prediction type 'sample'"):
        ShortGrid(tiny.scheduler(prediction_type="sample"), 2)
    from diffusers import EDMEulerScheduler

    with pytest.raises(InputError, match="EDMEulerScheduler"):
        ShortGrid(EDMEulerScheduler(), 2)
