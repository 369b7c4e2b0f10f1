"""Every path that a command takes, unusable in every way: one line that names it and the reason."""

from __future__ import annotations

import errno
import io
import os
import re
import shlex
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest

from noiseprompt.cli import main
from noiseprompt.core import disk
from noiseprompt.core.errors import NoisepromptError, StoreError
from noiseprompt.core.pictures import find_pictures, write_picture
from noiseprompt.core.places import as_told, check_file, no_file
from noiseprompt.npd import format as shards
from noiseprompt.prompts import load_prompts

DRAWN = ["--num_inference_steps=1", "--batch_size=2"]
EVALUATE = ["evaluate", "--n=2", "--prompts=shapes:test", "--scorers=brightness", "--methods=standard", *DRAWN]
OUTPUTS: dict[str, list[str]] = {
    "collect": ["collect", "--prompts=shapes:train", "--n=2", "--scorers=brightness", *DRAWN, "--out"],
    "evaluate": [*EVALUATE, "--out"],
    "generate": ["generate", "a cat", "--methods=standard", "--seeds=0", *DRAWN, "--out"],
    "features": ["shapes", "features", "--steps=1", "--batch_size=2", "--out"],
    "preference": ["shapes", "preference", "--steps=1", "--batch_size=2", "--width=8", "--blocks=1", "--out"],
    "tables": ["tables", "PATH", "shapes", f"--recipes={Path(__file__).parents[2] / 'recipes' / 'tables'}"],
}
"""Command, ending in the option of its output; a folder but for `tables`."""
INPUTS: dict[str, list[str]] = {
    "prompts": ["collect", "--scorers=brightness", "--out=o", "--prompts"],
    "prompts of pictures": ["evaluate", "--scorers=brightness", "--out=o", "--prompts"],
    "seeds": [*EVALUATE, "--out=o", "--seed_file"],
    "options": [*EVALUATE, "--out=o", "--config"],
    "pairs": ["train", "--out=o", "--npd"],
    "pairs told": ["npd", "info"],
    "pairs checked": ["npd", "verify"],
    "evaluation": ["report"],
    "recipe": ["run"],
    "checkpoint": ["import", "PATH", "o"],
    "pictures": ["score", "PATH", "--prompts=p.txt"],
    "reference": [*EVALUATE, "--features=shapes-features", "--out=o", "--reference"],
    "network": ["generate", "a cat", "--seeds=0", *DRAWN, "--out=o", "--methods=npnet:path=PATH"],
}
SUFFIX = {"options": ".yaml", "recipe": ".yaml", "checkpoint": ".pth", "tables": ".md", "seeds": ".csv"}


def called(words: list[str], path: Path) -> list[str]:
    """The command with a path in the place of PATH, or at its end."""
    if any("PATH" in word for word in words):
        return [word.replace("PATH", str(path)) for word in words]
    return [*words[:-1], f"{words[-1]}={path}"] if words[-1].startswith("--") else [*words, str(path)]


def long_name(path: Path) -> Path:
    return path.with_name("x" * 300 + path.suffix)


def loop(path: Path) -> Path:
    path.symlink_to(path.name)
    return path


def below_a_file(path: Path) -> Path:
    path.write_text("x")
    return path / f"below{path.suffix}"


def folder(path: Path) -> Path:
    path.mkdir()
    return path


def file(path: Path) -> Path:
    path.write_bytes(b"\xff\xfe\0")
    return path


def dangling(path: Path) -> Path:
    path.symlink_to("nowhere/at/all")
    return path


Make = Callable[[Path], Path]
WAYS: dict[str, Make] = {f.__name__: f for f in (long_name, loop, below_a_file, folder, file, dangling)}


def one_line(status: int, capfd: Any, *says: str) -> None:
    error = capfd.readouterr().err.replace("\r", "\n")
    told = [line for line in error.splitlines() if line.startswith("noiseprompt: error: ")]
    assert status == 2 and len(told) == 1 and "Traceback" not in error, error
    assert all(word in told[0] for word in says) and "not foreseen" not in told[0], told[0]


@pytest.fixture
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    monkeypatch.chdir(tmp_path)
    Path("p.txt").write_text("a cat\n")
    return tmp_path


@pytest.mark.parametrize("way", [way for way in WAYS if way != "folder"])
@pytest.mark.parametrize("name", OUTPUTS)
def test_an_output_that_cannot_be_is_told(name: str, way: str, quick: None, here: Path, capfd: Any) -> None:
    if name == "tables" and way in ("file", "loop", "dangling"):
        pytest.skip("a file or link there is replaced")
    path = WAYS[way](here / f"out{SUFFIX.get(name, '')}")
    named = path.parent if way == "below_a_file" else path  # or the whole path
    one_line(main(called(OUTPUTS[name], path)), capfd, named.name[:40])


@pytest.mark.parametrize("way", WAYS)
@pytest.mark.parametrize("name", INPUTS)
def test_an_input_that_cannot_be_is_told(name: str, way: str, quick: None, here: Path, capfd: Any) -> None:
    path = WAYS[way](here / f"in{SUFFIX.get(name, '' if name in ('pairs', 'pictures') else '.txt')}")
    one_line(main(called(INPUTS[name], path)), capfd)
    assert not (here / "o").exists() or not any(here.joinpath("o").rglob("*.png"))


