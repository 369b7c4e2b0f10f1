"""Pictures on disk: which files are some, how one is read, brought to a size and written, batches of one size."""

from __future__ import annotations

import io
import warnings
import zlib
from collections.abc import Iterable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np

from noiseprompt.core.errors import InputError, ModelLoadError, NoisepromptWarning
from noiseprompt.core.fetched import AnyFile
from noiseprompt.core.files import replacing
from noiseprompt.core.places import check_local, no_file, refuse_closed, refuse_pipe, refuse_pointer, remedy

if TYPE_CHECKING:
    from PIL.Image import Image

SUFFIXES = (".png", ".jpg", ".jpeg", ".webp", ".bmp")
"""Of pictures."""

_UNREAD = (".gif", ".tif", ".tiff", ".heic", ".heif", ".avif", ".jxl", ".jp2")
"""Of pictures that are left out."""

FORMATS = ("PNG", "JPEG", "WEBP", "BMP")
"""That are read, whatever a file is called: readers of others start programs."""

FITS = ("crop", "stretch", "exact")
"""How a picture is brought to a size: scaled until it covers it and cut around its middle; scaled, whatever becomes of
its proportions; or refused unless it has that size."""

PIXELS = 2**26
"""Of a picture, 8,192 x 8,192: a fifth of a gigabyte in memory."""


def find_pictures(folder: Path, *, below: bool = False) -> list[Path]:
    """The pictures of a folder, sorted by path.

    Args:
        below: those of its folders too. What a dot hides, a file or a folder, is no picture of anybody's: systems and
            editors leave such (._a.png, .ipynb_checkpoints).

    Raises:
        InputError: no folder, an address, one that may not be read, no picture there, or the name of one with a link
            that leads nowhere or a pipe behind it.
    """
    check_local(folder)
    if not folder.is_dir():
        raise InputError(no_file(folder, "folder"), "a folder of pictures", "check the path")
    refuse_closed(folder, InputError)
    there = [*(folder.rglob("*") if below else folder.iterdir())]
    for path in there if below else ():
        if not hidden(path.relative_to(folder)):
            refuse_closed(path, InputError)
    named = [path for path in there if path.suffix.lower() in SUFFIXES and not hidden(path.relative_to(folder))]
    files = sorted(path for path in named if path.is_file())
    if lost := sorted(path for path in named if not (path.is_file() or path.is_dir())):
        raise InputError(no_file(lost[0]), "a picture", "take it out of the folder, or put the picture there")
    others = [path.name for path in there if path.suffix.lower() in _UNREAD and not hidden(path.relative_to(folder))]
    if files and others:
        told = f"{folder} holds pictures that are not read ({', '.join(sorted(others)[:3])}): {len(others)} left out"
        warnings.warn(f"{told}. Convert them to PNG or JPEG", NoisepromptWarning, stacklevel=2)
    if not files:
        raise InputError(f"no picture in {folder}", f"files that end in {', '.join(SUFFIXES)}", "check the path")
    return files


def hidden(path: Path) -> bool:
    """Whether a dot hides a path, or a folder on it."""
    return any(part.startswith(".") for part in path.parts)


def read_picture(path: AnyFile, formats: Sequence[str] = FORMATS) -> np.ndarray:
    """uint8 (H, W, 3) of a file, as `open_picture` reads it.

    Raises:
        InputError: as `open_picture`.
    """
    return np.asarray(open_picture(path, formats))


def is_whole_png(path: AnyFile) -> bool:
    """Whether a file begins and ends as a PNG does; what lies between is not looked at.

    Raises:
        InputError: no right to read it.
    """
    try:
        with path.open("rb") as file:
            begin = file.read(8)
            file.seek(-12, 2)
            end = file.read(12)
    except PermissionError as error:
        raise InputError(f"cannot read {path}: {error.strerror}", "the right to read it", "ask its owner") from error
    except OSError:  # shorter than that, among others
        return False
    return begin == b"\x89PNG\r\n\x1a\n" and end[4:8] == b"IEND"


def has_sound_parts(path: AnyFile) -> bool:
    """Whether the checksums of a PNG's parts match; for a file that `is_whole_png`.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        file.seek(8)
        while len(begin := file.read(8)) == 8:
            length = int.from_bytes(begin[:4], "big")
            part = file.read(length)
            if len(part) != length or file.read(4) != zlib.crc32(begin[4:] + part).to_bytes(4, "big"):
                return False
            if begin[4:] == b"IEND":
                return True
    return False


def png_size(path: AnyFile) -> tuple[int, int]:
    """Width and height that the start of a PNG tells.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        start = file.read(24)
    return int.from_bytes(start[16:20], "big"), int.from_bytes(start[20:24], "big")


