"""Exclusive leases on units of work in a folder that many processes share: one holder a unit, and what a dead one held
is taken over.

A lease is a small file, `.UNIT.lease`, that only one process can make (a link, or O_EXCL), with the holder's host and
process in readable words. A thread of the holder rewrites it every `REFRESH` seconds; it goes when the holder is done.
No clocks are compared: whoever finds one unchanged for `PATIENCE` seconds of its own takes it over, at once where its
holder was a process of this machine that has ended. No `flock`: network disks answer it as they like.

Two that take over at the same time cannot both succeed: a successor makes the next file of a row (`.UNIT.lease1`,
`.UNIT.lease2`), which only one can, and then looks whether the file it follows is still the one it found. The files
before it stay until it is done itself.
"""

from __future__ import annotations

import contextlib
import errno
import os
import re
import stat
import time
from pathlib import Path
from typing import Any

from noiseprompt.core import disk, machine
from noiseprompt.core.errors import StoreError
from noiseprompt.core.holders import MINE, abandoned_here, ended_here
from noiseprompt.core.json_files import parse_json
from noiseprompt.core.leasing import PATIENCE, REFRESH, AnyLease, AnyLeases
from noiseprompt.core.places import check_local

UNWRITTEN = 5.0
"""As `PATIENCE`, of one that says nothing, where a disk knows no links: its maker was killed before its first word."""

_NO_LINKS = (errno.EPERM, errno.ENOSYS, errno.ENOTSUP, errno.EOPNOTSUPP, errno.EMLINK)
"""What disks answer that know no second names."""

_NONE_LEFT = (errno.EMFILE, errno.ENFILE, errno.ENOMEM)
"""What a system says that can open no further file: it tells nothing of the one that was asked for."""

_NAME = re.compile(r"\.(.+)\.lease(\d*)")
_UNNAMED = re.compile(_NAME.pattern + r"\.([0-9a-f]{8})\.(\d+)\.(\d*)\.([0-9a-f]{16})\.new")
"""A lease that is being made: by which machine, process (and since when) and under which token."""


class Leases(AnyLeases):
    """The leases in one folder on a disk, as one process sees them.

    Args:
        folder: made with the first lease if missing.
        patience, refresh: seconds, as `PATIENCE` and `REFRESH`; the same for all who share a folder.

    Raises:
        InputError: an address.
    """

    def __init__(self, folder: Path, patience: float = PATIENCE, refresh: float = REFRESH) -> None:
        check_local(folder)
        super().__init__(str(folder), patience, refresh)
        self.folder = folder
        self._seen: dict[str, tuple[bytes, float]] = {}

    def take(self, unit: str) -> Lease | None:
        """As of `AnyLeases`."""
        numbers = self._numbers(unit)
        found = self._abandoned(_file(unit, numbers[-1])) if numbers else b""
        if found is None:
            return None
        lease = Lease.make(self, unit, numbers[-1] + 1 if numbers else 0)
        if lease is None:
            return None
        try:
            below = [number for number in self._numbers(unit) if number != lease.number]
            follows = below[-1:] == numbers[-1:] and (not numbers or self._read(_file(unit, numbers[-1]))[0] == found)
            follows = follows and lease.held()
        except StoreError:
            lease.free()
            raise
        if not follows:  # somebody was faster, or the holder lives after all
            lease.free()
            return None
        lease.follows(below)
        return lease

    def sweep(self) -> None:
        """Remove what processes of this machine left that were killed while they made a lease."""
        for name in _names(self.folder):
            match = _UNNAMED.fullmatch(name)
            if match and abandoned_here(match[3], int(match[4]), match[5], match[6]):
                with contextlib.suppress(OSError):  # another was faster
                    disk.remove(self.folder / name)

    def units(self) -> list[str]:
        """As of `AnyLeases`."""
        return sorted({match[1] for name in _names(self.folder) if (match := _NAME.fullmatch(name))})

    def _numbers(self, unit: str) -> list[int]:
        found = (_NAME.fullmatch(name) for name in _names(self.folder))
        return sorted(int(match[2] or 0) for match in found if match and match[1] == unit)

    def top(self, unit: str) -> tuple[bytes, dict[str, Any] | None] | None:
        """As of `AnyLeases`."""
        numbers = self._numbers(unit)
        found = self._read(_file(unit, numbers[-1])) if numbers else (b"", None)
        return found if found[0] else None

    def _read(self, name: str) -> tuple[bytes, dict[str, Any] | None]:
        """What identifies a state of a file, b"" where there is none, and what it says.

        Raises:
            StoreError: it is no file: such a thing is nobody's, would never go, and a pipe would not even be read; or
                this process has too many files open to look.
        """
        path = self.folder / name
        try:
            if not stat.S_ISREG(os.lstat(path).st_mode):
                raise StoreError(f"{path} is no lease but a folder, a link or a pipe", "files alone", "take it away")
            with path.open("rb") as file:
                text = file.read(65536)
                changed = os.fstat(file.fileno()).st_mtime_ns
        except OSError as error:
            if error.errno in _NONE_LEFT:
                raise _cannot(self.folder, error) from error
            return b"", None
        with contextlib.suppress(ValueError):
            data = parse_json(text)
            if isinstance(data, dict):
                return text, data
        return text or str(changed).encode(), None  # its holder was killed before it wrote

    def _abandoned(self, name: str) -> bytes | None:
        """The state of a lease that may be taken over, None of one that may not."""
        state, data = self._read(name)
        if not state:
            return None
        patience = self.patience if state.startswith(b"{") else min(self.patience, UNWRITTEN)
        if data is not None and ended_here(data):
            return state
        before, since = self._seen.get(name, (b"", 0.0))
        if before != state:
            self._seen[name] = (state, time.monotonic())
            return None
        return state if time.monotonic() - since > patience else None


