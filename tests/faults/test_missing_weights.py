"""Weights that are not where they should be, or a part of what a model needs: named, with what lies there instead."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import save_file

from noiseprompt.core.errors import InputError, ModelLoadError
from noiseprompt.core.weights import read_checkpoint, read_header
from noiseprompt.npnet import NPNet, build, tokens_config
from noiseprompt.pipelines import Pipeline
from noiseprompt.pipelines.adapters import load_loras, parse_lora
from tests import tiny

NOTE = b"version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\nsize 1036288\n"
UNET = "unet/diffusion_pytorch_model.safetensors"


@pytest.fixture
def model(sound: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(sound, tmp_path / "model"))


def edit(path: Path, **changes: object) -> None:
    path.write_text(json.dumps({**json.loads(path.read_text()), **changes}))


def as_folder(model: Path) -> None:
    (model / UNET).unlink()
    (model / UNET).mkdir()


CHANGES: dict[str, tuple[Callable[[Path], object], str]] = {
    "variant": (
        lambda m: (m / UNET).rename(m / "unet/diffusion_pytorch_model.fp16.safetensors"),
        "unet of .* has weights of the variant fp16 alone .* --variant fp16",
    ),
    "download": (
        lambda m: (m / UNET).rename(m / f"{UNET}.crdownload"),
        "unet of .* has no weights: beside config.json lies 'diffusion_pytorch_model.safetensors.crdownload'",
    ),
    "folder": (as_folder, r"model\.safetensors is a folder and no file"),
    "note": (lambda m: (m / UNET).write_bytes(NOTE), "only the note of Git LFS.*git lfs pull"),
    "page": (lambda m: (m / UNET).write_bytes(b"<!DOCTYPE html><html>"), "but a page of the web"),
    "no class": (lambda m: edit(m / "model_index.json", _class_name=None), "gives _class_name as null"),
    "no vae": (lambda m: edit(m / "model_index.json", vae=[None, None]), "model_index.json of .* names no vae"),
    "another class": (
        lambda m: edit(m / "model_index.json", _class_name="StableDiffusionXLPipeline"),
        "names no text_encoder_2 and no tokenizer_2",
    ),
    "no tokenizer": (lambda m: edit(m / "model_index.json", tokenizer=[None, None]), "names no tokenizer"),
    "scale": (
        lambda m: edit(m / "vae/config.json", scaling_factor="0.18"),
        "vae/config.json has scaling_factor '0.18'",
    ),
    "no scale": (lambda m: edit(m / "vae/config.json", scaling_factor=0), "vae/config.json has scaling_factor 0"),
    "size": (lambda m: edit(m / "unet/config.json", sample_size=0), "sample_size 0. Expected .* from 1 to"),
    "large": (lambda m: edit(m / "unet/config.json", sample_size=10**9), "sample_size 1000000000"),
}


@pytest.mark.parametrize("kind", CHANGES)
def test_what_is_not_there_is_named(kind: str, model: Path) -> None:
    change, says = CHANGES[kind]
    change(model)
    with pytest.raises(ModelLoadError, match=says) as told:
        loaded = Pipeline.load(model)
        loaded.encode(["a cat"])
        raise AssertionError(loaded.latent_shape())
    assert "\n" not in str(told.value)


def test_a_variant_that_is_asked_for_loads(model: Path) -> None:
    (model / UNET).rename(model / "unet/diffusion_pytorch_model.fp16.safetensors")
    Pipeline.load(model, variant="fp16")


def test_notes_of_git_are_told_of_any_file_of_weights(tmp_path: Path) -> None:
    for name in ("a.safetensors", "a.pth"):
        (tmp_path / name).write_bytes(NOTE)
    with pytest.raises(ModelLoadError, match="git lfs pull"):
        read_header(tmp_path / "a.safetensors")
    with pytest.raises(ModelLoadError, match="git lfs pull"):
        read_checkpoint(tmp_path / "a.pth")


@pytest.mark.parametrize("data", [b"", b"PK\3\4" + b"x" * 400])
def test_a_checkpoint_that_is_none_is_told_in_words(data: bytes, tmp_path: Path) -> None:
    (tmp_path / "x.pth").write_bytes(data)
    with pytest.raises(
        ModelLoadError, match=r"(is empty|is damaged, or no checkpoint)\. Expected a \.safetensors or torch"
    ):
        read_checkpoint(tmp_path / "x.pth")


def test_an_archive_of_torchscript_is_told_as_one(tmp_path: Path) -> None:
    torch.jit.save(torch.jit.script(torch.nn.Linear(2, 2)), tmp_path / "x.pth")
    with pytest.raises(ModelLoadError, match="TorchScript format") as told:
        read_checkpoint(tmp_path / "x.pth")
    assert "weights_only" not in str(told.value)


def test_the_weights_of_a_saved_network_name_its_folder(tmp_path: Path) -> None:
    folder = build(tokens_config((4, 16, 16), 3, 8)).save_pretrained(tmp_path / "net")
    with pytest.raises(ModelLoadError, match=f"folder of a saved network.*Name {folder}"):
        NPNet.from_pretrained(folder / "model.safetensors")


def lora(path: Path, drop: str = "") -> Path:
    names = {f"unet.conv_in.{side}.weight": torch.randn(2, 2) for side in ("lora_A", "lora_B")}
    save_file({name: value for name, value in names.items() if not drop or drop not in name}, path)
    return path


def test_loras_that_are_unclear_are_refused(tmp_path: Path) -> None:
    pipe = tiny.stable_diffusion()
    with pytest.raises(ModelLoadError, match=r"lacks 1 of its matrices \(unet.conv_in.lora_B.weight\)"):
        load_loras(pipe, [str(lora(tmp_path / "half.safetensors", "lora_B"))])
    (tmp_path / "two").mkdir()
    for name in ("a", "b"):
        lora(tmp_path / "two" / f"{name}.safetensors")
    with pytest.raises(ModelLoadError, match=r"holds 2 .safetensors files \(a.safetensors, b.safetensors\)"):
        load_loras(pipe, [str(tmp_path / "two")])
    (tmp_path / "none").mkdir()
    with pytest.raises(ModelLoadError, match=r"holds no \.safetensors file"):
        load_loras(pipe, [str(tmp_path / "none")])
    with pytest.raises(ModelLoadError, match="there is no file 5"):
        parse_lora("5")


def test_a_lora_twice_is_refused(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    pipe = tiny.stable_diffusion()
    monkeypatch.setattr(pipe, "load_lora_weights", lambda *args, **options: None)
    monkeypatch.setattr(pipe, "get_list_adapters", lambda: ["lora0", "lora1"])
    file = lora(tmp_path / "a.safetensors")
    with pytest.raises(InputError, match=r"twice\. Expected each once"):
        load_loras(pipe, [str(file), f"{file}:0.5"])
