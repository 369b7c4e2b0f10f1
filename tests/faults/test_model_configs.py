"""Configs of a model folder that are torn or ask for what no memory holds are refused before anything is built."""

from __future__ import annotations

import json
import shutil
from pathlib import Path
from typing import Any

import diffusers
import pytest

from noiseprompt.core.errors import ModelLoadError
from noiseprompt.pipelines import Pipeline

FILES = ["model_index.json", "unet/config.json", "vae/config.json", "text_encoder/config.json"]
DAMAGED: dict[str, tuple[bytes, str]] = {
    "nothing": (b"", "it is empty"),
    "torn": (b'{"_class_name": "Stable', "line 1"),
    "a list": (b"[1]", "no object"),
    "deep": (b'{"a":' * 3000 + b"1" + b"}" * 3000, "deeper than"),
    "long": (b'{"a": "' + b" " * (65 * 2**20) + b'"}', "longer than"),
    "not UTF-8": (b'{"a": "\xff"}', "not UTF-8"),
    "a key twice": (b'{"_class_name": "A", "_class_name": "B"}', "twice"),
    "NUL": (b"\0" * 100, "line 1"),
}
DEEP: dict[str, tuple[str, dict[str, Any]]] = {
    "layers": ("unet/config.json", {"layers_per_block": 10**9}),
    "layers of a list": ("unet/config.json", {"transformer_layers_per_block": [1, 10**9]}),
    "layers of the VAE": ("vae/config.json", {"layers_per_block": 10**12}),
    "hidden layers": ("text_encoder/config.json", {"num_hidden_layers": 10**9}),
    "inside": ("text_encoder/config.json", {"text_config": {"num_hidden_layers": 10**9}}),
}


@pytest.mark.parametrize("file", FILES)
@pytest.mark.parametrize("kind", DAMAGED)
def test_a_damaged_config_is_named(
    kind: str, file: str, sound: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    data, why = DAMAGED[kind]
    model = Path(shutil.copytree(sound, tmp_path / "model"))
    (model / file).write_bytes(data)
    monkeypatch.setattr(diffusers.DiffusionPipeline, "load_config", lambda *_, **__: pytest.fail("diffusers read it"))
    with pytest.raises(ModelLoadError, match=why) as caught:
        Pipeline.load(model)
    assert str(model / file) in str(caught.value) and "\n" not in str(caught.value)


@pytest.mark.parametrize("kind", DEEP)
def test_a_part_of_a_billion_layers_is_not_built(kind: str, sound: Path, tmp_path: Path) -> None:
    file, change = DEEP[kind]
    model = Path(shutil.copytree(sound, tmp_path / "model"))
    (model / file).write_text(json.dumps(json.loads((model / file).read_text()) | change))
    with pytest.raises(ModelLoadError, match=r"asks for \w*layers\w* 10{9,12}\. Expected 1,000 at most") as caught:
        Pipeline.load(model)
    assert str(model / file) in str(caught.value)
