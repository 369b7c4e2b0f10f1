"""Pictures that claim absurd sizes are refused by their header; what is unusual is read as documented."""

from __future__ import annotations

import io
import struct
import time
import warnings
import zlib
from collections.abc import Callable
from pathlib import Path

import numpy as np
import pytest
from PIL import Image, PngImagePlugin

from noiseprompt.core.errors import InputError, ModelLoadError
from noiseprompt.core.pictures import PIXELS, read_picture
from noiseprompt.pipelines.controlnet import set_control_image


def chunk(kind: bytes, data: bytes) -> bytes:
    return struct.pack(">I", len(data)) + kind + data + struct.pack(">I", zlib.crc32(kind + data))


def png(width: int, height: int, data: bytes = b"", *extra: bytes, depth: int = 8, colours: int = 2) -> bytes:
    """A PNG whose header says so, whatever its data."""
    header = chunk(b"IHDR", struct.pack(">IIBBBBB", width, height, depth, colours, 0, 0, 0))
    return b"\x89PNG\r\n\x1a\n" + header + b"".join(extra) + chunk(b"IDAT", data) + chunk(b"IEND", b"")


def saved(image: Image.Image, kind: str) -> bytes:
    buffer = io.BytesIO()
    image.save(buffer, kind)
    return buffer.getvalue()


def bmp(width: int, height: int) -> bytes:
    small = saved(Image.new("RGB", (2, 2)), "BMP")
    return small[:18] + struct.pack("<ii", width, height) + small[26:]


def jpeg(width: int, height: int) -> bytes:
    small = saved(Image.new("RGB", (8, 8)), "JPEG")
    at = small.index(b"\xff\xc0") + 5
    return small[:at] + struct.pack(">HH", height, width) + small[at + 4 :]


