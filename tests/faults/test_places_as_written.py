"""Places that cannot be meant as they are written, and homes: the same in every command and from Python."""

from __future__ import annotations

import os
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from noiseprompt.cli.networks import own_card
from noiseprompt.cli.score import match
from noiseprompt.core.config import read_yaml
from noiseprompt.core.errors import InputError, ModelLoadError, NoisepromptError, PromptError, StoreError
from noiseprompt.core.files import make_folder, replace
from noiseprompt.core.places import check_file, check_folder, expanded
from noiseprompt.core.stores import store_to_read
from noiseprompt.npd import Npd
from noiseprompt.npd.export import export
from noiseprompt.npnet.share import find
from noiseprompt.pipelines import Pipeline
from noiseprompt.pipelines.adapters import parse_lora
from noiseprompt.pipelines.loading import check_there
from noiseprompt.prompts import load_prompts
from noiseprompt.prompts.captions import load_captioned
from noiseprompt.recipes.plan import recipes_in
from noiseprompt.scorers.loading import find_file
from noiseprompt.stages.report.report import report

UNMEANT = [
    ("~/o", "no shell put a home in the place of ~"),
    ("$HOME/o", r"nobody put a value in the place of \$HOME"),
    ("runs/$NAME", r"nobody put a value in the place of \$NAME"),
    ("runs/$(date)/o", r"nobody put a value in the place of \$\(date\)"),
    ("%TEMP%\\o", "nobody put a value in the place of %TEMP%"),
    ('"o"', "it is in quotes"),
    ("'my runs'", "it is in quotes"),
    ("a\nb", "a place in one line"),
    ("\x1b[31mred", "a place in one line"),
]
DRIVES = [] if os.name == "nt" else [("C:\\runs\\o", "a drive of Windows"), ("d:/o", "a drive of Windows")]
WRITERS: dict[str, Callable[[str], Any]] = {
    "folder": check_folder,
    "file": check_file,
    "made folder": lambda text: make_folder(Path(text)),
    "written file": lambda text: replace(Path(text), "x"),
    "export": lambda text: export("nowhere", text),
}


