"""Every change of the disk that this package makes itself, a function a kind: a test that puts its own in their place
sees each of them and makes any of them fail.

`files.py` builds on them what stages ask for.
"""

from __future__ import annotations

import io
import os
from pathlib import Path
from typing import Any


def make(folder: Path) -> None:
    """The folder and those above it, where they are missing."""
    folder.mkdir(parents=True, exist_ok=True)


def create(path: Path) -> io.FileIO:
    """A new file, never through a link; what is written to it passes through `write`."""
    return _File(path, "xb")


def extend(path: Path) -> io.FileIO:
    """A file to add to, new where there is none; what is written to it passes through `write`."""
    return _File(path, "ab")


def write(file: io.FileIO, data: Any) -> int:
    """How many bytes of the data the file took."""
    return io.FileIO.write(file, data) or 0


def sync(handle: int) -> None:
    """What was written to a file, or renamed in a folder, survives a loss of power from here on."""
    os.fsync(handle)


def rename(old: Path, new: Path) -> None:
    """At once; what had the new name is gone."""
    os.replace(old, new)


def link(old: Path, new: Path) -> None:
    """A second name for a file; an error where there is something of that name."""
    os.link(old, new)


def cut(path: Path, length: int) -> None:
    """End a file after so many bytes."""
    os.truncate(path, length)


def remove(path: Path) -> None:
    """A file, not a folder."""
    path.unlink()


def leave(path: Path) -> None:
    """A library writes a folder by itself; files of this package are not written so."""


class _File(io.FileIO):
    def write(self, data: Any) -> int:
        return write(self, data)
