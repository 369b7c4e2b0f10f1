"""What every stage asks of the disk: a file replaced at once, a folder with one writer, a name without its folders."""

from __future__ import annotations

import contextlib
import os
from collections.abc import Iterable
from pathlib import Path
from typing import Any

from noiseprompt.core.errors import StoreError, StoreLockedError


def replace(path: Path, text: str) -> None:
    """Write a text file at once: a reader sees the old one or the new one."""
    replace_parts(path, [text])


def replace_parts(path: Path, parts: Iterable[str]) -> None:
    """As `replace`, of a text in parts."""
    temporary = path.with_name(path.name + ".tmp")
    with temporary.open("wb") as file:
        file.writelines(part.encode() for part in parts)
        file.flush()
        os.fsync(file.fileno())
    os.replace(temporary, path)


def public_name(source: str) -> str:
    """A hub id as it is, a path's last part: no folders of a machine in records."""
    path = Path(source).expanduser()
    is_path = path.is_absolute() or source.startswith((".", "~")) or path.exists()
    return Path(os.path.abspath(path)).name if is_path else source


class Lock:
    """An advisory lock on a folder, freed by the system when the process dies; no lock where the system has none.

    A context manager; `take` and `free` do the same by hand.

    Args:
        path: of its file; the folder is made if missing.

    Raises:
        StoreLockedError: another process, or another run in this one, holds it.
        StoreError: the folder cannot be written.
    """

    def __init__(self, path: Path) -> None:
        self.path = path
        self._file: Any = None

    def take(self) -> None:
        folder = self.path.parent
        try:
            folder.mkdir(parents=True, exist_ok=True)
            file = self.path.open("ab")
        except OSError as error:
            raise StoreError(f"cannot write to {folder}: {error.strerror}", "a folder that can be written") from error
        try:
            import fcntl

            fcntl.flock(file, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except ImportError:
            pass
        except OSError as error:
            file.close()
            came, fix = f"another process writes to {folder}", "wait for it to end or choose another folder"
            raise StoreLockedError(came, "one writer a folder", fix) from error
        self._file = file

    def free(self) -> None:
        if self._file is not None:
            self._file.close()
            self._file = None

    def __enter__(self) -> None:
        self.take()

    def __exit__(self, *_: object) -> None:
        self.free()


def append(path: Path, text: str) -> None:
    """Add whole lines in one write; they are on disk when this returns."""
    with path.open("ab") as file:
        file.write(text.encode())
        file.flush()
        os.fsync(file.fileno())


def write_atomically(path: Path, data: Any) -> None:
    """Write, fsync, rename, fsync the folder: after a crash the file is whole or as it was before.

    Args:
        data: bytes, or anything with the buffer protocol.

    Raises:
        StoreError: the disk is full or does not take the file; what was there before is untouched.
    """
    temporary = path.with_name(path.name + ".tmp")
    try:
        with open(temporary, "wb") as file:
            file.write(data)
            file.flush()
            os.fsync(file.fileno())
        os.replace(temporary, path)
        sync_folder(path.parent)
    except OSError as error:
        with contextlib.suppress(OSError):
            temporary.unlink()
        raise StoreError(
            f"cannot write {path}: {error.strerror or error}",
            "",
            "nothing committed is lost: make room and run the same command again",
        ) from error


def sync_folder(folder: Path) -> None:
    """Make a rename in a folder durable."""
    handle = os.open(folder, os.O_RDONLY)
    try:
        os.fsync(handle)
    finally:
        os.close(handle)
