"""Shards with a flipped bit, with a pair twice or of which one is missing: told, and never written again as whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from noiseprompt.core.errors import StoreError
from noiseprompt.noise import initial_noise
from noiseprompt.npd import NpdWriter
from noiseprompt.npd.verify import verify
from tests.npd_fakes import SETTINGS, SHAPE, pair, pairs, shards, write


def flip(folder: Path, number: int, seed: int) -> None:
    """Change one bit of the target of the pair with that seed."""
    path = folder / f"shard-{number:06d}.arrow"
    data = bytearray(path.read_bytes())
    at = data.index((initial_noise(seed, SHAPE).numpy() + np.float32(0.25)).astype(np.float16).tobytes())
    data[at + 3] ^= 1
    path.write_bytes(data)


def test_a_short_shard_with_a_flipped_bit_is_not_filled_up(tmp_path: Path) -> None:
    flip(write(tmp_path), 1, 4)
    before = shards(tmp_path)
    for _ in range(2):  # the first refusal leaves no lock
        with pytest.raises(StoreError, match=r"shard-000001\.arrow does not match.*npd verify"):
            NpdWriter(tmp_path, SETTINGS, SHAPE, shard_size=4)
    assert shards(tmp_path) == before
    assert len(verify(tmp_path)) == 1


def test_a_whole_short_shard_is_filled_up(tmp_path: Path) -> None:
    write(tmp_path, store_source=True)
    with NpdWriter(tmp_path, SETTINGS, SHAPE, shard_size=4, store_source=True) as writer:
        writer.add(pair(7, pairs()[0].scores))
    assert verify(tmp_path) == []
