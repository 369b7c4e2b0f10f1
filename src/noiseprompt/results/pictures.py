"""The pictures of an evaluation: images/METHOD/NAME.png, which its lines call METHOD/NAME.png."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

from noiseprompt.core.errors import StoreError
from noiseprompt.core.fetched import AnyFile
from noiseprompt.core.pictures import png
from noiseprompt.core.store import Store
from noiseprompt.core.stores import Folder, store_of
from noiseprompt.results.names import slug

if TYPE_CHECKING:
    import numpy as np

LONGEST = 1000
"""Letters of a picture's name; systems take fewer."""


def save_pictures(out: Folder, label: str, names: Sequence[str], images: Sequence[np.ndarray]) -> list[str]:
    """Write images of a method, uint8 (H, W, 3) each, as PNG; what its lines call each.

    Args:
        names: of the files, without ".png"; "" for an image that is not saved, which is called so too.
    """
    saved = [f"{name}.png" if name else "" for name in names]
    if not any(saved):
        return saved
    home = store_of(out).below(f"images/{slug(label)}")
    home.make()
    pairs = ((name, image) for name, image in zip(saved, images, strict=True) if name)
    for _ in home.each(lambda pair: home.put(pair[0], png(pair[1])), pairs):
        pass
    return [f"{slug(label)}/{name}" if name else "" for name in saved]


class Pictures:
    """Those that there are.

    Args:
        folder: of the evaluation.
    """

    def __init__(self, folder: Folder) -> None:
        self._store = store_of(folder)
        self._images = self._store.below("images")
        self._homes: dict[str, Store] = {}

    def size(self, image: str) -> int | None:
        """Bytes of a picture; None where there is none.

        Raises:
            StoreError: as `file`.
        """
        method, _, name = self._checked(image).rpartition("/")
        if method not in self._homes:
            self._homes[method] = self._images.below(method) if method else self._images
        stamp = self._homes[method].stamp(name)
        return None if stamp is None else stamp[1]

    def file(self, image: str) -> AnyFile:
        """A picture; a results file of others names no file elsewhere.

        Raises:
            StoreError: it would lie elsewhere, or cannot be fetched.
        """
        return self._images.file(self._checked(image))

    def _checked(self, image: str) -> str:
        if len(image) > LONGEST or not self._images.holds(image):
            came = f"{self._store.where('results.jsonl')} names the picture {image!r}"
            raise StoreError(came, f"pictures in {self._images} alone")
        return image