@pytest.mark.parametrize(("text", "says"), UNMEANT + DRIVES)
@pytest.mark.parametrize("writer", WRITERS)
def test_a_place_that_cannot_be_meant_is_refused_by_every_writer(
    writer: str, text: str, says: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    with pytest.raises(StoreError, match=says):
        WRITERS[writer](text)
    assert not [*tmp_path.iterdir()]


@pytest.mark.parametrize("name", ["50%off", "a$b", "it's", '"half', "naïve %s {x} #2", "c:x", "-o", "100%"])
def test_a_name_that_is_only_odd_is_taken(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    check_folder(Path(name))
    make_folder(Path(name))
    assert (tmp_path / name).is_dir()


def test_what_was_refused_is_taken_as_a_whole_path(tmp_path: Path) -> None:
    for name in ("~", '"o"', "C:\\x"):
        check_folder(tmp_path / name)
        make_folder(tmp_path / name)


def test_a_report_is_refused_before_it_is_made(tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no evaluation in"):
        report(tmp_path, out=tmp_path / "o")
    assert not (tmp_path / "o").exists()


def test_a_folder_that_was_copied_into_itself_is_found(tmp_path: Path) -> None:
    for name, read in (("shard-000000.arrow", Npd), ("results.jsonl", report)):
        inner = tmp_path / name / "run"
        inner.mkdir(parents=True)
        (inner / name).write_bytes(b"")
        with pytest.raises(NoisepromptError, match=f"Did you mean {inner}?"):
            read(tmp_path / name)
        with pytest.raises(NoisepromptError, match=f"Did you mean {inner}?"):
            read(inner / name)


READERS: dict[str, tuple[str, str, Callable[[str], Any]]] = {
    "prompts": ("p.txt", "a cat\n", load_prompts),
    "a set": ("drawbench.csv", "Prompts,Category\na cat,Colors\n", lambda text: load_prompts(f"drawbench:{text}")),
    "settings": ("c.yaml", "a: 1\n", lambda text: read_yaml(Path(text))),
    "a card": ("c.md", "# a card\n", lambda text: own_card(Path(text))),
    "recipes": ("r/a.yaml", "a: 1\n", lambda text: recipes_in(Path(text).parent)),
    "captions": ("t.csv", "file_name,text\nx.png,a cat\n", load_captioned),
    "weights": ("h.pt", "x", lambda text: find_file("hpsv2", text, "", "h.pt")),
    "a network": ("n.pth", "x", find),
    "a store": ("s/a", "x", lambda text: store_to_read(str(Path(text).parent)).read("a")),
}


@pytest.mark.parametrize("reader", READERS)
def test_a_home_is_found_by_every_reader(reader: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    name, text, read = READERS[reader]
    monkeypatch.setenv("HOME", str(tmp_path))
    (tmp_path / name).parent.mkdir(exist_ok=True)
    (tmp_path / name).write_text(text)
    (tmp_path / "x.png").write_bytes(b"")
    assert read(f"~/{name}")


def test_a_folder_in_a_files_place_is_called_one(tmp_path: Path) -> None:
    with pytest.raises(PromptError, match="is a folder and no file"):
        match(_pictures(tmp_path), tmp_path)
    with pytest.raises(InputError, match="is a folder and no file"):
        own_card(tmp_path)


def test_a_loop_of_links_is_no_missing_network(tmp_path: Path) -> None:
    (tmp_path / "l").symlink_to("l")
    with pytest.raises(ModelLoadError, match="Too many levels"):
        find(tmp_path / "l")


def test_the_configuration_of_a_network_is_no_checkpoint(tmp_path: Path) -> None:
    from noiseprompt.npnet.published import _read

    (tmp_path / "config.json").write_text("{}")
    with pytest.raises(ModelLoadError, match=r"the folder it lies in\. Name "):
        _read(tmp_path / "config.json")


def test_a_list_in_a_file_of_lines_is_called_one(tmp_path: Path) -> None:
    (tmp_path / "m.jsonl").write_text('["a", "b"]')
    with pytest.raises(PromptError, match=r"line 1 of .*m\.jsonl is a list"):
        load_prompts(tmp_path / "m.jsonl")
    (tmp_path / "m.json").write_text('["a", "b"]')
    with pytest.raises(PromptError, match=r"has no columns: it begins with 'a'"):
        load_captioned(tmp_path / "m.json")


def test_the_mark_that_editors_put_is_named(tmp_path: Path) -> None:
    (tmp_path / "a.json").write_bytes(b"\xef\xbb\xbf{}")
    from noiseprompt.core.json_files import read_json

    with pytest.raises(NoisepromptError, match="it begins with a mark"):
        read_json(tmp_path / "a.json")


def _pictures(folder: Path) -> Path:
    import numpy as np

    from noiseprompt.core.pictures import write_picture

    write_picture(folder / "a.png", np.zeros((8, 8, 3), np.uint8))
    return folder


def test_pictures_that_are_not_read_are_not_left_out_in_silence(tmp_path: Path) -> None:
    from noiseprompt.core.errors import NoisepromptWarning
    from noiseprompt.core.pictures import find_pictures

    (_pictures(tmp_path) / "b.HEIC").write_bytes(b"x")
    with pytest.warns(NoisepromptWarning, match=r"not read \(b\.HEIC\): 1 left out"):
        assert [path.name for path in find_pictures(tmp_path)] == ["a.png"]


def test_a_caption_that_is_given_twice_is_told(tmp_path: Path) -> None:
    row = '{"file_name": "a.png", "text": "a cat"}\n'
    (_pictures(tmp_path) / "metadata.jsonl").write_text(row + row)
    with pytest.raises(InputError, match=r"gives a\.png the caption 'a cat' twice"):
        load_captioned(tmp_path)
    (tmp_path / "metadata.jsonl").write_text(row + row.replace("cat", "dog"))
    assert len(load_captioned(tmp_path)) == 2


@pytest.mark.parametrize("address", ["s3://bucket/thing", "file:///home/thing", "gs://bucket/a/b.safetensors"])
@pytest.mark.parametrize("reader", [Pipeline.load, parse_lora, check_there, expanded])
def test_what_a_model_is_made_of_has_no_address(reader: Callable[[str], Any], address: str) -> None:
    with pytest.raises(InputError, match=r"://.*Expected a path on a file system.*copy it to one first"):
        reader(address)
    assert expanded(f"./{address}") == Path(f"./{address}")
