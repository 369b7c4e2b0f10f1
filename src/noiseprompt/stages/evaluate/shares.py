"""Batches of one evaluation shared between processes: each draws those that no other does, until all are there."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path

from noiseprompt.core.files import clear_left
from noiseprompt.core.json_lines import of_all
from noiseprompt.core.leases import Lease, Leases
from noiseprompt.results.lines import FILE, Book

PAUSE = 1.0
"""Seconds between looks at batches that others draw."""

_SUMMARY = "summary"


def free_batches(
    book: Book, batches: Sequence[int], missing: Callable[[int], list[str]]
) -> Iterator[tuple[int, Lease]]:
    """Each batch that lacks images of a method, and the lease on it, which is held until the next is asked for.

    What others draw is waited for: a batch that they leave is free again.

    Args:
        book: what is drawn already.
        batches: numbers of those wanted.
        missing: number of a batch -> labels of the methods it lacks.
    """
    left = list(batches)
    while left:
        held = []
        for index in left:
            lease = book.take(index) if missing(index) else None
            if lease is None:
                held.append(index)
                continue
            with lease:
                if missing(index):  # known for certain now
                    yield index, lease
        held = [index for index in held if missing(index)]
        if held and len(held) == len(left):
            time.sleep(PAUSE)
            book.refresh()
        left = held


def sum_up(out: Path, write: Callable[[Path], object]) -> None:
    """Have the summary written, one process at a time, where nobody has summed up the lines that are there."""
    with Leases(out).wait(_SUMMARY):
        for name in ("results.json", "results.md"):
            clear_left(out, f"{name}.")
        if not summed_up(out):
            write(out)


def summed_up(out: Path) -> bool:
    """Whether the summary is newer than settings and lines."""
    made = out / "results.md"
    of = [out / "settings.json", *of_all(out / FILE)]
    return made.is_file() and all(path.stat().st_mtime_ns < made.stat().st_mtime_ns for path in of if path.is_file())
