"""The data set on disk: writing, locking, filters, damage, reading, export."""

from __future__ import annotations

import errno
import os
import re
from pathlib import Path

import numpy as np
import pyarrow as pa
import pyarrow.parquet as pq
import pytest

from noiseprompt.core.errors import ConfigError, InputError, ShapeError, StoreError, StoreLockedError, UnknownNameError
from noiseprompt.noise import initial_noise
from noiseprompt.npd import Npd, NpdWriter, PairFilter
from noiseprompt.npd.export import export
from noiseprompt.npd.format import read_shard, shard_bytes
from noiseprompt.npd.info import filter_rates, info
from noiseprompt.npd.verify import verify
from tests.npd_fakes import SHAPE, pair, shards

SETTINGS = {"scorers": ["a", "b"], "guidance": 5.5}
SCORES = [(0.0, 0.125), (0.5, 0.25), (0.25, 0.25), (0.125, 0.1875), (-1.0, 1.0)]
"""Of scorer a; scorer b judges the other way round, ten times as strongly. Exact in binary."""


def pairs() -> list:
    scored = [pair(i, {"a": (s, t), "b": (10 * t, 10 * s)}) for i, (s, t) in enumerate(SCORES)]
    return [*scored, pair(5, rejected="target noise is not finite")]


def write(folder: Path, shard_size: int = 4, store_source: bool = False) -> Path:
    with NpdWriter(folder, SETTINGS, SHAPE, shard_size=shard_size, store_source=store_source) as writer:
        for item in pairs():
            writer.add(item)
    return folder


@pytest.mark.parametrize("store_source", [False, True])
def test_what_is_written_is_read(tmp_path, store_source):
    npd = Npd(write(tmp_path, store_source=store_source))
    assert len(npd) == 6
    assert npd.latent_shape == SHAPE
    assert sorted(p.name for p in tmp_path.glob("*.arrow")) == ["shard-000000.arrow", "shard-000001.arrow"]
    for i, expected in enumerate(pairs()):
        found = npd[i]
        assert (found.id, found.seed, found.scores, found.rejected) == (
            expected.id,
            expected.seed,
            expected.scores,
            expected.rejected,
        )
        assert (found.prompt.text, found.prompt.kind) == (expected.prompt.text, "kind")
        source = initial_noise(i, SHAPE).numpy()
        assert found.source.dtype == np.float32
        np.testing.assert_array_equal(found.source, source.astype(np.float16) if store_source else source)
        if not expected.rejected:
            np.testing.assert_array_equal(found.target, (source + np.float32(0.25)).astype(np.float16))
    assert [pair.id for pair in npd] == [pair.id for pair in pairs()]
    assert npd[5].target is None
    assert npd[-1].id == npd[5].id
    np.testing.assert_array_equal(npd.seeds(), np.arange(6))
    np.testing.assert_array_equal(npd.scores()["a"], [*SCORES, (np.nan, np.nan)])
    assert [p.text for p in npd.prompts()] == [f"text {i}" for i in range(6)]
    assert not {"source", "target"} & set(npd.table().column_names)


def test_many_targets_in_any_order(tmp_path):
    npd = Npd(write(tmp_path, shard_size=2))
    found = npd.targets([4, 0, 3, 0])
    assert found.dtype == np.float16
    for row, i in zip(found, [4, 0, 3, 0], strict=True):
        np.testing.assert_array_equal(row, (initial_noise(i, SHAPE).numpy() + np.float32(0.25)).astype(np.float16))
    with pytest.raises(InputError, match="rejected"):
        npd.targets([0, 5])
    with pytest.raises(InputError, match="6"):
        npd.targets([6])


def test_sources_are_not_stored_unless_asked(tmp_path):
    small, large = write(tmp_path / "small"), write(tmp_path / "large", store_source=True)
    noise = 2 * np.prod(SHAPE)
    sizes = [sum(len(data) for data in shards(folder).values()) for folder in (small, large)]
    assert sizes[1] - sizes[0] >= 6 * noise


@pytest.mark.parametrize(
    ("margin", "combine", "scorers", "expected"),
    [
        (0.0, "all", (), [0, 1, 2, 3, 4]),
        (0.0, "all", ("a",), [0, 3, 4]),
        (0.0625, "all", ("a",), [0, 4]),  # strictly more than the margin: pair 3 gains exactly 0.0625
        (-0.25, "all", ("a",), [0, 2, 3, 4]),  # pair 1 loses exactly 0.25
        (0.0, "all", ("b",), [1]),
        (0.0, "all", ("a", "b"), []),
        (0.0, "any", ("a", "b"), [0, 1, 3, 4]),
        (0.0, "mean", ("a", "b"), [1]),  # b outweighs a: mean gain of pair 1 is (-0.25 + 2.5) / 2
        (1.125, "mean", ("a", "b"), []),
        (1.12, "mean", ("a", "b"), [1]),
    ],
)
def test_filters_against_hand_computation(tmp_path, margin, combine, scorers, expected):
    assert Npd(write(tmp_path)).select(PairFilter(scorers, margin, combine)).tolist() == expected


