"""The shipped world, as anyone loads it: plain diffusers, nothing of ours but the checker. And which model is it."""

from __future__ import annotations

import hashlib
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline

from noiseprompt.core.types import Sampling
from noiseprompt.methods.base import MethodSpec
from noiseprompt.pipelines import Pipeline
from noiseprompt.prompts import load_prompts
from noiseprompt.scorers.base import load_scorers
from noiseprompt.scorers.sets.extractors import load_features
from noiseprompt.scorers.shapes_checker import ShapesChecker
from noiseprompt.shapes import features_folder, npnet_folder, preference_folder, weights_folder, world


@pytest.fixture(scope="module")
def pipe():
    pipe = StableDiffusionPipeline.from_pretrained(weights_folder(), torch_dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    return pipe


def test_plain_diffusers_draws_what_is_asked(pipe) -> None:
    """One object each, at high guidance: an untrained model gets none right, guessing one in 48."""
    prompts = [p for p in load_prompts("shapes:test").prompts if p.kind == "single"]
    generator = [torch.Generator().manual_seed(i) for i in range(len(prompts))]
    images = pipe(
        [p.text for p in prompts], guidance_scale=7.5, num_inference_steps=10, generator=generator, output_type="np"
    ).images
    right = ShapesChecker().score((images * 255).round().astype(np.uint8), prompts) == 1.0
    assert right.mean() >= 0.4


def test_guidance_matters(pipe) -> None:
    """Images at guidance 5.5 show more of the prompt than at 1 (graded score, 32 held-out prompts)."""
    prompts = load_prompts("shapes:test", limit=32).prompts
    ours = Pipeline(pipe)
    embeds = ours.encode([p.text for p in prompts])
    noise = torch.randn(32, 4, 16, 16, generator=torch.Generator().manual_seed(0))
    low, high = (
        ShapesChecker().score(ours.sample(embeds, noise, guidance_scale=g, num_inference_steps=10), prompts).mean()
        for g in (1.0, 5.5)
    )
    assert high > low + 0.1


def test_weights_are_small_and_safe() -> None:
    folders = [weights_folder(), npnet_folder(), preference_folder(), features_folder()]
    files = [f for folder in folders for f in Path(folder).rglob("*") if f.is_file()]
    assert sum(f.stat().st_size for f in files) <= 20e6
    assert {f.suffix for f in files} <= {".safetensors", ".json", ".md"}
    assert all((Path(folder) / "README.md").exists() for folder in folders)


def test_the_world_is_known_by_its_name_and_by_its_folder(pipe, tmp_path: Path, monkeypatch) -> None:
    (tmp_path / "link").symlink_to(weights_folder())
    monkeypatch.chdir(weights_folder().parent)
    for model in (
        "shapes",
        weights_folder(),
        str(weights_folder()),
        tmp_path / "link",
        "pipeline",
        Pipeline(pipe).name,
    ):
        assert world.is_world(model), model
    for model in ("", "owner/shapes", "shapes:test", tmp_path, npnet_folder(), "~nobody/shapes"):
        assert not world.is_world(model), model


@pytest.mark.parametrize("method", ["npnet", "best_of_n:noise=npnet", "prune", "search", "reward_gradient"])
def test_a_pipeline_of_its_folder_has_what_the_world_brings(pipe, method: str) -> None:
    MethodSpec.parse(method).build().prepare(Pipeline(pipe), Sampling())


def test_what_it_brings_goes_by_these_names() -> None:
    assert tuple(scorer.name for scorer in load_scorers(world.SCORERS)) == world.SCORERS
    assert load_features(world.FEATURES).name == world.FEATURES
    assert load_prompts(world.TEST_PROMPTS, limit=3).prompts == load_prompts("test", model=world.NAME, limit=3).prompts
    assert all(world.is_sentence(prompt.text) for prompt in load_prompts(world.TEST_PROMPTS).prompts)
    assert not world.is_sentence("a red dog")


def test_another_world_has_other_digits(tmp_path: Path, monkeypatch) -> None:
    """Wherever it lies, and whatever its NPNet is: recipes name their folders so."""
    folder = tmp_path / "npnet" / "weights"
    for name in ("unet", "features", "npnet"):
        (folder / name).mkdir(parents=True)
        (folder / name / "model.safetensors").write_bytes(name.encode())
    monkeypatch.setattr(world, "WEIGHTS", folder)
    world.weights_of.cache_clear()
    try:
        assert world.weights_of("shapes") == hashlib.sha256(b"features" + b"unet").hexdigest()[:12]
        assert world.weights_of("owner/name") == ""
    finally:
        world.weights_of.cache_clear()
