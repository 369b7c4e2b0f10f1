"""The published prompt sets of the field, from the files their authors publish; the category becomes `Prompt.kind`.

    pickapic:SOURCE        Pick-a-Pic, test prompts (500 unique ones)          kind ""
    pickapic-train:SOURCE  Pick-a-Pic, training prompts
    drawbench:SOURCE       DrawBench, 200 prompts                              kind: one of 11 categories
    hpdv2:SOURCE           HPD v2, the benchmark's 4 x 800 or the test prompts kind: one of 4 styles
    geneval:SOURCE         GenEval, 553 prompts                                kind: one of 6 tasks

SOURCE is a file, the folder of the downloaded repository, or the id of a data set on the hub. Prompts keep the order of
their source, so that the first n are those the paper takes: 100 of Pick-a-Pic (a blank row in the published table does
not count), 100 of HPD v2 (the styles follow one another: the first 100 are all "anime"), 200 of DrawBench.
"""

from __future__ import annotations

import re
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noiseprompt.core import hub
from noiseprompt.core.errors import HubError, PromptError
from noiseprompt.core.places import entries, expanded
from noiseprompt.core.texts import check_text
from noiseprompt.core.types import Prompt
from noiseprompt.prompts.files import SUFFIXES, category_of, decode, lines_of, noun, read_rows, seed_of
from noiseprompt.prompts.looks import refuse_no_text

DRAWBENCH = ("Colors", "Conflicting", "Counting", "DALL-E", "Descriptions", "Gary Marcus et al.", "Misspellings",
             "Positional", "Rare Words", "Reddit", "Text")  # fmt: skip
"""Categories in the order in which copies of the set on the hub number them."""

STYLES = ("anime", "concept-art", "paintings", "photo")
"""Of HPD v2's benchmark, one file of texts each, in the order of its authors."""


@dataclass(frozen=True)
class PromptSet:
    """How a set is published.

    Fields:
        title: its name.
        files: patterns of its files inside a folder; the first that matches is taken, all files that it matches.
        text: names its text column goes by, in lower case.
        kind: names its category column goes by.
        hub: id of a copy on the hub, or "" where there is none.
    """

    title: str
    files: tuple[str, ...]
    text: tuple[str, ...]
    kind: tuple[str, ...] = ()
    hub: str = ""


SETS: dict[str, PromptSet] = {
    "pickapic": PromptSet(
        "Pick-a-Pic test", ("**/test_unique*.parquet", "**/test-*.parquet", "**/pickscore.csv", "**/test*.csv"),
        ("caption", "prompt"), hub="yuvalkirstain/pickapic_v1_no_images",
    ),
    "pickapic-train": PromptSet(
        "Pick-a-Pic training", ("**/train-*.parquet", "**/train*.csv"), ("caption", "prompt"),
        hub="yuvalkirstain/pickapic_v1_no_images",
    ),
    "drawbench": PromptSet(
        "DrawBench", ("**/*.parquet", "**/*.csv", "**/drawbench*.json"), ("prompts", "prompt"), ("category",),
        hub="sayakpaul/drawbench",
    ),
    "hpdv2": PromptSet(
        "HPD v2", tuple(f"**/{{{','.join(STYLES)}}}{suffix}" for suffix in (".json", ".txt")) + ("**/test.json",),
        ("prompt", "caption"), ("style", "category"), hub="zhwang/HPDv2",
    ),
    "geneval": PromptSet("GenEval", ("**/evaluation_metadata.jsonl",), ("prompt",), ("tag",)),
}  # fmt: skip


def read_set(name: str, source: str) -> list[Prompt]:
    """The prompts of a published set, in its order; blank rows are left out.

    Args:
        name: of `SETS`.
        source: a file, a folder, or the id of a data set on the hub.

    Raises:
        PromptError: nothing there, no column of the set's, a damaged file, or a hub that cannot be reached.
    """
    known = SETS[name]
    path = expanded(source)
    if not source.strip():
        hint = f', or "{name}:{known.hub}" of the hub' if known.hub else ""
        raise PromptError(f"{name}: without a source", f'"{name}:FILE" or "{name}:FOLDER"{hint}')
    if not path.exists():
        if not re.fullmatch(r"[\w.-]+/[\w.-]+", source) or path.suffix.lower() in SUFFIXES:
            hint = f'a copy on the hub: "{name}:{known.hub}"' if known.hub else "it is in the repository of its authors"
            raise PromptError(f"there is no {source!r}", f"the file or folder of {known.title}", hint)
        path = _download(name, source)
    prompts: list[Prompt] = []
    for file in [path] if path.is_file() else _files(known, path):
        style = file.stem if name == "hpdv2" and file.stem in STYLES else ""
        prompts += _read(known, file, style)
    if not prompts:
        raise PromptError(f"{source} holds no prompt", f"prompts of {known.title}")
    return prompts


