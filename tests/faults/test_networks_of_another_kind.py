"""What is given for a network and is another thing: told by what it is, with a remedy that helps there."""

from __future__ import annotations

import os
import zipfile
from collections.abc import Callable
from pathlib import Path

import pytest
import torch
from safetensors.torch import load_file, save_file

from noiseprompt import NPNet, perturb_noise
from noiseprompt.cli import main
from noiseprompt.core.errors import ConfigError, InputError, ModelLoadError
from noiseprompt.core.weights import read_checkpoint, read_state
from noiseprompt.npnet.published import published_config
from noiseprompt.npnet.transfer import transfer_config
from noiseprompt.pipelines.adapters import parse_lora
from tests.npnet.test_share import small


def test_a_path_is_not_offered_where_none_is_taken() -> None:
    with pytest.raises(ConfigError, match=r"npnet 'net'. Expected a network that NPNet.from_pretrained gave"):
        perturb_noise("net", torch.zeros(1, 4, 8, 8), torch.zeros(1, 4, 8))  # type: ignore[arg-type]


def test_a_class_is_named_with_its_package() -> None:
    with pytest.raises(ConfigError, match=r"Expected an object of torch\.dtype"):
        NPNet.from_pretrained("net", dtype="float32")  # type: ignore[arg-type]


def test_a_network_is_not_saved_among_the_parts_of_a_model(tmp_path: Path) -> None:
    (tmp_path / "model_index.json").write_text("{}")
    with pytest.raises(InputError, match=r"holds a model .*Expected a new folder, or one with a saved network"):
        small().save_pretrained(tmp_path)
    assert os.listdir(tmp_path) == ["model_index.json"]


def test_a_published_network_is_no_start_for_other_latents() -> None:
    with pytest.raises(ConfigError, match=r"takes latents of \(4, 128, 128\) alone, for latents of \(4, 16, 16\)"):
        transfer_config(published_config(), {}, latent_shape=(4, 16, 16))
    assert transfer_config(published_config(), {}, latent_shape=(4, 128, 128)).architecture == "published"


def test_an_archive_of_other_things_is_no_damaged_checkpoint(tmp_path: Path) -> None:
    with zipfile.ZipFile(tmp_path / "net.zip", "w", zipfile.ZIP_DEFLATED) as archive:
        archive.writestr("best/config.json", "{}" * 1000)
    with pytest.raises(ModelLoadError, match=r"a zip archive of other things \(best/config.json\).*Unpack it") as told:
        read_checkpoint(tmp_path / "net.zip")
    assert "damaged" not in str(told.value)
    with pytest.raises(ModelLoadError, match="delete it: the same command begins anew"):
        read_checkpoint(tmp_path / "net.zip", own=True)


def test_a_pickle_in_the_place_of_our_own_file_has_a_remedy_that_can_be_followed(tmp_path: Path) -> None:
    torch.save(torch.nn.Linear(2, 2), tmp_path / "state.pt")
    with pytest.raises(ModelLoadError, match=r"would execute.*delete it: the same command begins anew"):
        read_checkpoint(tmp_path / "state.pt", own=True)
    with pytest.raises(ModelLoadError, match=r"would execute.*as safetensors and name that file"):
        read_checkpoint(tmp_path / "state.pt")


def test_a_pipe_is_no_lora(tmp_path: Path) -> None:
    os.mkfifo(tmp_path / "lora.safetensors")
    with pytest.raises(ModelLoadError, match="is a named pipe and no file"):
        parse_lora(str(tmp_path / "lora.safetensors"))


def as_safetensors(path: Path) -> None:
    save_file({"a": torch.ones(3)}, path)


def as_torch(path: Path) -> None:
    torch.save({"a": torch.ones(3)}, path)


def as_old_torch(path: Path) -> None:
    torch.save({"a": torch.ones(3)}, path, _use_new_zipfile_serialization=False)


def test_the_length_of_a_header_may_begin_as_a_pickle_does(tmp_path: Path) -> None:
    path, begins = tmp_path / "a.safetensors", set[int]()
    for more in range(0, 256, 8):  # headers of every length
        save_file({"a": torch.ones(2)}, path, metadata={"x": "y" * more})
        assert read_state(path)["a"].tolist() == [1, 1]
        begins.add(path.read_bytes()[0])
    assert 128 in begins


