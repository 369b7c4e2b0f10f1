"""Prompts from a file, from a published set of prompts, or from a split of the embedded world.

Files, by suffix: `.txt` (one prompt a line), `.csv`, `.json` (a list of texts or of objects), `.jsonl`, `.parquet`.
Tables may hold the columns `seed` (the noise's seed) and `kind` or `category` (for tables by kind), in capitals too. A
text that occurs twice is kept once, with its first kind, unless the two name different seeds.
"""

from __future__ import annotations

import difflib
import os
import re
import warnings
from collections.abc import Iterable, Sequence
from dataclasses import dataclass, replace
from pathlib import Path
from typing import Any, Literal

from noiseprompt.core.arguments import held
from noiseprompt.core.errors import InputError, NoisepromptWarning, PromptError, UnknownNameError
from noiseprompt.core.places import check_local, expanded, no_file
from noiseprompt.core.ranges import check_value
from noiseprompt.core.texts import check_text
from noiseprompt.core.types import Prompt
from noiseprompt.prompts.files import SUFFIXES, category_in, known_names, noun, read_rows, seed_of
from noiseprompt.prompts.looks import refuse_damaged, refuse_no_text, warn_of_codes, warn_of_columns, warn_of_numbers
from noiseprompt.prompts.published import SETS, read_set
from noiseprompt.shapes import world
from noiseprompt.shapes.splits import SPLITS, prompts_of

TEXT_COLUMNS = ("prompt", "text", "caption")
"""Columns taken for the text where none is named, in this order."""

_COLUMNS = (*TEXT_COLUMNS, "seed", "kind", "category")


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


@held
def load_prompts(
    source: str | Path,
    *,
    column: str | None = None,
    limit: int | None = None,
    model: str = "",
    seeds: str | Path | None = None,
) -> PromptList:
    """Prompts of `source`.

    Args:
        source: "shapes:train", "shapes:validation", "shapes:test", "shapes:held-out" (for the model "shapes" the part
            after the colon is enough), the path of a file, or a published set such as "drawbench:FILE"
            (`published.SETS`).
        column: name of the text's column; by default the first of `TEXT_COLUMNS` that is there, or the only column.
        limit: at most so many prompts, from the start, counted without duplicates.
        model: that the prompts are for.
        seeds: a file with a whole number for each prompt, in their order (blank rows do not count): `.txt`, one a line,
            or a table with a column `seed`.

    Raises:
        PromptError: the source is missing, empty, not UTF-8, malformed, lacks the column, or the file of seeds has
            fewer numbers than there are prompts to take, or more than the source has prompts.
        UnknownNameError: no such split of the world.
        MissingDependencyError: a parquet file without pyarrow.
    """
    if not str(source).strip():
        raise PromptError(f"prompts {source!r}", 'a file of them, a split such as "shapes:test", or a published set')
    check_value("limit", int | None, limit)
    if limit is not None and limit < 1:
        raise PromptError(f"limit {limit}", "a number of prompts above 0")
    expanded(source)  # refuses a name that no disk has
    found = _find(str(source), column, model)
    if seeds is not None:
        found = _with_seeds(found, read_seeds(expanded(seeds)), seeds, limit)
    kept, duplicates = _unique(found, limit)
    if not kept:
        raise PromptError(f"{source} holds no prompt", "at least one non-empty text")
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


def source_kind(source: str, model: str = "") -> Literal["split", "set", "file", ""]:
    """What `load_prompts` takes `source` for, by its spelling: "" for a plain text, which it refuses.

    Args:
        model: that the prompts are for.
    """
    name, colon, _ = source.partition(":")
    if colon and name == world.NAME:
        return "split"
    if colon and name in SETS:
        return "set"
    if Path(source).suffix.lower() in SUFFIXES:
        return "file"
    bare = not colon and not Path(source).suffix and "/" not in source
    return "split" if bare and world.is_world(model) else ""


_PATH = re.compile(r"(\.{1,2}|~)/\S*|/\S+/\S*|\S+/")
"""What is a path by its looks, whether or not something is there."""


def refuse_path(prompt: str) -> None:
    """Refuse a text to draw that is a path of something that is there, but of no file of prompts, or looks like one.

    A bare word may be a prompt although a folder of that name is there.

    Raises:
        PromptError: with the path.
    """
    text = prompt.strip()
    if source_kind(text) or len(text) > 500 or "\n" in text:
        return
    path, before = Path(text), Path(text.rpartition(":")[0] or text)
    if _PATH.fullmatch(text) and not os.path.lexists(path):
        raise PromptError(f"the prompt {text!r}: {no_file(path)}", "a text to draw, or a file that is there")
    if path.is_file() or (("/" in text or text in (".", "..")) and os.path.lexists(path)):
        wanted = f"a text to draw, or a file of prompts ({', '.join(SUFFIXES)})"
        kind = "a file" if path.is_file() else "a folder" if path.is_dir() else "a path of no file"
        raise PromptError(f"the prompt {text!r} is {kind}", wanted)
    if before.suffix.lower() in SUFFIXES and before.is_file():
        raise PromptError(f"the prompt {text!r}, where {before} is a file", f"{str(before)!r} alone", "name no column")


