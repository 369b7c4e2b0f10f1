"""Pictures that the browser fetches one by one: in memory, never on the disk, the oldest forgotten first."""

from __future__ import annotations

import hashlib
import io
import threading
from collections.abc import Mapping
from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import numpy as np

ROOM = 256_000_000
"""Bytes of all pictures together."""


@dataclass(frozen=True)
class Png:
    """A picture as PNG.

    Fields:
        name: a hash of its bytes.
        data: the bytes.
    """

    name: str
    data: bytes

    @classmethod
    def of(cls, image: np.ndarray) -> Png:
        """From uint8 (H, W, 3)."""
        from PIL import Image

        buffer = io.BytesIO()
        Image.fromarray(image).save(buffer, "PNG")
        data = buffer.getvalue()
        return cls(hashlib.sha256(data).hexdigest(), data)

    @property
    def url(self) -> str:
        """Where the page serves it, relative to the page."""
        return f"picture?name={self.name}"


class Album:
    """The pictures of the last clicks, whoever clicked.

    Args:
        room: in bytes.
    """

    def __init__(self, room: int = ROOM) -> None:
        self._room, self._used, self._lock = room, 0, threading.Lock()
        self._pictures: dict[str, bytes] = {}

    def keep(self, pictures: Mapping[str, bytes]) -> None:
        """Add pictures by name, as the newest; those that came first go where the room is full."""
        with self._lock:
            for name, data in pictures.items():
                self._used += len(data) - len(self._pictures.pop(name, b""))
                self._pictures[name] = data
            while self._used > self._room and len(self._pictures) > 1:
                self._used -= len(self._pictures.pop(next(iter(self._pictures))))

    def get(self, name: str) -> bytes | None:
        """A picture; None for one that is not here, or not any more."""
        return self._pictures.get(name)
