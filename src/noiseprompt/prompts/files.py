"""Files of rows, by suffix: `.csv`, `.json` (a list), `.jsonl`, `.parquet`; `.txt` holds one text a line."""

from __future__ import annotations

import csv
import io
import math
import os
import re
from collections.abc import Collection, Iterator, Mapping, Sequence
from pathlib import Path
from typing import Any

from noiseprompt.core.errors import MissingDependencyError, PromptError
from noiseprompt.core.json_files import parse_json
from noiseprompt.core.places import no_file, refuse_pipe
from noiseprompt.core.ranges import shown
from noiseprompt.core.texts import reason_of
from noiseprompt.prompts.looks import (
    NO_NUMBERS,
    TITLES,
    is_json_lines,
    refuse_conflict,
    refuse_json,
    refuse_other_kind,
    refuse_table,
    warn_of_marks,
)
from noiseprompt.shapes.world import TEST_PROMPTS

SUFFIXES = (".txt", ".csv", ".json", ".jsonl", ".parquet")


def read_rows(path: Path, columns: Collection[str] = (), of: str = "prompts") -> list[Any]:
    """The entries of a file: texts of a .txt, mappings by column of a table, whatever a .json or .jsonl lists.

    Args:
        path: of the file.
        columns: of a parquet file, the only ones to read, in lower case; all where empty (pictures are skipped so).
        of: what it holds, for messages.

    Raises:
        PromptError: missing, empty, not UTF-8, malformed, or of another suffix.
        MissingDependencyError: a parquet file without pyarrow.
    """
    suffix = path.suffix.lower()
    if os.path.lexists(path) and not path.is_file():
        raise PromptError(no_file(path), f"a file of {of}")
    if suffix not in SUFFIXES:
        look = f'splits of the embedded world look like "{TEST_PROMPTS}"'
        hint = "rename or convert the file" if path.exists() else look if of != "seeds" else "check the path"
        raise PromptError(f"{path} has the unknown suffix {suffix!r}", f"one of {', '.join(SUFFIXES)}", hint)
    if not path.is_file():
        raise PromptError(no_file(path), f"a file of {of}", "check the path")
    if suffix == ".parquet":
        return _read_parquet(path, columns, of)
    text = decode(path, of)
    if not text.strip():
        raise PromptError(f"{path} is empty", "at least one prompt" if of == "prompts" else f"a file of {of}")
    if suffix == ".txt":
        lines = lines_of(text)
        refuse_table(path, text, lines)
        warn_of_marks(path, lines)
        return lines
    if suffix == ".csv":
        refuse_json(path, text, "a header and rows")
    return {".csv": _read_csv, ".json": _read_json, ".jsonl": _read_jsonl}[suffix](text, path)


def decode(path: Path, of: str = "prompts") -> str:
    """The text of a file in UTF-8, without the mark at its beginning.

    Args:
        of: what it holds, for messages.

    Raises:
        PromptError: it cannot be read, is of another kind by its first bytes, in another encoding, or several files
            that were joined with their marks.
    """
    try:
        refuse_pipe(path)
        data = path.read_bytes()
    except OSError as error:
        raise PromptError(f"cannot read {path}: {error.strerror or error}", f"a file of {of}") from error
    refuse_other_kind(path, data[:512], of)
    try:
        text = data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        byte = data[error.start]
        raise PromptError(
            f"{path} is not UTF-8: byte 0x{byte:02x} at offset {error.start}", "a UTF-8 file", "save it again as UTF-8"
        ) from error
    refuse_conflict(path, text)
    if joint := re.search("(?:^|[\r\n])\ufeff", text):
        line = len(lines_of(text[: joint.start()], blank=True)) + 1
        came = f"line {line} of {path} begins with the mark that begins a file (U+FEFF)"
        raise PromptError(came, "one file, and no several behind each other", "take the mark out")
    return text


def lines_of(text: str, *, blank: bool = False) -> list[str]:
    """The lines of a text, without blanks around them: those that an editor shows, so that a form feed or U+2028 is a
    part of its line.

    Args:
        blank: keep those that are blank.
    """
    lines = [line.strip() for line in re.split(r"\r\n|\r|\n", text)]
    return lines if blank else [line for line in lines if line]


