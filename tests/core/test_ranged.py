"""Small parts of a file elsewhere: what io.BytesIO gives, each block fetched once."""

from __future__ import annotations

import io
import random

import pytest

from noiseprompt.core import ranged
from noiseprompt.core.ranged import Ranged


@pytest.mark.parametrize("size", [0, 1, 15, 16, 17, 100])
def test_reads_are_those_of_a_file(size: int, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(ranged, "BLOCK", 16)
    data, chance, fetched = bytes(range(size)), random.Random(size), []

    def fetch(start: int, end: int) -> bytes:
        fetched.append((start, end))
        return data[start:end]

    here, there = Ranged(size, fetch), io.BytesIO(data)
    for _ in range(200):
        offset, count = chance.randrange(-5, size + 20), chance.randrange(-1, 40)
        how = chance.choice((io.SEEK_SET, io.SEEK_END)) if offset >= 0 else io.SEEK_END
        offset = max(offset, -size)
        assert here.seek(offset, how) == there.seek(offset, how)
        if count >= 0 and chance.random() < 0.3:
            one, other = bytearray(count), bytearray(count)
            assert here.readinto(memoryview(one)) == there.readinto(other) and one == other
        else:
            assert here.read(count) == there.read(count) and here.tell() == there.tell()
    assert len(fetched) == len({*fetched}) <= -(-size // 16)


def test_an_answer_of_another_length_is_an_error() -> None:
    with pytest.raises(OSError, match="1 bytes came where 9 were asked for"):
        Ranged(9, lambda start, end: b"x").read(3)