def _find(source: str, column: str | None, model: str) -> Sequence[Prompt]:
    kind, (name, colon, rest) = source_kind(source, model), source.partition(":")
    if kind == "split" and not colon and source not in SPLITS:
        files = f"a {', '.join(SUFFIXES[:-1])} or {SUFFIXES[-1]} file, or of the embedded world {', '.join(SPLITS)}"
        fix = "let the name of the file say what it is" if Path(source).is_file() else ""
        came = no_file(Path(source)) if os.path.lexists(source) and not fix else f"prompts {source!r:.80}"
        raise UnknownNameError(came, files, fix)
    if column is not None and kind in ("split", "set"):
        came = f"column {column!r} of {source}, which has none"
        raise PromptError(came, "a csv, json or parquet file where a column is named", "leave the column out")
    if kind == "split":
        return prompts_of(rest if colon else source)
    if kind == "set":
        return read_set(name, rest)
    check_local(source)
    if source in SETS and not os.path.lexists(source):
        raise PromptError(f"prompts {source!r} without a source", f'"{source}:FILE", "{source}:FOLDER" or a hub id')
    if colon and re.fullmatch(r"\w[\w-]+", name) and not os.path.lexists(source):
        raise _unknown_set(name)
    return _from_rows(read_rows(expanded(source)), Path(source), column)


def _unknown_set(name: str) -> UnknownNameError:
    known = [world.NAME, *SETS]
    close = difflib.get_close_matches(name.lower(), known, n=1)
    hint = f"did you mean {close[0]!r}?" if close else ""
    return UnknownNameError(f"unknown set of prompts {name!r:.80}", f"one of {', '.join(known)}, or a file", hint)


def read_seeds(path: Path) -> list[int]:
    """The numbers of a file of seeds.

    Raises:
        PromptError: an entry that is no whole number from 0 on.
    """
    values = [row.get("seed") if isinstance(row, dict) else row for row in read_rows(path, of="seeds")]
    seeds = [seed_of(value, f"entry {number} of {path}") for number, value in enumerate(values, 1)]
    missing = [number for number, seed in enumerate(seeds, 1) if seed is None]
    if missing:
        raise PromptError(f"entry {missing[0]} of {path} names no seed", "a whole number, in a table under `seed`")
    return [seed for seed in seeds if seed is not None]


def _with_seeds(found: Sequence[Prompt], seeds: Sequence[int], path: str | Path, limit: int | None) -> list[Prompt]:
    wanted = len(found) if limit is None else min(limit, len(found))
    if not wanted <= len(seeds) <= len(found):
        asked = wanted if len(seeds) < wanted else len(found)
        raise PromptError(f"{len(seeds)} seeds in {path} for {asked} prompts", "a seed for each prompt")
    return [replace(prompt, seed=seed) for prompt, seed in zip(found, seeds, strict=False)]


def _unique(found: Iterable[Prompt], limit: int | None) -> tuple[list[Prompt], int]:
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


def _from_rows(rows: list[Any], path: Path, column: str | None) -> list[Prompt]:
    rows = known_names(rows, _COLUMNS, path, but=column)
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
        name = text_column(columns, path, column)
    prompts = []
    for number, row in enumerate(rows, 1):
        if _holds(row):
            prompts.append(_prompt(row, name, f"entry {number} of {path}"))
    left_out = sum(not _holds(row) for row in rows) * (path.suffix.lower() != ".csv")
    if left_out:  # of a .csv the rows of commas that spreadsheets leave
        came = f"{left_out} of {len(rows)} entries of {path} have no prompt and are left out"
        warnings.warn(NoisepromptWarning(came), stacklevel=2)
    texts = [prompt.text for prompt in prompts]
    warn_of_codes(path, texts)
    warn_of_numbers(path, texts)
    if column is None:
        warn_of_columns(path, columns, name)
    return prompts


def text_column(columns: list[str], path: Path, column: str | None) -> str:
    """The column of the text: `column`, the first of `TEXT_COLUMNS` that is there, or the only one.

    Raises:
        PromptError: there is none.
    """
    if column is None:
        known = [name for name in TEXT_COLUMNS if name in columns]
        if not known and len(columns) == 1 and path.suffix.lower() == ".csv" and " " in columns[0]:
            fix = f'write "prompt" above them, or name it as the column: {columns[0]!r:.80}'
            raise PromptError(f"{path} has one column, {columns[0]!r:.80}: is that a prompt?", "a header", fix)
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


def _holds(row: Any) -> bool:
    """Whether there is anything in an entry."""
    cells = row.values() if isinstance(row, dict) else (row,)
    return row is None or any(cell is not None and str(cell).strip() for cell in cells)


def _prompt(row: Any, column: str, where: str) -> Prompt:
    """The prompt of one entry."""
    if isinstance(row, str):
        check_text(row, where)
        refuse_damaged(row, where)
        return Prompt(row.strip())
    if not isinstance(row, dict):
        raise PromptError(f"{where} is {noun(row)}", "a text or an object")
    text = row.get(column)
    if text is None and row and column not in row:
        raise PromptError(f"{where} has {', '.join(map(str, row))} and no {column!r}", f"{column!r} in each entry")
    if text is None or (isinstance(text, str) and not text.strip()):
        raise PromptError(f"{where} has no prompt", "a text", "mend or delete that row")
    if not isinstance(text, str):
        raise PromptError(f"{where} holds {noun(text)} in {column!r}", "a text")
    check_text(text, where)
    refuse_no_text(text, where)
    kind = category_in(row, where)
    check_text(kind, where)
    return Prompt(text.strip(), kind, seed_of(row.get("seed"), where))
