"""A file that was fetched from a store: its readers take it as they take a path."""

from __future__ import annotations

import io
from pathlib import Path
from typing import BinaryIO


class Fetched:
    """A file as it was when it was fetched.

    Args:
        where: it lies, for messages.
        data: what it holds; None where there is none.
    """

    def __init__(self, where: str, data: bytes | None) -> None:
        self._where, self._data = where, data

    @property
    def name(self) -> str:
        """The last part of where it lies."""
        return self._where.rpartition("/")[2]

    def __str__(self) -> str:
        return self._where

    def exists(self) -> bool:
        """Whether there is such a file."""
        return self._data is not None

    is_file = exists

    def open(self, mode: str = "rb") -> BinaryIO:
        """For reading; the mode is there for readers of paths.

        Raises:
            FileNotFoundError: there is none.
        """
        return _Opened(self.read_bytes(), self._where)

    def read_bytes(self) -> bytes:
        """All that it holds.

        Raises:
            FileNotFoundError: there is none.
        """
        if self._data is None:
            raise FileNotFoundError(2, "there is no such file", self._where)
        return self._data


class _Opened(io.BytesIO):
    def __init__(self, data: bytes, where: str) -> None:
        super().__init__(data)
        self._where = where

    def __repr__(self) -> str:  # libraries name what they cannot read
        return repr(self._where)


AnyFile = Path | Fetched
"""A file to read, on a disk or fetched."""
