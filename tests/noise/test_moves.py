"""The moves against diffusers' schedulers, the identity, the theorem and formulas written out here."""

from __future__ import annotations

import math

import pytest
import torch
from diffusers import DDIMInverseScheduler, DDIMScheduler

from noiseprompt.core.errors import InputError
from noiseprompt.noise.moves import closed_form, coefficient, move

SCHEDULE = {"beta_start": 0.00085, "beta_end": 0.012, "beta_schedule": "scaled_linear", "steps_offset": 1}


def ddim(steps: int, cls: type = DDIMScheduler, **options):
    scheduler = cls(**SCHEDULE, clip_sample=False, set_alpha_to_one=False, timestep_spacing="leading", **options)
    scheduler.set_timesteps(steps)
    return scheduler


def alphas(steps: int) -> tuple[float, float]:
    """alpha-bar at T and T-k, from the schedule's definition in float64."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    bar = torch.cumprod(1 - betas, 0)
    k = 1000 // steps
    return bar[k * (steps - 1) + 1].item(), bar[k * (steps - 2) + 1].item()


def normal(*shape: int, seed: int = 0, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(seed), dtype=dtype)


@pytest.mark.parametrize("kind", ["epsilon", "flow_prediction"])
@pytest.mark.parametrize(("dtype", "bound"), [(torch.float64, 1e-12), (torch.float32, 2e-6)])
@pytest.mark.parametrize("steps", [4, 10, 50])
def test_down_and_up_with_one_prediction_is_the_identity(kind, dtype, bound, steps):
    a, b = alphas(steps) if kind == "epsilon" else (1.0, 1 - 1 / steps)
    x, eps = normal(3, 4, 8, 8, dtype=dtype), normal(3, 4, 8, 8, seed=1, dtype=dtype)
    lower = move(x, eps, a, b, kind)
    assert (lower - x).abs().max() > 0.01
    assert (move(lower, eps, b, a, kind) - x).abs().max() < bound
    assert lower.dtype == dtype


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("steps", [10, 50])
def test_down_is_one_step_of_diffusers_ddim(kind, steps):
    scheduler = ddim(steps, prediction_type=kind)
    x, predicted = normal(2, 4, 8, 8), normal(2, 4, 8, 8, seed=1)
    theirs = scheduler.step(predicted, int(scheduler.timesteps[0]), x).prev_sample
    assert torch.allclose(move(x, predicted, *alphas(steps), kind), theirs, atol=3e-6)


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
@pytest.mark.parametrize("steps", [10, 50])
def test_up_is_one_step_of_diffusers_ddim_inversion(kind, steps):
    inverse = ddim(steps, DDIMInverseScheduler, prediction_type=kind)
    x, predicted = normal(2, 4, 8, 8), normal(2, 4, 8, 8, seed=1)
    t_from = int(ddim(steps).timesteps[0])  # its step takes the level it returns
    theirs = inverse.step(predicted, t_from, x).prev_sample
    a, b = alphas(steps)
    assert torch.allclose(move(x, predicted, b, a, kind), theirs, atol=3e-6)


@pytest.mark.parametrize(("steps", "value"), [(10, -0.385), (50, -0.110)])
def test_coefficient_of_the_theorem(steps, value):
    a, b = alphas(steps)
    assert coefficient(a, b) == pytest.approx(value, abs=5e-4)
    assert coefficient(a, b) == pytest.approx(
        (math.sqrt(a * (1 - b)) - math.sqrt(b * (1 - a))) / math.sqrt(b), abs=1e-12
    )


def test_closed_form_is_two_moves_of_a_denoiser_that_does_not_depend_on_its_input():
    a, b = alphas(10)
    x, cond, uncond = (normal(2, 4, 8, 8, seed=s, dtype=torch.float64) for s in range(3))
    down, up = 5.5, 1.0
    lower = move(x, uncond + down * (cond - uncond), a, b)
    two_moves = move(lower, uncond + up * (cond - uncond), b, a)
    assert torch.allclose(closed_form(x, cond, uncond, a, b, down - up), two_moves, atol=1e-12)
    assert (two_moves - x).abs().max() > 1
    assert torch.allclose(two_moves - x, -0.385 * 4.5 * (cond - uncond), atol=0.01)


def test_v_prediction_is_converted_where_it_was_predicted():
    a, b = alphas(10)
    x, v = normal(2, 4, 8, 8, dtype=torch.float64), normal(2, 4, 8, 8, seed=1, dtype=torch.float64)
    here = math.sqrt(b) * v + math.sqrt(1 - b) * x
    there = math.sqrt(a) * v + math.sqrt(1 - a) * x
    assert torch.allclose(move(x, v, b, a, "v_prediction"), move(x, here, b, a), atol=1e-12)
    assert torch.allclose(move(x, v, b, a, "v_prediction", alpha_at=a), move(x, there, b, a), atol=1e-12)
    assert (here - there).abs().max() > 0.01
    assert torch.equal(move(x, v, b, a, "epsilon", alpha_at=a), move(x, v, b, a, "epsilon"))


def test_v_prediction_of_the_same_picture_and_noise_moves_back():
    a, b = alphas(10)
    x_0, eps = normal(2, 4, 8, 8, dtype=torch.float64), normal(2, 4, 8, 8, seed=1, dtype=torch.float64)

    def level(alpha):
        return math.sqrt(alpha) * x_0 + math.sqrt(1 - alpha) * eps

    def velocity(alpha):
        return math.sqrt(alpha) * eps - math.sqrt(1 - alpha) * x_0

    assert torch.allclose(move(level(a), velocity(a), a, b, "v_prediction"), level(b), atol=1e-12)
    assert torch.allclose(move(level(b), velocity(b), b, a, "v_prediction"), level(a), atol=1e-12)
    assert torch.allclose(move(level(0.0), velocity(0.0), 0.0, b, "v_prediction"), level(b), atol=1e-12)


def test_flow_moves_along_the_straight_line():
    x_0, eps = normal(2, 16, 8, 8, dtype=torch.float64), normal(2, 16, 8, 8, seed=1, dtype=torch.float64)
    at = {sigma: (1 - sigma) * x_0 + sigma * eps for sigma in (1.0, 0.9)}
    assert torch.allclose(move(at[1.0], eps - x_0, 1.0, 0.9, "flow_prediction"), at[0.9], atol=1e-12)
    assert torch.allclose(move(at[0.9], eps - x_0, 0.9, 1.0, "flow_prediction"), at[1.0], atol=1e-12)


@pytest.mark.parametrize("dtype", [torch.float16, torch.bfloat16])
def test_half_precision_is_cast_last(dtype):
    a, b = alphas(50)
    x, eps = normal(2, 4, 8, 8).to(dtype), normal(2, 4, 8, 8, seed=1).to(dtype)
    assert torch.equal(move(x, eps, a, b), move(x.float(), eps.float(), a, b).to(dtype))
    assert torch.equal(
        closed_form(x, eps, x, a, b, 4.5), closed_form(x.float(), eps.float(), x.float(), a, b, 4.5).to(dtype)
    )


def test_moves_that_make_no_sense_are_refused():
    x = normal(1, 4, 8, 8)
    with pytest.raises(InputError, match="'sample'"):
        move(x, x, 0.1, 0.2, "sample")  # type: ignore[arg-type]
    with pytest.raises(InputError, match="alpha-bar 0"):
        move(x, x, 0.0, 0.2, "epsilon")
