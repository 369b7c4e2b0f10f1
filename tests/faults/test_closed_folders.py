"""Folders that are there and may not be looked into: told as such, not as empty or gone."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from noiseprompt.core.errors import NoisepromptError
from noiseprompt.core.pictures import find_pictures
from noiseprompt.npnet import NPNet
from noiseprompt.pipelines import Pipeline
from noiseprompt.prompts import load_prompts
from noiseprompt.recipes.plan import recipes_in
from noiseprompt.scorers.base import load_scorers
from tests import tiny
from tests.scorers.checkpoints import clip_folder


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tiny.save(tiny.stable_diffusion(), tmp_path_factory.mktemp("models") / "sound")


def closed(folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As for somebody without the right to read it; whoever runs the tests may be root, who may all."""
    own = os.access
    monkeypatch.setattr(os, "access", lambda path, *rest, **more: Path(path) != folder and own(path, *rest, **more))


@pytest.mark.parametrize("part", ["", "unet", "vae", "text_encoder", "tokenizer", "scheduler"])
def test_a_part_of_a_model_that_may_not_be_read_is_told(
    part: str, sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    model = Path(shutil.copytree(sound, tmp_path / "model"))
    closed(model / part, monkeypatch)
    with pytest.raises(NoisepromptError, match=rf"cannot read {model / part}: Permission denied.*owner"):
        Pipeline.load(model)


LOOKS: dict[str, Callable[[Path], object]] = {
    "pictures": lambda folder: find_pictures(folder / "inner", below=True),
    "a folder of pictures": find_pictures,
    "prompts": lambda folder: load_prompts(f"drawbench:{folder}"),
    "recipes": recipes_in,
    "a network's parent": lambda folder: NPNet.from_pretrained(folder / "gone"),
    "a scorer": lambda folder: load_scorers([f"clipscore:path={folder}"]),
    "a scorer's file": lambda folder: load_scorers([f"hpsv2:path={folder}"]),
    "a LoRA": lambda folder: Pipeline.load(folder.parent / "sd", lora=str(folder)),
}


@pytest.mark.parametrize("what", LOOKS)
def test_a_folder_that_may_not_be_read_is_not_taken_for_an_empty_one(
    what: str, sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    shutil.copytree(sound, tmp_path / "sd")
    folder = tmp_path / "folder"
    (folder / "inner" / "deep").mkdir(parents=True)
    if what == "a scorer":
        clip_folder(folder)
    shut = folder / "inner" / "deep" if what == "pictures" else folder
    closed(shut, monkeypatch)
    with pytest.raises(NoisepromptError, match=rf"cannot read {shut}: Permission denied.*owner"):
        LOOKS[what](folder)
