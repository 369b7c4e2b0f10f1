"""Pictures on disk, against Pillow and numpy."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from noiseprompt.core.errors import InputError
from noiseprompt.core.pictures import batches, find_pictures, read_picture


def test_pictures_are_found_by_suffix_in_order(tmp_path: Path) -> None:
    (tmp_path / "below").mkdir()
    for name in ("b.png", "a.JPG", "below/c.webp", "notes.txt"):
        (tmp_path / name).touch()
    assert [p.name for p in find_pictures(tmp_path)] == ["a.JPG", "b.png"]
    assert [p.name for p in find_pictures(tmp_path, below=True)] == ["a.JPG", "b.png", "c.webp"]
    with pytest.raises(InputError, match="no picture"):
        find_pictures(_empty(tmp_path))
    with pytest.raises(InputError, match="no folder"):
        find_pictures(tmp_path / "nowhere")


def _empty(folder: Path) -> Path:
    (folder / "empty").mkdir()
    return folder / "empty"


def test_a_picture_is_read_as_rgb(tmp_path: Path) -> None:
    colours = np.random.default_rng(0).integers(0, 256, (5, 7, 4), np.uint8)
    Image.fromarray(colours, "RGBA").save(tmp_path / "a.png")
    assert (read_picture(tmp_path / "a.png") == colours[..., :3]).all()
    (tmp_path / "torn.png").write_bytes((tmp_path / "a.png").read_bytes()[:60])
    for name in ("torn.png", "nowhere.png"):
        with pytest.raises(InputError, match=name):
            read_picture(tmp_path / name)


def test_batches_hold_one_size_and_lose_nothing() -> None:
    sizes = [4, 4, 4, 6, 6, 4]
    pictures = [np.full((size, size, 3), i, np.uint8) for i, size in enumerate(sizes)]
    made = list(batches(pictures, 2))
    assert [len(batch) for batch in made] == [2, 1, 2, 1]
    assert [int(image[0, 0, 0]) for batch in made for image in batch] == list(range(6))
