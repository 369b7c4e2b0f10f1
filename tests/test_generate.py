"""Winning noise and side-by-side pictures, on an untrained pipeline of the world's architecture and a tiny SDXL."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import noiseprompt
from noiseprompt.errors import InputError, ModelMismatchError, NoisepromptError, ShapeError
from noiseprompt.generate import GenerateConfig, generate, parse_seeds, winning_noise
from noiseprompt.methods.base import MethodSpec
from noiseprompt.noise import batch_noise, initial_noise
from noiseprompt.npnet import NPNet, build, tokens_config
from noiseprompt.pipelines import Pipeline
from noiseprompt.shapes.model import build_pipeline
from noiseprompt.types import Prompt
from tests import tiny


@pytest.fixture(scope="module")
def pipe():
    torch.manual_seed(0)
    pipe = build_pipeline()
    pipe.set_progress_bar_config(disable=True)
    return pipe


@pytest.fixture(scope="module")
def npnet() -> NPNet:
    torch.manual_seed(1)
    net = build(tokens_config((4, 16, 16), 12, 128, family="stable-diffusion"))
    with torch.no_grad():
        for parameter in net.parameters():
            parameter.add_(0.05 * torch.randn_like(parameter))
    return net.eval()


def test_strength_zero_is_the_source_noise_exactly(pipe, npnet) -> None:
    latents = winning_noise(pipe, npnet, ["a red circle", "a blue ring"], seeds=[3, 9], strength=0)
    assert torch.equal(latents, batch_noise([3, 9], (4, 16, 16)))


def test_strength_scales_the_perturbation(pipe, npnet) -> None:
    source = initial_noise(3, (4, 16, 16))[None]
    one = winning_noise(pipe, npnet, "a red circle", seeds=[3]) - source
    two = winning_noise(pipe, npnet, "a red circle", seeds=[3], strength=2.0) - source
    assert float(one.norm()) > 1e-3
    torch.testing.assert_close(two, 2 * one, atol=1e-5, rtol=1e-4)


def test_source_is_what_the_pipeline_would_draw(pipe, npnet) -> None:
    """With strength 0, a generator gives the very images the plain pipeline draws from it."""
    options = {"guidance_scale": 2.0, "num_inference_steps": 2, "output_type": "np"}
    texts = ["a red circle", "a blue ring"]
    plain = pipe(texts, generator=torch.Generator().manual_seed(5), **options).images
    latents = winning_noise(pipe, npnet, texts, generator=torch.Generator().manual_seed(5), strength=0)
    np.testing.assert_array_equal(pipe(texts, latents=latents, **options).images, plain)
    each = [torch.Generator().manual_seed(s) for s in (5, 6)]
    plain = pipe(texts, generator=each, **options).images
    each = [torch.Generator().manual_seed(s) for s in (5, 6)]
    latents = winning_noise(pipe, npnet, texts, generator=each, strength=0)
    np.testing.assert_array_equal(pipe(texts, latents=latents, **options).images, plain)


def test_several_images_a_prompt_are_neighbours(pipe, npnet) -> None:
    latents = winning_noise(pipe, npnet, ["a red circle", "a blue ring"], num_images_per_prompt=2, seeds=[1, 2, 3, 4])
    alone = winning_noise(pipe, npnet, "a red circle", seeds=[2])
    assert latents.shape == (4, 4, 16, 16)
    torch.testing.assert_close(latents[1:2], alone, atol=1e-5, rtol=1e-4)


@pytest.mark.parametrize(
    ("options", "message"),
    [
        ({"seeds": [1], "generator": torch.Generator()}, "both"),
        ({"seeds": [1, 2]}, "2 seeds for 1"),
        ({"seeds": [1], "num_images_per_prompt": 0}, "at least one"),
    ],
)
def test_contradictory_options_are_refused(pipe, npnet, options, message) -> None:
    with pytest.raises(InputError, match=message):
        winning_noise(pipe, npnet, "a red circle", **options)


def test_npnet_of_another_size_or_family_is_refused(pipe, npnet) -> None:
    with pytest.raises(ShapeError, match=r"32.*16|16.*32"):
        winning_noise(pipe, npnet, "a red circle", seeds=[1], height=128, width=128)
    with pytest.raises((ModelMismatchError, ShapeError)):
        winning_noise(tiny.stable_diffusion_xl(), npnet, "a photo", seeds=[1])


def test_public_name_is_the_same_function() -> None:
    assert noiseprompt.winning_noise is winning_noise


def test_generate_writes_images_grid_and_a_record(pipe, npnet, tmp_path: Path) -> None:
    npnet.save_pretrained(tmp_path / "npnet")
    specs = [MethodSpec.parse(s) for s in ("standard", "redenoise", f"npnet:path={tmp_path / 'npnet'}")]
    prompts = (Prompt("a red circle"), Prompt("two blue rings"))
    config = GenerateConfig(num_inference_steps=2, batch_size=3)
    out = tmp_path / "out"
    pictures = [p for batch in generate(Pipeline(pipe), prompts, (0, 7), specs, config, out) for p in batch]
    assert len(pictures) == 12
    record = json.loads((out / "run.json").read_text())
    assert [i["file"] for i in record["images"]] == [p.file for p in pictures]
    assert record["settings"]["num_inference_steps"] == 2 and record["seeds"] == [0, 7]
    standard = next(p for p in pictures if p.method == "standard" and p.seed == 7 and p.prompt.text == "two blue rings")
    np.testing.assert_array_equal(np.asarray(Image.open(out / standard.file)), standard.image)
    expected = Pipeline(pipe).sample(
        Pipeline(pipe).encode(["two blue rings"]), initial_noise(7, (4, 16, 16))[None], num_inference_steps=2
    )
    assert np.abs(expected[0].astype(int) - standard.image).max() <= 1
    width, height = Image.open(out / "grid.png").size
    assert width > 3 * 64 and height > 4 * 64


def test_swap_with_one_prompt_is_refused(pipe, tmp_path: Path) -> None:
    with pytest.raises(NoisepromptError, match="two different prompts"):
        list(
            generate(
                Pipeline(pipe),
                (Prompt("a red circle"),),
                (0,),
                [MethodSpec.parse("redenoise:swap")],
                GenerateConfig(),
                tmp_path,
            )
        )


@pytest.mark.parametrize(("text", "seeds"), [("0-3", (0, 1, 2, 3)), ("5", (5,)), ("1, 4-5,1", (1, 4, 5))])
def test_seeds_are_read(text: str, seeds: tuple[int, ...]) -> None:
    assert parse_seeds(text) == seeds


@pytest.mark.parametrize("text", ["", "a", "5-2", "-1", "0-99999", "1;2", "1.5"])
def test_bad_seeds_are_refused(text: str) -> None:
    with pytest.raises(InputError, match="seeds"):
        parse_seeds(text)
