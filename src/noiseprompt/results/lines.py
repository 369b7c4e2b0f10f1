"""The lines of an evaluation's images, of one process or of several that share its folder.

    results.jsonl, results-2.jsonl, ...      a line an image (`EvalResult`)
    diagnostics.jsonl, diagnostics-2.jsonl   a line a batch and method (`noise/figures.py`)

A process writes to the first pair of files that no other holds, and draws a batch when no other does: both are leases
(`core/leases.py`). Readers take the files as one; a batch's lines are in one of them.
"""

from __future__ import annotations

import json
from collections.abc import Callable, Iterator, Sequence
from dataclasses import asdict
from pathlib import Path
from types import TracebackType

from noiseprompt.core.errors import StoreError, StoreLockedError
from noiseprompt.core.files import append, clear_left, replace
from noiseprompt.core.json_lines import damaged, mend, name_of, number_of, of_all, read_added, read_lines
from noiseprompt.core.leases import Lease, Leases
from noiseprompt.core.ranges import SUMMABLE
from noiseprompt.core.texts import LONGEST
from noiseprompt.core.types import EvalResult
from noiseprompt.noise import figures

FILE = "results.jsonl"

NEW = "evaluate into a new folder"

Key = tuple[str, int]
"""(prompt id, seed): one image of every method."""


def iter_results(folder: Path) -> Iterator[EvalResult]:
    """Every image of an evaluation, one at a time; torn last lines, left by killed runs, are dropped.

    Raises:
        StoreError: a damaged line before the last, or one that tells of the same method, prompt and seed as another.
    """
    return (result for _, _, result in iter_numbered(folder))


def iter_numbered(folder: Path) -> Iterator[tuple[Path, int, EvalResult]]:
    """As `iter_results`, each with its file and the number of its line.

    Raises:
        StoreError: as `iter_results`.
    """
    seen: dict[tuple[str, str, int], tuple[Path, int]] = {}
    for path in of_all(Path(folder) / FILE):
        for number, result in read_lines(path, EvalResult, NEW):
            key = (result.method, result.prompt_id, result.seed)
            if wrong := _wrong(result):
                raise damaged(path, number, wrong, NEW)
            if key in seen:
                other, line = seen[key]
                where = "" if other == path else f" of {other.name}"
                raise damaged(path, number, f"it tells of the same image as line {line}{where}", NEW)
            seen[key] = (path, number)
            yield path, number, result


def _wrong(result: EvalResult) -> str:
    """What no image is told with; "" for nothing."""
    spent = (result.denoiser_calls, result.noise_seconds, result.sample_seconds)
    if not all(0 <= number <= SUMMABLE for number in spent):
        return f"calls and seconds of {', '.join(f'{number:g}' for number in spent)}"
    if not all(abs(score) <= SUMMABLE for score in result.scores.values()):
        return "a score beyond 1e30"
    if len(result.text) > LONGEST:
        return f"a text of {len(result.text):,} characters"
    return "" if 0 <= result.seed < 2**63 else f"the seed {result.seed}"


def read_results(folder: Path) -> list[EvalResult]:
    """All of `iter_results` at once.

    Raises:
        StoreError: a damaged line before the last.
    """
    return list(iter_results(folder))


