"""Writing a data set: one writer, settings, shards, a full disk."""

from __future__ import annotations

import errno
import os
import re

import numpy as np
import pytest

from noiseprompt.core.errors import ConfigError, InputError, ShapeError, StoreError, StoreLockedError
from noiseprompt.npd import Npd, NpdWriter
from noiseprompt.npd.verify import verify
from tests.npd_fakes import SETTINGS, SHAPE, pair, pairs, shards, write


def test_sources_are_not_stored_unless_asked(tmp_path):
    small, large = write(tmp_path / "small"), write(tmp_path / "large", store_source=True)
    noise = 2 * np.prod(SHAPE)
    sizes = [sum(len(data) for data in shards(folder).values()) for folder in (small, large)]
    assert sizes[1] - sizes[0] >= 6 * noise


def test_second_writer_is_refused_until_the_first_ends(tmp_path):
    with NpdWriter(tmp_path, SETTINGS, SHAPE), pytest.raises(StoreLockedError, match="one writer"):
        NpdWriter(tmp_path, SETTINGS, SHAPE)
    with NpdWriter(tmp_path, SETTINGS, SHAPE) as writer:
        assert not writer.done


def test_other_settings_are_refused_with_both_fingerprints(tmp_path):
    write(tmp_path)
    with pytest.raises(ConfigError) as caught:
        NpdWriter(tmp_path, {**SETTINGS, "guidance": 3.0, "new": 1}, SHAPE, shard_size=4)
    message = str(caught.value)
    assert "guidance: 5.5 there, 3.0 here" in message
    assert "new: None there, 1 here" in message
    assert "scorers:" not in message
    assert len(set(re.findall(r"\b[0-9a-f]{12}\b", message))) == 2
    with NpdWriter(tmp_path, SETTINGS, SHAPE, shard_size=4) as writer:  # the refused writer holds no lock
        assert len(writer.done) == 6


def test_a_short_shard_is_filled_up_and_a_missing_one_written_again(tmp_path):
    whole, parts = write(tmp_path / "whole"), tmp_path / "parts"
    for group in (pairs()[:1], pairs()[1:3], pairs()[3:]):
        with NpdWriter(parts, SETTINGS, SHAPE, shard_size=4) as writer:
            for item in group:
                writer.add(item)
    assert shards(parts) == shards(whole)
    (parts / "shard-000000.arrow").unlink()
    assert verify(parts) == ["shard-000000.arrow is missing"]
    with NpdWriter(parts, SETTINGS, SHAPE, shard_size=4) as writer:
        assert (len(writer.done), writer.room, writer.rejected) == (2, 4, 1)
        for item in pairs()[:4]:
            writer.add(item)
    assert shards(parts) == shards(whole)


def test_pairs_that_do_not_fit_are_refused(tmp_path):
    with NpdWriter(tmp_path, SETTINGS, SHAPE) as writer:
        good = pairs()[0]
        writer.add(good)
        with pytest.raises(StoreError, match="already"):
            writer.add(good)
        with pytest.raises(StoreError, match="scores"):
            writer.add(pair(7, {"a": (0.0, 1.0)}))
        bad = pair(8, good.scores)
        bad.target[0, 0, 0] = 1e5  # type: ignore[index]
        with pytest.raises(StoreError, match="float16"):
            writer.add(bad)
        with pytest.raises(ShapeError):
            writer.add(type(bad)(**{**vars(pair(9, good.scores)), "target": np.zeros((1, 2, 2), np.float32)}))
    assert len(Npd(tmp_path)) == 1


@pytest.mark.parametrize("call", ["fsync", "replace"])
def test_full_disk_loses_nothing_committed(tmp_path, monkeypatch, call):
    write(tmp_path, shard_size=2)
    before = shards(tmp_path)

    def full(*args):
        raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))

    with pytest.raises(StoreError, match="No space left") as caught:  # noqa: SIM117
        with NpdWriter(tmp_path, SETTINGS, SHAPE, shard_size=2) as writer:
            monkeypatch.setattr(os, call, full)
            writer.add(pair(6, pairs()[0].scores))
            writer.flush()
    assert "run the same command again" in str(caught.value)
    monkeypatch.undo()
    assert shards(tmp_path) == before
    with NpdWriter(tmp_path, SETTINGS, SHAPE, shard_size=2) as writer:
        assert len(writer.done) == 6


def test_settings_that_no_file_can_hold_are_refused(tmp_path):
    with pytest.raises(InputError, match=r"settings: drawn a .* Expected texts, finite numbers"):
        NpdWriter(tmp_path, {**SETTINGS, "drawn": print}, SHAPE)
