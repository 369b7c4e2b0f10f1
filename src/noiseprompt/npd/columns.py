"""The columns of a data set that are no noise, looked at when it is opened: what nobody else would see before it is
trained on."""

from __future__ import annotations

import re
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pyarrow.compute as pc

from noiseprompt.core.errors import StoreError
from noiseprompt.core.ranges import shown
from noiseprompt.core.types import text_id
from noiseprompt.npd.format import holds_pictures

_SEE = "see `noiseprompt npd verify`, and restore that shard"
_DIGEST = r"^[0-9a-f]{16}$"
_ID = r"^[0-9a-f]{16}-[0-9]+$"
"""An id as collections make it; who writes pairs of their own may give others, and then to all of them."""


def check_columns(table: pa.Table, settings: Mapping[str, Any], folder: str | Path) -> None:
    """Refuse seeds that are none, prompts and seeds that are not those of their ids, and digests of sources and scores
    of usable pairs.

    Args:
        table: every column but the noises.
        settings: of the run that made it.
        folder: for the message.

    Raises:
        StoreError: with the first pair.
    """
    pictures = holds_pictures(settings)
    usable = np.array([not reason for reason in table.column("rejected").to_pylist()], bool)
    _refuse(table, table.column("seed").to_numpy() < 0, "seed", "a whole number from 0", folder)
    other, ours = _strange(table)
    _refuse(table, other & ours, "prompt", "the prompt and seed that its id was made of", folder)
    _refuse(table, ~ours & ours.any(), "id", "one made of its prompt and seed, as the other pairs have", folder)
    if not pictures:
        digests = table.column("source_digest")
        odd = ~pc.match_substring_regex(digests, _DIGEST).to_numpy()  # type: ignore[attr-defined]
        _refuse(table, odd & usable, "source_digest", "16 hexadecimal digits", folder)
    sides = ("target",) if pictures else ("source", "target")
    names = [f"score_{side}.{name}" for name in settings["scorers"] for side in sides]
    if not names:
        return
    scores = np.stack([table.column(name).to_numpy() for name in names])
    lacking = np.isnan(scores)
    for name, column, missing in zip(names, scores, lacking, strict=True):
        wrong = np.isinf(column) | (missing & ~lacking.all(axis=0))
        _refuse(table, wrong & usable, name, "a finite number: all scores of a pair, or none", folder)


def _strange(table: pa.Table) -> tuple[np.ndarray, np.ndarray]:
    """(N,) bool each: pairs whose prompt or seed is another's, as where a column was sorted by itself, and pairs whose
    id is of the form that collections give."""
    texts = table.column("prompt").combine_chunks().dictionary_encode()
    made = pa.array([text_id(text) for text in texts.dictionary.to_pylist()], pa.string()).take(texts.indices)
    ids, seeds = table.column("id").combine_chunks(), table.column("seed").combine_chunks().cast(pa.string())
    other = pc.not_equal(ids, pc.binary_join_element_wise(made, seeds, "-"))  # type: ignore[attr-defined]
    ours = pc.match_substring_regex(ids, _ID)  # type: ignore[attr-defined]
    return other.to_numpy(zero_copy_only=False), ours.to_numpy(zero_copy_only=False)


def _refuse(table: pa.Table, wrong: np.ndarray, column: str, expected: str, folder: str | Path) -> None:
    if wrong.any():
        row = int(wrong.argmax())
        key, value = (table.column(name)[row].as_py() for name in ("id", column))
        raise StoreError(f"pair {re.sub(r'[^ -~]', '?', key)} of {folder} has {column} {shown(value)}", expected, _SEE)
