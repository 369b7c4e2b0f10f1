"""Stable Diffusion 3 without its T5, as diffusers' own guide to saving memory has it, in Python and as a folder."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest

from noiseprompt.core.errors import InputError, ModelLoadError
from noiseprompt.noise.seeds import batch_noise
from noiseprompt.pipelines import Pipeline
from tests import tiny, tiny_flow


@pytest.fixture(scope="module")
def without() -> Any:
    pipe = tiny_flow.stable_diffusion_3()
    pipe.register_modules(text_encoder_3=None, tokenizer_3=None)
    return pipe


@pytest.fixture(scope="module")
def folder(without: Any, tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save(without, tmp_path_factory.mktemp("models") / "without")


@pytest.mark.parametrize("form", ["in memory", "folder"])
def test_it_draws_as_diffusers_does(form: str, without: Any, folder: Path) -> None:
    pipeline = Pipeline(without) if form == "in memory" else Pipeline.load(folder)
    latents = batch_noise([3], pipeline.latent_shape())
    mine = pipeline.sample(pipeline.encode(["a cat"]), latents, num_inference_steps=3, guidance_scale=4.0)
    run: Any = {"num_inference_steps": 3, "guidance_scale": 4.0, "output_type": "np"}
    theirs = without("a cat", latents=latents, **run).images
    assert np.abs(mine / 255 - theirs).max() < 0.01 and theirs.std() > 0.01


@pytest.mark.parametrize("gone", [("text_encoder_2", "tokenizer_2"), ("text_encoder_3",), ("tokenizer_3",), ("vae",)])
def test_no_other_part_may_lack(gone: tuple[str, ...], tmp_path: Path) -> None:
    pipe = tiny_flow.stable_diffusion_3()
    pipe.register_modules(**dict.fromkeys(gone))
    with pytest.raises(ModelLoadError, match=gone[0]):
        Pipeline.load(tiny.save(pipe, tmp_path / "model"))
    if gone != ("vae",):
        with pytest.raises(InputError, match=gone[0]):
            Pipeline(pipe).encode(["a cat"])