def csv_rows(text: str, path: Path) -> Iterator[tuple[int, dict[str, Any]]]:
    """Number of its last line, and cells by column, of every row below the header.

    Args:
        path: for messages.

    Raises:
        PromptError: malformed, a column twice, or a row with more cells than the header or none below a title.
    """
    before = 0  # the last line of what could be read
    try:
        reader = csv.DictReader(io.StringIO(text, newline=""), strict=True)
        titles = reader.fieldnames = [title.strip() for title in reader.fieldnames or ()]
        before = reader.line_num
        if text.strip() and not titles:
            raise PromptError(f"line 1 of {path} is blank", "the header there", "take blank lines before it out")
        if titles and re.fullmatch("sep=.?", titles[0]):
            raise PromptError(
                f"line 1 of {path} is {titles[0]!r}, a note for Excel", "the header", "take that line out"
            )
        twice = next((title for title in titles if title and titles.count(title) > 1), None)
        if twice is not None:
            raise PromptError(f"{path} has two columns {twice!r}", "a header with each column once")
        if len(titles) == 1 and "," in titles[0] and any(cell in TITLES for cell in titles[0].lower().split(",")):
            came = f"{path} has one column {titles[0]!r:.80}: each of its rows is in quotes as a whole"
            raise PromptError(came, "commas between the cells", "take the quotes around the rows out")
        mark = next((mark for mark in ";\t|" if len(titles) == 1 and mark in titles[0]), None)
        if mark is not None:
            came = f"{path} has one column {titles[0]!r:.80}: its cells are separated by {mark!r}"
            raise PromptError(came, "commas between them", "save it again as comma-separated values")
        for row in reader:
            if None in row:
                came = f"line {reader.line_num} of {path} has more cells than the header"
                raise PromptError(came, f"{len(titles)}", "put quotes around a text with commas")
            if any(cell is None for title, cell in row.items() if title):
                came = f"line {reader.line_num} of {path} has fewer cells than the header"
                raise PromptError(came, f"{len(titles)}", "the file may be torn; an empty cell has its comma too")
            if [str(cell).strip() for cell in row.values()] == titles:
                came = f"line {reader.line_num} of {path} is its header again"
                raise PromptError(came, "one table, and no several behind each other", "take that line out")
            before = reader.line_num
            yield before, dict(row)
    except csv.Error as error:
        reason = "a quote is opened and never closed" if "end of data" in str(error) else str(error)
        came = f"{path} is not a readable CSV file: in the row that begins in line {before + 1} {reason}"
        raise PromptError(came, "comma-separated rows below a header") from error


def _read_csv(text: str, path: Path) -> list[dict[str, Any]]:
    return [row for _, row in csv_rows(text, path)]


def _read_json(text: str, path: Path) -> list[Any]:
    try:
        data = parse_json(text)
    except ValueError as error:
        fix = "let its name end in .jsonl" if is_json_lines(text) else ""
        raise PromptError(f"{path} is not JSON: {error}", "a list of texts or of objects", fix) from error
    if not isinstance(data, list):
        raise PromptError(f"{path} holds {noun(data)}", "a list of texts or of objects")
    return data


def _read_jsonl(text: str, path: Path) -> list[Any]:
    rows = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                rows.append(parse_json(line))
            except ValueError as error:
                came = f"line {number} of {path} is not JSON: {error}"
                raise PromptError(came, "one text or object a line") from error
            if isinstance(rows[-1], list):
                fix = "name a file that is one list .json"
                raise PromptError(f"line {number} of {path} is a list", "one text or object a line", fix)
    return rows