WHOLE = saved(Image.fromarray(np.random.default_rng(0).integers(0, 256, (64, 64, 3), np.uint8)), "PNG")
LARGE = {
    "8193 x 8192": (png(8193, 8192), "8,193 x 8,192"),
    "one line": (png(2**27, 1), "134,217,728"),
    "10000 x 10000": (png(10_000, 10_000), "10,000 x 10,000"),
    "a bomb": (png(50_000, 50_000, zlib.compress(b"\0" * 10**6)), "2500000000 pixels"),
    "2**31": (png(2**31 - 1, 2**31 - 1), "pixels"),
    "a large BMP": (bmp(30_000, 30_000), "pixels"),
    "a BMP of 9000": (bmp(9_000, 9_000), "9,000 x 9,000"),
    "a large JPEG": (jpeg(65_000, 65_000), "pixels"),
    "a JPEG of 9000": (jpeg(9_000, 9_000), "9,000 x 9,000"),
}
NONE = {
    "nothing": b"",
    "text": b"no picture",
    "zeros": b"\0" * 1000,
    "a header alone": WHOLE[:33],
    "cut": WHOLE[: len(WHOLE) // 2],
    "a flipped bit": WHOLE[:60] + bytes([WHOLE[60] ^ 1]) + WHOLE[61:],
    "no size": png(0, 0),
    "other data": png(64, 64, zlib.compress(b"\0" * 10)),
    "no data": png(64, 64, b"not zlib"),
    "a depth of 3": png(4, 4, depth=3),
    "a text bomb": png(4, 4, b"", chunk(b"zTXt", b"a\0\0" + zlib.compress(b"\0" * 10**7))),
    "PostScript": b"%!PS-Adobe-3.0 EPSF-3.0\n%%BoundingBox: 0 0 10 10\n",
    "a GIF": saved(Image.new("L", (4, 4)), "GIF"),
    "a TIFF": saved(Image.new("L", (4, 4)), "TIFF"),
    "SVG": b'<svg xmlns="http://www.w3.org/2000/svg"/>',
}


SECONDS = 10
"""Of the processor: most refusals take milliseconds, and what is not refused would take hours or all memory."""


def refuse(read: Callable[[], object], *says: str, kind: type[Exception] = InputError) -> None:
    start = time.process_time()
    with warnings.catch_warnings(), pytest.raises(kind) as caught:
        warnings.simplefilter("error")
        read()
    assert time.process_time() - start < SECONDS
    assert "\n" not in str(caught.value) and len(str(caught.value)) < 700
    for part in says:
        assert part in str(caught.value)


@pytest.mark.parametrize("kind", LARGE)
def test_absurd_sizes_are_refused_by_the_header(tmp_path, monkeypatch, kind) -> None:
    monkeypatch.setattr(Image.Image, "load", lambda *_: pytest.fail("the picture was decoded"))
    data, size = LARGE[kind]
    (tmp_path / "a.png").write_bytes(data)
    refuse(lambda: read_picture(tmp_path / "a.png"), "a.png", size, f"{PIXELS:,}")


@pytest.mark.parametrize("kind", NONE)
def test_what_is_no_picture_is_named(tmp_path, kind) -> None:
    (tmp_path / "a.png").write_bytes(NONE[kind])
    refuse(lambda: read_picture(tmp_path / "a.png"), "a.png")
    refuse(lambda: set_control_image(object(), tmp_path / "a.png"), "a.png", kind=ModelLoadError)


def test_a_folder_or_a_loop_in_place_of_a_picture_is_named(tmp_path) -> None:
    (tmp_path / "a.png").mkdir()
    (tmp_path / "b.png").symlink_to("b.png")
    for name in ("a.png", "b.png", "c.png"):
        refuse(lambda name=name: read_picture(tmp_path / name), name)


def test_of_sixteen_bits_the_upper_eight_are_read(tmp_path) -> None:
    """Grey and colour alike."""
    values = np.random.default_rng(0).integers(0, 2**16, (5, 7), np.uint16)
    Image.fromarray(values).save(tmp_path / "grey.png")
    assert (read_picture(tmp_path / "grey.png") == (values >> 8)[..., None]).all()
    rows = np.repeat(values[..., None], 3, -1).astype(">u2")
    data = b"".join(b"\0" + row.tobytes() for row in rows)
    (tmp_path / "colour.png").write_bytes(png(7, 5, zlib.compress(data), depth=16))
    assert (read_picture(tmp_path / "colour.png") == (values >> 8)[..., None]).all()


@pytest.mark.parametrize("kind", ["png", "webp"])
def test_of_an_animation_the_first_picture_is_read(tmp_path, kind) -> None:
    first, second = (np.full((8, 8, 3), value, np.uint8) for value in (40, 200))
    frames = [Image.fromarray(frame) for frame in (first, second)]
    path: Path = tmp_path / f"a.{kind}"
    frames[0].save(path, save_all=True, append_images=frames[1:], lossless=True)  # PNG is, whatever is said
    assert (read_picture(path) == first).all()


@pytest.mark.parametrize("mode", ["1", "L", "LA", "P", "RGB", "RGBA", "CMYK"])
def test_every_kind_of_colour_is_read_as_pillow_converts_it(tmp_path, mode) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (6, 5, 3), np.uint8)
    image = Image.fromarray(colours).convert(mode)
    path = tmp_path / ("a.jpg" if mode == "CMYK" else "a.png")
    image.save(path)
    with Image.open(path) as opened:
        assert (read_picture(path) == np.asarray(opened.convert("RGB"))).all()


def test_text_beside_the_pixels_is_no_obstacle(tmp_path) -> None:
    info = PngImagePlugin.PngInfo()
    info.add_text("prompt", "x" * 10_000, zip=True)
    Image.new("RGB", (3, 4)).save(tmp_path / "a.png", pnginfo=info)
    assert read_picture(tmp_path / "a.png").shape == (4, 3, 3)


@pytest.mark.parametrize("orientation", [0, 1, 3, 6, 8, 99])
def test_a_picture_stands_as_its_camera_was_held(orientation: int, tmp_path: Path) -> None:
    pixels = np.zeros((8, 16, 3), np.uint8)
    pixels[0, 0] = 255
    note = Image.Exif()
    note[274] = orientation
    Image.fromarray(pixels).save(tmp_path / "a.png", exif=note)
    turns = {3: 2, 6: 3, 8: 1}.get(orientation, 0)  # quarters against the clock
    assert (read_picture(tmp_path / "a.png") == np.rot90(pixels, turns)).all()
