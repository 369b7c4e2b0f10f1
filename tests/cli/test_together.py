"""Several processes of one command speak as one."""

from __future__ import annotations

from pathlib import Path

import pytest

from noiseprompt.cli import main
from noiseprompt.cli.together import hush, is_hushed, spoken_for

SECOND = {"WORLD_SIZE": "2", "RANK": "1", "LOCAL_RANK": "1", "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": "1"}


@pytest.fixture(autouse=True)
def _speaks_again() -> object:
    yield
    hush(False)


@pytest.mark.parametrize(("rank", "lines"), [("0", 1), ("1", 0)])
def test_a_mistake_in_the_words_is_told_by_one(
    rank: str, lines: int, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in {**SECOND, "RANK": rank}.items():
        monkeypatch.setenv(name, value)
    assert main(["train", "--npd=n", "--out=o", "--lr=fast"]) == 2
    assert capsys.readouterr().err.count("\n") == lines and is_hushed() == (not lines)
    # other commands are not made together: each process speaks
    assert main(["collect", "--out=o", "--batch_size=no"]) == 2
    assert capsys.readouterr().err.count("\n") == 1
    assert not spoken_for([]) and not spoken_for(["collect"])


@pytest.mark.parametrize(
    ("said", "match"),
    [
        ({"WORLD_SIZE": "2"}, "WORLD_SIZE=2 without RANK, LOCAL_RANK"),
        ({**SECOND, "RANK": "2"}, "RANK=2"),  # by itself: whoever is main sees nothing wrong
        ({"ACCELERATE_USE_CPU": "True", "MASTER_ADDR": "127.0.0.1"}, "asked of `accelerate launch`, which starts one"),
    ],
)
def test_what_a_launcher_says_wrongly_is_told_before_anything_is_read(
    said: dict[str, str],
    match: str,
    tmp_path: Path,
    monkeypatch: pytest.MonkeyPatch,
    capsys: pytest.CaptureFixture[str],
) -> None:
    for name, value in said.items():
        monkeypatch.setenv(name, value)
    assert main(["train", f"--npd={tmp_path / 'none'}", f"--out={tmp_path / 'run'}"]) == 2
    error = capsys.readouterr().err
    assert match in error and error.count("\n") == 1 and not (tmp_path / "run").exists()


def test_a_recipe_is_the_work_of_one_process(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    for name, value in SECOND.items():
        monkeypatch.setenv(name, value)
    (tmp_path / "recipe.yaml").write_text("collect: {prompts: p}\ntrain: {}\n")
    assert main(["run", str(tmp_path / "recipe.yaml"), f"--out={tmp_path / 'out'}"]) == 2
    assert "a recipe in 2 processes" in capsys.readouterr().err and not (tmp_path / "out").exists()
