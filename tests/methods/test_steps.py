"""Closed form, RePaint and noise level guidance against the formulas, written out in float64."""

from __future__ import annotations

import math

import pytest
import torch

from noiseprompt.core.errors import InputError
from noiseprompt.core.types import Sampling
from noiseprompt.methods.base import MethodSpec
from noiseprompt.methods.gap import guidance_gap
from noiseprompt.methods.repaint import renoise_weights
from noiseprompt.noise.fresh import fresh_noise
from noiseprompt.pipelines import Pipeline
from tests.methods.stubs import NOISE, STEPS, TEXTS, alphas, pipeline, state, weight


def flipped(x, w):
    return w * x.flip(-1) + 0.3 * x


def constant(x, w):
    return w * torch.linspace(-1, 1, x[0].numel()).view(1, *x.shape[1:]).to(x)


def perturbed(made: Pipeline, text: str, noise: torch.Tensor = NOISE) -> torch.Tensor:
    method = MethodSpec.parse(text).build()
    method.prepare(made, Sampling(num_inference_steps=STEPS))
    return method.perturb(made, made.encode(TEXTS[: len(noise)]), noise)


def weights(made: Pipeline) -> tuple[torch.Tensor, torch.Tensor]:
    """w of the prompts and of the empty ones, in float64."""
    given = made.encode(TEXTS).call_kwargs
    return weight(given["prompt_embeds"]).double(), weight(given["negative_prompt_embeds"]).double()


def test_the_stub_tells_prompts_apart() -> None:
    with_prompt, without = weights(pipeline())
    assert (with_prompt - without).abs().min() > 0.1
    assert (with_prompt[0] - with_prompt[1]).abs() > 0.1


# ----------------------------------------------------------------------------------------------------------------- gap


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_gap_is_the_difference_of_two_predictions_and_costs_two_calls(kind) -> None:
    made = pipeline(flipped, prediction_type=kind)
    before = state(made)
    gap = guidance_gap(made, made.encode(TEXTS), NOISE, STEPS)
    with_prompt, without = weights(made)
    expected = (with_prompt - without) * NOISE.double().flip(-1)
    expected *= math.sqrt(alphas()[0]) if kind == "v_prediction" else 1
    assert torch.allclose(gap.double(), expected, atol=2e-5)
    assert made.denoiser_calls == 2 * len(TEXTS)
    assert state(made) == before


def test_gap_puts_the_denoiser_back_on_error() -> None:
    made = pipeline()
    made.denoiser.conv_out.forward = lambda x: 1 / 0
    before = state(made)
    with pytest.raises(ZeroDivisionError):
        guidance_gap(made, made.encode(TEXTS), NOISE, STEPS)
    assert state(made) == before


def test_gap_needs_guidance_and_some_picture_at_the_noisiest_level(monkeypatch) -> None:
    made = pipeline(flipped, prediction_type="v_prediction", rescale_betas_zero_snr=True, timestep_spacing="trailing")
    with pytest.raises(InputError, match="alpha-bar 0"):
        guidance_gap(made, made.encode(TEXTS), NOISE, STEPS)
    monkeypatch.setattr(type(made.family), "why_no_guidance", lambda self, pipe: "it was distilled")
    for name in ("closed_form", "nlg"):
        with pytest.raises(InputError, match="it was distilled"):
            MethodSpec.parse(name).build().prepare(made, Sampling())


# --------------------------------------------------------------------------------------------------------- closed form


@pytest.mark.parametrize("kind", ["epsilon", "v_prediction"])
def test_closed_form_is_the_theorem(kind) -> None:
    made = pipeline(flipped, prediction_type=kind)
    result = perturbed(made, "closed_form:denoise_guidance_scale=4,invert_guidance_scale=1.5")
    a, b = alphas()
    factor = (math.sqrt(a * (1 - b)) - math.sqrt(b * (1 - a))) / math.sqrt(b)
    factor *= math.sqrt(a) if kind == "v_prediction" else 1
    with_prompt, without = weights(made)
    expected = NOISE.double() + factor * 2.5 * (with_prompt - without) * NOISE.double().flip(-1)
    assert torch.allclose(result.double(), expected, atol=5e-5)
    assert made.denoiser_calls == 2 * len(TEXTS)
    assert result.dtype == NOISE.dtype


