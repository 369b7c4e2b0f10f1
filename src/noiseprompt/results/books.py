"""The book of an evaluation's folder, on a disk or in object storage."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from noiseprompt.core.object_leases import ObjectStore
from noiseprompt.core.stores import DiskStore, Folder, store_of
from noiseprompt.results.book import Book
from noiseprompt.results.lines import Key
from noiseprompt.results.objects import ObjectBook
from noiseprompt.results.slots import SlotBook


def book_of(folder: Folder, batches: Sequence[Sequence[Key]], marks: Mapping[str, str] | None = None) -> Book[Any]:
    """As `Book`."""
    store = store_of(folder)
    if isinstance(store, DiskStore):
        return SlotBook(store, batches, marks or {})
    assert isinstance(store, ObjectStore), "there are two kinds"
    return ObjectBook(store, batches, marks or {})
