"""Winning noise and side-by-side pictures, on an untrained pipeline of the world's architecture and a tiny SDXL."""

from __future__ import annotations

import copy
import json
import math
import warnings
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

import noiseprompt
from noiseprompt.core.environment import environment
from noiseprompt.core.errors import InputError, ModelMismatchError, NoiseError, NoisepromptError, ShapeError
from noiseprompt.core.types import Prompt, Sampling
from noiseprompt.methods.base import MethodSpec, make_noise
from noiseprompt.noise import initial_noise
from noiseprompt.noise.guard import NoiseWarning
from noiseprompt.noise.seeds import batch_noise
from noiseprompt.npnet import NPNet, build, tokens_config
from noiseprompt.pipelines import Pipeline
from noiseprompt.pipelines.long_prompts import TextWarning, chunks
from noiseprompt.shapes.model import build_pipeline
from noiseprompt.stages.generate.generate import generate
from noiseprompt.stages.generate.settings import GenerateConfig, parse_seeds
from noiseprompt.stages.generate.winning import winning_noise
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
    assert record["versions"] == environment()  # as an evaluation records them
    assert [i["file"] for i in record["images"]] == [p.file for p in pictures]
    assert record["settings"]["num_inference_steps"] == 2 and record["seeds"] == [0, 7]
    assert record["changes"] == {}
    assert [record["noise"][s.label]["images"] for s in specs] == [4, 4, 4]
    assert record["noise"]["standard"]["perturbation"] == 0 < record["noise"]["redenoise"]["perturbation"]
    standard = next(p for p in pictures if p.method == "standard" and p.seed == 7 and p.prompt.text == "two blue rings")
    np.testing.assert_array_equal(np.asarray(Image.open(out / standard.file)), standard.image)
    expected = Pipeline(pipe).sample(
        Pipeline(pipe).encode(["two blue rings"]), initial_noise(7, (4, 16, 16))[None], num_inference_steps=2
    )
    assert np.abs(expected[0].astype(int) - standard.image).max() <= 1
    width, height = Image.open(out / "grid.png").size
    assert width > 3 * 64 and height > 4 * 64


def test_every_picture_has_a_file_of_its_own_on_any_disk(pipe, npnet, tmp_path: Path) -> None:
    """Paths that differ in a sign or in case alone, and one longer than a file's name may be."""
    nets = [tmp_path / name for name in ("a_b", "a-b", "A-b", "/".join(["long" * 20] * 4))]
    labels = [f"npnet:path={npnet.save_pretrained(net)},strength={i}" for i, net in enumerate(nets, 1)]
    same = [f"npnet:path={nets[0]},strength=1", f"npnet:path={nets[1]},strength=1"]
    specs = [MethodSpec.parse(label) for label in ["standard", *labels[1:], *same]]
    config, out = GenerateConfig(num_inference_steps=1), tmp_path / "out"
    drawn = [p for [p] in generate(Pipeline(pipe), (Prompt("a red circle"),), (3,), specs, config, out)]
    assert drawn[0].file == "000-3-standard.png"
    assert len({p.file.lower() for p in drawn}) == len(specs)
    for picture in drawn:
        np.testing.assert_array_equal(np.asarray(Image.open(out / picture.file)), picture.image)


def test_a_prompts_own_seed_counts_unless_seeds_are_given(pipe, tmp_path: Path) -> None:
    pipeline, config = Pipeline(pipe), GenerateConfig(num_inference_steps=1)
    prompts = (Prompt("a red circle", seed=9), Prompt("two blue rings"))

    def drawn(seeds: tuple[int, ...] | None) -> list[tuple[str, int]]:
        batches = generate(pipeline, prompts, seeds, [MethodSpec.parse("standard")], config, tmp_path)
        return [(p.prompt.text, p.seed) for batch in batches for p in batch]

    assert drawn(None) == [("a red circle", 9), *(("two blue rings", seed) for seed in range(4))]
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["seeds"] == [9, 0, 1, 2, 3] and [i["seed"] for i in record["images"]] == [9, 0, 1, 2, 3]
    assert drawn((5,)) == [("a red circle", 5), ("two blue rings", 5)]


