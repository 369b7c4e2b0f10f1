"""Pictures in memory, within bounds."""

from __future__ import annotations

import io

import numpy as np
from PIL import Image

from noiseprompt.web.album import Album, Png


def test_a_picture_is_what_it_was() -> None:
    image = np.random.default_rng(0).integers(0, 256, (8, 9, 3), np.uint8)
    png = Png.of(image)
    assert np.array_equal(np.asarray(Image.open(io.BytesIO(png.data))), image) and png.url.endswith(png.name)


def test_the_oldest_go_and_the_room_is_kept() -> None:
    album = Album(room=100)
    for number in range(50):
        album.keep({str(number): bytes(30), "often": bytes(10)})
    assert [name for name in map(str, range(50)) if album.get(name)] == ["47", "48", "49"]
    assert album.get("often") == bytes(10) and album.get("") is None
    album.keep({"large": bytes(1000)})
    assert album.get("large") == bytes(1000) and album.get("49") is None
    album.keep({"small": bytes(1)})
    assert album.get("large") is None and album.get("small") == bytes(1)
