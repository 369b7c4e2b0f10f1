"""A folder that may not be read, that is a loop of links, or that is none: told as such, in every command and call."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

import noiseprompt
from noiseprompt.cli import main
from noiseprompt.core.arguments import called, held
from noiseprompt.core.errors import NoisepromptError, StoreError
from noiseprompt.core.pictures import find_pictures
from noiseprompt.core.places import refuse_closed
from noiseprompt.pipelines.adapters import _lora_place
from noiseprompt.recipes.plan import recipes_in
from noiseprompt.stages.evaluate.evaluate import summarize_run


@pytest.fixture
def refused(monkeypatch: pytest.MonkeyPatch) -> None:
    """Folders named "no" may not be listed, also by root, who may read everything."""
    scan, listed, access = os.scandir, os.listdir, os.access

    def asked(of: Callable[[Any], Any]) -> Callable[[Any], Any]:
        def ask(path: Any = ".") -> Any:
            if not isinstance(path, int) and os.fspath(path).endswith("/no"):
                raise PermissionError(13, "Permission denied", str(path))
            return of(path)

        return ask

    monkeypatch.setattr(os, "scandir", asked(scan))
    monkeypatch.setattr(os, "listdir", asked(listed))
    monkeypatch.setattr(os, "access", lambda path, *how, **more: path.name != "no" and access(path, *how, **more))


LISTING: dict[str, Callable[[Path], object]] = {
    "any": refuse_closed,
    "pictures": find_pictures,
    "pictures below": lambda folder: find_pictures(folder, below=True),
    "recipes": recipes_in,
    "a LoRA": lambda folder: _lora_place(str(folder)),
}


@pytest.mark.parametrize("name", LISTING)
def test_a_folder_without_rights_is_not_called_empty(name: str, refused: None, tmp_path: Path) -> None:
    (tmp_path / "no").mkdir()
    with pytest.raises(NoisepromptError, match="no: Permission denied"):
        LISTING[name](tmp_path / "no")


def test_a_call_tells_of_a_path_in_one_line(refused: None, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "no").mkdir()
    with pytest.raises(StoreError, match=r"cannot (use|read) .*no: Permission denied"):
        noiseprompt.Npd(tmp_path / "no")
    (tmp_path / "a").mkdir()
    (tmp_path / "a" / "model_index.json").write_text("{}")
    stat = os.stat

    def looked(path: Any, **how: Any) -> Any:
        if str(path).endswith("model_index.json"):
            raise PermissionError(13, "Permission denied", str(path))
        return stat(path, **how)

    monkeypatch.setattr(os, "stat", looked)
    with pytest.raises(StoreError, match=r"cannot use .*model_index\.json: Permission denied"):
        noiseprompt.Pipeline.load(tmp_path / "a")


def test_errors_of_paths_are_told_wherever_they_arise() -> None:
    def fail(path: str) -> None:
        raise PermissionError(13, "Permission denied", path)

    def step(path: str) -> Iterator[int]:
        yield 1
        fail(path)

    def nameless(path: str) -> None:
        raise BrokenPipeError(32, "Broken pipe")

    for wrap in (held, called):
        with pytest.raises(StoreError, match="cannot use a: Permission denied"):
            wrap(fail)("a")
        steps = wrap(step)("a")
        assert next(steps) == 1
        with pytest.raises(StoreError, match="cannot use a: Permission denied"):
            next(steps)
        with pytest.raises(BrokenPipeError):
            wrap(nameless)("a")


READERS: dict[str, Callable[[str], object]] = {
    "a data set": noiseprompt.Npd,
    "an evaluation": lambda place: summarize_run(Path(place)),
    "pictures": lambda place: find_pictures(Path(place)),
    "a model": noiseprompt.Pipeline.load,
}
PLACES = {
    "loop": "Too many levels of symbolic links",
    "lost": "is a link that leads nowhere",
    "gone": "there is no folder",
    "file": "is a file",
}


@pytest.mark.parametrize("what", READERS)
@pytest.mark.parametrize("place", PLACES)
def test_what_is_no_folder_is_told_as_what_it_is(what: str, place: str, tmp_path: Path) -> None:
    (tmp_path / "loop").symlink_to("loop")
    (tmp_path / "lost").symlink_to("nowhere")
    (tmp_path / "file").write_text("x")
    with pytest.raises(NoisepromptError, match=PLACES[place]):
        READERS[what](str(tmp_path / place))


@pytest.mark.parametrize("command", ["evaluate", "collect"])
def test_a_model_that_is_not_there_is_told_before_its_scorers(
    command: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    Path("p.txt").write_text("a red circle\n")
    assert main([command, "--prompts=p.txt", "--model=shape", "--out=o"]) == 2
    assert "there is no folder shape" in capfd.readouterr().err
    assert main([command, "--prompts=p.txt", "--model=owner/name", "--out=o"]) == 2
    assert "no scorers for the model" in capfd.readouterr().err
