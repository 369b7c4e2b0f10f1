"""Pictures side by side: a row a prompt and seed, a column a method; read one at a time."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from noiseprompt.core.pictures import read_picture
from noiseprompt.core.stores import Folder, store_of

MOST_ROWS = 60
"""Rows of a grid; of more pictures the first are shown."""

Row = tuple[str, int]
"""(text of the prompt, seed)."""


def grid(
    folder: Folder, files: Mapping[Row, Sequence[str]], labels: Sequence[str], cell: int = 160, per_block: int = 6
) -> Any:
    """One labelled picture of at most `MOST_ROWS` rows; more than `per_block` of them go on beside.

    Args:
        folder: of the pictures.
        files: row -> a picture for each label.
        cell: width of a picture in the grid, in pixels.
    """
    from PIL import Image, ImageDraw, ImageFont

    store, rows = store_of(folder), list(files.items())[:MOST_ROWS]
    first = read_picture(store.file(rows[0][1][0]))
    height = min(max(round(cell * first.shape[0] / first.shape[1]), 1), 8 * cell)  # of a strip a part is squeezed
    caption, header, gap = 22, 26, 6
    blocks, deep = -(-len(rows) // per_block), min(len(rows), per_block)
    wide = len(labels) * (cell + gap) + 3 * gap
    canvas = Image.new("RGB", (blocks * wide, header + deep * (height + caption + gap)), "white")
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(13)
    for index, ((text, seed), pictures) in enumerate(rows):
        block, row = divmod(index, per_block)
        top = header + row * (height + caption + gap)
        draw.text((gap + block * wide, top + 2), f"{text} (seed {seed})", fill="#444444", font=font)
        for column, (label, file) in enumerate(zip(labels, pictures, strict=True)):
            left = gap + block * wide + column * (cell + gap)
            if row == 0:
                draw.text((left, 6), label, fill="black", font=font)
            picture = Image.fromarray(read_picture(store.file(file)))
            resample = Image.Resampling.NEAREST if picture.width < cell else Image.Resampling.LANCZOS
            canvas.paste(picture.resize((cell, height), resample), (left, top + caption))
    return canvas
