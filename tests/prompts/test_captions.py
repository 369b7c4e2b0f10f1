"""Pictures with captions: the layouts there are, as `datasets` and pandas read them, and what does not match."""

from __future__ import annotations

import csv
from pathlib import Path

import pyarrow as pa
import pyarrow.parquet as pq
import pytest
from PIL import Image

from noiseprompt.core.errors import InputError, NoisepromptWarning, PromptError
from noiseprompt.prompts.captions import load_captioned

ROWS = [("b.png", "a cat, sitting"), ("sub/a.jpg", "a dog"), ("c.png", "a cat, sitting")]


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    """Files that look like pictures; nothing opens them here."""
    (tmp_path / "sub").mkdir()
    for name, _ in ROWS:
        (tmp_path / name).write_bytes(b"picture")
    return tmp_path


def write(path: Path, rows: list[tuple[str, str]] = ROWS, names: tuple[str, str] = ("file_name", "text")) -> Path:
    columns = {name: [row[i] for row in rows] for i, name in enumerate(names)}
    if path.suffix == ".parquet":
        pq.write_table(pa.table({**columns, "pixels": [b"x"] * len(rows)}), path)
    elif path.suffix == ".csv":
        with path.open("w", newline="") as file:
            csv.writer(file).writerows([names, *rows])
    else:
        path.write_text("".join(f'{{"{names[0]}": "{a}", "{names[1]}": "{b}"}}\n' for a, b in rows))
    return path


@pytest.mark.parametrize("name", ["metadata.jsonl", "metadata.csv", "metadata.parquet"])
def test_a_folder_with_a_table_is_read_in_its_order(folder: Path, name: str) -> None:
    write(folder / name)
    found = load_captioned(folder)
    assert [(one.name, one.prompt.text) for one in found] == ROWS
    assert [one.path for one in found] == [folder / name for name, _ in ROWS]
    assert [one.name for one in load_captioned(folder, limit=1)] == ["b.png", "c.png"]  # every picture of a caption


def test_texts_beside_pictures(folder: Path) -> None:
    for name, text in ROWS:
        (folder / name).with_suffix(".txt").write_text(f"{text}\n")
    assert [(one.name, one.prompt.text) for one in load_captioned(folder)] == sorted(ROWS)


@pytest.mark.parametrize("name", ["list.jsonl", "list.csv", "list.parquet"])
def test_a_table_of_paths_needs_not_name_every_picture(folder: Path, name: str) -> None:
    write(folder / name, ROWS[:2], ("path", "caption"))
    assert [one.path for one in load_captioned(folder / name)] == [folder / "b.png", folder / "sub" / "a.jpg"]
    assert load_captioned(folder / name, column="caption")[0].prompt.text == "a cat, sitting"


def test_pictures_without_captions_and_captions_without_pictures_are_told(folder: Path) -> None:
    with pytest.raises(InputError, match=r"pictures without a caption in .*: b\.png, c\.png, sub/a\.jpg.*NAME\.txt"):
        load_captioned(folder)
    (folder / "b.txt").write_text("a cat")
    with pytest.raises(InputError, match=r"pictures without a caption in .*: c\.png, sub/a\.jpg"):
        load_captioned(folder)
    for name in ("c", "sub/a", "lonely"):
        (folder / f"{name}.txt").write_text("a text")
    with pytest.raises(InputError, match=r"captions without a picture in .*: lonely\.txt"):
        load_captioned(folder)
    write(folder / "metadata.csv", [*ROWS, ("gone.png", "nothing")])
    with pytest.raises(InputError, match=r"captions without a picture in .*: gone\.png"):
        load_captioned(folder)
    write(folder / "metadata.csv", ROWS[1:])
    with pytest.raises(InputError, match=r"pictures without a caption in .*: b\.png.*metadata\.csv"):
        load_captioned(folder)


