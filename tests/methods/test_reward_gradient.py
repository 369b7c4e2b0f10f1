"""The reward's gradient by finite differences, one step of the ascent written out, the norm against chi."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.stats import chi

from noiseprompt.core.errors import InputError
from noiseprompt.core.types import Prompt, Sampling
from noiseprompt.methods.base import MethodSpec
from noiseprompt.methods.reward_gradient import norm_penalty
from noiseprompt.noise.white import project_white
from noiseprompt.pipelines import Pipeline
from noiseprompt.pipelines.gradients import draw
from noiseprompt.scorers.table import SCORERS
from tests.methods.stubs import NOISE, TEXTS, Brightness, Opaque, pipeline, state
from tests.pipelines.families.every import build, noise

PROMPTS = [Prompt(text) for text in TEXTS]
SAMPLING = Sampling(guidance_scale=3.0, num_inference_steps=10)


@pytest.fixture(autouse=True)
def _scorers(monkeypatch):
    monkeypatch.setitem(SCORERS._entries, "brightness", Brightness)
    monkeypatch.setitem(SCORERS._entries, "opaque", Opaque)


def drawn(made: Pipeline, x: torch.Tensor) -> torch.Tensor:
    """Two steps on the levels of ten."""
    return draw(made, made.encode(TEXTS), x, num_inference_steps=2, grid_of=10, guidance_scale=3.0)


def test_the_gradient_is_that_of_finite_differences() -> None:
    made = pipeline()
    made.pipe.to(dtype=torch.float64)
    noise = NOISE.double()
    scorer = Brightness()

    def loss(x: torch.Tensor) -> torch.Tensor:
        return (0.01 * norm_penalty(x) - scorer.score_tensor(drawn(made, x), PROMPTS)).sum()

    x = noise.clone().requires_grad_()
    gradient = torch.autograd.grad(loss(x), x)[0]
    for seed in range(3):
        direction = torch.randn(noise.shape, generator=torch.Generator().manual_seed(seed), dtype=torch.float64)
        with torch.no_grad():
            slope = (loss(noise + 1e-5 * direction) - loss(noise - 1e-5 * direction)) / 2e-5
        assert (gradient * direction).sum().item() == pytest.approx(slope.item(), rel=1e-5)


def test_the_norm_penalty_is_the_density_of_chi() -> None:
    x = torch.stack([scale * NOISE[0].double() for scale in (0.5, 0.9, 1.1, 2.0)])
    density = chi.logpdf(x.flatten(1).norm(dim=1).numpy(), df=NOISE[0].numel())
    found = norm_penalty(x).numpy()
    assert np.allclose(found - found[0], density[0] - density, atol=1e-8)


def _ascended(made: Pipeline, options: str) -> torch.Tensor:
    method = MethodSpec.parse(f"reward_gradient:scorer=brightness,{options}").build()
    method.prepare(made, SAMPLING)
    assert method.describe()["scorer"] == "brightness"
    return method.perturb(made, made.encode(TEXTS), NOISE)


def test_one_step_is_nesterovs_with_a_clipped_gradient() -> None:
    made = pipeline()
    result = _ascended(made, "iterations=2,num_inference_steps=2,lr=3,momentum=0.5,grad_clip=0.2,norm_weight=0.001")
    x = NOISE.clone().requires_grad_()
    loss = 0.001 * norm_penalty(x) - Brightness().score_tensor(drawn(made, x), PROMPTS)
    gradient = torch.autograd.grad(loss.sum(), x)[0]
    clip = 0.2 * 256**0.5 / 128
    for i in range(2):
        length = gradient[i].norm()
        expected = NOISE[i] - 3 * 1.5 * gradient[i] * min(1.0, clip / length)
        assert torch.allclose(result[i], expected, atol=1e-6)


def test_a_noise_kept_white_is_the_projection_of_the_step_without_a_penalty() -> None:
    made = pipeline()
    result = _ascended(made, "iterations=2,num_inference_steps=2,lr=3,momentum=0.5,grad_clip=0.2,keep=white")
    x = NOISE.clone().requires_grad_()
    gradient = torch.autograd.grad(-Brightness().score_tensor(drawn(made, x), PROMPTS).sum(), x)[0]
    clip = 0.2 * 256**0.5 / 128
    stepped = [NOISE[i] - 3 * 1.5 * gradient[i] * min(1.0, clip / gradient[i].norm()) for i in range(2)]
    expected = project_white(torch.stack(stepped))
    scores = [Brightness().score_tensor(drawn(made, y), PROMPTS) for y in (NOISE, expected)]
    for i in range(2):
        assert torch.allclose(result[i], (expected if scores[1][i] > scores[0][i] else NOISE)[i], atol=1e-6)


def test_the_score_rises_the_best_is_kept_and_nothing_stays_behind() -> None:
    made = pipeline()
    before = state(made)
    with torch.no_grad():  # as a stage may call it
        result = _ascended(made, "iterations=6,num_inference_steps=2")
        assert made.denoiser_calls == 6 * 2 * 2 * len(TEXTS)
        source, found = (Brightness().score_tensor(drawn(made, x), PROMPTS) for x in (NOISE, result))
    assert (found > source).all()
    assert state(made) == before
    assert not result.requires_grad
    assert torch.equal(_ascended(made, "iterations=1"), NOISE)


@pytest.mark.parametrize("name", ["hunyuan-dit", "flux", "controlnet"])
def test_it_rises_on_other_families(name: str) -> None:
    made = build(name)
    x, embeds = noise(made), made.encode(TEXTS)
    method = MethodSpec.parse("reward_gradient:scorer=brightness,iterations=3,num_inference_steps=2").build()
    method.prepare(made, SAMPLING)
    result = method.perturb(made, embeds, x)
    assert made.denoiser_calls == 3 * 2 * 2 * len(TEXTS)
    source, found = (
        Brightness().score_tensor(draw(made, embeds, y, num_inference_steps=2, grid_of=10, guidance_scale=3.0), PROMPTS)
        for y in (x, result)
    )
    assert (found > source).all()


def test_a_chain_is_no_longer_than_the_run() -> None:
    made = pipeline()
    method = MethodSpec.parse("reward_gradient:scorer=brightness,iterations=1,num_inference_steps=4").build()
    method.prepare(made, Sampling(guidance_scale=3.0, num_inference_steps=2))
    method.perturb(made, made.encode(TEXTS), NOISE)
    assert made.denoiser_calls == 2 * 2 * len(TEXTS)


def test_what_it_needs() -> None:
    def prepare(text: str, made: Pipeline) -> None:
        MethodSpec.parse(text).build().prepare(made, SAMPLING)

    with pytest.raises(InputError, match="score_tensor"):
        prepare("reward_gradient:scorer=opaque", pipeline())
    with pytest.raises(InputError, match=r"guidance scale 0\.5"):
        prepare("reward_gradient:scorer=brightness,guidance_scale=0.5", pipeline())
    with pytest.raises(InputError, match="scorer="):
        prepare("reward_gradient", pipeline())
    with pytest.raises(InputError, match="prepare"):
        made = pipeline()
        MethodSpec.parse("reward_gradient").build().perturb(made, made.encode(TEXTS), NOISE)
    for options in ("iterations=0", "num_inference_steps=0", "lr=0", "momentum=1", "grad_clip=0", "norm_weight=-1"):
        with pytest.raises(InputError):
            MethodSpec.parse(f"reward_gradient:{options}").build()