@pytest.mark.parametrize(
    ("prompts", "seeds", "methods", "message"),
    [
        ([], (0,), ["standard"], "no prompts"),
        ([Prompt("a")], (), ["standard"], r"seeds \(none\)"),
        ([Prompt("a")], (1, 2, 1), ["standard"], "seeds 1, 2, 1"),
        ([Prompt("a")], (0,), [], r"methods \(none\)"),
        ([Prompt("a")], None, ["standard", "npnet:strength=1", "npnet"], "methods standard, npnet, npnet"),
    ],
)
def test_nothing_to_draw_or_the_same_twice_is_refused(pipe, tmp_path, prompts, seeds, methods, message) -> None:
    specs, out = [MethodSpec.parse(method) for method in methods], tmp_path / "out"
    with pytest.raises(InputError, match=message):
        list(generate(Pipeline(pipe), prompts, seeds, specs, GenerateConfig(), out))
    assert not out.exists()


@pytest.mark.parametrize(
    "setting",
    [
        {"batch_size": 0},
        {"num_inference_steps": 0},
        {"guidance_scale": math.nan},
        {"guidance_scale": math.inf},
        {"height": 0},
        {"width": -8},
    ],
)
def test_settings_out_of_range_are_refused_before_anything_is_loaded(setting) -> None:
    [(name, value)] = setting.items()
    with pytest.raises(InputError, match=f"{name} {value}"):
        GenerateConfig(**setting)


@pytest.mark.parametrize("size", [{"height": 100}, {"width": 4}])
def test_sizes_no_model_draws_are_refused_before_anything_is_drawn(pipe, tmp_path, size) -> None:
    out = tmp_path / "out"
    with pytest.raises(ShapeError, match="multiples of 8"):
        list(generate(Pipeline(pipe), [Prompt("a")], (0,), [MethodSpec.parse("standard")], GenerateConfig(**size), out))
    assert not out.exists()


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


# ------------------------------------------------------------------------------------- embeddings, norms, long prompts


def test_prompt_embeds_in_place_of_a_prompt(pipe, npnet) -> None:
    texts = ["a red circle", "a blue ring"]
    embeds = Pipeline(pipe).encode(texts).prompt_embeds
    expected = winning_noise(pipe, npnet, texts, seeds=[1, 2, 3, 4], num_images_per_prompt=2)
    given = winning_noise(pipe, npnet, prompt_embeds=embeds, seeds=[1, 2, 3, 4], num_images_per_prompt=2)
    assert torch.equal(given, expected)
    weighted = winning_noise(pipe, npnet, prompt_embeds=1.5 * embeds, seeds=[1, 2])
    assert not torch.allclose(weighted, expected[[0, 2]], atol=1e-4)


@pytest.mark.parametrize(
    ("options", "error", "message"),
    [
        ({}, InputError, "neither of prompt and prompt_embeds"),
        ({"prompt": "a", "prompt_embeds": torch.zeros(1, 12, 128)}, InputError, "both of prompt and prompt_embeds"),
        ({"prompt_embeds": torch.zeros(12, 128)}, ShapeError, r"\(12, 128\).*\(B, L, D\)"),
        ({"prompt_embeds": torch.zeros(1, 12, 64)}, ShapeError, r"\(12, 64\).*\(12, 128\)"),
        ({"prompt_embeds": torch.zeros(0, 12, 128)}, InputError, "0 prompts"),
        ({"prompt": "a", "long_prompts": "cut"}, InputError, "truncate"),
    ],
)
def test_embeddings_that_do_not_fit_are_refused(pipe, npnet, options, error, message) -> None:
    with pytest.raises(error, match=message):
        winning_noise(pipe, npnet, **options)


