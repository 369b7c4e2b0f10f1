"""Every family: the image with a gradient is the plain one, and the gradient that of finite differences."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from noiseprompt.pipelines.families import FAMILIES
from noiseprompt.pipelines.gradients import draw
from tests.devices import DEVICE, accelerator
from tests.pipelines.families.checks import PROMPTS
from tests.pipelines.families.every import PIPELINES, build, generators, noise

GUIDANCE = 3.0


def test_no_family_is_left_out() -> None:
    covered = {build(name).family.name for name in PIPELINES if name != "no-family"}
    assert covered == {family.name for family in FAMILIES}


@pytest.mark.parametrize("name", PIPELINES)
def test_an_image_with_a_gradient_is_what_sample_draws(name: str) -> None:
    pipeline = build(name)
    embeds, x = pipeline.encode(PROMPTS), noise(pipeline).requires_grad_()
    settings = {"guidance_scale": GUIDANCE, "num_inference_steps": 3}
    images = draw(pipeline, embeds, x, generator=generators(), **settings)
    assert pipeline.denoiser_calls == 3 * 2 * len(PROMPTS)
    images.sum().backward()
    assert x.grad is not None and bool(x.grad.isfinite().all()) and float(x.grad.abs().sum()) > 0
    assert pipeline.denoiser_calls == 3 * 2 * len(PROMPTS), "a backward pass is no call"
    expected = pipeline.sample(embeds, x.detach(), generator=generators(), **settings)
    assert images.shape == (2, 3, 64, 64) and expected.std() > 1
    found = images.detach().permute(0, 2, 3, 1).numpy() * 255
    assert np.abs(found - expected).max() <= 0.501


OWN = ("stable-diffusion-xl", "hunyuan-dit", "pixart-sigma", "sana", "flux")
"""One of each kind of scheduler."""


@pytest.mark.parametrize(("name", "grid_of"), [*((name, 10) for name in PIPELINES), *((name, None) for name in OWN)])
def test_the_gradient_is_that_of_finite_differences(name: str, grid_of: int | None) -> None:
    """Over pixels that do not clip, in float64; parts of some pipelines compute in float32 all the same."""
    pipeline = build(name)
    pipeline.pipe.to(dtype=torch.float64)
    embeds, x = pipeline.encode(PROMPTS), noise(pipeline, torch.float64)

    def images(latents: torch.Tensor) -> torch.Tensor:
        settings = {"num_inference_steps": 2, "grid_of": grid_of, "guidance_scale": GUIDANCE}
        return draw(pipeline, embeds, latents, generator=generators(), **settings)

    leaf = x.clone().requires_grad_()
    drawn = images(leaf)
    weights = torch.randn(drawn.shape, generator=torch.Generator().manual_seed(5))
    weights = weights * ((drawn > 0.05) & (drawn < 0.95))
    gradient = torch.autograd.grad((drawn * weights).sum(), leaf)[0]
    direction = gradient / gradient.norm()
    step = 1e-3
    up, down = ((images(x + sign * step * direction).double() * weights).sum() for sign in (1, -1))
    slope = (up - down).item() / (2 * step)
    assert (gradient * direction).sum().item() == pytest.approx(slope, rel=2e-3)


@pytest.mark.parametrize("name", ["stable-diffusion-xl", "stable-diffusion-3", "flux"])
def test_in_bfloat16(name: str) -> None:
    found = {}
    for dtype in (torch.float32, torch.bfloat16):
        pipeline = build(name)
        pipeline.pipe.to(dtype=dtype)
        x = noise(pipeline).requires_grad_()
        images = draw(pipeline, pipeline.encode(PROMPTS), x, num_inference_steps=2, grid_of=10, guidance_scale=GUIDANCE)
        assert images.dtype == torch.float32
        found[dtype] = torch.autograd.grad(images.sum(), x)[0].flatten(1)
    cosine = torch.nn.functional.cosine_similarity(found[torch.float32], found[torch.bfloat16])
    assert float(cosine.min()) > 0.9


@pytest.mark.parametrize("name", ["stable-diffusion-xl", "flux"])
def test_on_a_device(name: str) -> None:
    def gradient(device: object) -> torch.Tensor:
        pipeline = build(name)
        pipeline.pipe.to(device)
        x = noise(pipeline).requires_grad_()
        images = draw(pipeline, pipeline.encode(PROMPTS), x, num_inference_steps=2, grid_of=10, guidance_scale=GUIDANCE)
        assert images.device == torch.device(device)
        return torch.autograd.grad(images.cpu().sum(), x)[0]

    expected = gradient(torch.device("cpu"))
    with accelerator(float64=True):
        found = gradient(DEVICE)
    torch.testing.assert_close(found, expected, atol=1e-3, rtol=1e-2)
