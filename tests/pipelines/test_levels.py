"""The first two levels of a grid: the noise schedule written out, and the first step of diffusers' own DPM-Solver++."""

from __future__ import annotations

import math

import pytest
import torch
from diffusers import DPMSolverMultistepScheduler, DPMSolverSinglestepScheduler

from noiseprompt.core.errors import InputError
from noiseprompt.noise.moves import move
from noiseprompt.pipelines import Pipeline
from noiseprompt.pipelines.levels import ddim_levels, dpm_solver_levels
from tests import tiny
from tests.pipelines.tiny_pair import PROMPTS, noise


@pytest.mark.parametrize("steps", [2, 10, 50, 300, 999])
def test_levels_are_the_first_two_of_the_grid(sd, steps):
    k = 1000 // steps
    bar = torch.cumprod(1 - torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2, 0)
    t_from, t_to, a, b = sd.levels(steps)
    assert (t_from, t_to) == (k * (steps - 1) + 1, k * (steps - 2) + 1)
    assert a == pytest.approx(bar[t_from].item(), rel=1e-4) and b == pytest.approx(bar[t_to].item(), rel=1e-4)


def test_levels_with_one_step_end_at_timestep_zero():
    trailing = tiny.scheduler(timestep_spacing="trailing", set_alpha_to_one=True)
    levels = ddim_levels(trailing.config, 1)
    assert (levels.t_from, levels.t_to, levels.alpha_to) == (999, 0, 1.0)
    pipeline = Pipeline(tiny.stable_diffusion(timestep_spacing="trailing"))
    embeds, x = pipeline.encode(PROMPTS), noise(pipeline)
    theirs = pipeline.pipe(PROMPTS, latents=x, num_inference_steps=1, guidance_scale=3.0, output_type="latent").images
    mine = pipeline.denoise_step(embeds, x, guidance_scale=3.0, num_inference_steps=1)
    assert torch.allclose(mine, theirs, rtol=1e-4, atol=1e-4)


def test_coefficient_through_a_pipeline_is_the_theorems(sd):
    _, _, a, b = sd.levels(10)
    assert (math.sqrt(a * (1 - b)) - math.sqrt(b * (1 - a))) / math.sqrt(b) == pytest.approx(-0.385, abs=5e-4)


def eps_of(pipe, x, t, guidance):
    """The guided prediction of the tiny SDXL, its U-Net called directly."""
    text, empty, pooled, no_pool = pipe.encode_prompt(PROMPTS)
    size = torch.tensor([[64.0, 64, 0, 0, 64, 64]] * len(x))

    def predict(text, pooled):
        added = {"text_embeds": pooled, "time_ids": size}
        return pipe.unet(x, t, encoder_hidden_states=text, added_cond_kwargs=added).sample

    uncond = predict(empty, no_pool)
    return uncond + guidance * (predict(text, pooled) - uncond)


@pytest.mark.parametrize(
    ("kind", "settings"),
    [
        *((DPMSolverMultistepScheduler, {"timestep_spacing": way}) for way in ("leading", "linspace", "trailing")),
        *((kind, {"use_karras_sigmas": True}) for kind in (DPMSolverMultistepScheduler, DPMSolverSinglestepScheduler)),
        (DPMSolverSinglestepScheduler, {}),
    ],
)
def test_the_move_on_its_grid_inverts_the_first_step_of_dpm_solver(xl, kind, settings):
    own = xl.scheduler
    solver = kind.from_config(own.config, **settings)
    pipeline = Pipeline(xl, "Lykon/dreamshaper-xl-v2-turbo")
    xl.scheduler = solver
    try:
        x, embeds = noise(pipeline), pipeline.encode(PROMPTS)
        t_from, _, a_from, a_to = pipeline.levels(4)
        mine = pipeline.denoise_step(embeds, x, guidance_scale=3.5, num_inference_steps=4)
    finally:
        xl.scheduler = own
    with torch.no_grad():
        eps = eps_of(xl, x, torch.tensor(t_from), 3.5)
    solver.set_timesteps(4)
    assert int(solver.timesteps[0]) == t_from
    lower = solver.step(eps, solver.timesteps[0], x).prev_sample  # diffusers' own first step
    assert (lower - x).abs().max() > 0.1 and torch.allclose(mine, lower, atol=2e-5)
    assert torch.allclose(move(mine, eps, a_to, a_from), x, atol=5e-6)


def test_dpm_solver_levels_at_the_edges():
    ddim = tiny.scheduler()
    solver = DPMSolverMultistepScheduler.from_config(ddim.config)
    assert dpm_solver_levels(ddim, 1).alpha_to == 1.0
    assert dpm_solver_levels(ddim, 7) == dpm_solver_levels(solver, 7), "whatever the sampler"
    for steps in (0, 1000):
        with pytest.raises(InputError, match=f"num_inference_steps {steps}"):
            dpm_solver_levels(ddim, steps)
    assert not Pipeline(tiny.stable_diffusion_xl(), "dreamshaper-xl-turbo").can_share_first_step
