"""Pictures with captions: a folder as `datasets` reads one (imagefolder), texts beside pictures, or a table of paths.

    FOLDER/metadata.jsonl (.csv, .parquet)   columns `file_name` and the caption; every picture below FOLDER is named
    FOLDER/NAME.png with FOLDER/NAME.txt     the text is the caption
    FILE.jsonl (.json, .csv, .parquet)       columns `file_name` (or `path`, `image`), relative to the file, and the
                                             caption; what else lies beside the pictures does not matter

The caption's column is the first of `TEXT_COLUMNS` that is there, unless named; `kind` or `category` may follow.
"""

from __future__ import annotations

import os
from collections import Counter
from collections.abc import Collection, Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noiseprompt.core.errors import InputError, PromptError
from noiseprompt.core.pictures import find_pictures, hidden
from noiseprompt.core.places import check_local, expanded
from noiseprompt.core.ranges import shown
from noiseprompt.core.texts import check_text
from noiseprompt.core.types import Prompt
from noiseprompt.prompts.files import category_in, decode, known_names, read_rows
from noiseprompt.prompts.load import TEXT_COLUMNS, text_column
from noiseprompt.prompts.looks import refuse_no_text, warn_of_numbers

METADATA = ("metadata.jsonl", "metadata.csv", "metadata.parquet")
TABLES = (".jsonl", ".json", ".csv", ".parquet")
FILE_COLUMNS = ("file_name", "path", "image")


@dataclass(frozen=True)
class Captioned:
    """A picture and what it shows.

    Fields:
        prompt: its caption.
        path: of its file.
        name: of its file as its source names it; two pictures of one source have two names.
    """

    prompt: Prompt
    path: Path
    name: str


def load_captioned(source: str | Path, *, column: str | None = None, limit: int | None = None) -> list[Captioned]:
    """Pictures with captions, in the order of their source; every file is there, whether or not it can be read.

    Args:
        source: a folder or a table, as above.
        column: of the caption.
        limit: pictures of the first so many captions.

    Raises:
        InputError: no pictures, pictures without a caption, or captions without a picture; with the first of them.
        PromptError: a table that cannot be read or lacks a column, or a limit below 1.
    """
    if limit is not None and limit < 1:
        raise PromptError(f"limit {limit}", "a number of captions above 0")
    check_local(source)
    source = expanded(source)
    found = _from_folder(source, column) if source.is_dir() else _from_table(source, column)
    if not found:
        raise InputError(f"{source} names no picture", "a row for each picture")
    _refuse_twice(source, found)
    _refuse_absent(source, found)
    return found if limit is None else _first(found, limit)


def _refuse_twice(source: Path, found: Sequence[Captioned]) -> None:
    """Refuse a row that is there twice; several captions of one picture are as many."""
    rows = Counter((one.path, one.prompt.text) for one in found)
    twice = next((one for one in found if rows[one.path, one.prompt.text] > 1), None)
    if twice is not None:
        came = f"{source} gives {twice.name} the caption {twice.prompt.text!r:.60} twice"
        raise InputError(came, "each row once", "leave one of them out")


def _refuse_absent(source: Path, found: Iterable[Captioned]) -> None:
    absent = [one.name for one in found if not one.path.is_file()]
    if absent:
        raise InputError(f"captions without a picture in {source}: {_some(absent)}", "the file of each caption")


def _leads_out(name: str) -> bool:
    """Whether a name in a folder is one of elsewhere, as it is spelled: links are their owner's affair."""
    return Path(name).is_absolute() or os.path.normpath(name).split(os.sep)[0] == os.pardir


def _from_folder(folder: Path, column: str | None) -> list[Captioned]:
    tables = [folder / name for name in METADATA if os.path.lexists(folder / name)]
    if len(tables) > 1:
        raise InputError(f"{folder} holds {' and '.join(table.name for table in tables)}", "one table of captions")
    pictures = find_pictures(folder, below=True)
    found = _from_table(tables[0], column) if tables else _from_texts(folder, pictures)
    outside = [one.name for one in found if _leads_out(one.name)]
    if outside:
        came = f"{tables[0]} names pictures outside of its folder: {_some(outside)}"
        raise InputError(came, f"names below {folder}", "pass the table itself as --pictures where you trust it")
    _refuse_absent(folder, found)
    named = {one.path.resolve() for one in found}
    bare = [path.relative_to(folder).as_posix() for path in pictures if path.resolve() not in named]
    if bare:
        expected = f"a row of {tables[0].name} for each" if tables else "NAME.txt beside NAME.png, or metadata.jsonl"
        raise InputError(f"pictures without a caption in {folder}: {_some(bare)}", expected)
    return found


