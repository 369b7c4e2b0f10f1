"""The lines of an evaluation on a disk: a process adds them to the first pair of files that no other holds."""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from noiseprompt.core.files import clear_left, replace
from noiseprompt.core.json_lines import mend, name_of, number_of, of_all, read_added, read_lines
from noiseprompt.core.leasing import AnyLease
from noiseprompt.core.stores import DiskStore
from noiseprompt.core.types import EvalResult
from noiseprompt.noise import figures
from noiseprompt.results.book import Book, Seen, line_of
from noiseprompt.results.lines import FILE, NEW, Key


class SlotBook(Book["_Growing"]):
    """As `Book`."""

    def __init__(self, store: DiskStore, batches: Sequence[Sequence[Key]], marks: Mapping[str, str]) -> None:
        super().__init__(store, batches, marks)
        self.out = store.folder
        self._slot: AnyLease | None = None
        self._number = 1

    def refresh(self) -> None:
        """As of `Book`."""
        for name in of_all(self.store.names(), FILE):
            self._seen.setdefault(name, self._growing(name)).more()

    def _growing(self, name: str) -> _Growing:
        return _Growing(self.out / name, self._place)

    def _commit(self, index: int, lines: str, told: str) -> bool:
        self.store.append(name_of(figures.FILE, self._number), told.encode())
        self.store.append(name_of(FILE, self._number), lines.encode())
        self.refresh()
        return True

    def _open(self) -> None:
        """Take the first free pair of files, and clean every one that nobody writes to."""
        slot = 0
        while self._slot is None or (self.out / name_of(FILE, slot + 1)).exists():
            slot += 1
            lease = self._leases.take(_unit(slot))
            if lease is None:
                continue
            if self._slot is None:
                self._slot, self._number = lease, slot
                self._clean(slot)
                continue
            with lease:
                self._clean(slot)
        self.refresh()

    def _close(self) -> None:
        if self._slot is not None:
            self._slot.free()
            self._slot = None

    def _cleaned(self, index: int) -> bool:
        for name, seen in self._seen.items():
            if not self._cut(seen, index):
                continue
            number = number_of(name)
            if number != self._number:
                lease = self._leases.take(_unit(number))
                if lease is None:
                    return False
                with lease:
                    self._clean(number)
            else:
                self._clean(number)
        self.refresh()
        return True

    def _clean(self, slot: int) -> None:
        """The lines of batches that were cut short leave a file, with a torn last one."""
        name, told = name_of(FILE, slot), name_of(figures.FILE, slot)
        path = self.out / name
        for one in (name, told):
            clear_left(self.out, f"{one}.")
            mend(self.out / one)
        seen = self._seen[name] = self._growing(name)
        seen.more()
        if self._cut(seen):
            lines = (r for _, r in read_lines(path, EvalResult, NEW) if self._whole(str(path), seen, r))
            replace(path, map(line_of, lines))
            self._seen[name] = self._growing(name)
            self._seen[name].more()


class _Growing(Seen):
    """What is known of one file of lines that another process may be adding to."""

    def __init__(self, path: Path, place: Callable[[str, EvalResult], int]) -> None:
        super().__init__()
        self.path, self._place = path, place
        self._file, self._at = 0, (0, 0)

    def more(self) -> None:
        """Read the lines that came since; a file that took the place of another is read anew."""
        try:
            found = self.path.stat()
        except FileNotFoundError:
            self.of, self._at = {}, (0, 0)
            return
        if found.st_ino != self._file or found.st_size < self._at[0]:
            self.of, self._file, self._at = {}, found.st_ino, (0, 0)
        if found.st_size == self._at[0]:
            return
        for result, end in read_added(self.path, EvalResult, NEW, self._at):
            self._at = end
            self.add(str(self.path), end[1], self._place(str(self.path), result), result)


def _unit(slot: int) -> str:
    return f"results-{slot}"
