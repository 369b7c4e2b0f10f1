"""Files of one JSON object a line that grow while a run goes on; a killed run leaves at most its last line torn.

Where several processes write at once there is a row of files, NAME.jsonl, NAME-2.jsonl, NAME-3.jsonl and so on: on a
disk one a process, in object storage one a batch.
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Any, TypeVar

from noiseprompt.core import disk
from noiseprompt.core.errors import StoreError
from noiseprompt.core.fetched import AnyFile
from noiseprompt.core.json_files import parse_json
from noiseprompt.core.places import no_file, refuse_pipe
from noiseprompt.core.records import read_value
from noiseprompt.core.stores import Folder, store_of

T = TypeVar("T")

LONGEST = 16 * 2**20
"""Bytes of a line."""


def read_lines(path: AnyFile, kind: type[T], fix: str) -> Iterator[tuple[int, T]]:
    """Line number, from 1, and record of every line; none where there is no file. A torn last line is left out.

    Args:
        kind: a dataclass, or dict for any object.
        fix: what to do about a damaged line.

    Raises:
        StoreError: any other line that is not a record of that kind, with its number and the field.
    """
    for number, line, _ in _lines(path, fix):
        try:
            if line.strip():
                yield number, _read(kind, line)
        except ValueError as error:
            if line.endswith(b"\n") or not _torn(line):
                raise damaged(path, number, str(error), fix) from error


def read_added(path: AnyFile, kind: type[T], fix: str, begin: tuple[int, int]) -> Iterator[tuple[T, tuple[int, int]]]:
    """Record and place behind it of every line that ends; of a file that another process adds to.

    Args:
        begin: a place: bytes and lines from the file's start, (0, 0) for all of it.

    Raises:
        StoreError: as `read_lines`.
    """
    for number, line, end in _lines(path, fix, *begin):
        if not line.endswith(b"\n"):
            return
        try:
            if line.strip():
                yield _read(kind, line), (end, number)
        except ValueError as error:
            raise damaged(path, number, str(error), fix) from error


def name_of(name: str, number: int) -> str:
    """Of the `number`-th file of a row, from 1: "results.jsonl", then "results-2.jsonl"."""
    path = Path(name)
    return name if number == 1 else f"{path.stem}-{number}{path.suffix}"


def number_of(name: str) -> int:
    """Of a file in its row, from 1."""
    match = re.fullmatch(r".+-(\d{1,9})", Path(name).stem)
    return int(match[1]) if match else 1


def of_all(names: Iterable[str], first: str) -> list[str]:
    """Those of a row of files, whose first is so called; in order."""
    path = Path(first)
    form = re.compile(rf"{re.escape(path.stem)}(-(?!1\.|0)\d{{1,9}})?{re.escape(path.suffix)}")
    return sorted(filter(form.fullmatch, names), key=number_of)


def files_of_all(folder: Folder, first: str) -> Iterator[AnyFile]:
    """The files of a row, in order.

    Raises:
        StoreError: one cannot be fetched.
    """
    store = store_of(folder)
    yield from store.each(store.file, of_all(store.names(), first))


def _lines(path: AnyFile, fix: str, begin: int = 0, number: int = 0) -> Iterator[tuple[int, bytes, int]]:
    """Number, from 1, bytes and end of each line from a place on."""
    if not path.exists():
        if isinstance(path, Path) and path.is_symlink():
            raise StoreError(no_file(path), "a file of JSON lines")
        return
    try:
        refuse_pipe(path)
        with path.open("rb") as file:
            file.seek(begin)
            for line in iter(lambda: file.readline(LONGEST), b""):
                begin, number = begin + len(line), number + 1
                if len(line) == LONGEST:
                    raise damaged(path, number, f"it is longer than {LONGEST:,} bytes", fix)
                yield number, line, begin
    except OSError as error:
        raise StoreError(f"cannot read {path}: {error.strerror or error}", "a file of JSON lines") from error


def _torn(line: bytes) -> bool:
    """Whether a last line without an end may be what is left of one that was written here: an object's beginning, or
    the zeros that a crash of the machine leaves. Anything else was put there, and nobody cuts it off."""
    return line.lstrip(b" \t\0")[:1] in (b"{", b"")


def _read(kind: Any, line: bytes) -> Any:
    data: Any = parse_json(line)
    if not isinstance(data, dict):
        raise ValueError("it is no object")
    return data if kind is dict else read_value(kind, data, "the row")


def damaged(path: AnyFile | str, number: int, why: str, fix: str) -> StoreError:
    """What is said of a line."""
    return StoreError(f"line {number} of {path} is damaged: {why}", "one JSON object a line, as it was written", fix)


def mend(path: AnyFile) -> None:
    """Cut off a torn last line, before others are added; whatever it told is made again. What was fetched stays.

    Raises:
        StoreError: the file cannot be changed.
    """
    if not isinstance(path, Path) or not path.exists():
        return
    try:
        refuse_pipe(path)
        with path.open("rb") as file:
            end = place = file.seek(0, 2)
            while place:
                start = max(0, place - (1 << 16))
                file.seek(start)
                found = file.read(place - start).rfind(b"\n")
                if found >= 0:
                    place = start + found + 1
                    break
                place = start
            file.seek(place)
            ours = _torn(file.read(64))
            file.seek(0)
            begins = b"\0" not in file.read(min(place, 64))  # in UTF-16 no byte may go
        if place < end and not (ours and begins):
            came = f"the {'last' if begins else 'first'} line of {path} is no JSON object, nor the beginning of one"
            raise StoreError(came, "one JSON object a line, as it was written", "restore the file")
        if place < end:
            disk.cut(path, place)
    except OSError as error:
        raise StoreError(f"cannot mend {path}: {error.strerror or error}", "a file that can be written") from error
