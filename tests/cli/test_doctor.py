"""`noiseprompt doctor`: what is there, what is missing, and an exit status that says whether that matters."""

from __future__ import annotations

import json
import re
import shutil
from importlib import metadata
from pathlib import Path

import pytest

from noiseprompt.cli import doctor as subject
from noiseprompt.cli import main
from tests.hub_server import Hub
from tests.npnet.test_share import small


def lines(capsys: pytest.CaptureFixture, status: int, *words: str) -> str:
    assert main(["doctor", *words]) == status
    said = capsys.readouterr()
    assert said.err == ""
    return said.out


def test_what_is_installed_and_that_the_hub_answers(hub: Hub, capsys: pytest.CaptureFixture) -> None:
    out = lines(capsys, 0)
    for package in ("torch", "diffusers", "transformers"):
        assert f"  ok      {package}: {metadata.version(package)}\n" in out
    assert f"  ok      {hub.url}: it answers\n" in out and "  ok      login: a token is there\n" in out
    assert "  ok      cpu: " in out and "MISSING" not in out and hub.log == ["HEAD /"]


def test_an_unreachable_hub_or_a_missing_extra_is_no_failure(
    hub: Hub, capsys: pytest.CaptureFixture, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    known = metadata.version
    absent = {"torch-fidelity"}

    def version(package: str) -> str:
        if package in absent:
            raise metadata.PackageNotFoundError(package)
        return known(package)

    monkeypatch.setattr(subject.metadata, "version", version)
    out = lines(capsys, 0)
    assert "offline mode is on (HF_HUB_OFFLINE)" in out and hub.log == []
    assert '  -       inception: pip install "noiseprompt[inception]" adds Frechet distance' in out
    absent.add("scipy")
    assert "  MISSING scipy" in lines(capsys, 2)


def test_versions_are_held_to_what_is_wanted() -> None:
    for version, wanted, well in (
        ("2.13.0+cpu", ">=2.4", True), ("2.3.1", ">=2.4", False), ("6.0", ">=6,<7", True), ("7.0.0", ">=6,<7", False),
        ("0.46.0rc1", ">=0.35", True), ("5", ">=5.0.0", True), ("1", "~=1.0", True),
    ):  # fmt: skip
        assert subject._is_within(version, wanted) == well, (version, wanted)


def test_every_extra_says_what_it_adds() -> None:
    """Those of contributors alone are left out."""
    extras = set(metadata.metadata("noiseprompt").get_all("Provides-Extra") or ())
    assert set(subject.EXTRAS) == extras - {"dev", "docs"}


def test_what_of_a_pipeline_is_missing(hub: Hub, model: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    out = lines(capsys, 0, "--model", model)
    assert "  ok      unet: UNet2DConditionModel\n" in out
    folder = tmp_path / "model"
    shutil.copytree(model, folder)
    shutil.rmtree(folder / "vae")
    weights = next((folder / "unet").glob("*.safetensors"))
    weights.write_bytes(b"version https://git-lfs.github.com/spec/v1\noid sha256:12\nsize 9\n")
    (folder / "text_encoder" / "model.safetensors").unlink()
    index = {"weight_map": {"a": "model-00001-of-00002.safetensors", "b": "model-00002-of-00002.safetensors"}}
    (folder / "text_encoder" / "model.safetensors.index.json").write_text(json.dumps(index))
    out = lines(capsys, 2, "--model", str(folder))
    assert f"  MISSING vae: there is no folder {folder / 'vae'}\n" in out
    assert (
        f"  MISSING unet: {weights} holds no weights, only the note of Git LFS where they are: run `git lfs pull`"
        in out
    )
    assert "lacks model-00001-of-00002.safetensors, model-00002-of-00002.safetensors, which model.safet" in out
    (folder / "model_index.json").write_text("{")
    for text in ("{", "[1]", "[" * 100_000):
        (folder / "model_index.json").write_text(text)
        assert f"  MISSING model_index.json: {folder / 'model_index.json'} is damaged" in lines(
            capsys, 2, "--model", str(folder)
        )


def test_an_index_that_no_pipeline_is_made_of(
    hub: Hub, model: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    folder = Path(shutil.copytree(model, tmp_path / "model"))
    index = json.loads((folder / "model_index.json").read_text())
    for named, says in ((["os", "system"], "takes scheduler from 'os'"), (["diffusers", "AutoencoderKL"], "a network")):
        (folder / "model_index.json").write_text(json.dumps({**index, "scheduler": named}))
        out = lines(capsys, 2, "--model", str(folder))
        assert re.search(f"  MISSING model_index.json: .*{says}", out) and "loads" not in out


def test_weights_of_a_variant_are_told_with_the_option_that_reads_them(
    hub: Hub, model: str, tmp_path: Path, capsys: pytest.CaptureFixture
) -> None:
    folder = Path(shutil.copytree(model, tmp_path / "model"))
    for path in folder.rglob("*.safetensors"):
        path.rename(path.with_suffix(".fp16.safetensors"))
    assert re.search("  ok      loads: .*, with --variant fp16", lines(capsys, 0, "--model", str(folder)))


@pytest.mark.parametrize("text", ["[1]", "[" * 100_000, '{"weight_map": 3}', "{}"])
def test_an_index_of_weights_that_is_none(hub: Hub, text: str, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    (tmp_path / "unet").mkdir()
    (tmp_path / "model_index.json").write_text('{"unet": ["diffusers", "U"], "_class_name": "\\u001b[2J"}')
    (tmp_path / "unet" / "config.json").write_text("{}")
    index = tmp_path / "unet" / "a.index.json"
    index.write_text(text)
    out = lines(capsys, 2, "--model", str(tmp_path))
    assert f"  MISSING unet: {index} " in out and "\x1b" not in out
    assert "there is no folder ~nobody-of-this-name/x" in lines(capsys, 2, "--model", "~nobody-of-this-name/x")


def test_networks_hub_ids_and_nothing(hub: Hub, tmp_path: Path, capsys: pytest.CaptureFixture) -> None:
    net = small().save_pretrained(tmp_path / "net")
    assert "  ok      NPNet: tokens for a/base\n" in lines(capsys, 0, "--model", str(net))
    (net / "model.safetensors").unlink()
    assert "  MISSING NPNet: " in lines(capsys, 2, "--model", str(net))
    (net / "config.json").write_text('{"model_type": "clip"}')  # of a network that is neither
    assert "is not the configuration of an NPNet" in (out := lines(capsys, 2, "--model", str(net)))
    assert "As a diffusers pipeline it lacks model_index.json" in out
    assert "no model_index.json" in lines(capsys, 2, "--model", str(tmp_path))
    assert "neither a folder here nor in the hub's cache" in lines(capsys, 2, "--model", "a/none")