class Book:
    """What is drawn already, by whichever process, and the files that this one adds to. A context manager.

    Args:
        out: the evaluation's folder.
        batches: (prompt id, seed) of every image, as they are cut.

    Raises:
        StoreLockedError: another run of this very process draws into the folder; nobody would end its batch.
        StoreError: a damaged line, or an image that is in no batch.
    """

    def __init__(self, out: Path, batches: Sequence[Sequence[Key]]) -> None:
        self.out, self._sizes = out, [len(batch) for batch in batches]
        self._batch_of = {key: index for index, batch in enumerate(batches) for key in batch}
        self._leases = Leases(out)
        self._read: dict[Path, _Read] = {}
        self._slot: Lease | None = None
        self._results, self._figures = out / FILE, out / figures.FILE

    def __enter__(self) -> Book:
        mine = [unit for unit, holder in self._leases.holders().items() if holder.own]
        if mine:
            came = f"another run of this process draws into {self.out} ({', '.join(mine)})"
            raise StoreLockedError(came, "one run a process", "end it, or choose another folder")
        try:
            self._open()
        except BaseException:
            self.__exit__(None, None, None)
            raise
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._slot is not None:
            self._slot.free()
            self._slot = None

    def missing(self, index: int, labels: Sequence[str]) -> list[str]:
        """The methods of which a batch is not there yet, as far as it is known."""
        return [label for label in labels if self.count(index, label) < self._sizes[index]]

    def count(self, index: int, label: str) -> int:
        """Images of a method in a batch, as far as it is known."""
        return sum(len(read.seen.get((index, label), ())) for read in self._read.values())

    def take(self, index: int) -> Lease | None:
        """The right to draw a batch, None where another process has it. What others drew since is known afterwards."""
        lease = self._leases.take(_unit(index))
        if lease is None:
            return None
        try:
            self.refresh()
            cut = any(0 < self.count(*key) < self._sizes[index] for key in self._seen() if key[0] == index)
            if cut and not self._cleaned(index):  # its writer may still live
                lease.free()
                return None
        except BaseException:
            lease.free()
            raise
        return lease

    def add(self, lease: Lease, index: int, label: str, results: Sequence[EvalResult], told: str) -> bool:
        """The lines of a batch of one method, on disk; False, and nothing done, where another took the batch over.

        Args:
            lease: on the batch.
            told: the line of its noise figures.

        Raises:
            StoreError: the disk does not take them.
        """
        if not lease.held():
            return False
        append(self._figures, told)
        append(self._results, "".join(map(_line, results)))
        self.refresh()
        return True

    def refresh(self) -> None:
        """Read what was added to the files since.

        Raises:
            StoreError: a damaged line, or an image that is in no batch.
        """
        for path in of_all(self.out / FILE):
            self._read.setdefault(path, _Read(path, self._place)).more()

    # ------------------------------------------------------------------------------------------------------- files

    def _open(self) -> None:
        """Take the first free pair of files, and clean every one that nobody writes to."""
        slot = 0
        while self._slot is None or (self.out / name_of(FILE, slot + 1)).exists():
            slot += 1
            lease = self._leases.take(_slot(slot))
            if lease is None:
                continue
            if self._slot is None:
                self._slot = lease
                self._results, self._figures = self.out / name_of(FILE, slot), self.out / name_of(figures.FILE, slot)
                self._clean(slot)
                continue
            with lease:
                self._clean(slot)
        self.refresh()

    def _cleaned(self, index: int) -> bool:
        """Whether no file holds a part of a batch any more, of a process that was killed over it."""
        for path, read in self._read.items():
            parts = [key for key, images in read.seen.items() if key[0] == index and len(images) < self._sizes[index]]
            if parts and path != self._results:
                lease = self._leases.take(_slot(number_of(path)))
                if lease is None:
                    return False
                with lease:
                    self._clean(number_of(path))
            elif parts:
                self._clean(number_of(path))
        self.refresh()
        return True

    def _clean(self, slot: int) -> None:
        """The lines of batches that were cut short leave a file, with a torn last one."""
        path = self.out / name_of(FILE, slot)
        for name in (path.name, name_of(figures.FILE, slot)):
            clear_left(self.out, f"{name}.")
        mend(self.out / name_of(figures.FILE, slot))
        mend(path)
        read = self._read[path] = _Read(path, self._place)
        read.more()
        whole = {key for key, images in read.seen.items() if len(images) == self._sizes[key[0]]}
        if len(whole) < len(read.seen):
            lines = (r for _, r in read_lines(path, EvalResult, NEW) if (self._place(path, r), r.method) in whole)
            replace(path, map(_line, lines))
            read = self._read[path] = _Read(path, self._place)
            read.more()

    def _seen(self) -> set[tuple[int, str]]:
        return {key for read in self._read.values() for key in read.seen}

    def _place(self, path: Path, result: EvalResult) -> int:
        try:
            return self._batch_of[result.prompt_id, result.seed]
        except KeyError:
            came = f"{path} holds prompt {result.prompt_id} with seed {result.seed}"
            raise StoreError(came, "only images of this evaluation", "choose a new folder") from None


class _Read:
    """What is known of one file of lines that another process may be adding to.

    Attributes:
        seen: (batch, method) -> the images it holds.
    """

    def __init__(self, path: Path, place: Callable[[Path, EvalResult], int]) -> None:
        self.path, self._place = path, place
        self.seen: dict[tuple[int, str], set[Key]] = {}
        self._file, self._at = 0, (0, 0)

    def more(self) -> None:
        """Read the lines that came since; a file that took the place of another is read anew."""
        try:
            found = self.path.stat()
        except FileNotFoundError:
            self.seen, self._at = {}, (0, 0)
            return
        if found.st_ino != self._file or found.st_size < self._at[0]:
            self.seen, self._file, self._at = {}, found.st_ino, (0, 0)
        if found.st_size == self._at[0]:
            return
        for result, end in read_added(self.path, EvalResult, NEW, self._at):
            self._at = end
            images = self.seen.setdefault((self._place(self.path, result), result.method), set())
            image = (result.prompt_id, result.seed)
            if image in images:
                raise damaged(self.path, self._at[1], "it tells of the same image as a line before it", NEW)
            images.add(image)


def _unit(index: int) -> str:
    return f"batch-{index:06d}"


def _slot(number: int) -> str:
    return f"results-{number}"


def _line(result: EvalResult) -> str:
    return json.dumps(asdict(result), ensure_ascii=False) + "\n"
