"""Files, names and texts that are not what they were meant to be, told by their looks."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from noiseprompt import load_prompts
from noiseprompt.cli import main
from noiseprompt.core.config import read_yaml
from noiseprompt.core.errors import ConfigError, InputError, NoisepromptError, NoisepromptWarning, PromptError
from noiseprompt.core.pictures import read_picture
from noiseprompt.npd.sharing import SharedWriter
from tests.npd_fakes import SETTINGS, SHAPE, pairs, write

RECIPE = 'model: shapes\nout: r\nevaluate:\n  prompts: "shapes:test"\n  n: 2\n  methods: standard\n'


def refused(text: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> str:
    path = tmp_path / "r.yaml"
    path.write_text(text)
    assert main(["run", str(path)]) == 2
    return capfd.readouterr().err


@pytest.mark.parametrize(
    ("text", "told"),
    [
        (f"<<<<<<< HEAD\n{RECIPE}=======\n{RECIPE}>>>>>>> theirs\n", "a conflict of Git"),
        ("<!DOCTYPE html>\n<html><body>404: none</body></html>\n", "is a web page"),
        ("version https://git-lfs.github.com/spec/v1\noid sha256:4d7a\n", "Git LFS"),
    ],
)
def test_settings_that_are_no_settings(text: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "r.yaml"
    path.write_text(text)
    with pytest.raises(ConfigError, match=told) as caught:
        read_yaml(path)
    assert str(caught.value).count("Expected") == 1


def test_a_blank_that_is_none(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    """As copied from a page of the web: it looks like an indent."""
    said = refused(RECIPE.replace("  n:", "\u00a0\u00a0n:"), tmp_path, capfd)
    assert "no setting" in said or "cannot read" in said
    said = refused(RECIPE.replace("  ", "\u00a0\u00a0"), tmp_path, capfd)
    assert "NO-BREAK SPACE" in said


def test_a_number_of_400_digits(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    assert "at most 308 digits, 1 or more" in refused(RECIPE.replace("n: 2", f"n: 1{'0' * 400}"), tmp_path, capfd)


def test_a_name_of_bytes_that_are_not_utf_8(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["collect", "--prompts", "p\udcff.txt", "--out", "o"]) == 2
    assert "bytes that are not UTF-8" in capfd.readouterr().err


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("sep=,\nprompt,seed\na red circle,3\n", "a note for Excel"),
        ("sep=;\nprompt;seed\na red circle;3\n", "a note for Excel"),
        ("prompt,kind,category\na red circle,x,y\n", "the kind 'x' and the category 'y'"),
    ],
)
def test_a_table_of_prompts(text: str, told: str, tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text(text)
    with pytest.raises(PromptError, match=told):
        load_prompts(path)


def test_a_kind_and_the_same_category(tmp_path: Path) -> None:
    path = tmp_path / "p.csv"
    path.write_text("prompt,kind,category\na red circle,x,x\na blue square,,y\na red square,z,\n")
    assert [prompt.kind for prompt in load_prompts(path).prompts] == ["x", "y", "z"]


def test_prompts_copied_from_a_terminal(tmp_path: Path) -> None:
    path = tmp_path / "p.txt"
    path.write_text("a blue square\na \x1b[31mred\x1b[0m circle\n")
    with pytest.warns(NoisepromptWarning, match=r"prompt 2 of .* holds the codes of a terminal"):
        assert load_prompts(path).prompts[1].text == "a \x1b[31mred\x1b[0m circle"


def test_a_picture_that_was_written_over_in_another_format(tmp_path: Path) -> None:
    path = tmp_path / "a.png"
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(path, format="JPEG")
    assert read_picture(path).shape == (8, 8, 3)
    with pytest.raises(InputError, match="is a JPEG, whatever its name says"):
        read_picture(path, ("PNG",))


def test_an_option_without_limits_wants_one_thing() -> None:
    from noiseprompt import Pipeline

    with pytest.raises(NoisepromptError) as caught:
        Pipeline.load("sd\0xl")
    assert str(caught.value).count("without NUL") == 1


def test_fewer_pairs_than_there_are(tmp_path: Path) -> None:
    write(tmp_path)
    with (
        pytest.warns(NoisepromptWarning, match=f"holds {len(pairs()) - 1} rows that are not asked for now"),
        SharedWriter(tmp_path, SETTINGS, SHAPE, [pairs()[0].id], shard_size=4) as writer,
    ):
        assert not writer.take()
