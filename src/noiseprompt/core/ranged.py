"""A file elsewhere, of which a reader wants small parts: fetched in blocks, each once."""

from __future__ import annotations

import io
from collections.abc import Callable

BLOCK = 1 << 18
"""Bytes that are fetched at once."""


class Ranged(io.RawIOBase):
    """For reading.

    Args:
        size: of the file in bytes.
        fetch: gives its bytes from one position up to another.
    """

    def __init__(self, size: int, fetch: Callable[[int, int], bytes]) -> None:
        super().__init__()
        self._size, self._fetch, self._at = size, fetch, 0
        self._blocks: dict[int, bytes] = {}

    def readable(self) -> bool:
        """It is."""
        return True

    def seekable(self) -> bool:
        """It is."""
        return True

    def tell(self) -> int:
        """Where the next byte is read."""
        return self._at

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """As of any file."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._at, io.SEEK_END: self._size}[whence]
        self._at = max(base + offset, 0)
        return self._at

    def read(self, size: int = -1) -> bytes:
        """So many of the next bytes, all of them unless given; fewer at the end.

        Raises:
            OSError: the file is no longer the same.
        """
        end = self._size if size < 0 else min(self._at + size, self._size)
        if end <= self._at:
            return b""
        first, last = self._at // BLOCK, (end - 1) // BLOCK
        data = b"".join(self._block(number) for number in range(first, last + 1))
        begun = self._at - first * BLOCK
        found = data[begun : begun + end - self._at]
        self._at = end
        return found

    def readinto(self, buffer: memoryview) -> int:  # type: ignore[override]
        """`read` into a buffer."""
        data = self.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def _block(self, number: int) -> bytes:
        if number not in self._blocks:
            start, end = number * BLOCK, min((number + 1) * BLOCK, self._size)
            data = self._fetch(start, end)
            if len(data) != end - start:
                raise OSError(f"{len(data)} bytes came where {end - start} were asked for")
            self._blocks[number] = data
        return self._blocks[number]
