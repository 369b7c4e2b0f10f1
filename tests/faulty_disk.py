"""A disk that fails when it is told to: it stands in place of the functions of `core/disk.py`."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from noiseprompt.core import disk

CHANGES = ("make", "create", "extend", "write", "sync", "rename", "link", "cut", "remove", "leave")
"""The functions of `core/disk.py`, each a kind of change."""

REAL = {name: getattr(disk, name) for name in CHANGES}

FULL = ("make", "create", "extend", "write", "link", "leave")
"""What a full disk refuses; it still removes and renames."""


class Killed(BaseException):
    """The process ended here; nothing it would have done afterwards reaches the disk."""


class Disk:
    """Counts changes, and fails from the n-th on in one of the ways of `FAULTS`, or never.

    Fields:
        seen: the kind of every change so far.
        failed: what the change that failed first was.
    """

    def __init__(self, number: int = -1, fault: str = "") -> None:
        self.number, self.fault = number, fault
        self.seen: list[str] = []
        self.failed = ""

    def act(self, kind: str, *given: Any) -> Any:
        self.seen.append(kind)
        here = len(self.seen) - 1 == self.number
        if here:
            self.failed = kind
        if (here or (self.failed and self._lasts(kind))) and self.fault:
            self._fail(kind, *given)
        return REAL[kind](*given)

    def _lasts(self, kind: str) -> bool:
        return self.fault in ("EROFS", "kill") or (self.fault == "ENOSPC" and kind in FULL)

    def _fail(self, kind: str, *given: Any) -> None:
        if kind == "write" and self.fault in ("ENOSPC", "kill") and len(self.seen) - 1 == self.number:
            REAL["write"](given[0], bytes(given[1])[: len(given[1]) // 2])  # a part of it arrived
        if self.fault == "kill":
            raise Killed
        number = getattr(errno, self.fault)
        raise OSError(number, os.strerror(number))


FAULTS = ("ENOSPC", "EROFS", "EIO", "EACCES", "kill")
"""No room and no rights last; the others strike once. A kill is no error: nothing is told and nothing cleared."""


@contextmanager
def faulty(number: int = -1, fault: str = "") -> Iterator[Disk]:
    """While it lasts, changes of the disk are counted, and the n-th fails."""
    own = Disk(number, fault)
    for name in CHANGES:
        setattr(disk, name, lambda *given, name=name: own.act(name, *given))
    try:
        yield own
    finally:
        for name, function in REAL.items():
            setattr(disk, name, function)