def test_bad_filters(tmp_path):
    npd = Npd(write(tmp_path))
    with pytest.raises(UnknownNameError, match="a, b"):
        npd.select(PairFilter(("c",)))
    with pytest.raises(InputError):
        npd.select(PairFilter(("a",), float("nan")))
    with pytest.raises(InputError):
        npd.select(PairFilter(("a",), combine="most"))  # type: ignore[arg-type]


def test_info(tmp_path):
    found = info(write(tmp_path))
    assert (found["pairs"], found["usable"], found["shards"]) == (6, 5, 2)
    assert found["rejected"] == {"target noise is not finite": 1}
    assert found["scores"]["a"]["gain"] == pytest.approx((0.125 - 0.25 + 0 + 0.0625 + 2) / 5)
    rates = found["filter_rates"]
    assert rates["a"] == pytest.approx({0.0: 0.4, 0.005: 0.4, 0.01: 0.4, 0.02: 0.4})
    assert filter_rates(Npd(tmp_path), [0.0625])["a"] == pytest.approx({0.0625: 0.6})
    assert rates["a+b"][0.0] == pytest.approx(1.0)
    assert rates["any of a, b"][0.0] == pytest.approx(0.2)


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


def test_one_flipped_bit_of_a_target_is_found(tmp_path):
    path = write(tmp_path) / "shard-000000.arrow"
    data = bytearray(path.read_bytes())
    at = data.index((initial_noise(2, SHAPE).numpy() + np.float32(0.25)).astype(np.float16).tobytes())
    data[at + 3] ^= 1
    path.write_bytes(data)
    assert verify(tmp_path) == ["shard-000000.arrow: its checksum does not match: bytes were changed after writing"]


def test_verify_names_every_wrong_row(tmp_path):
    write(tmp_path)
    assert verify(tmp_path) == []
    shard = read_shard(tmp_path / "shard-000000.arrow")
    rows = shard.batch.to_pylist()
    rows[0]["source_digest"] = "0" * 16
    rows[1]["target"] = np.full(SHAPE, np.nan, np.float16).tobytes()
    rows[2]["id"] = rows[3]["id"]
    rows[3]["score_target.b"] = None
    data = shard_bytes(rows, shard.batch.schema, shard.settings)
    (tmp_path / "shard-000000.arrow").write_bytes(data)
    problems = "\n".join(verify(tmp_path))
    for expected in ("noise of its seed", "target is not finite", "does not belong", "is in", "score is missing"):
        assert expected in problems
    with pytest.raises(StoreError, match="torch release"):
        Npd(tmp_path)[0]


def test_no_data_set(tmp_path):
    for read in (Npd, info, verify):
        with pytest.raises(StoreError, match="Collect one first"):
            read(tmp_path / "nothing")


def test_newer_version_is_refused(tmp_path, monkeypatch):
    monkeypatch.setattr("noiseprompt.npd.format.SCHEMA_VERSION", 2)
    write(tmp_path)
    monkeypatch.undo()
    with pytest.raises(StoreError, match="version 2"):
        Npd(tmp_path)


def test_parquet_export(tmp_path):
    write(tmp_path / "npd")
    assert export(tmp_path / "npd", tmp_path / "all.parquet") == 6
    table = pq.read_table(tmp_path / "all.parquet")
    npd = Npd(tmp_path / "npd")
    assert table.column("id").to_pylist() == npd.table().column("id").to_pylist()
    target = np.frombuffer(table.column("target")[3].as_py(), np.float16).reshape(SHAPE)
    np.testing.assert_array_equal(target, npd.targets([3])[0])
    assert table.column("target")[5].as_py() is None
    assert b"noiseprompt.settings" in table.schema.metadata
    assert b"noiseprompt.checksum" not in table.schema.metadata
    assert export(tmp_path / "npd", tmp_path / "some.parquet", PairFilter(("a",))) == 3
    assert pq.read_table(tmp_path / "some.parquet").column("seed").to_pylist() == [0, 3, 4]
    assert not list(tmp_path.glob("*.tmp"))


def test_shards_are_plain_arrow_and_hold_no_open_files(tmp_path):
    write(tmp_path, shard_size=1)
    open_files = len(os.listdir("/proc/self/fd")) if os.path.isdir("/proc/self/fd") else 0
    npd = Npd(tmp_path)
    if open_files:
        assert len(os.listdir("/proc/self/fd")) == open_files
    assert npd.targets([4]).shape == (1, *SHAPE)
    with pa.OSFile(str(tmp_path / "shard-000002.arrow")) as file:
        assert pa.ipc.open_file(file).read_all().column("seed").to_pylist() == [2]
