"""A folder of one kind of work is not begun as another."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from noiseprompt.core.errors import InputError
from noiseprompt.core.kinds import DATA_SET, EVALUATION, NETWORK, PICTURES, TRAINING, refuse_other

FILES = {
    "a model": "model_index.json",
    DATA_SET: "shard-000000.arrow",
    TRAINING: "state.pt",
    EVALUATION: "results.jsonl",
    PICTURES: "pictures.json",
    NETWORK: "config.json",
}


def made(folder: Path, name: str) -> None:
    folder.mkdir(exist_ok=True)
    (folder / name).write_text(json.dumps({"format": "noiseprompt-npnet"}))


@pytest.mark.parametrize("there", FILES)
@pytest.mark.parametrize("own", [DATA_SET, TRAINING, EVALUATION, PICTURES, NETWORK])
def test_another_kind_is_named(own: str, there: str, tmp_path: Path) -> None:
    made(tmp_path / "out", FILES[there])
    if there == own:
        refuse_other(tmp_path / "out", own)
    else:
        with pytest.raises(InputError, match=rf"holds {there} \({FILES[there]}\)\. Expected a new folder, or one with"):
            refuse_other(tmp_path / "out", own)


@pytest.mark.parametrize("own", [DATA_SET, TRAINING, EVALUATION, PICTURES, NETWORK])
def test_what_tells_no_kind_is_no_matter(own: str, tmp_path: Path) -> None:
    refuse_other(tmp_path / "new", own)
    (tmp_path / "notes.txt").write_text("x")
    refuse_other(tmp_path, own)
    for name in ("pictures", "evaluation"):  # what lies in folders of the folder
        made(tmp_path / name, "results.jsonl")
    refuse_other(tmp_path, own)


def test_a_folder_that_holds_both_goes_on(tmp_path: Path) -> None:
    """As one of before this was told may: nothing that was begun stops."""
    made(tmp_path, FILES[DATA_SET])
    made(tmp_path, FILES[EVALUATION])
    for own in (DATA_SET, EVALUATION):
        refuse_other(tmp_path, own)


def test_a_configuration_of_something_else_is_no_network(tmp_path: Path) -> None:
    (tmp_path / "config.json").write_text('{"steps": 4}')
    refuse_other(tmp_path, DATA_SET)
    with pytest.raises(InputError, match=r"holds another model \(config\.json\)"):
        refuse_other(tmp_path, NETWORK)
    (tmp_path / "config.json").write_text("{")
    for own in (DATA_SET, NETWORK):
        refuse_other(tmp_path, own)
