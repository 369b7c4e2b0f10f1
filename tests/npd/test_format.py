"""Shards on disk: damaged, foreign, of another version, and readable by plain pyarrow."""

from __future__ import annotations

import os

import pyarrow as pa
import pytest

from noiseprompt.core.errors import StoreError
from noiseprompt.npd import Npd, NpdWriter
from noiseprompt.npd import format as npd_format
from noiseprompt.npd.verify import verify
from tests.npd_fakes import SETTINGS, SHAPE, write


def test_truncated_shard(tmp_path):
    path = write(tmp_path) / "shard-000001.arrow"
    path.write_bytes(path.read_bytes()[:-200])
    with pytest.raises(StoreError, match="damaged"):
        Npd(tmp_path)
    with pytest.raises(StoreError, match="delete this file"):
        NpdWriter(tmp_path, SETTINGS, SHAPE, shard_size=4)
    problems = verify(tmp_path)
    assert len(problems) == 1
    assert "shard-000001.arrow is damaged" in problems[0]


@pytest.mark.parametrize("garbage", [b"", b"ARROW1", b"not arrow at all" * 100])
def test_foreign_bytes(tmp_path, garbage):
    (write(tmp_path) / "shard-000000.arrow").write_bytes(garbage)
    with pytest.raises(StoreError):
        Npd(tmp_path)
    assert len(verify(tmp_path)) == 1


def test_newer_version_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr(npd_format, "SCHEMA_VERSION", 2)
    write(tmp_path)
    monkeypatch.undo()
    with pytest.raises(StoreError, match="version 2"):
        Npd(tmp_path)


def test_shards_are_plain_arrow_and_hold_no_open_files(tmp_path):
    write(tmp_path, shard_size=1)
    open_files = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    npd = Npd(tmp_path)
    if open_files:
        assert len(os.listdir("/proc/self/fd")) == open_files
    assert npd.targets([4]).shape == (1, *SHAPE)
    with pa.OSFile(str(tmp_path / "shard-000002.arrow")) as file:
        assert pa.ipc.open_file(file).read_all().column("seed").to_pylist() == [2]