def open_picture(path: AnyFile, formats: Sequence[str] = FORMATS) -> Image:
    """An RGB picture of a file; its size is looked at before anything is decoded.

    Transparency is dropped; of an animation the first picture is read, of 16 bits the upper 8. A camera's note on
    how it was held is followed (EXIF).

    Args:
        formats: some of `FORMATS`, those that it may have.

    Raises:
        InputError: the file is no picture, is not there, has another format, or has more than `PIXELS`.
    """
    from PIL import Image, ImageOps

    try:
        refuse_pipe(path)
        _refuse_note(path)
        with warnings.catch_warnings():
            warnings.simplefilter("ignore", Image.DecompressionBombWarning)  # above our own limit
            opened = Image.open(path if isinstance(path, Path) else path.open("rb"), formats=FORMATS)
        with opened as image:
            if image.format not in formats:
                raise InputError(f"{path} is a {image.format}, whatever its name says", f"a {' or '.join(formats)}")
            _check_size(path, *image.size)
            if image.mode.startswith("I"):  # 16 bits of grey, which Pillow's own conversion cuts at 255
                image = Image.fromarray((np.asarray(image) >> 8).astype(np.uint8))
            return ImageOps.exif_transpose(image.convert("RGB"))
    except InputError:
        raise
    except Image.DecompressionBombError as error:
        came = f"{path} is too large a picture: {str(error).partition(',')[0]}"
        raise InputError(came, f"at most {PIXELS:,} pixels", "make it smaller") from error
    except Exception as error:  # Pillow raises many kinds for a damaged file
        told = error.strerror if isinstance(error, OSError) and error.strerror else str(error)
        why = " ".join(told.split())[:200] or type(error).__name__
        why = "it begins as none" if told.startswith("cannot identify") else why  # and the name again
        fix = remedy(error, "")
        raise InputError(f"{path} is not a readable picture: {why}", "PNG, JPEG, WebP or BMP", fix) from error


def _refuse_note(path: AnyFile) -> None:
    """Refuse a note of Git LFS or a page of the web in the place of a picture, and an empty file.

    Raises:
        InputError: with the remedy.
        OSError: it cannot be read.
    """
    if not isinstance(path, Path):
        return
    try:
        refuse_pointer(path, "pixels")
    except ModelLoadError as error:
        raise InputError(error.came, error.expected, error.fix) from error
    if not path.stat().st_size:
        raise InputError(f"{path} is empty", "a picture", "copy or download it again")


def fitted(image: Image, height: int, width: int, fit: str = "crop") -> np.ndarray:
    """uint8 (height, width, 3) of a picture, by Lanczos filtering where it is scaled; smaller ones are enlarged.

    Args:
        image: RGB.
        fit: one of `FITS`.

    Raises:
        InputError: another size with "exact".
    """
    from PIL import Image, ImageOps

    if image.size == (width, height):
        return np.asarray(image)
    if fit == "exact":
        came = f"a picture of {image.height} x {image.width} pixels"
        raise InputError(came, f"{height} x {width} pixels", "let it be scaled: --fit crop or stretch")
    if fit == "stretch":
        return np.asarray(image.resize((width, height), Image.Resampling.LANCZOS))
    return np.asarray(ImageOps.fit(image, (width, height), Image.Resampling.LANCZOS))


def _check_size(path: AnyFile, width: int, height: int) -> None:
    if width * height > PIXELS:
        came = f"{path} is too large a picture: {width:,} x {height:,} pixels"
        raise InputError(came, f"at most {PIXELS:,} pixels", "make it smaller")


def write_picture(path: Path, picture: np.ndarray) -> None:
    """Write uint8 (H, W, 3) as PNG, at once.

    Raises:
        StoreError: the disk is full or does not take it.
    """
    with replacing(path) as file:
        file.write(png(picture))


def png(picture: np.ndarray) -> bytes:
    """uint8 (H, W, 3) as a PNG."""
    from PIL import Image

    buffer = io.BytesIO()
    Image.fromarray(picture).save(buffer, "PNG")
    return buffer.getvalue()


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
