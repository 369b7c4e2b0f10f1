"""What is given for a network and is another thing: told by what it is, with a remedy that helps there."""

from __future__ import annotations

import os
import zipfile
from pathlib import Path

import pytest
import torch

from noiseprompt import NPNet, perturb_noise
from noiseprompt.core.errors import ConfigError, ModelLoadError, StoreError
from noiseprompt.core.weights import read_checkpoint
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
    with pytest.raises(StoreError, match=r"holds a model .*Expected a new folder"):
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
