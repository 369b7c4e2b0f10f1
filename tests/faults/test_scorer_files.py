"""Weights, words and folders of scorers: each kind of file that is not what its scorer takes, told before it judges."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest
import torch
from PIL import Image

from noiseprompt.cli import main
from noiseprompt.core.errors import ModelLoadError, NoisepromptWarning
from noiseprompt.core.weights import read_state
from noiseprompt.scorers.base import load_scorers
from tests.faults.test_part_files import Change, link, pipe
from tests.scorers import checkpoints


def head(path: Path, change: Any = None) -> Path:
    state = checkpoints.head_state(checkpoints.PROJECTION, "layers.")
    return checkpoints.save({name: change(value) for name, value in state.items()} if change else state, path)


HEADS: dict[str, tuple[Any, str]] = {
    "zeros": (torch.zeros_like, "of the linear layers lie in matrices of one value alone"),
    "whole numbers": (
        lambda x: (100 * x).to(torch.int8),
        "the linear layers holds 10 weights that are whole or complex",
    ),
    "complex numbers": (
        lambda x: x.to(torch.complex64),
        "the linear layers holds 10 weights that are whole or complex",
    ),
    "nothing": (lambda x: x[:0], "holds 10 tensors without a number"),
}


@pytest.mark.parametrize("kind", HEADS)
def test_the_layers_of_a_reward_are_numbers(kind: str, clip: Path, tmp_path: Path) -> None:
    change, says = HEADS[kind]
    file = head(tmp_path / "layers.pth", change)
    with pytest.raises(ModelLoadError, match=f"the scorer 'aes'.*{says}"):
        load_scorers([f"aes:path={file},clip={clip},device=cpu"])


def test_layers_in_eight_bits_are_read(clip: Path, tmp_path: Path) -> None:
    file = head(tmp_path / "layers.pth", lambda x: x.to(torch.float8_e4m3fn))
    (scorer,) = load_scorers([f"aes:path={file},clip={clip},device=cpu"])
    assert scorer.layers[0].weight.dtype == torch.float32  # type: ignore[attr-defined]


def test_a_flipped_bit_in_a_published_archive_is_seen(clip: Path, tmp_path: Path) -> None:
    file = head(tmp_path / "layers.pth")
    data = bytearray(file.read_bytes())
    data[len(data) // 2] ^= 1
    file.write_bytes(data)
    with pytest.raises(ModelLoadError, match=r"layers.pth is damaged: the checksum of .* Copy or download it again"):
        load_scorers([f"aes:path={file},clip={clip},device=cpu"])


def test_an_archive_without_checksums_is_read(tmp_path: Path) -> None:
    torch.serialization.set_crc32_options(False)
    try:
        file = head(tmp_path / "layers.pth")
    finally:
        torch.serialization.set_crc32_options(True)
    assert len(read_state(file)) == 10


def test_shapes_that_no_network_has_are_told_in_words(tmp_path: Path) -> None:
    state = checkpoints.open_clip_state() | {"visual.conv1.weight": torch.ones(())}
    checkpoints.save(state, tmp_path / "HPS_v2_compressed.pt")
    with pytest.raises(ModelLoadError, match=r"no checkpoint of CLIP ViT-H/14: its tensors have other shapes"):
        load_scorers([f"hpsv2:path={tmp_path},device=cpu"])


@pytest.mark.parametrize("change", [pipe, link])
def test_a_tokenizer_that_is_no_file_is_not_replaced_by_the_hub_s(change: Change, scorer: Path) -> None:
    change(scorer / "tokenizer.json")
    with pytest.raises(ModelLoadError, match=r"'pickscore'.*tokenizer.json is a .*pickscore:tokenizer=FOLDER"):
        load_scorers([f"pickscore:path={scorer},device=cpu"])


@pytest.mark.parametrize("name", ["hpsv2", "hpsv2.1"])
def test_another_scorer_s_clip_is_not_taken_for_hpsv2(name: str, scorer: Path) -> None:
    with pytest.raises(ModelLoadError, match=rf"the scorer '{name}'.*a CLIP under transformers' names"):
        load_scorers([f"{name}:path={scorer},device=cpu"])


def test_a_variant_in_the_folder_of_a_scorer_has_a_remedy_that_helps(scorer: Path) -> None:
    (scorer / "model.safetensors").rename(scorer / "model.fp16.safetensors")
    with pytest.raises(ModelLoadError, match=r"variant fp16 alone .*Rename it: model\.safetensors"):
        load_scorers([f"pickscore:path={scorer},device=cpu"])


@pytest.mark.parametrize("name", ["é", "\U0001f600", "e\u2028\x85e", "\U0001f600\\ud83d"])
def test_the_folder_of_a_scorer_may_have_any_letters(
    name: str, scorer: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    folder = scorer.rename(scorer.with_name(name))
    Image.fromarray(checkpoints.pictures(1)[0]).save(scorer.parent / "a.png")
    (scorer.parent / "p.txt").write_text("a red fox\n")
    words = [str(scorer.parent), "--prompts", str(scorer.parent / "p.txt"), "--scorers"]
    assert main(["score", *words, f"pickscore:path={folder},device=cpu"]) == 0, capsys.readouterr().err


def test_the_folder_of_a_scorer_may_begin_with_a_tilde(scorer: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("HOME", str(scorer.parent))
    assert load_scorers([f"pickscore:path=~/{scorer.name},device=cpu"])


def test_a_scorer_of_another_type_is_told(scorer: Path) -> None:
    path = scorer / "config.json"
    path.write_text(json.dumps({**json.loads(path.read_text()), "model_type": "bert"}))
    with pytest.warns(NoisepromptWarning, match="describes a model of the type 'bert' and no 'clip'"):
        load_scorers([f"clipscore:path={scorer},device=cpu"])


@pytest.mark.parametrize(
    ("inner", "setting", "value"),
    [
        ("text_config", "layer_norm_eps", "1e-5"),
        ("text_config", "attention_dropout", [0.1]),
        ("text_config", "hidden_size", None),
    ],
)
def test_a_setting_of_two_configurations_is_told_with_the_wrong_value(
    scorer: Path, inner: str, setting: str, value: object
) -> None:
    """And not with the sound one of the other configuration."""
    path = scorer / "config.json"
    config = json.loads(path.read_text())
    config[inner][setting] = value
    path.write_text(json.dumps(config))
    shown = re.escape(json.dumps(value)).replace('"', "'")
    with pytest.raises(ModelLoadError, match=f"does not load with {setting} {shown} in its config.json"):
        load_scorers([f"clipscore:path={scorer},device=cpu"])
