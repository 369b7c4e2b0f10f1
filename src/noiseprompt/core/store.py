"""A folder of files that many processes share, wherever it lies: what is asked of it.

On a disk (`core/stores.py`) a file comes by a rename, in object storage (`core/s3.py`) by a PUT: it is whole or not
there.
"""

from __future__ import annotations

import contextlib
import fnmatch
from abc import ABC, abstractmethod
from collections import deque
from collections.abc import Callable, Iterable, Iterator, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Any, TypeVar

from noiseprompt.core.errors import StoreError
from noiseprompt.core.fetched import AnyFile
from noiseprompt.core.json_files import parse_json
from noiseprompt.core.leasing import AnyLeases
from noiseprompt.core.places import Address
from noiseprompt.core.ranged import Ranged

T = TypeVar("T")
R = TypeVar("R")

Stamp = tuple[int | str, int]
"""What changes when a file does, and its size in bytes."""


class Store(ABC):
    """A folder.

    Attributes:
        folder: where it lies.
        at_once: how many files are asked for at the same time.
        torn: whether a file may be there in part, as on a disk that somebody copied it to.
    """

    folder: Path | Address
    at_once = 1
    torn = False

    def each(self, function: Callable[[T], R], items: Iterable[T]) -> Iterator[R]:
        """What a function that asks for a file gives of each, in order; a few are asked for ahead."""
        if self.at_once == 1:
            yield from map(function, items)
            return
        with ThreadPoolExecutor(self.at_once) as pool:
            ahead: deque[Future[R]] = deque()
            for item in items:
                ahead.append(pool.submit(function, item))
                if len(ahead) > self.at_once:
                    yield ahead.popleft().result()
            while ahead:
                yield ahead.popleft().result()

    def __str__(self) -> str:
        return str(self.folder)

    def where(self, name: str) -> str:
        """A file of it, for messages."""
        return f"{self.folder}/{name}"

    @abstractmethod
    def below(self, folder: str) -> Store:
        """The store of a folder in it."""

    @abstractmethod
    def holds(self, name: str) -> bool:
        """Whether a name, which others may have thought of, is that of a file in it or in its folders."""

    @abstractmethod
    def check(self) -> None:
        """Whether it can be written to, told before anything long runs.

        Raises:
            NoisepromptError: why not.
        """

    @abstractmethod
    def make(self) -> None:
        """Where it is missing and can be.

        Raises:
            StoreError: it cannot be made.
        """

    @abstractmethod
    def names(self) -> list[str]:
        """Of its files, none where there is no folder.

        Raises:
            StoreError: it cannot be read.
        """

    def matching(self, pattern: str) -> list[str]:
        """`names` that a pattern such as "*.tmp" takes."""
        return fnmatch.filter(self.names(), pattern)

    @abstractmethod
    def stamp(self, name: str) -> Stamp | None:
        """Of a file; None where there is none. In object storage as of the last time that `names` was asked."""

    @abstractmethod
    def read(self, name: str) -> bytes:
        """A small file.

        Raises:
            OSError: there is none, or it cannot be read.
            ValueError: it is longer than any that is read at once.
        """

    def read_json(self, name: str) -> dict[str, Any]:
        """The object of a small file; {} where there is none, or it is damaged."""
        try:
            data = parse_json(self.read(name))
        except (OSError, ValueError):
            return {}
        return data if isinstance(data, dict) else {}

    @abstractmethod
    def file(self, name: str) -> AnyFile:
        """A file as it is now, for those who read paths, whether there is one or not; it may lie in a folder below.

        Raises:
            StoreError: it cannot be fetched.
        """

    @abstractmethod
    def source(self, name: str) -> Path | bytes:
        """A file to read once: its path, or what it holds.

        Raises:
            StoreError: it cannot be fetched.
        """

    def glanced(self, name: str) -> Path | bytes | Ranged:
        """A file to read small parts of, as it was when `names` was asked.

        Raises:
            StoreError: it cannot be fetched.
        """
        return self.source(name)

    @abstractmethod
    def kept(self, names: Sequence[str]) -> list[Path]:
        """Files to read again and again, as files on this machine.

        Raises:
            StoreError: one cannot be fetched.
        """

    @abstractmethod
    def put(self, name: str, data: bytes) -> None:
        """A file with this content, in place of what was there.

        Raises:
            StoreError: it cannot be written; what was there is untouched.
        """

    @abstractmethod
    def swap(self, name: str, data: bytes, follows: Stamp | None) -> Stamp | None:
        """`put`, where nobody else has written the file since; its new stamp, or None where somebody has.

        On a disk nobody looks: there a lease alone keeps others away.

        Args:
            follows: stamp of the file as it was read, None where there was none.

        Raises:
            StoreError: as `put`.
        """

    def edit(self, name: str, made: Callable[[], str | None]) -> None:
        """A file with the text that is made of what it holds; made again where somebody else has written it since.

        Args:
            made: gives the text; None where the file stays as it is.

        Raises:
            StoreError: as `put`.
        """
        while True:
            self.names()
            follows = self.stamp(name)
            text = made()
            if text is None or self.swap(name, text.encode(), follows) is not None:
                return

    @abstractmethod
    def append(self, name: str, lines: bytes) -> None:
        """Add whole lines to a file, which is made where it is missing.

        Raises:
            StoreError: they cannot be written; no part of a line is left.
        """

    @abstractmethod
    def remove(self, name: str) -> None:
        """A file, where there is one.

        Raises:
            StoreError: it cannot be removed.
        """

    @abstractmethod
    def clear_left(self, of: str | tuple[str, ...] = "") -> None:
        """Remove the unfinished files that killed writers left.

        Args:
            of: the file they were to become, or several; every file unless given.
        """

    @abstractmethod
    def leases(self) -> AnyLeases:
        """On units of work in it."""

    @contextlib.contextmanager
    def withdrawn(self, begun: Sequence[str]) -> Iterator[list[str]]:
        """While it lasts, a failure takes back what was written for a run that made nothing yet: a command that is
        refused late leaves no settings that would refuse the corrected one.

        Yields:
            a list for the files that were written; they go again, unless they were there before, or other processes
            work in the folder.

        Args:
            begun: patterns of files of which one shows that the run made something; then all stay.
        """
        there, written = self.names(), []
        try:
            yield written
        except Exception:
            with contextlib.suppress(StoreError):  # the failure is told
                now = self.names()
                if not self.leases().holders() and not any(fnmatch.filter(now, pattern) for pattern in begun):
                    for name in written:
                        if name not in there:
                            self.remove(name)
            raise
