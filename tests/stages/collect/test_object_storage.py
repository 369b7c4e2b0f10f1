"""Several processes that make one data set in object storage, some of them killed: the bytes of one on a disk."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import time
from pathlib import Path

import pytest

from noiseprompt.core import machine, s3
from noiseprompt.core.errors import ConfigError, StoreLockedError
from noiseprompt.core.part import Part
from noiseprompt.npd import Npd
from noiseprompt.npd.verify import verify
from noiseprompt.stages.collect import work as module
from noiseprompt.stages.collect.collect import collect
from noiseprompt.stages.collect.work import CollectProgress
from tests.npd_fakes import CONFIG, PROMPTS, Brightness, FakePipeline, shards
from tests.object_server import Bucket
from tests.stages.collect.test_many_writers import crowd, ended, fork


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAIT_SECONDS", 0.05)
    monkeypatch.setattr(s3, "_RECENT", 0.2)


def run(out: str | Path, pause: float = 0.0, part: Part | None = None) -> list[CollectProgress]:
    return list(collect(FakePipeline(pause=pause), PROMPTS, [Brightness()], CONFIG, out, part=part or Part()))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("undisturbed")
    run(folder)
    return shards(folder)


def check(bucket: Bucket, undisturbed: dict[str, bytes]) -> None:
    """No row lost, none twice, nothing left."""
    assert bucket.files() == undisturbed and verify(bucket.folder) == []
    assert list(bucket.files(hidden=True)) == [".claim.json"]


@pytest.mark.parametrize(
    ("count", "kills", "seed"),
    [(1, 1, 0), (2, 2, 1), *(pytest.param(3, 5, seed, marks=pytest.mark.slow) for seed in range(2, 8))],
)
def test_any_number_of_processes_and_kills_give_the_same_bytes(
    bucket_apart: Bucket, undisturbed: dict[str, bytes], count: int, kills: int, seed: int
) -> None:
    crowd(lambda: run(bucket_apart.folder, 0.02), count, kills, seed, pause=(0.1, 0.8))
    check(bucket_apart, undisturbed)


def test_three_parts_make_their_shards_together(bucket_apart: Bucket, undisturbed: dict[str, bytes]) -> None:
    run(bucket_apart.folder, part=Part(2, 3))
    assert sorted(bucket_apart.files()) == ["shard-000001.arrow", "shard-000004.arrow"]
    works = [lambda number=number: run(bucket_apart.folder, part=Part(number, 3)) for number in (3, 1, 2)]
    assert [ended(number) for number in [fork(work) for work in works]] == [0, 0, 0]
    check(bucket_apart, undisturbed)


def test_the_shard_of_a_process_that_was_killed_is_taken_over(
    bucket_apart: Bucket, undisturbed: dict[str, bytes]
) -> None:
    """At once on the same machine, and no part of its rows is there."""
    number = fork(lambda: run(bucket_apart.folder, 0.5))
    until = time.monotonic() + 120
    while "shard-000001.arrow" not in bucket_apart.files() and time.monotonic() < until:
        time.sleep(0.05)
    os.kill(number, signal.SIGKILL)
    ended(number)
    left = bucket_apart.files(hidden=True)
    assert len(left) >= 2 and bucket_apart.files() != undisturbed
    progress = run(bucket_apart.folder)
    assert progress[0].done in (8, 12) and progress[-1].done == 18
    check(bucket_apart, undisturbed)


@pytest.mark.filterwarnings("ignore::noiseprompt.core.errors.NoisepromptWarning")
def test_what_a_machine_that_is_gone_left_is_made_in_time(
    bucket: Bucket, undisturbed: dict[str, bytes], monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its leases stay, an hour ahead by its clock; nobody can ask whether it lives."""
    from noiseprompt.core import object_leases

    monkeypatch.setattr(object_leases.ObjectLeases.__init__, "__defaults__", (1.0, 0.2))
    there = {"machine": "another", "host": "far", "pid": 7, "since": "2999-01-01T00:00:00+00:00", "token": "0" * 16}
    for unit in ("shard-000002", "writer-00000000", "folder"):
        bucket.write(f".{unit}.lease", json.dumps({**there, "unit": unit}).encode())
    assert machine.identity() != "another"
    run(bucket.folder)
    check(bucket, undisturbed)


def test_two_that_do_not_agree_are_refused_while_one_works(bucket_apart: Bucket) -> None:
    number = fork(lambda: run(bucket_apart.folder, 0.5))
    while not bucket_apart.files():
        time.sleep(0.05)
    try:
        other = dataclasses.replace(CONFIG, guidance_scale=3.0)
        with pytest.raises(ConfigError, match=r"guidance_scale: 2\.0 there, 3\.0 here"):
            list(collect(FakePipeline(), PROMPTS, [Brightness()], other, bucket_apart.folder))
        with pytest.raises(StoreLockedError, match=r"other pairs to s3://.*process \d+ on .*the same command for all"):
            list(collect(FakePipeline(), PROMPTS[:9], [Brightness()], CONFIG, bucket_apart.folder))
    finally:
        os.kill(number, signal.SIGKILL)
        ended(number)
    assert len(Npd(bucket_apart.folder)) >= 4
