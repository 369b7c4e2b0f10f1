"""Files that are whole and hold nothing of use: zeros, words nobody knows, latents that are turned."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from noiseprompt import NPNet
from noiseprompt.core.errors import ConfigError, ModelLoadError, StoreError
from noiseprompt.npd.format import read_shard, shard_bytes
from noiseprompt.npd.verify import verify
from noiseprompt.npnet import NPNetConfig
from noiseprompt.pipelines import Pipeline
from noiseprompt.scorers.sets.extractors import ShapesFeatures
from noiseprompt.scorers.shapes_preference import ShapesPreference
from noiseprompt.shapes.world import features_folder, preference_folder
from tests import npd_fakes, tiny
from tests.npnet.test_share import small
from tests.scorers import checkpoints


def emptied(path: Path, out: Path) -> None:
    out.parent.mkdir(exist_ok=True)
    save_file({name: torch.zeros_like(value) for name, value in load_file(path).items()}, out)


def test_a_network_of_zeros_is_refused_and_a_fresh_one_is_not(tmp_path: Path) -> None:
    weights = small().save_pretrained(tmp_path / "net") / "model.safetensors"
    NPNet.from_pretrained(tmp_path / "net")
    emptied(weights, weights)
    with pytest.raises(ModelLoadError, match=r"weights of the NPNet in .* one value alone"):
        NPNet.from_pretrained(tmp_path / "net")


@pytest.mark.parametrize(("kind", "folder"), [(ShapesPreference, preference_folder), (ShapesFeatures, features_folder)])
def test_a_judge_of_zeros_is_refused(kind: Any, folder: Any, tmp_path: Path) -> None:
    emptied(folder() / "model.safetensors", tmp_path / "model.safetensors")
    for other in folder().glob("*.json"):
        (tmp_path / other.name).write_bytes(other.read_bytes())
    with pytest.raises(ModelLoadError, match=r"weights of the network in .* one value alone"):
        kind(str(tmp_path))


def test_a_picture_that_no_memory_holds_is_refused_before_it_is_built() -> None:
    with pytest.raises(ConfigError, match=r"swin_image 65536. Expected a whole number from 0 to 2,048"):
        NPNetConfig(swin_image=65536)


def renumbered(path: Path) -> None:
    told = json.loads(path.read_text())
    told["model"]["vocab"] = {word: number + 5000 for word, number in told["model"]["vocab"].items()}
    path.write_text(json.dumps(told))


def test_words_beyond_the_text_encoder_are_refused(tmp_path: Path) -> None:
    folder = tiny.save(tiny.stable_diffusion(), tmp_path / "model")
    renumbered(folder / "tokenizer" / "tokenizer.json")
    with pytest.raises(ModelLoadError, match=r"tokenizer of .* gives a word the number 5,\d+. Expected at most 77"):
        Pipeline.load(folder)


def test_words_beyond_the_network_of_a_scorer_are_refused(tmp_path: Path) -> None:
    from noiseprompt.scorers import load_scorers

    checkpoints.clip_folder(tmp_path / "clip")
    renumbered(tmp_path / "clip" / "tokenizer.json")
    with pytest.raises(ModelLoadError, match=r"gives a word the number 5,\d+. Expected at most 79"):
        load_scorers([f"clipscore:path={tmp_path / 'clip'}"])


def rewritten(path: Path, rows: Any = None, **settings: Any) -> None:
    """As a program would that knows the format: checksum and fingerprint are right."""
    shard = read_shard(path)
    told = shard.rows()
    if rows is not None:
        rows(told)
    data = shard_bytes(told, shard.batch.schema.remove_metadata(), shard.settings | settings)
    del shard
    path.write_bytes(data)


def test_a_target_without_noise_is_told(tmp_path: Path) -> None:
    npd_fakes.write(tmp_path)
    size = int(np.prod(npd_fakes.SHAPE))
    rewritten(tmp_path / "shard-000000.arrow", lambda rows: rows[0].update(target=np.zeros(size, np.float16).tobytes()))
    assert [problem for problem in verify(tmp_path) if "one value alone" in problem] == verify(tmp_path) != []


TOLD = {
    "a guidance in quotes": ({"guidance_scale": "3.5"}, "guidance_scale '3.5'"),
    "latents that are turned": ({"height": 64, "width": 32}, r"latent_shape \(2, 4, 4\) with pictures of 64 x 32"),
    "half a step": ({"sampling_steps": 2.5}, "sampling_steps 2.5"),
}


@pytest.mark.parametrize("what", TOLD)
def test_settings_of_a_shard_are_held_to_their_kinds(what: str, tmp_path: Path) -> None:
    npd_fakes.write(tmp_path)
    settings, says = TOLD[what]
    path = tmp_path / "shard-000000.arrow"
    rewritten(path, **settings)
    with pytest.raises(StoreError, match=rf"the settings in .* tell {says}\. Expected"):
        read_shard(path)
