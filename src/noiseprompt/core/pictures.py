"""Pictures on disk: which files are some, how one is read and written, batches of one size."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from pathlib import Path

import numpy as np

from noiseprompt.core.errors import InputError
from noiseprompt.core.files import replacing

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
"""Of pictures."""


def find_pictures(folder: Path, *, below: bool = False) -> list[Path]:
    """The pictures of a folder, sorted by path.

    Args:
        below: those of its folders too.

    Raises:
        InputError: no folder, or no picture there.
    """
    if not folder.is_dir():
        raise InputError(f"there is no folder {folder}", "a folder of pictures", "check the path")
    found = folder.rglob("*") if below else folder.iterdir()
    files = sorted(path for path in found if path.suffix.lower() in SUFFIXES and path.is_file())
    if not files:
        raise InputError(f"no picture in {folder}", f"files that end in {', '.join(SUFFIXES)}", "check the path")
    return files


def read_picture(path: Path) -> np.ndarray:
    """uint8 (H, W, 3) of a file; transparency is dropped.

    Raises:
        InputError: the file is no picture, or is not there.
    """
    from PIL import Image, UnidentifiedImageError

    try:
        with Image.open(path) as image:
            return np.asarray(image.convert("RGB"))
    except (OSError, UnidentifiedImageError, Image.DecompressionBombError) as error:
        raise InputError(f"{path} is not a readable picture: {error}", "PNG, JPEG, WebP or BMP") from error


def write_picture(path: Path, picture: np.ndarray) -> None:
    """Write uint8 (H, W, 3) as PNG, at once.

    Raises:
        StoreError: the disk is full or does not take it.
    """
    from PIL import Image

    with replacing(path) as file:
        Image.fromarray(picture).save(file, "PNG")


def batches(pictures: Iterable[np.ndarray], size: int) -> Iterator[np.ndarray]:
    """Up to `size` pictures (H, W, 3) of one shape together, (N, H, W, 3), in order."""
    batch: list[np.ndarray] = []
    for picture in pictures:
        if batch and (len(batch) == size or picture.shape != batch[0].shape):
            yield np.stack(batch)
            batch = []
        batch.append(picture)
    if batch:
        yield np.stack(batch)
