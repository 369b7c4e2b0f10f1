"""A data set in object storage: written and read as on a disk, and never written over by who lost it."""

from __future__ import annotations

import dataclasses
import json
import time
from pathlib import Path

import numpy as np
import pytest

from noiseprompt.core import s3
from noiseprompt.core.errors import ConfigError, InputError, NoisepromptWarning, StoreError, StoreLockedError
from noiseprompt.core.stores import store_of
from noiseprompt.npd import Npd, NpdWriter
from noiseprompt.npd.export import export
from noiseprompt.npd.format import light_shard
from noiseprompt.npd.info import info, write_noise_figures
from noiseprompt.npd.sharing import SharedWriter
from noiseprompt.npd.state import state
from noiseprompt.npd.verify import verify
from tests.npd_fakes import SETTINGS, SHAPE, pair, pairs, shards, write
from tests.object_server import Bucket


@pytest.fixture(autouse=True)
def always_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "_RECENT", 0.0)


def ids() -> list[str]:
    return [one.id for one in pairs()]


@pytest.mark.parametrize("store_source", [False, True])
def test_what_is_written_and_read_is_that_of_a_disk(tmp_path: Path, bucket: Bucket, store_source: bool) -> None:
    local = write(tmp_path / "npd", store_source=store_source)
    write(bucket.folder, store_source=store_source)  # type: ignore[arg-type]
    assert bucket.files() == shards(local) and list(bucket.files(hidden=True)) == [".claim.json"]
    one, other = Npd(local), Npd(bucket.folder)
    assert other.checksum == one.checksum and other.folder == bucket.folder
    chosen = one.select()
    assert np.array_equal(other.targets(chosen), one.targets(chosen))
    assert np.array_equal(other.sources(chosen), one.sources(chosen))
    assert [vars(row)["id"] for row in other] == [row.id for row in one]
    told = info(bucket.folder)
    assert {**told, "folder": ""} == {**info(local), "folder": ""} and told["folder"] == bucket.folder
    assert verify(bucket.folder) == []
    write_noise_figures(bucket.folder), write_noise_figures(local)
    assert bucket.files() == shards(local)
    exported = [tmp_path / "a.parquet", tmp_path / "b.parquet"]
    assert [export(folder, file) for folder, file in zip((local, bucket.folder), exported, strict=True)] == [6, 6]
    assert exported[0].read_bytes() == exported[1].read_bytes()
    with pytest.raises(InputError, match="a path on a file system"):
        export(local, f"{bucket.folder}.parquet")


def test_a_short_shard_is_filled_up_and_a_missing_one_written_again(tmp_path: Path, bucket: Bucket) -> None:
    whole = write(tmp_path / "whole")
    for group in (pairs()[:1], pairs()[1:3], pairs()[3:]):
        with NpdWriter(bucket.folder, SETTINGS, SHAPE, shard_size=4) as writer:
            for item in group:
                writer.add(item)
    assert bucket.files() == shards(whole)
    bucket.remove("shard-000000.arrow")
    assert verify(bucket.folder) == ["shard-000000.arrow is missing"]
    with pytest.warns(NoisepromptWarning, match=r"s3://.* lacks shard-000000\.arrow"):
        assert len(Npd(bucket.folder)) == 2
    with NpdWriter(bucket.folder, SETTINGS, SHAPE, shard_size=4) as writer:
        for item in pairs()[:4]:
            writer.add(item)
    assert bucket.files() == shards(whole)


def test_what_does_not_fit_is_refused_as_on_a_disk(bucket: Bucket) -> None:
    for reader in (Npd, info, verify):
        with pytest.raises(StoreError, match=rf"{bucket.folder} holds no noise prompt data set"):
            reader(bucket.folder)
    with NpdWriter(bucket.folder, SETTINGS, SHAPE), pytest.raises(StoreLockedError, match="one writer a folder"):
        NpdWriter(bucket.folder, SETTINGS, SHAPE)
    write(bucket.folder)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"guidance: 5\.5 there, 3\.0 here"):
        NpdWriter(bucket.folder, {**SETTINGS, "guidance": 3.0}, SHAPE, shard_size=4)


def test_a_changed_byte_is_found(bucket: Bucket) -> None:
    write(bucket.folder)  # type: ignore[arg-type]
    Npd(bucket.folder)  # a copy of before is in the cache
    data = bytearray(bucket.read("shard-000000.arrow"))
    target = (pairs()[1].source + np.float32(0.25)).astype(np.float16).tobytes()
    data[data.index(target) + 3] ^= 1
    bucket.write("shard-000000.arrow", bytes(data))
    assert verify(bucket.folder) == [
        "shard-000000.arrow: its checksum does not match: bytes were changed after writing"
    ]
    with pytest.raises(StoreError, match=rf"checksum of {bucket.folder}/shard-000000\.arrow does not match"):
        Npd(bucket.folder).targets([0])
    bucket.write("shard-000001.arrow", b"no arrow")
    with pytest.raises(StoreError, match=rf"{bucket.folder}/shard-000001\.arrow is damaged"):
        Npd(bucket.folder)


def test_what_is_read_from_the_cache_is_what_the_store_holds_now(bucket: Bucket) -> None:
    with NpdWriter(bucket.folder, SETTINGS, SHAPE, shard_size=4) as writer:
        writer.add(pairs()[0])
    assert len(Npd(bucket.folder)) == 1
    with NpdWriter(bucket.folder, SETTINGS, SHAPE, shard_size=4) as writer:
        writer.add(pairs()[1])
    assert len(Npd(bucket.folder)) == 2


