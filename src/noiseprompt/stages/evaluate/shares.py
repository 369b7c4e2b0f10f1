"""Batches of one evaluation shared between processes: each draws those that no other does, until all are there."""

from __future__ import annotations

import json
import time
from collections.abc import Callable, Iterator, Sequence
from typing import Any

from noiseprompt.core.json_lines import of_all
from noiseprompt.core.leasing import AnyLease
from noiseprompt.core.store import Store
from noiseprompt.core.stores import Folder, store_of
from noiseprompt.core.waiting import Waiting
from noiseprompt.results.book import Book
from noiseprompt.results.folder import SETTINGS
from noiseprompt.results.lines import FILE

PAUSE = 1.0
"""Seconds between looks at batches that others draw."""

SUMMED = ".summed.json"
"""Stamps of the files that the summary was made of."""

_SUMMARY = "summary"
_MADE = ("results.json", "results.md")


def free_batches(
    book: Book[Any], batches: Sequence[int], missing: Callable[[int], list[str]]
) -> Iterator[tuple[int, AnyLease]]:
    """Each batch that lacks images of a method, and the lease on it, which is held until the next is asked for.

    What others draw is waited for: a batch that they leave is free again.

    Args:
        book: what is drawn already.
        batches: numbers of those wanted.
        missing: number of a batch -> labels of the methods it lacks.
    """
    left, leases = list(batches), book.store.leases()
    waiting = Waiting(leases.where, leases.patience, leases.holders)
    while left:
        held = []
        for index in left:
            lease = book.take(index) if missing(index) else None
            if lease is None:
                held.append(index)
                continue
            waiting.over()
            with lease:
                if missing(index):  # known for certain now
                    yield index, lease
        held = [index for index in held if missing(index)]
        if held and len(held) == len(left):
            waiting.on()
            time.sleep(PAUSE)
            book.refresh()
        left = held


def sum_up(out: Folder, write: Callable[[Store], object]) -> None:
    """Have the summary written, one process at a time, where nobody has summed up the lines that are there."""
    store = store_of(out)
    leases = store.leases()
    with leases.wait(_SUMMARY):
        for name in (*_MADE, SUMMED):
            store.clear_left(f"{name}.")
        if not summed_up(store):
            stamps = _stamps(store, store.names())
            write(store)
            store.put(SUMMED, f"{json.dumps(stamps)}\n".encode())
    for unit, holder in leases.holders().items():
        if holder.ended:  # killed after it had drawn its batch, for which nobody will ask again
            leases.clear(unit)


def summed_up(out: Folder) -> bool:
    """Whether there is a summary of settings and lines as they are now."""
    store = store_of(out)
    there = store.names()
    return {*_MADE} <= {*there} and store.read_json(SUMMED) == _stamps(store, there)


def _stamps(store: Store, names: Sequence[str]) -> dict[str, Any]:
    found = {name: store.stamp(name) for name in (SETTINGS, *of_all(names, FILE))}
    return {name: [*stamp] for name, stamp in found.items() if stamp is not None}