def _from_texts(folder: Path, pictures: Iterable[Path]) -> list[Captioned]:
    """Pictures that have a text beside them; a text without a picture is refused."""
    texts = {path for path in folder.rglob("*.txt") if path.is_file() and not hidden(path.relative_to(folder))}
    found = []
    for path in pictures:
        beside = path.with_suffix(".txt")
        if beside in texts:
            text = " ".join(decode(beside).split())
            check_text(str(beside), f"the name {str(beside)!r:.80}", "give the file a name in UTF-8")
            check_text(text, str(beside))
            if not text:
                raise InputError(f"{beside} is empty", "the caption of the picture beside it")
            refuse_no_text(text, str(beside))
            found.append(Captioned(Prompt(text), path, path.relative_to(folder).as_posix()))
    left = sorted(texts - {one.path.with_suffix(".txt") for one in found})
    if found and left:
        names = [path.relative_to(folder).as_posix() for path in left]
        raise InputError(f"captions without a picture in {folder}: {_some(names)}", "NAME.png beside each NAME.txt")
    return found


def _from_table(path: Path, column: str | None) -> list[Captioned]:
    if path.suffix.lower() not in TABLES:
        expected = "a folder of pictures with captions, or a .jsonl, .json, .csv or .parquet file of paths and captions"
        absent = not path.exists()
        came = f"{path} is no source of pictures{': it is not there' * absent}"
        raise PromptError(came, expected, "check the path" * absent)
    wanted = (*FILE_COLUMNS, *TEXT_COLUMNS, *([column.lower()] if column else []), "kind", "category")
    rows = known_names(read_rows(path, wanted, "captions"), wanted, path, but=column)
    columns = list(dict.fromkeys(name for row in rows if isinstance(row, dict) for name in row))
    file_column = next((name for name in FILE_COLUMNS if name in columns), None)
    if not columns:
        came = f"{path} has no columns: it begins with {shown(rows[0]) if rows else 'nothing'}"
        raise PromptError(came, f"objects with {FILE_COLUMNS[0]} and {TEXT_COLUMNS[1]}")
    if file_column is None:
        came = f"{path} has the columns {', '.join(columns)}"
        raise PromptError(came, f"one of {', '.join(FILE_COLUMNS)} for the picture's path", "name it file_name")
    others = [name for name in columns if name != file_column]
    if not others:
        raise PromptError(f"{path} has no column but {file_column!r}", f"the captions too, as {TEXT_COLUMNS[1]!r}")
    text = text_column(others, path, column)
    some = [(number, row) for number, row in enumerate(rows, 1) if not _is_blank(row, path)]
    found = [_captioned(row, file_column, text, path, number) for number, row in some]
    warn_of_numbers(path, [one.prompt.text for one in found])
    return found


def _is_blank(row: Any, path: Path) -> bool:
    """Whether it is a row of commas, as spreadsheets leave them below a table."""
    return path.suffix.lower() == ".csv" and not any(str(cell or "").strip() for cell in row.values())


def _captioned(row: Any, file_column: str, column: str, path: Path, number: int) -> Captioned:
    cells = row if isinstance(row, dict) else {}
    name, text = cells.get(file_column), cells.get(column)
    if not isinstance(name, str) or not name.strip():
        raise PromptError(f"entry {number} of {path} names no picture in {file_column!r}", "the path of a file")
    if not isinstance(text, str) or not text.strip():
        raise PromptError(f"entry {number} of {path} ({name:.80}) has no caption in {column!r}", "a text")
    where = f"entry {number} of {path}"
    check_text(name, where)
    check_text(text, where)
    refuse_no_text(text, where)
    return Captioned(Prompt(text.strip(), category_in(cells, where)), path.parent / name, name)


def _first(found: list[Captioned], limit: int) -> list[Captioned]:
    texts = list(dict.fromkeys(one.prompt.id for one in found))[:limit]
    kept = set(texts)
    return [one for one in found if one.prompt.id in kept]


def _some(names: Collection[str]) -> str:
    shown = list(names)[:3]
    return ", ".join(shown) + (f" and {len(names) - 3} more" if len(names) > 3 else "")