def test_a_collection_at_work_tells_what_it_makes(bucket: Bucket) -> None:
    with SharedWriter(bucket.folder, SETTINGS, SHAPE, ids(), shard_size=1) as writer:
        assert writer.take() == ids()[:1] and writer.take() == ids()[1:2]
        writer.add(pairs()[0])
        now = state(bucket.folder)
        assert (now.committed, [*now.leased], now.missing) == ((0,), [1], (2, 3, 4, 5))
        assert (now.planned, now.writers) == (6, 1)
    assert state(bucket.folder).leased == {} and state(bucket.folder).writers == 0


@pytest.mark.filterwarnings("ignore::noiseprompt.core.errors.NoisepromptWarning")
@pytest.mark.parametrize("known", [True, False])
def test_one_that_was_suspended_drops_what_another_has_made(tmp_path: Path, bucket: Bucket, known: bool) -> None:
    """Also where it does not see that its lease is gone: its commit is refused."""
    slow = SharedWriter(bucket.folder, SETTINGS, SHAPE, ids(), shard_size=4)
    assert slow.take() == ids()[:4]
    for one in pairs()[:3]:
        slow.add(one)
    slow._open[0][2]._ended.set()  # its thread sleeps with it
    if not known:
        slow._open[0][0]._held = None
    with SharedWriter(bucket.folder, SETTINGS, SHAPE, ids(), shard_size=4) as other:
        other._claim.leases.patience = 0.2
        bucket.write(".shard-000000.lease", json.dumps({"machine": "another"}).encode())
        assert other.take() == ids()[4:]
        time.sleep(0.3)
        assert other.take() == ids()[:4]
        for one in pairs():
            other.add(one)
        before = bucket.files()
        assert slow.unsaved == 3
        slow.flush()
        assert not slow.makes(ids()[3]) and slow.added == 0
        slow.add(pairs()[3])
        assert bucket.files() == before and slow.take() == []
    slow.close()
    assert bucket.files() == shards(write(tmp_path / "whole"))


def test_a_lost_answer_to_a_commit_loses_and_doubles_nothing(tmp_path: Path, bucket: Bucket) -> None:
    lost = ["shard-000000.arrow", "shard-000001.arrow"]
    bucket.server.loses = lambda method, path: (
        method == "PUT" and path.rpartition("/")[2] in lost and not lost.remove(path.rpartition("/")[2])
    )
    write(bucket.folder)  # type: ignore[arg-type]
    assert lost == [] and bucket.files() == shards(write(tmp_path))


def test_a_writer_that_had_a_folder_to_itself_and_lost_it_says_so(bucket: Bucket) -> None:
    writer = NpdWriter(bucket.folder, SETTINGS, SHAPE, shard_size=4)
    writer.add(pairs()[0])
    bucket.write("shard-000000.arrow", b"of another")
    with pytest.raises(StoreLockedError, match=r"has written the same shard of s3://"):
        writer.flush()
    writer.close()
    assert bucket.files() == {"shard-000000.arrow": b"of another"}


def test_noises_are_fetched_when_they_are_read(bucket: Bucket) -> None:
    """And who writes beside others, or asks for figures, fetches none."""
    shape = (4, 256, 256)
    noise = np.zeros(shape, np.float32)
    big = [dataclasses.replace(one, source=noise, target=noise) for one in pairs()[:5]]
    with NpdWriter(bucket.folder, SETTINGS, shape, shard_size=4) as writer:
        for one in big[:4]:
            writer.add(one)
    size = len(bucket.read("shard-000000.arrow"))
    bucket.server.sent = 0
    with SharedWriter(bucket.folder, SETTINGS, shape, [one.id for one in big], shard_size=4) as other:
        assert other.take() == [big[4].id]
    npd = Npd(bucket.folder)
    assert info(bucket.folder)["pairs"] == len(npd) == 4 and [*npd.seeds()] == [0, 1, 2, 3]
    assert bucket.server.sent < size < 2**22 and not npd.shards[0].whole
    assert not npd.targets([0]).any() and npd.shards[0].whole
    assert bucket.server.sent > size


def test_a_shard_that_is_written_anew_while_it_is_read_is_not_mixed(bucket: Bucket) -> None:
    with NpdWriter(bucket.folder, SETTINGS, SHAPE, shard_size=4) as writer:
        writer.add(pairs()[0])
    npd, store = Npd(bucket.folder), store_of(bucket.folder)
    store.names()
    with NpdWriter(bucket.folder, SETTINGS, SHAPE, shard_size=4) as writer:
        writer.add(pairs()[1])
    assert len(light_shard(store, 0).rows()) == 2  # as it is now, as a whole
    with pytest.raises(StoreError, match=r"shard-000000\.arrow was written anew\. Expected a data set at rest"):
        npd.targets([0])


def test_only_what_is_new_is_fetched_again(bucket: Bucket) -> None:
    write(bucket.folder)  # type: ignore[arg-type]
    wanted = [*ids(), pair(9, pairs()[0].scores).id]
    with SharedWriter(bucket.folder, SETTINGS, SHAPE, wanted, shard_size=4) as writer:
        bucket.server.log.clear()
        writer.home.refresh(), writer.home.refresh()
        assert not [path for _, path in bucket.server.log if path.endswith(".arrow")]