def test_renormalize_restores_the_norm_of_each_source(pipe, npnet) -> None:
    source = batch_noise([3, 9], (4, 16, 16))
    free = winning_noise(pipe, npnet, ["a red circle", "a blue ring"], seeds=[3, 9], strength=3)
    kept = winning_noise(pipe, npnet, ["a red circle", "a blue ring"], seeds=[3, 9], strength=3, renormalize=True)
    norms = [x.flatten(1).norm(dim=1) for x in (source, free, kept)]
    assert ((norms[1] - norms[0]).abs() > 0.01).all()
    torch.testing.assert_close(norms[2], norms[0])
    torch.testing.assert_close(kept, free * (norms[0] / norms[1])[:, None, None, None])


def test_renormalize_is_an_option_of_every_method(pipe, npnet, tmp_path: Path) -> None:
    npnet.save_pretrained(tmp_path)
    spec = MethodSpec.parse(f"npnet:path={tmp_path},renormalize,strength=3")
    assert spec.label == f"npnet:path={tmp_path},strength=3,renormalize"
    assert MethodSpec.parse(spec.label) == spec
    pipeline, method = Pipeline(pipe), spec.build()
    method.prepare(pipeline, Sampling())
    source, embeds = batch_noise([3, 9], (4, 16, 16)), pipeline.encode(["a red circle", "a blue ring"])
    made = make_noise(spec, method, pipeline, embeds, None, source)
    expected = winning_noise(pipe, npnet, ["a red circle", "a blue ring"], seeds=[3, 9], strength=3, renormalize=True)
    torch.testing.assert_close(made, expected, atol=1e-5, rtol=1e-4)


LONG = " and ".join(["a red circle above a blue ring"] * 3)


def test_long_prompts_are_warned_about_and_averaged_on_request(pipe, npnet) -> None:
    with pytest.warns(TextWarning, match="12 tokens.*is cut"):
        cut = winning_noise(pipe, npnet, LONG, seeds=[1])
    with pytest.warns(TextWarning):
        mean = winning_noise(pipe, npnet, LONG, seeds=[1], long_prompts="average")
    assert not torch.allclose(cut, mean, atol=1e-4)
    pieces = Pipeline(pipe).encode(chunks(Pipeline(pipe).text_limits, LONG)).prompt_embeds
    expected = winning_noise(pipe, npnet, prompt_embeds=pieces.mean(0, keepdim=True), seeds=[1])
    torch.testing.assert_close(mean, expected, atol=1e-5, rtol=1e-4)


# ---------------------------------------------------------------------------------------------------------------- guard


def test_noise_out_of_the_band_is_warned_about(pipe, npnet) -> None:
    with pytest.warns(NoiseWarning, match="NPNet at strength 60.*standard deviation"):
        winning_noise(pipe, npnet, "a red circle", seeds=[1], strength=60.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error", NoiseWarning)
        winning_noise(pipe, npnet, "a red circle", seeds=[1])


def test_noise_that_is_not_finite_is_an_error(pipe, npnet) -> None:
    broken = copy.deepcopy(npnet)
    for parameter in broken.parameters():
        torch.nn.init.constant_(parameter, float("inf"))
    with pytest.raises(NoiseError, match="not finite"):
        winning_noise(pipe, broken, "a red circle", seeds=[1])


def test_the_control_draws_for_the_prompt_half_the_list_away(pipe, tmp_path: Path) -> None:
    """The same rule as in an evaluation: with four prompts the wrong one is two further on."""
    texts = ["a red circle", "two blue rings", "a green square", "three black stars"]
    pipeline, config = Pipeline(pipe), GenerateConfig(num_inference_steps=2, batch_size=4)
    spec = MethodSpec.parse("redenoise:swap")
    [pictures] = generate(pipeline, [Prompt(t) for t in texts], (5,), [spec], config, tmp_path)
    source = batch_noise([5] * 4, (4, 16, 16))
    noise = pipeline.redenoise(pipeline.encode([texts[i] for i in (2, 3, 0, 1)]), source)
    expected = pipeline.sample(pipeline.encode(texts), noise, num_inference_steps=2)
    np.testing.assert_array_equal(np.stack([p.image for p in pictures]), expected)
