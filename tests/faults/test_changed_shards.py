"""Shards with a flipped bit, with a pair twice or of which one is missing: told, and never written again as whole."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest

from noiseprompt.core.errors import NoisepromptWarning, StoreError
from noiseprompt.noise import initial_noise
from noiseprompt.npd import Npd, NpdWriter
from noiseprompt.npd.export import export
from noiseprompt.npd.info import info
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


@pytest.mark.parametrize("read", ["targets", "sources", "pair", "export"])
def test_what_reads_a_noise_of_a_changed_shard_is_refused(read: str, tmp_path: Path) -> None:
    flip(write(tmp_path / "npd"), 0, 2)
    npd = Npd(tmp_path / "npd")
    assert npd.targets([4]).shape == (1, *SHAPE), "the other shard is whole"
    with pytest.raises(StoreError, match=r"shard-000000\.arrow does not match"):
        if read == "targets":
            npd.targets([4, 0])
        elif read == "sources":
            npd.sources([0])
        elif read == "pair":
            npd[1]
        else:
            export(tmp_path / "npd", tmp_path / "all.parquet")
    assert not (tmp_path / "all.parquet").exists()


def test_a_shard_is_checked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from noiseprompt.npd import format as npd_format

    npd, seen, real = Npd(write(tmp_path)), [], npd_format.checksum
    monkeypatch.setattr(npd_format, "checksum", lambda rows: seen.append(len(rows)) or real(rows))
    for _ in range(3):
        npd.targets([0, 4, 1])
        npd.sources([5, 2])
    assert seen == [4, 2]


def test_a_shard_under_two_numbers_is_refused(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "shard-000002.arrow").write_bytes((tmp_path / "shard-000000.arrow").read_bytes())
    with pytest.raises(StoreError, match=r"is in shard-000000\.arrow and in shard-000002\.arrow"):
        Npd(tmp_path)


def test_a_missing_shard_is_told(tmp_path: Path) -> None:
    write(tmp_path, shard_size=2)
    (tmp_path / "shard-000001.arrow").unlink()
    with pytest.warns(NoisepromptWarning, match=r"lacks shard-000001\.arrow"):
        assert info(tmp_path)["pairs"] == 4