@pytest.mark.parametrize("number", [errno.EACCES, errno.EIO])
@pytest.mark.parametrize("name", ["prompts", "seeds", "options", "recipe", "checkpoint"])
def test_an_input_that_cannot_be_opened_is_told(
    name: str, number: int, quick: None, here: Path, capfd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    """No rights, and a broken disk; rights alone would not bind an administrator."""
    path = here / f"in{SUFFIX.get(name, '.txt')}"
    path.write_text("a: 1\n")
    real = io.open

    def fails(given: Any, *rest: Any, **options: Any) -> Any:
        if str(given) == str(path):
            raise OSError(number, os.strerror(number), str(given))
        return real(given, *rest, **options)

    monkeypatch.setattr(io, "open", fails)
    monkeypatch.setattr("builtins.open", fails)
    one_line(main(called(INPUTS[name], path)), capfd, path.name, os.strerror(number))


@pytest.mark.parametrize("number", [errno.EACCES, errno.EROFS, errno.ENOSPC])
@pytest.mark.parametrize("name", OUTPUTS)
def test_an_output_without_rights_or_room_is_told(
    name: str, number: int, quick: None, here: Path, capfd: Any, monkeypatch: pytest.MonkeyPatch
) -> None:
    def fails(path: Path) -> Any:
        raise OSError(number, os.strerror(number), str(path))

    for kind in ("make", "create", "extend"):
        monkeypatch.setattr(disk, kind, fails)
    path = here / f"out{SUFFIX.get(name, '')}"
    one_line(main(called(OUTPUTS[name], path)), capfd, str(path.parent), os.strerror(number))
    assert not path.exists()


def test_an_error_without_a_path_is_no_matter_of_paths() -> None:
    assert as_told(OSError("something")) is None
    told = str(as_told(OSError(errno.ELOOP, "Too many links", "a")))
    assert told.startswith("cannot use a: Too many links. Expected ")


def test_a_current_folder_that_was_removed_is_told(here: Path, capfd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    (here / "gone").mkdir()
    monkeypatch.chdir(here / "gone")
    (here / "gone").rmdir()
    one_line(main(["generate", "a cat", "--out=o"]), capfd, "the current folder was removed", "cd")


def test_what_has_the_name_of_a_file_is_told(here: Path) -> None:
    (here / "folder").mkdir()
    os.mkfifo(here / "pipe")
    (here / "link").symlink_to("nowhere")
    loop(here / "loop")
    told = {name: no_file(Path(name)) for name in ("folder", "pipe", "link", "loop", "nothing", "p.txt/x", "/dev/null")}
    assert told == {
        "folder": "folder is a folder and no file",
        "pipe": "pipe is a named pipe and no file",
        "link": "link is a link that leads nowhere",
        "loop": f"cannot read loop: {os.strerror(errno.ELOOP)}",
        "nothing": "there is no file nothing",
        "p.txt/x": "there is no file p.txt/x",
        "/dev/null": "/dev/null is a device or a socket and no file",
    }


SOURCES = {
    "folder": "folder is a folder and no file",
    "pipe.txt": "pipe.txt is a named pipe and no file",
    "-": "prompts '-'. Expected a .txt, .csv, .json, .jsonl or .parquet file, or of the embedded world ",
    "s3://bucket/p.txt": "s3://bucket/p.txt. Expected a path on a file system",
}


@pytest.mark.parametrize("source", SOURCES)
def test_prompts_that_are_no_file_are_told_as_what_they_are(source: str, here: Path) -> None:
    (here / "folder").mkdir()
    os.mkfifo(here / "pipe.txt")
    with pytest.raises(NoisepromptError, match=re.escape(SOURCES[source])):
        load_prompts(source, model="shapes")


def test_scores_are_not_made_for_a_file_that_cannot_be(here: Path, capfd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("noiseprompt.scorers.base.load_scorers", lambda _: pytest.fail("it scores"))
    (here / "folder.csv").mkdir()
    for name, told in {
        "folder.csv": "folder.csv is a folder",
        "p.txt/x.csv": "p.txt is no folder",
        f"{'n' * 250}.csv": "its name is longer than 242 bytes",
    }.items():
        one_line(main(["score", ".", "--prompts=p.txt", "--out", name]), capfd, told)
    check_file(f"{'n' * 238}.csv")


def test_pictures_that_are_none_are_told_and_what_a_mac_leaves_is_passed_over(here: Path) -> None:
    write_picture(here / "a.png", np.zeros((8, 8, 3), np.uint8))
    (here / "._a.png").write_bytes(b"x")
    (here / "folder.png").mkdir()
    assert find_pictures(here) == [here / "a.png"]
    (here / "b.png").symlink_to("nowhere")
    with pytest.raises(NoisepromptError, match=r"b\.png is a link that leads nowhere"):
        find_pictures(here)


@pytest.mark.parametrize("number", [errno.EACCES, errno.EMFILE, errno.EIO])
def test_a_shard_that_cannot_be_opened_is_not_called_damaged(number: int, monkeypatch: pytest.MonkeyPatch) -> None:
    """Whoever is told that it is damaged deletes it."""

    def fails(file: Any) -> Any:
        raise OSError(number, os.strerror(number))

    monkeypatch.setattr(shards, "opened", fails)
    told = f"cannot read x: {os.strerror(number)}.*leave it where it is"
    with pytest.raises(StoreError, match="x may not be read.*[Aa]sk its owner" if number == errno.EACCES else told):
        shards.read_shard(Path("x"))


def test_what_to_type_next_can_be_typed(quick: None, here: Path, capfd: Any) -> None:
    assert main([*OUTPUTS["collect"], "my data (1)"]) == 0
    said = capfd.readouterr().err
    (line,) = [line for line in said.splitlines() if "next: " in line]
    words = shlex.split(line.partition("next: ")[2])
    assert words == ["noiseprompt", "train", "--npd", "my data (1)", "--out", "npnet"]


def test_a_name_commands_no_terminal_where_it_is_printed(here: Path, capfd: Any) -> None:
    assert main([*OUTPUTS["generate"], "\x1b[31mred"]) == 2
    assert "\x1b" not in "".join(capfd.readouterr())
