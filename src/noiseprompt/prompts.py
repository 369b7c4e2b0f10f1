"""Prompts from a file or from a split of the embedded world.

Files, by suffix: `.txt` (one prompt a line), `.csv`, `.json` (a list of texts or of objects), `.jsonl`, `.parquet`.
Tables may hold the columns `seed` (the noise's seed) and `kind` or `category` (for tables by kind). A text that occurs
twice is kept once, with its first kind, unless the two name different seeds.
"""

from __future__ import annotations

import csv
import difflib
import io
import json
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noiseprompt.errors import InputError, MissingDependencyError, PromptError
from noiseprompt.types import Prompt

TEXT_COLUMNS = ("prompt", "text", "caption")
"""Columns taken for the text where none is named, in this order."""

SUFFIXES = (".txt", ".csv", ".json", ".jsonl", ".parquet")


@dataclass(frozen=True)
class PromptList:
    """Prompts in the order of their source.

    Fields:
        prompts: without duplicates, never empty.
        duplicates: how many were dropped because they occurred before.
        source: where they came from, as given.
    """

    prompts: tuple[Prompt, ...]
    duplicates: int
    source: str


def load_prompts(source: str, *, column: str | None = None, limit: int | None = None) -> PromptList:
    """Prompts of `source`.

    Args:
        source: "shapes:train", "shapes:validation", "shapes:test", "shapes:held-out", or the path of a file.
        column: name of the text's column; by default the first of `TEXT_COLUMNS` that is there, or the only column.
        limit: at most so many prompts, from the start, counted without duplicates.

    Raises:
        PromptError: the source is missing, empty, not UTF-8, malformed, or lacks the column.
        UnknownNameError: no such split of the world.
        MissingDependencyError: a parquet file without pyarrow.
    """
    if limit is not None and limit < 1:
        raise PromptError(f"limit {limit}", "a number of prompts above 0")
    if str(source).startswith("shapes:"):
        from noiseprompt.shapes.splits import prompts_of

        return PromptList(prompts_of(str(source).removeprefix("shapes:"))[:limit], 0, str(source))
    path = Path(source)
    kept, duplicates = _unique(_read(path, column), path, limit)
    if not kept:
        raise PromptError(f"{path} holds no prompt", "at least one non-empty text")
    return PromptList(tuple(kept), duplicates, str(source))


