"""Winning noise as tensors, of a network on disk, and for pipelines that take their latents in another form."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest
import torch

from noiseprompt.core.errors import ConfigError, InputError, NoisepromptError, ShapeError
from noiseprompt.core.types import StartLevel
from noiseprompt.noise.seeds import batch_noise
from noiseprompt.npnet import NPNet, build, tokens_config
from noiseprompt.pipelines import Pipeline
from noiseprompt.stages.generate.winning import perturb_noise, winning_noise
from tests import tiny, tiny_flow
from tests.devices import DEVICE, accelerator

TEXTS, SHAPE = ["a red circle", "a blue ring"], (4, 8, 8)


@pytest.fixture(scope="module")
def pipe():
    return tiny.stable_diffusion()


def network(shape: tuple[int, ...], text: tuple[int, ...], **changed) -> NPNet:
    torch.manual_seed(1)
    net = build(replace(tokens_config(shape, *text), width=8, depth=1, heads=1, **changed))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return net.eval()


@pytest.fixture(scope="module")
def npnet() -> NPNet:
    return network(SHAPE, (16, 32), family="stable-diffusion")


def test_perturb_noise_is_winning_noise_without_a_pipeline(pipe, npnet) -> None:
    how = {"strength": 1.5, "renormalize": True}
    embeds = Pipeline(pipe).encode(TEXTS).prompt_embeds
    source = batch_noise([3, 9], SHAPE)
    made = perturb_noise(npnet, source, embeds, **how)
    assert torch.equal(made, winning_noise(pipe, npnet, TEXTS, seeds=[3, 9], **how))
    assert perturb_noise(npnet, source, embeds, strength=0) is source
    half = perturb_noise(npnet, source.half(), embeds.half(), **how)
    assert half.dtype == torch.float16
    torch.testing.assert_close(half.float(), made, atol=0.02, rtol=0.02)


def test_perturb_noise_refuses_what_does_not_fit(pipe, npnet) -> None:
    embeds, source = Pipeline(pipe).encode(["a ring"]).prompt_embeds, batch_noise([3], SHAPE)
    with pytest.raises(ShapeError, match="prompt embeddings"):
        perturb_noise(npnet, source, embeds[:, :5], strength=0)
    with pytest.raises(ShapeError, match="the same B"):
        perturb_noise(npnet, source, embeds.expand(2, -1, -1))
    with pytest.raises(InputError, match="the source noise"):
        perturb_noise(npnet, None, embeds)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="strength"):
        perturb_noise(npnet, source, embeds, strength=float("nan"))
    with pytest.raises(InputError, match="no_text"):
        perturb_noise(npnet, source, embeds, no_text=True)


def test_a_network_may_be_named_by_its_folder(pipe, npnet, tmp_path: Path) -> None:
    folder = npnet.save_pretrained(tmp_path / "net")
    expected = winning_noise(pipe, npnet, "a red circle", seeds=[3])
    assert torch.equal(winning_noise(pipe, folder, "a red circle", seeds=[3]), expected)
    assert torch.equal(winning_noise(pipe, str(folder), "a red circle", seeds=[3]), expected)
    with pytest.raises(NoisepromptError, match="nowhere"):
        winning_noise(pipe, str(tmp_path / "nowhere"), "a red circle", seeds=[3])


@pytest.mark.parametrize("build_pipe", [tiny_flow.flux, tiny_flow.z_image])
def test_latents_are_as_the_pipeline_takes_them(build_pipe) -> None:
    """FLUX takes packed latents, Z-Image float32 whatever its weights: at strength 0 the very picture without them."""
    pipe = build_pipe().to(torch.bfloat16)
    size = {"height": 64, "width": 64}
    pipeline = Pipeline(pipe)
    embeds = pipeline.encode(["a cat"])
    text = tuple(embeds.prompt_embeds.shape[1:])
    net = network(pipeline.latent_shape(64, 64), text)
    how = {"num_inference_steps": 2, "output_type": "pt", **size}

    def generator() -> torch.Generator:
        return torch.Generator().manual_seed(5)

    plain = pipe("a cat", generator=generator(), **how).images
    latents = winning_noise(pipe, net, "a cat", generator=generator(), strength=0, **size)
    assert torch.equal(pipe("a cat", latents=latents, **how).images, plain)
    own = winning_noise(pipeline, net, "a cat", generator=generator(), strength=0, **size)
    assert own.shape == (1, 4, 8, 8)
    moved = winning_noise(pipe, net, "a cat", seeds=[5], **size)
    given = embeds.call_kwargs["prompt_embeds"]  # of Z-Image a list
    assert torch.equal(winning_noise(pipe, net, prompt_embeds=given, seeds=[5], **size), moved)


def test_lists_of_embeddings_that_are_none(pipe, npnet) -> None:
    for wrong in ([], [torch.zeros(1, 2, 3)], ["a red circle"]):
        with pytest.raises(InputError, match="prompt_embeds"):
            winning_noise(pipe, npnet, prompt_embeds=wrong, seeds=[1])


@pytest.mark.parametrize(("net_on", "noise_on"), [(DEVICE, "cpu"), ("cpu", DEVICE), (DEVICE, DEVICE)])
def test_noise_goes_to_the_network_and_back(pipe, net_on, noise_on) -> None:
    embeds, source = Pipeline(pipe).encode(TEXTS).prompt_embeds, batch_noise([3, 9], SHAPE)
    net = network(SHAPE, (16, 32), predicts="picture")
    level = StartLevel(0.99, 0.1)
    expected = perturb_noise(net, source, embeds, renormalize=True, level=level)
    with accelerator():
        moved, there = net.to(net_on), source.to(noise_on)
        made = perturb_noise(moved, there, embeds, renormalize=True, level=level)
        assert made.device == torch.device(noise_on)
        torch.testing.assert_close(made.cpu(), expected, atol=1e-4, rtol=1e-3)
