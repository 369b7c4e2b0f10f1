"""The lines of an evaluation in object storage: a pair of files a batch, whoever draws it.

What was read of a batch's file when the batch was taken is a condition of what is written to it: a process that lost
its lease without noticing commits nothing.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from noiseprompt.core.fetched import Fetched
from noiseprompt.core.json_lines import name_of, of_all, read_lines
from noiseprompt.core.object_leases import ObjectStore
from noiseprompt.core.store import Stamp
from noiseprompt.core.types import EvalResult
from noiseprompt.noise import figures
from noiseprompt.results.book import Book, Seen, line_of
from noiseprompt.results.lines import FILE, NEW, Key


class ObjectBook(Book["_Object"]):
    """As `Book`."""

    def __init__(self, store: ObjectStore, batches: Sequence[Sequence[Key]], marks: Mapping[str, str]) -> None:
        super().__init__(store, batches, marks)
        self._objects = store

    def refresh(self) -> None:
        """As of `Book`."""
        there = of_all(self._objects.names(), FILE)
        new = [name for name in there if name not in self._seen or self._seen[name].stamp != self._objects.stamp(name)]
        for name, found in zip(new, self._objects.each(self._objects.get, new), strict=True):
            self._note(name, found)
        for name in {*self._seen} - {*there, *new}:
            del self._seen[name]

    def _note(self, name: str, found: tuple[bytes, Stamp] | None) -> None:
        if found is None:
            self._seen.pop(name, None)
            return
        data, stamp = found
        where, seen = self._objects.where(name), _Object(stamp, torn=bool(data) and not data.endswith(b"\n"))
        for number, result in read_lines(Fetched(where, data[: data.rfind(b"\n") + 1]), EvalResult, NEW):
            seen.add(where, number, self._place(where, result), result)
        self._seen[name] = seen

    def _commit(self, index: int, lines: str, told: str) -> bool:
        name = name_of(FILE, index + 1)
        self._objects.append(name_of(figures.FILE, index + 1), told.encode())  # made twice, the last line counts
        seen = self._seen.get(name)
        before = self._objects.read(name) if seen else b""
        return self._written(name, before + lines.encode(), seen.stamp if seen else None)

    def _open(self) -> None:
        self.refresh()
        for name in [name for name, seen in self._seen.items() if seen.torn]:
            self._clean(name)

    def _cleaned(self, index: int) -> bool:
        return all(self._clean(name) for name in [name for name, seen in self._seen.items() if self._cut(seen, index)])

    def _clean(self, name: str) -> bool:
        """The lines of batches that were cut short leave a file, with a torn last one, as where it was copied from a
        disk; False where another wrote it meanwhile."""
        seen, where = self._seen[name], self._objects.where(name)
        data = self._objects.read(name)
        found = read_lines(Fetched(where, data[: data.rfind(b"\n") + 1]), EvalResult, NEW)
        lines = [line_of(result) for _, result in found if self._whole(where, seen, result)]
        return self._written(name, "".join(lines).encode(), seen.stamp)

    def _written(self, name: str, data: bytes, follows: Stamp | None) -> bool:
        stamp = self._objects.swap(name, data, follows)
        if stamp is None:
            return False
        self._note(name, (data, stamp))
        return True


class _Object(Seen):
    """What is known of one file.

    Attributes:
        stamp: of it.
        torn: whether its last line does not end.
    """

    def __init__(self, stamp: Stamp, torn: bool) -> None:
        super().__init__()
        self.stamp, self.torn = stamp, torn