def wrong_prompt(prompts: Sequence[Prompt], index: int) -> Prompt:
    """The prompt half the list away, or the next one after it with another text: what the control draws noise for.

    Raises:
        InputError: all prompts have the same text.
    """
    n = len(prompts)
    shifted = (prompts[(index + n // 2 + k) % n] for k in range(n))
    found = next((p for p in shifted if p.text != prompts[index].text), None)
    if found is None:
        raise InputError("a swap control with one prompt", "at least two different prompts")
    return found


def _unique(found: Iterable[Prompt], path: Path, limit: int | None) -> tuple[list[Prompt], int]:
    kept: list[Prompt] = []
    seen: set[tuple[str, int | None]] = set()
    duplicates = 0
    for prompt in found:
        key = (prompt.id, prompt.seed)
        if key in seen:
            duplicates += 1
        elif limit is None or len(kept) < limit:
            kept.append(prompt)
            seen.add(key)
        else:
            break
    return kept, duplicates


def _read(path: Path, column: str | None) -> list[Prompt]:
    suffix = path.suffix.lower()
    if suffix not in SUFFIXES:
        hint = "rename or convert the file" if path.exists() else 'splits of the embedded world look like "shapes:test"'
        raise PromptError(f"{path} has the unknown suffix {suffix!r}", f"one of {', '.join(SUFFIXES)}", hint)
    if not path.is_file():
        raise PromptError(f"there is no file {path}", "a file of prompts", "check the path")
    if suffix == ".parquet":
        return _from_rows(_read_parquet(path), path, column)
    text = _decode(path)
    if not text.strip():
        raise PromptError(f"{path} is empty", "at least one prompt")
    if suffix == ".txt":
        return [Prompt(line.strip()) for line in text.splitlines() if line.strip()]
    reader = {".csv": _read_csv, ".json": _read_json, ".jsonl": _read_jsonl}[suffix]
    return _from_rows(reader(text, path), path, column)


def _decode(path: Path) -> str:
    data = path.read_bytes()
    try:
        return data.decode("utf-8-sig")
    except UnicodeDecodeError as error:
        byte = data[error.start]
        raise PromptError(
            f"{path} is not UTF-8: byte 0x{byte:02x} at offset {error.start}", "a UTF-8 file", "save it again as UTF-8"
        ) from error


def _read_csv(text: str, path: Path) -> list[dict[str, Any]]:
    try:
        rows = list(csv.DictReader(io.StringIO(text, newline=""), strict=True))
    except csv.Error as error:
        raise PromptError(
            f"{path} is not a readable CSV file: {error}", "comma-separated rows below a header"
        ) from error
    return [{str(k): v for k, v in row.items() if k is not None} for row in rows]


def _read_json(text: str, path: Path) -> list[Any]:
    try:
        data = json.loads(text)
    except json.JSONDecodeError as error:
        raise PromptError(f"{path} is not JSON: {error}", "a list of texts or of objects") from error
    if not isinstance(data, list):
        raise PromptError(f"{path} holds {_noun(data)}", "a list of texts or of objects")
    return data


def _read_jsonl(text: str, path: Path) -> list[Any]:
    rows = []
    for number, line in enumerate(text.split("\n"), 1):
        if line.strip():
            try:
                rows.append(json.loads(line))
            except json.JSONDecodeError as error:
                raise PromptError(
                    f"line {number} of {path} is not JSON: {error}", "one text or object a line"
                ) from error
    return rows


def _read_parquet(path: Path) -> list[dict[str, Any]]:
    try:
        import pyarrow as pa
        import pyarrow.parquet as pq
    except ImportError as error:
        raise MissingDependencyError(
            "parquet files need pyarrow", "pyarrow installed", "run `pip install pyarrow`"
        ) from error
    try:
        return pq.read_table(path).to_pylist()
    except (pa.ArrowException, OSError) as error:
        raise PromptError(f"{path} is not a readable parquet file: {error}", "a parquet file") from error


def _from_rows(rows: list[Any], path: Path, column: str | None) -> list[Prompt]:
    columns = list(dict.fromkeys(name for row in rows if isinstance(row, dict) for name in row))
    if not columns:
        if column is not None and rows:
            raise PromptError(
                f"{path} has no columns, but column {column!r} is asked for",
                "a list of objects",
                "leave the column out",
            )
        name = ""
    else:
        name = _text_column(columns, path, column)
    prompts = []
    for number, row in enumerate(rows, 1):
        prompt = _prompt(row, name, f"entry {number} of {path}")
        if prompt is not None:
            prompts.append(prompt)
    return prompts


def _text_column(columns: list[str], path: Path, column: str | None) -> str:
    if column is None:
        known = [name for name in TEXT_COLUMNS if name in columns]
        if known or len(columns) == 1:
            return (known or columns)[0]
        raise PromptError(
            f"{path} has the columns {', '.join(columns)}",
            f"one of {', '.join(TEXT_COLUMNS)}",
            "name the text's column",
        )
    if column not in columns:
        close = difflib.get_close_matches(column, columns, n=1)
        hint = f"did you mean {close[0]!r}?" if close else ""
        raise PromptError(f"{path} has no column {column!r}", f"one of {', '.join(columns)}", hint)
    return column


def _prompt(row: Any, column: str, where: str) -> Prompt | None:
    """The prompt of one entry, None where its text is blank."""
    if isinstance(row, str):
        return Prompt(row.strip()) if row.strip() else None
    if not isinstance(row, dict):
        raise PromptError(f"{where} is {_noun(row)}", "a text or an object")
    text = row.get(column)
    if text is None:
        return None
    if not isinstance(text, str):
        raise PromptError(f"{where} holds {_noun(text)} in {column!r}", "a text")
    kind = row.get("kind") or row.get("category") or ""
    return Prompt(text.strip(), str(kind).strip(), _seed(row.get("seed"), where)) if text.strip() else None


def _seed(value: Any, where: str) -> int | None:
    if value is None or value == "":
        return None
    try:
        seed = int(value)
    except (TypeError, ValueError):
        seed = -1
    if isinstance(value, bool) or seed < 0 or (isinstance(value, float) and value != seed):
        raise PromptError(f"{where} has the seed {value!r}", "a whole number from 0 on")
    return seed


def _noun(value: Any) -> str:
    return {dict: "an object", list: "a list", str: "a text"}.get(type(value), f"{value!r}")