def _read_parquet(path: Path, columns: Collection[str], of: str) -> list[dict[str, Any]]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingDependencyError(
            "parquet files need pyarrow", "pyarrow installed", "run `pip install pyarrow`"
        ) from error
    try:
        with path.open("rb") as file:
            start = file.read(512)
        if not start.startswith(b"PAR1"):
            refuse_other_kind(path, start, of)
        present = pq.read_schema(path).names
        if twice := next((name for name in present if present.count(name) > 1), None):
            raise PromptError(f"{path} has two columns {twice!r}", "each column once")
        wanted = [name for name in present if name.strip().lower() in columns] if columns else present
        return pq.read_table(path, columns=wanted).to_pylist()
    except UnicodeDecodeError as error:
        came = f"a text in {path} is not UTF-8 (it begins {error.object[:20]!r})"
        raise PromptError(came, "columns of UTF-8", "write it again from the texts") from error
    except PermissionError as error:
        raise PromptError(f"cannot read {path}: {error.strerror}", f"a file of {of}") from error
    except (pa.ArrowException, OSError) as error:
        raise PromptError(f"{path} is not a readable parquet file: {reason_of(error)}", "a parquet file") from error


def known_names(rows: Sequence[Any], known: Collection[str], path: Path, but: str | None = None) -> list[Any]:
    """The rows with known columns under their own names: "Prompt" is "prompt", as spreadsheets write it.

    Args:
        known: names in lower case.
        path: for messages.
        but: a column that is asked for by its name, and keeps it.

    Raises:
        PromptError: a column of seeds that is called otherwise, and would have no effect.
    """
    columns = {name: None for row in rows if isinstance(row, dict) for name in row}
    if "seed" in known and "seeds" in {name.lower(): None for name in columns} and "seed" not in columns:
        raise PromptError(f"{path} has a column 'seeds'", "'seed', one whole number in each row")
    new: dict[str, str] = {}
    for name in columns:
        plain = name.strip().lower()
        if plain in known and plain not in columns and name != but and plain not in new.values():
            new[name] = plain
    if not new:
        return list(rows)
    return [{new.get(key, key): cell for key, cell in row.items()} if isinstance(row, dict) else row for row in rows]


_WHOLE = re.compile(r"\s*([0-9]+)(?:\.0+)?\s*")
"""A seed as a text, "3.0" where a column with empty cells was written by pandas; Python would take "1_0" for 10."""


def seed_of(value: Any, where: str) -> int | None:
    """The seed that a row names, None where the cell is empty.

    Args:
        where: the row, for the message.

    Raises:
        PromptError: no whole number from 0 to 2**63 - 1, what noise can be drawn from.
    """
    if value is None or not str(value).strip():
        return None
    try:
        whole = _WHOLE.fullmatch(value) if isinstance(value, str) else [value, value]
        seed = int(whole[1]) if whole else -1
    except (TypeError, ValueError, OverflowError):  # the last from infinity
        seed = -1
    if isinstance(value, bool) or not 0 <= seed < 2**63 or not (isinstance(value, str) or value == seed):
        known = isinstance(value, str | int | float | list | dict)  # a table may hold decimals and dates
        raise PromptError(
            f"{where} has the seed {shown(value) if known else value}", "a whole number from 0 to 2**63 - 1"
        )
    return seed


def category_in(cells: Mapping[str, Any], where: str) -> str:
    """The category that a row names under "kind" or "category", "" where both are empty.

    Args:
        where: the row, for the message.

    Raises:
        PromptError: as `category_of`, or the two differ.
    """
    found = [category_of(cells.get(name), where) for name in ("kind", "category")]
    if len({*filter(None, found)}) > 1:
        came = f"{where} has the kind {found[0]!r:.80} and the category {found[1]!r:.80}"
        raise PromptError(came, "one of the two", "rename the column that is not meant")
    return found[0] or found[1]


def category_of(value: Any, where: str) -> str:
    """The category that a cell holds, "" where it is empty.

    Args:
        where: the row, for the message.

    Raises:
        PromptError: neither a text nor a number, or what a table writes where there is nothing.
    """
    if value is None:
        return ""
    if isinstance(value, str) and value.strip().lower() in NO_NUMBERS:
        raise PromptError(f"{where} has the category {value.strip()!r}", "a text, or an empty cell", "mend that row")
    if not isinstance(value, str | int | float) or (isinstance(value, float) and not math.isfinite(value)):
        raise PromptError(f"{where} has the category {noun(value)}", "a text")
    return str(value).strip()


def noun(value: Any) -> str:
    """A JSON value in a word."""
    return {dict: "an object", list: "a list", str: "a text"}.get(type(value)) or shown(value)