class Lease(AnyLease):
    """One that this process holds, until `free` or the end of the block.

    Attributes:
        number: of the file in its row.
    """

    def __init__(self, leases: Leases, unit: str, number: int, file: Any) -> None:
        super().__init__(leases, unit)
        self.number, self._leases, self._file, self._below = number, leases, file, []

    @classmethod
    def make(cls, leases: Leases, unit: str, number: int) -> Lease | None:
        """The file with that number, None where there is one.

        Raises:
            StoreError: the folder cannot be written.
        """
        path = leases.folder / _file(unit, number)
        made = placed = False
        lease = cls(leases, unit, number, None)
        maker = (machine.digest(), os.getpid(), machine.started(os.getpid()), lease.token)
        temporary = path.with_name(".".join(map(str, [path.name, *maker, "new"])))
        MINE.add(lease.token)  # before anybody sees it
        try:
            disk.make(leases.folder)
            lease._file = disk.create(temporary)
            made = True
            lease._renew()
            placed = lease._place(temporary, path)
            disk.remove(temporary)
        except BaseException as error:
            MINE.discard(lease.token)
            if not isinstance(error, OSError):
                raise
            for name in [path] * placed + [temporary] * made:
                with contextlib.suppress(OSError):
                    disk.remove(name)
            raise _cannot(leases.folder, error) from error
        if not placed:
            MINE.discard(lease.token)
            lease._file.close()
            return None
        lease._start()
        return lease

    def _place(self, temporary: Path, path: Path) -> bool:
        """Give the written file its name, which it alone may have; False where there is one."""
        try:
            disk.link(temporary, path)
            return True
        except FileExistsError:
            return os.stat(temporary).st_nlink > 1  # a network disk said so of its own answer that was lost
        except OSError as error:
            if error.errno not in _NO_LINKS:
                raise
        try:
            file = disk.create(path)
        except FileExistsError:
            return False
        self._file.close()
        self._file = file
        self._renew()
        return True

    def follows(self, below: list[int]) -> None:
        """The abandoned files that go with this one."""
        self._below = below

    def held(self) -> bool:
        """As of `AnyLease`."""
        numbers = self._leases._numbers(self.unit)
        data = self._leases._read(_file(self.unit, self.number))[1]
        return numbers[-1:] == [self.number] and data is not None and data.get("token") == self.token

    def free(self) -> None:
        """As of `AnyLease`."""
        if self.token not in MINE:
            return
        MINE.discard(self.token)
        self._stop()
        self._file.close()
        for number in [*self._below, self.number]:
            path = self._leases.folder / _file(self.unit, number)
            try:
                disk.remove(path)
            except FileNotFoundError:
                continue
            except OSError as error:
                came = f"cannot remove {path}: {error.strerror or error}"
                raise StoreError(came, "a folder that can be written") from error

    def _renew(self) -> None:
        self._file.seek(0)
        self._file.write(self._text())
        disk.sync(self._file.fileno())  # others see it now
        self._beat += 1


def _file(unit: str, number: int) -> str:
    return f".{unit}.lease{number or ''}"


def _names(folder: Path) -> list[str]:
    """Of its files, none where there is no such folder.

    Raises:
        StoreError: they cannot be seen, and so neither can it be seen who holds what.
    """
    try:
        return os.listdir(folder)
    except (FileNotFoundError, NotADirectoryError):
        return []
    except OSError as error:
        raise _cannot(folder, error) from error


def _cannot(folder: Path, error: OSError) -> StoreError:
    fix = "nothing committed is lost: make room, or mend it, and run the same command again"
    return StoreError(f"cannot write to {folder}: {error.strerror or error}", "a folder that can be written", fix)
