"""The folder of a training: one run a folder, other settings refused, nothing written by a refused one."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from noiseprompt.core.errors import ConfigError, InputError, StoreLockedError
from noiseprompt.npd import Npd
from noiseprompt.stages.train.train import train
from tests.train_fakes import CONFIG, FakePipeline


def test_other_settings_in_the_same_folder_are_refused(npd: Npd, tmp_path: Path) -> None:
    next(train(npd, FakePipeline(), CONFIG, tmp_path / "run"))
    with pytest.raises(ConfigError, match="lr"):
        next(train(npd, FakePipeline(), replace(CONFIG, lr=1e-2), tmp_path / "run"))


def test_a_refused_training_writes_nothing(npd: Npd, tmp_path: Path) -> None:
    with pytest.raises(InputError):
        next(train(npd, FakePipeline(), replace(CONFIG, filter_scorers=("judge",), margin=5.0), tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def test_a_second_training_in_the_same_folder_is_refused(npd: Npd, tmp_path: Path) -> None:
    first = train(npd, FakePipeline(), CONFIG, tmp_path / "run")
    next(first)
    with pytest.raises(StoreLockedError, match="another process"):
        next(train(npd, FakePipeline(), CONFIG, tmp_path / "run"))
    first.close()
    next(train(npd, FakePipeline(), CONFIG, tmp_path / "run"))


def test_what_is_published_names_no_folder_of_a_machine(npd: Npd, tmp_path: Path) -> None:
    pipeline = FakePipeline()
    pipeline.name = str(tmp_path / "models" / "mine")  # gone since, or on another machine
    list(train(npd, pipeline, CONFIG, tmp_path / "run"))
    for name in ("config.json", "README.md"):
        text = (tmp_path / "run" / "best" / name).read_text()
        assert "mine" in text and str(tmp_path) not in text and "base_model" not in text
    pipeline.name = "owner/model"
    list(train(npd, pipeline, CONFIG, tmp_path / "hub"))
    assert "base_model: owner/model\n" in (tmp_path / "hub" / "best" / "README.md").read_text()