def _files(known: PromptSet, folder: Path) -> list[Path]:
    entries(folder)  # tells where it may not be read
    for pattern in known.files:
        found = [
            p for one in _alternatives(pattern) for p in sorted(folder.glob(one)) if p.is_file() and p.name[0] != "."
        ]
        if found:
            return found
    wanted = ", ".join(one.removeprefix("**/") for pattern in known.files for one in _alternatives(pattern))
    raise PromptError(f"{folder} has no file of {known.title}", f"one of {wanted}", "name the file itself")


def _alternatives(pattern: str) -> list[str]:
    """ "a{b,c}d" -> ["abd", "acd"]."""
    match = re.fullmatch(r"(.*)\{(.*)\}(.*)", pattern)
    return [match[1] + word + match[3] for word in match[2].split(",")] if match else [pattern]


def _download(name: str, repository: str) -> Path:
    known = SETS[name]
    patterns = [one.removeprefix("**/") for pattern in known.files for one in _alternatives(pattern)]
    try:
        return hub.fetch_files(repository, [p for pattern in patterns for p in (pattern, f"*/{pattern}")], "dataset")
    except HubError as error:
        raise PromptError(
            f"{repository!r} is no path here, and {error.came}",
            f"the file or folder of {known.title}, or a hub that can be reached",
            f"where there is a network, download {', '.join(patterns)} of it and name the folder",
        ) from error


def _read(known: PromptSet, file: Path, style: str) -> list[Prompt]:
    lines = _plain_lines(file)
    if lines is not None:
        return [Prompt(text, style, seed) for text, seed in lines]
    prompts = []
    for number, row in enumerate(read_rows(file, columns=(*known.text, *known.kind, "seed")), 1):
        text, kind, seed = (row, "", None) if isinstance(row, str) else _cells(known, row, f"entry {number} of {file}")
        if text:
            prompts.append(Prompt(text, kind or style, seed))
    return prompts


def _cells(known: PromptSet, row: Any, where: str) -> tuple[str, str, int | None]:
    if not isinstance(row, Mapping):
        raise PromptError(f"{where} is {noun(row)}", "a text or an object")
    cells = {str(name).strip().lower(): value for name, value in row.items()}
    column = next((name for name in known.text if name in cells), None)
    if column is None:
        there = f"the columns {', '.join(map(str, row))}" if row else "no columns"
        raise PromptError(f"{where} has {there}", f"one of {', '.join(known.text)}")
    text, kind = cells[column], _first(cells, known.kind)
    if isinstance(kind, int) and known.title == "DrawBench" and 0 <= kind < len(DRAWBENCH):
        kind = DRAWBENCH[kind]
    if not isinstance(text, str | None):
        raise PromptError(f"{where} holds {noun(text)} in {column!r}", "a text")
    words = [(text or "").strip(), category_of(kind, where)]
    for word in words:
        check_text(word, where)
    refuse_no_text(words[0], where)
    return words[0], words[1], seed_of(cells.get("seed"), where)


def _first(cells: Mapping[str, Any], names: Sequence[str]) -> Any:
    return next((cells[name] for name in names if name in cells), None)


def _plain_lines(file: Path) -> list[tuple[str, int | None]] | None:
    """(text, seed) of two layouts that are no CSV: lines "12, a cat, sitting, 345" of index, text and seed; and a table
    whose texts hold commas but no quotes, "12,a cat, sitting" below "...,caption,..."; None for anything else.
    """
    if file.suffix.lower() not in (".txt", ".csv"):
        return None
    lines = lines_of(decode(file))
    triples = [re.fullmatch(r"\d+, (.*), ?(\d+)", line) for line in lines]
    if lines and all(triples):
        return [(m[1].strip(), seed_of(m[2], f"a line of {file}")) for m in triples if m and m[1].strip()]
    head = lines[0].lower().split(",") if lines else []
    pairs = [re.fullmatch(r"\d+,(?!\")(.*)", line) for line in lines[1:]]
    loose = len(head) > 1 and head[1] == "caption" and pairs and all(pairs)
    if not loose or all(line.count(",") == len(head) - 1 for line in lines[1:]):
        return None
    texts = [m[1].rstrip(",").strip() for m in pairs if m]
    return [(text, None) for text in texts if text]