def text(words: str) -> Callable[[Path], object]:
    return lambda path: path.write_text(words, encoding="utf-8")


FORMATS: dict[str, tuple[str, Callable[[Path], object], str]] = {
    "safetensors as pth": ("a.pth", as_safetensors, r"is a .safetensors file under another suffix.*Rename it"),
    "torch as safetensors": ("a.safetensors", as_torch, r"begins as a torch checkpoint.*Rename it: .bin"),
    "old torch as safetensors": ("a.safetensors", as_old_torch, r"begins as a torch checkpoint"),
    "a recipe": (
        "a.yaml",
        text("model: shapes\nout: r\n"),
        r"a text \('model: shapes' ...\).*Name the file of",
    ),
    "words": ("a.safetensors", text("später\n" * 20), r"a.safetensors is a text \('später' ...\)"),
    "a cut character": ("a.pth", text("x" + "ü" * 40), r"a.pth is a text"),
}


@pytest.mark.parametrize("kind", FORMATS)
def test_a_file_of_another_format_is_told_as_what_it_is(kind: str, tmp_path: Path) -> None:
    name, write, says = FORMATS[kind]
    write(tmp_path / name)
    with pytest.raises(ModelLoadError, match=says):
        NPNet.from_pretrained(tmp_path / name)


@pytest.mark.parametrize("name", ["best/README.md", "state.pt", "metrics.jsonl"])
def test_a_file_beside_a_network_is_told_with_the_folder_of_that_network(name: str, tmp_path: Path) -> None:
    small().save_pretrained(tmp_path / "best")
    (tmp_path / name).write_text("text")
    with pytest.raises(ModelLoadError, match=rf"{name} is a file beside a saved network.*Name {tmp_path}/best\."):
        NPNet.from_pretrained(tmp_path / name)


def test_weights_of_before_checksums_are_told_with_their_folder(tmp_path: Path) -> None:
    small().save_pretrained(tmp_path)
    save_file(load_file(tmp_path / "model.safetensors"), tmp_path / "model.safetensors")
    with pytest.raises(ModelLoadError, match=rf"Name {tmp_path}\."):
        NPNet.from_pretrained(tmp_path / "model.safetensors")


@pytest.mark.parametrize("source", ["hf://me/net", "s3://bucket/net"])
def test_an_address_is_no_hub_id(source: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(ModelLoadError, match=rf"{source} is an address\. Expected .*OWNER/NAME:FILE"):
        NPNet.from_pretrained(source)
    assert main(["import", source, str(tmp_path / "out")]) == 2
    assert f"{source} is an address" in capsys.readouterr().err
    assert not (tmp_path / "out").exists()


def test_a_wrong_setting_of_a_network_is_told_with_what_it_may_be(tmp_path: Path) -> None:
    small().save_pretrained(tmp_path)
    config = tmp_path / "config.json"
    config.write_text(config.read_text().replace('"width": 16', '"width": -8'))
    with pytest.raises(ModelLoadError, match=r"config.json describes no NPNet: ") as told:
        NPNet.from_pretrained(tmp_path)
    assert told.value.expected.startswith("a whole number") and str(told.value).count("Expected") == 1


def test_a_network_is_not_saved_over_the_weights_of_something_else(tmp_path: Path) -> None:
    file = tmp_path / "model.safetensors"
    for content in (b"torn", b""):
        file.write_bytes(content)
        with pytest.raises(InputError, match=r"holds a model\.safetensors of something else, without config\.json"):
            small().save_pretrained(tmp_path)
        assert file.read_bytes() == content and os.listdir(tmp_path) == ["model.safetensors"]
    save_file({"a": torch.ones(2)}, file)
    with pytest.raises(InputError, match="of something else"):
        small().save_pretrained(tmp_path)


def test_what_a_killed_save_left_is_saved_over(tmp_path: Path) -> None:
    small().save_pretrained(tmp_path)
    (tmp_path / "config.json").unlink()
    small().save_pretrained(tmp_path)
    assert NPNet.from_pretrained(tmp_path).config == small().config
