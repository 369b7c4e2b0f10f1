"""The store of a place: a folder on a disk here, one in object storage in `core/s3.py`."""

from __future__ import annotations

import os
import stat
from collections.abc import Sequence
from pathlib import Path

from noiseprompt.core.files import append, clear_left, make_folder, remove, replacing
from noiseprompt.core.json_files import read_bytes
from noiseprompt.core.leases import Leases
from noiseprompt.core.places import Address, check_folder, expanded, is_address, place
from noiseprompt.core.ranges import NAMED, check_value
from noiseprompt.core.store import Stamp, Store

Folder = str | Path | Store
"""What `store_of` takes."""


def store_of(folder: Folder) -> Store:
    """The store of a folder, or of an address s3://BUCKET/FOLDER; a store as it is.

    Raises:
        ConfigError: a blank name, which as a path would be the folder one is in.
        InputError: an address of another kind.
        MissingDependencyError: the library of object storage is not installed.
        StoreError: object storage that is not set up right.
    """
    if isinstance(folder, Store):
        return folder
    _check_named(folder)
    found = place(folder)
    if isinstance(found, Address):
        from noiseprompt.core.s3 import S3Store

        return S3Store(found)
    return DiskStore(found)


def store_to_read(folder: Folder) -> Store:
    """As `store_of`, of what is there already: "~" stands for a home, which a place to write to has to spell out."""
    _check_named(folder)
    return store_of(folder if isinstance(folder, Store) or is_address(folder) else expanded(folder))


def _check_named(folder: Folder) -> None:
    if not isinstance(folder, Store):
        check_value("folder", str | Path, folder, NAMED)


class DiskStore(Store):
    """A folder on a disk that all processes see."""

    torn = True

    def __init__(self, folder: Path) -> None:
        self.folder: Path = folder

    def below(self, folder: str) -> DiskStore:
        """As of `Store`."""
        return DiskStore(self.folder / folder)

    def holds(self, name: str) -> bool:
        """As of `Store`: also behind links."""
        try:
            return (self.folder / name).resolve().is_relative_to(self.folder.resolve())
        except (OSError, ValueError, RuntimeError):  # a loop of links, NUL
            return False

    def check(self) -> None:
        """As of `Store`."""
        check_folder(self.folder)

    def make(self) -> None:
        """As of `Store`."""
        make_folder(self.folder)

    def names(self) -> list[str]:
        """As of `Store`."""
        return os.listdir(self.folder) if self.folder.is_dir() else []

    def stamp(self, name: str) -> Stamp | None:
        """As of `Store`."""
        try:
            found = (self.folder / name).stat()
        except OSError:  # who reads it tells
            return None
        return (found.st_mtime_ns, found.st_size) if stat.S_ISREG(found.st_mode) else None

    def read(self, name: str) -> bytes:
        """As of `Store`."""
        return read_bytes(self.folder / name)

    def file(self, name: str) -> Path:
        """As of `Store`."""
        return self.folder / name

    def source(self, name: str) -> Path:
        """As of `Store`."""
        return self.folder / name

    def kept(self, names: Sequence[str]) -> list[Path]:
        """As of `Store`: the files themselves."""
        return [self.folder / name for name in names]

    def put(self, name: str, data: bytes) -> None:
        """As of `Store`."""
        with replacing(self.folder / name) as file:
            file.write(data)

    def swap(self, name: str, data: bytes, follows: Stamp | None) -> Stamp | None:
        """As of `Store`."""
        self.put(name, data)
        return self.stamp(name) or (0, len(data))

    def append(self, name: str, lines: bytes) -> None:
        """As of `Store`."""
        append(self.folder / name, lines)

    def remove(self, name: str) -> None:
        """As of `Store`."""
        remove(self.folder / name)

    def clear_left(self, of: str | tuple[str, ...] = "") -> None:
        """As of `Store`."""
        clear_left(self.folder, of)

    def leases(self) -> Leases:
        """As of `Store`."""
        return Leases(self.folder)
