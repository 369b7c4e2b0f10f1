"""A bit that flips in what this package wrote and reads again is seen, though every number stays finite."""

from __future__ import annotations

import hashlib
import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch
from safetensors.torch import load_file, save_file

from noiseprompt.core.errors import ConfigError, ModelLoadError
from noiseprompt.core.network_files import SHA256, packed
from noiseprompt.core.weights import read_checkpoint, read_metadata
from noiseprompt.npnet import NPNet, build, tokens_config
from noiseprompt.stages.train.checkpoint import check_state, settings_digest
from noiseprompt.stages.train.texts import cache_embeds, read_embeds
from tests.train_fakes import FakePipeline

CONFIG = "config.json"
WEIGHTS = "model.safetensors"


def flip(path: Path, place: int) -> None:
    data = bytearray(path.read_bytes())
    data[place] ^= 1
    path.write_bytes(data)


@pytest.fixture(scope="module")
def saved(tmp_path_factory: pytest.TempPathFactory) -> Path:
    torch.manual_seed(0)
    return build(tokens_config((4, 16, 16), 3, 8)).save_pretrained(tmp_path_factory.mktemp("nets") / "net")


@pytest.fixture
def net(saved: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(saved, tmp_path / "net"))


def test_the_checksum_is_one_that_anybody_can_compute(net: Path) -> None:
    total = hashlib.sha256()
    for name, value in sorted(load_file(net / WEIGHTS).items()):
        total.update(f"{name} F32 {list(value.shape)}\0".encode() + value.numpy().tobytes())
    assert read_metadata(net / WEIGHTS)[SHA256] == total.hexdigest()


@pytest.mark.parametrize("place", [-1, -4, -1000, -5000])
def test_a_flipped_bit_in_a_network_is_seen(place: int, net: Path) -> None:
    flip(net / WEIGHTS, place)
    with pytest.raises(ModelLoadError, match="checksum does not match"):
        NPNet.from_pretrained(net)


@pytest.mark.parametrize("change", [{"predicts": "picture"}, {"heads": 1}, {"gain": 0.5}])
def test_weights_beside_another_configuration_are_refused(change: dict[str, Any], net: Path) -> None:
    settings = json.loads((net / CONFIG).read_text())
    (net / CONFIG).write_text(json.dumps(settings | change))
    with pytest.raises(ModelLoadError, match=r"another config\.json"):
        NPNet.from_pretrained(net)


def test_what_it_is_for_may_be_written_anew(net: Path) -> None:
    settings = json.loads((net / CONFIG).read_text())
    (net / CONFIG).write_text(json.dumps(settings | {"family": "", "denoiser": "other", "picture_scale": 2.0}))
    assert NPNet.from_pretrained(net).config.denoiser == "other"


def test_networks_of_before_load_as_they_did(net: Path) -> None:
    state = load_file(net / WEIGHTS)
    save_file(state, net / WEIGHTS, metadata={"format": "pt"})
    loaded = NPNet.from_pretrained(net).state_dict()
    assert all(torch.equal(loaded[name], value) for name, value in state.items())


def test_equal_networks_give_equal_files() -> None:
    state = {f"layer.{i}": torch.full((3, i), 0.5) for i in range(1, 5)} | {"one": torch.tensor(2.0).bfloat16()}
    told = {f"key {i}": str(i) for i in range(20)}
    assert len({packed(state, told) for _ in range(5)}) == 1


STATE = {"net": {"a": torch.ones(40)}, "step": 2, "best": 0.5, "power": 0.0, "stale": 0, "settings": "ab"}


@pytest.mark.parametrize("place", [0.3, 0.5, 0.7])
def test_a_flipped_bit_in_a_state_is_seen(place: float, tmp_path: Path) -> None:
    path = tmp_path / "state.pt"
    torch.save(STATE | {"net": {"a": torch.ones(40_000)}}, path)
    assert read_checkpoint(path, own=True)["step"] == 2
    flip(path, int(place * path.stat().st_size))
    with pytest.raises(ModelLoadError, match="checksum of"):
        read_checkpoint(path, own=True)


def test_a_state_that_is_not_finite_is_refused(tmp_path: Path) -> None:
    torch.save(STATE | {"net": {"a": torch.tensor([1.0, torch.nan])}}, tmp_path / "state.pt")
    with pytest.raises(ModelLoadError, match="not finite"):
        read_checkpoint(tmp_path / "state.pt", own=True)


def test_bytes_that_are_no_pickle_are_not_called_code(tmp_path: Path) -> None:
    (tmp_path / "state.pt").write_bytes(b"\x07x")
    with pytest.raises(ModelLoadError, match="damaged, or no checkpoint"):
        read_checkpoint(tmp_path / "state.pt")


WRONG: list[tuple[str, Any]] = [
    ("step", 9),
    ("step", -1),
    ("step", 2.0),
    ("stale", "x"),
    ("power", float("nan")),
    ("power", -1.0),
    ("best", float("nan")),
    ("best", float("inf")),
    ("best", 1e300),
    ("settings", "cd"),
]


@pytest.mark.parametrize(("name", "value"), WRONG)
def test_numbers_that_no_training_has_are_refused(name: str, value: Any) -> None:
    net = torch.nn.Linear(1, 1)
    state = {**STATE, "net": net.state_dict()}
    check_state(state, net, 8, "ab")
    with pytest.raises(ValueError, match="other settings" if name == "settings" else name):
        check_state(state | {name: value}, net, 8, "ab")


def test_other_parts_are_other_settings(tmp_path: Path) -> None:
    digests = []
    for part in ("a", "b"):
        (tmp_path / "settings.json").write_text(json.dumps({"lr": 1, "parts": {"npd": part}}))
        digests.append(settings_digest(tmp_path))
    assert digests[0] != digests[1] and settings_digest(tmp_path / "nowhere") == ""


SPOILT: dict[str, Callable[[Path], Any]] = {
    "a bit": lambda path: flip(path, -7),
    "zeros": lambda path: np.save(path, 0 * np.load(path)),
    "rows in another order": lambda path: np.save(path, np.load(path)[::-1]),
    "longer": lambda path: path.write_bytes(path.read_bytes() + b"x"),
}


@pytest.mark.parametrize("kind", SPOILT)
def test_embeddings_that_were_changed_are_refused(kind: str, tmp_path: Path) -> None:
    texts, path = ["a cat", "a dog", "a bird"], tmp_path / "embeds.npy"
    cache_embeds(texts, FakePipeline(), path)  # type: ignore[arg-type]
    assert read_embeds(path, 3, [3, 8]).shape == (3, 3, 8)
    cache_embeds(texts, FakePipeline(), path)  # type: ignore[arg-type]
    SPOILT[kind](path)
    with pytest.raises(ConfigError, match="checksum does not match"):
        read_embeds(path, 3, [3, 8])


def test_a_pipe_in_place_of_embeddings_does_not_wait(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "embeds.npy")
    with pytest.raises(ConfigError, match="named pipe"):
        read_embeds(tmp_path / "embeds.npy", 3, None)