def test_closed_form_is_redenoise_where_the_prediction_does_not_depend_on_the_latents() -> None:
    made = pipeline(constant)
    result = perturbed(made, "closed_form")
    calls = made.denoiser_calls
    expected = made.redenoise(made.encode(TEXTS), NOISE)
    assert torch.allclose(result, expected, atol=2e-5)
    assert (result - NOISE).abs().max() > 0.05
    assert calls == 2 * len(TEXTS) and made.denoiser_calls - calls == 3 * len(TEXTS)


def test_closed_form_of_a_flow_model_is_redenoise_too() -> None:
    from tests import tiny_flow

    made = Pipeline(tiny_flow.stable_diffusion_3())
    noise = torch.randn(2, 16, 8, 8, generator=torch.Generator().manual_seed(0))
    made.denoiser.forward = lambda hidden_states, encoder_hidden_states, **_: (
        constant(hidden_states, weight(encoder_hidden_states)),
    )
    result = perturbed(made, "closed_form", noise=noise)
    assert torch.allclose(result, made.redenoise(made.encode(TEXTS), noise), atol=1e-4)
    assert (result - noise).abs().max() > 0.02


# ------------------------------------------------------------------------------------------------------------- repaint


def test_repaint_is_a_step_down_and_fresh_noise() -> None:
    made = pipeline(flipped)
    result = perturbed(made, "repaint:guidance_scale=3,rounds=2")
    a, b = alphas()
    with_prompt, without = weights(made)
    x = NOISE.double()
    for index in range(2):
        guided = flipped(x, without) + 3 * (flipped(x, with_prompt) - flipped(x, without))
        clean = (x - math.sqrt(1 - a) * guided) / math.sqrt(a)
        lower = math.sqrt(b) * clean + math.sqrt(1 - b) * guided
        z = fresh_noise(NOISE, "repaint", index).double()
        x = math.sqrt(a / b) * lower + math.sqrt(1 - a / b) * z
    assert torch.allclose(result.double(), x, atol=2e-4)
    assert made.denoiser_calls == 2 * 2 * len(TEXTS)


def test_renoising_gives_the_variance_of_the_level() -> None:
    a, b = alphas()
    keep, fresh = renoise_weights((a, b), flow=False)
    assert keep**2 * b == pytest.approx(a)  # of the picture
    assert keep**2 * (1 - b) + fresh**2 == pytest.approx(1 - a)  # of the noise
    keep, fresh = renoise_weights((0.9, 0.7), flow=True)
    assert keep * 0.3 == pytest.approx(0.1)
    assert (keep * 0.7) ** 2 + fresh**2 == pytest.approx(0.81)


def test_repaint_refuses_a_level_that_is_pure_noise() -> None:
    made = pipeline(flipped, prediction_type="v_prediction", rescale_betas_zero_snr=True, timestep_spacing="trailing")
    from tests import tiny_flow

    method = MethodSpec.parse("repaint").build()
    for refused in (made, Pipeline(tiny_flow.stable_diffusion_3())):
        with pytest.raises(InputError, match="pure noise"):
            method.prepare(refused, Sampling())
    with pytest.raises(InputError, match="pure noise"):
        method.perturb(made, made.encode(TEXTS), NOISE)


# ----------------------------------------------------------------------------------------------------------------- nlg


@pytest.mark.parametrize(("step", "max_move"), [(0.01, 10.0), (1.0, 0.02)])
def test_nlg_steps_along_the_gap_and_keeps_the_norm(step, max_move) -> None:
    made = pipeline(flipped)
    result = perturbed(made, f"nlg:rounds=3,step={step},max_move={max_move}")
    with_prompt, without = weights(made)
    expected = []
    for i in range(len(TEXTS)):
        x = NOISE[i].double()
        norm = x.norm()
        for _ in range(3):
            move = step * (with_prompt[i] - without[i]) * x.flip(-1)
            if move.norm() > max_move * norm:
                move = move / move.norm() * max_move * norm
            x = x - move
            x = x / x.norm() * norm
        expected.append(x)
    assert torch.allclose(result.double(), torch.stack(expected), atol=2e-5)
    assert (result - NOISE).norm() > 0.005 * NOISE.norm()
    assert made.denoiser_calls == 2 * 3 * len(TEXTS)


@pytest.mark.parametrize(
    "text",
    ["nlg:rounds=0", "nlg:step=0", "nlg:max_move=-1", "repaint:rounds=0", "closed_form:steps=0"],
)
def test_options_out_of_range(text) -> None:
    with pytest.raises(InputError):
        MethodSpec.parse(text).build()