def test_what_cannot_be_read_as_captions_is_refused(folder: Path) -> None:
    cases = [
        (write(folder / "a.csv", names=("title", "text")), r"columns title, text.*file_name"),
        (write(folder / "b.csv", names=("file_name", "words")), None),  # the only other column
        (write(folder / "c.csv", [("b.png", " ")]), r"entry 1 of .* \(b\.png\) has no caption"),
        (write(folder / "d.csv", [("", "a cat")]), "entry 1 of .* names no picture"),
        (folder / "none.jsonl", "no file"),
        (folder / "notes.txt", "no source of pictures"),
    ]
    for path, match in cases:
        if match is None:
            assert len(load_captioned(path)) == 3
            continue
        with pytest.raises(PromptError, match=match):
            load_captioned(path)
    with pytest.raises(PromptError, match="no column 'words'"):
        load_captioned(write(folder / "e.csv"), column="words")
    write(folder / "metadata.csv")
    write(folder / "metadata.jsonl")
    with pytest.raises(InputError, match=r"metadata\.jsonl and metadata\.csv"):
        load_captioned(folder)
    (folder / "empty").mkdir()
    with pytest.raises(InputError, match="no picture in"):
        load_captioned(folder / "empty")


@pytest.mark.parametrize("name", ["../b.png", "sub/../../b.png", "/etc/passwd"])
def test_a_table_in_a_folder_names_nothing_outside(name: str, folder: Path) -> None:
    write(folder / "metadata.jsonl", [(name, "a cat")])
    with pytest.raises(InputError, match="names pictures outside of its folder"):
        load_captioned(folder)


def test_a_category_that_is_none_is_refused(folder: Path) -> None:
    (folder / "list.jsonl").write_text('{"file_name": "b.png", "text": "a cat", "kind": ["a"]}\n')
    with pytest.raises(PromptError, match="category a list"):
        load_captioned(folder / "list.jsonl")


def test_a_name_that_no_file_has_is_refused(folder: Path) -> None:
    (folder / "list.jsonl").write_text('{"file_name": "b.png\\u0000", "text": "a cat"}\n')
    with pytest.raises(PromptError, match=r"entry 1 of .*list\.jsonl holds NUL"):
        load_captioned(folder / "list.jsonl")


def test_what_systems_and_editors_leave_in_a_folder_is_no_picture(tmp_path: Path) -> None:
    for name in ("a.png", "._a.png", ".ipynb_checkpoints/a-checkpoint.png"):
        path = tmp_path / name
        path.parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8)).save(path)
        path.with_suffix(".txt").write_bytes(b"a cat" if name == "a.png" else b"\0\5\x16\7")
    assert [one.name for one in load_captioned(tmp_path)] == ["a.png"]


def test_rows_of_commas_alone_are_no_captions(folder: Path) -> None:
    path = folder / "list.csv"
    path.write_text("file_name,text\nb.png,a cat\n,\n , \nc.png,a dog\n,\n")
    assert [(one.name, one.prompt.text) for one in load_captioned(path)] == [("b.png", "a cat"), ("c.png", "a dog")]
    path.write_text("file_name\nb.png\n")
    with pytest.raises(PromptError, match=r"list\.csv has no column but 'file_name'\. Expected the captions too"):
        load_captioned(path)


@pytest.mark.parametrize(("text", "told"), [("nan", "b.txt is 'nan'"), ("a caf\ufffd", r"b.txt holds U\+FFFD")])
def test_a_text_beside_a_picture_that_is_none_is_refused(text: str, told: str, folder: Path) -> None:
    (folder / "b.txt").write_text(text)
    with pytest.raises(PromptError, match=told):
        load_captioned(folder)


def test_a_folder_in_the_place_of_the_table_is_told(folder: Path) -> None:
    (folder / "metadata.jsonl").mkdir()
    with pytest.raises(PromptError, match=r"metadata\.jsonl is a folder and no file"):
        load_captioned(folder)


def test_labels_in_the_place_of_captions_are_told(folder: Path) -> None:
    write(folder / "metadata.csv", [(name, str(i)) for i, (name, _) in enumerate(ROWS)], ("file_name", "label"))
    with pytest.warns(NoisepromptWarning, match="every prompt of .* is a number: '0'"):
        load_captioned(folder)
