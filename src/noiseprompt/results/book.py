"""What of an evaluation is drawn already, by whichever process, and where this one adds its lines.

A process draws a batch when no other does (a lease). On a disk it writes to a pair of files of its own
(`results/slots.py`); in object storage, where nothing grows, a batch has a pair (`results/objects.py`).
`results/books.py` gives the right one.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from types import TracebackType
from typing import Generic, TypeVar

from noiseprompt.core.errors import StoreError, StoreLockedError
from noiseprompt.core.json_lines import damaged
from noiseprompt.core.leasing import AnyLease
from noiseprompt.core.store import Store
from noiseprompt.core.types import EvalResult
from noiseprompt.results.lines import NEW, Key, check_mark


class Seen:
    """The images that one file of lines holds.

    Attributes:
        of: (batch, method) -> its images.
    """

    def __init__(self) -> None:
        self.of: dict[tuple[int, str], set[Key]] = {}

    def add(self, where: str, line: int, batch: int, result: EvalResult) -> None:
        """One more.

        Raises:
            StoreError: it is there already.
        """
        images = self.of.setdefault((batch, result.method), set())
        image = (result.prompt_id, result.seed)
        if image in images:
            raise damaged(where, line, "it tells of the same image as a line before it", NEW)
        images.add(image)


S = TypeVar("S", bound=Seen)


class Book(ABC, Generic[S]):
    """A context manager.

    Args:
        store: of the evaluation's folder.
        batches: (prompt id, seed) of every image, as they are cut.
        marks: label -> mark of the folder's settings (`results.folder.read_marks`).

    Raises:
        StoreLockedError: another run of this very process draws into the folder; nobody would end its batch.
        StoreError: a damaged line, or an image that is in no batch or was drawn with other settings.
    """

    def __init__(self, store: Store, batches: Sequence[Sequence[Key]], marks: Mapping[str, str] | None = None) -> None:
        self._marks = marks or {}
        self._sizes = [len(batch) for batch in batches]
        self._batch_of = {key: index for index, batch in enumerate(batches) for key in batch}
        self._leases = store.leases()
        self._seen: dict[str, S] = {}
        self.store = store

    def __enter__(self) -> Book[S]:
        mine = [unit for unit, holder in self._leases.holders().items() if holder.own]
        if mine:
            came = f"another run of this process draws into {self.store} ({', '.join(mine)})"
            raise StoreLockedError(came, "one run a process", "end it, or choose another folder")
        try:
            self._open()
        except BaseException:
            self._close()
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._close()

    def missing(self, index: int, labels: Sequence[str]) -> list[str]:
        """The methods of which a batch is not there yet, as far as it is known."""
        return [label for label in labels if self.count(index, label) < self._sizes[index]]

    def count(self, index: int, label: str) -> int:
        """Images of a method in a batch, as far as it is known."""
        return sum(len(seen.of.get((index, label), ())) for seen in self._seen.values())

    def take(self, index: int) -> AnyLease | None:
        """The right to draw a batch, None where another process has it. What others drew since is known afterwards."""
        lease = self._leases.take(f"batch-{index:06d}")
        if lease is None:
            return None
        try:
            self.refresh()
            keys = {key for seen in self._seen.values() for key in seen.of if key[0] == index}
            cut = any(0 < self.count(*key) < self._sizes[index] for key in keys)
            if cut and not self._cleaned(index):  # its writer may still live
                lease.free()
                return None
        except BaseException:
            lease.free()
            raise
        return lease

    def add(self, lease: AnyLease, index: int, label: str, results: Sequence[EvalResult], told: str) -> bool:
        """The lines of a batch of one method, committed; False, and no image told, where another took the batch over.

        Args:
            lease: on the batch.
            told: the line of its noise figures.

        Raises:
            StoreError: they cannot be written.
        """
        return lease.held() and self._commit(index, "".join(map(line_of, results)), told)

    @abstractmethod
    def refresh(self) -> None:
        """Read what was added to the files since.

        Raises:
            StoreError: a damaged line, or an image that is in no batch.
        """

    @abstractmethod
    def _open(self) -> None:
        """Know what is there, cleaned where nobody writes."""

    def _close(self) -> None:
        """Give back what was held."""

    @abstractmethod
    def _cleaned(self, index: int) -> bool:
        """Whether no file holds a part of a batch any more, of a process that was killed over it."""

    @abstractmethod
    def _commit(self, index: int, lines: str, told: str) -> bool:
        """As `add`."""

    def _cut(self, seen: Seen, index: int | None = None) -> bool:
        """Whether a file holds a part alone of a batch, or of the one named."""
        return any(len(images) < self._sizes[batch] for (batch, _), images in seen.of.items() if index in (None, batch))

    def _place(self, where: str, result: EvalResult) -> int:
        check_mark(f"a line of {where}", result, self._marks)
        try:
            return self._batch_of[result.prompt_id, result.seed]
        except KeyError:
            came = f"{where} holds prompt {result.prompt_id} with seed {result.seed}"
            raise StoreError(came, "only images of this evaluation", "choose a new folder") from None

    def _whole(self, where: str, seen: Seen, result: EvalResult) -> bool:
        """Whether a file holds all of the batch of an image."""
        batch = self._place(where, result)
        return len(seen.of.get((batch, result.method), ())) == self._sizes[batch]


def line_of(result: EvalResult) -> str:
    """The line of an image."""
    return json.dumps(asdict(result), ensure_ascii=False) + "\n"
