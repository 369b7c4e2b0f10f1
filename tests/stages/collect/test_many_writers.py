"""Several processes that make one data set, some of them killed: the files of one that ran undisturbed."""

from __future__ import annotations

import dataclasses
import os
import random
import signal
import time
import traceback
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from noiseprompt.core import leases, machine
from noiseprompt.core.errors import ConfigError, StoreLockedError
from noiseprompt.core.part import Part
from noiseprompt.core.types import Prompt
from noiseprompt.npd import Npd
from noiseprompt.npd.sharing import SharedWriter
from noiseprompt.npd.verify import verify
from noiseprompt.prompts.captions import load_captioned
from noiseprompt.stages.collect import work as module
from noiseprompt.stages.collect.collect import collect, plan
from noiseprompt.stages.collect.pairs import pair_id
from noiseprompt.stages.collect.pictures import collect_pictures
from tests.npd_fakes import CONFIG, PROMPTS, SETTINGS, SHAPE, Brightness, FakePipeline, pair, pairs, shards, write
from tests.picture_fakes import PicturePipeline, config_of, write_folder

TEXTS = [*(p.text for p in PROMPTS), "boom", "nan", "crowd", "nan again"]


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "WAIT_SECONDS", 0.02)
    monkeypatch.setattr(leases, "UNWRITTEN", 0.3)  # kills fall everywhere


def run(out: Path, pause: float = 0.0, **given: Any) -> list:
    prompts = [Prompt(text) for text in TEXTS]
    return list(collect(FakePipeline(pause=pause), prompts, [Brightness()], CONFIG, out, **given))


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, bytes]:
    folder = tmp_path_factory.mktemp("undisturbed")
    run(folder)
    return shards(folder)


def fork(work: Callable[[], object]) -> int:
    """A process that does some work and ends; its number."""
    number = os.fork()
    if number:
        return number
    try:
        work()
        os._exit(0)
    except BaseException:
        traceback.print_exc()
    finally:
        os._exit(1)


def ended(number: int) -> int:
    return os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])


def crowd(
    work: Callable[[], object], count: int, kills: int, seed: int, pause: tuple[float, float] = (0.02, 0.12)
) -> None:
    """So many processes at a time; some are killed, each after a random time, and others begin in their place.

    Args:
        pause: shortest and longest time before a kill, in seconds.
    """
    times = random.Random(seed)
    working = [fork(work) for _ in range(count)]
    for _ in range(kills):
        time.sleep(times.uniform(*pause))
        victim = times.randrange(count)
        os.kill(working[victim], signal.SIGKILL)
        ended(working[victim])
        working[victim] = fork(work)
    assert [ended(number) for number in working] == [0] * count


@pytest.mark.parametrize(("count", "kills", "seed"), [(1, 3, 0), (2, 0, 0), (2, 4, 1), (3, 5, 2), (3, 5, 3)])
def test_any_number_of_processes_and_kills_give_the_same_bytes(
    tmp_path: Path, undisturbed: dict[str, bytes], count: int, kills: int, seed: int
) -> None:
    crowd(lambda: run(tmp_path, 0.02, apart=seed % 2 == 1), count, kills, seed)
    assert shards(tmp_path) == undisturbed and verify(tmp_path) == []
    hidden = [path.name for path in tmp_path.iterdir() if path.name.startswith(".")]
    assert hidden == [".claim.json"]


def test_pictures_are_shared_alike(tmp_path: Path) -> None:
    folder = write_folder(tmp_path / "folder")

    def work(out: Path, pause: float) -> None:
        list(collect_pictures(PicturePipeline(pause), load_captioned(folder), [], config_of(folder), out))

    work(tmp_path / "one", 0.0)
    crowd(lambda: work(tmp_path / "three", 0.02), 3, 3, 0)
    assert shards(tmp_path / "three") == shards(tmp_path / "one")


@pytest.mark.parametrize("together", [True, False])
def test_parts_make_their_shards_alone_and_all_together(
    tmp_path: Path, undisturbed: dict[str, bytes], together: bool
) -> None:
    run(tmp_path / "one", part=Part(2, 3))
    assert sorted(shards(tmp_path / "one")) == ["shard-000001.arrow", "shard-000004.arrow"]
    assert run(tmp_path / "one", part=Part(2, 3))[-1].done == 8
    works = [lambda number=number: run(tmp_path / "all", part=Part(number, 3)) for number in (3, 1, 2)]
    if together:
        assert [ended(number) for number in [fork(work) for work in works]] == [0, 0, 0]
    else:
        for work in works:
            work()
    assert shards(tmp_path / "all") == undisturbed
    assert run(tmp_path / "few", part=Part(9, 9))[-1].total == 0  # more parts than shards


def test_progress_counts_what_others_made(tmp_path: Path) -> None:
    run(tmp_path, part=Part(1, 2))
    progress = run(tmp_path)
    assert (progress[0].done, progress[0].total, progress[0].made) == (12, 22, 0)
    assert (progress[-1].done, progress[-1].made, progress[-1].unsaved) == (22, 10, 0)
    assert [p.unsaved for p in progress[:4]] == [0, 3, 0, 3]


@pytest.fixture
def working(tmp_path: Path) -> Iterator[Path]:
    """A folder in which a process is at work."""
    number = fork(lambda: run(tmp_path, 0.3))
    while not list(tmp_path.glob("*.arrow")):
        time.sleep(0.01)
    yield tmp_path
    os.kill(number, signal.SIGKILL)
    ended(number)


def test_two_that_do_not_agree_are_refused_while_one_works(working: Path) -> None:
    prompts = [Prompt(text) for text in TEXTS]
    other = dataclasses.replace(CONFIG, guidance_scale=3.0)
    with pytest.raises(ConfigError, match=r"guidance_scale: 2\.0 there, 3\.0 here"):
        list(collect(FakePipeline(), prompts, [Brightness()], other, working))
    with pytest.raises(StoreLockedError, match=r"other pairs to .*process \d+ on .*the same command for all"):
        list(collect(FakePipeline(), prompts[:9], [Brightness()], CONFIG, working))


def test_two_that_begin_at_once_with_other_settings_do_not_mix(tmp_path: Path) -> None:
    prompts = [Prompt(text) for text in TEXTS]

    def work(guidance: float) -> None:
        config = dataclasses.replace(CONFIG, guidance_scale=guidance)
        try:
            list(collect(FakePipeline(pause=0.02), prompts, [Brightness()], config, tmp_path))
        except ConfigError:
            os._exit(3)

    for turn in range(3):
        statuses = [ended(number) for number in [fork(lambda g=g: work(g)) for g in (1.5, 2.5)]]
        assert sorted(statuses) == ([0, 3]), turn
        assert len(Npd(tmp_path)) == 22
        [path.unlink() for path in tmp_path.glob("*.arrow")]


# -------------------------------------------------------------------------------------------------- one writer of many


def ids() -> list[str]:
    return [one.id for one in pairs()]


def test_what_a_machine_that_is_gone_left_is_made_in_time(tmp_path: Path) -> None:
    """Its leases stay; nobody can ask whether it lives, and no clock is compared."""
    with SharedWriter(tmp_path, SETTINGS, SHAPE, ids(), shard_size=4) as gone:
        assert gone.take() == ids()[:4]
        for pair_ in pairs()[:2]:
            gone.add(pair_)
        gone.flush()
        left = {path.name: path.read_bytes() for path in tmp_path.glob(".*.lease")}
    for name, data in left.items():
        (tmp_path / name).write_bytes(data.replace(machine.identity().encode(), b"another machine"))
    with SharedWriter(tmp_path, SETTINGS, SHAPE, ids(), shard_size=4) as writer:
        writer._claim.leases.patience = 0.3
        assert writer.take() == ids()[4:]  # the first is somebody's, for all one knows
        for pair_ in pairs()[4:]:
            writer.add(pair_)
        assert writer.take() == [] and writer.lacking() == 2
        time.sleep(0.4)
        assert writer.take() == ids()[2:4]
        for pair_ in pairs()[2:4]:
            writer.add(pair_)
    assert shards(tmp_path) == shards(write(tmp_path / "whole"))


def test_one_that_was_suspended_drops_what_another_has_made(tmp_path: Path) -> None:
    slow = SharedWriter(tmp_path, SETTINGS, SHAPE, ids(), shard_size=4)
    assert slow.take() == ids()[:4]
    for pair_ in pairs()[:3]:
        slow.add(pair_)
    lease = slow._open[0][2]
    lease._ended.set()  # its thread sleeps with it
    with SharedWriter(tmp_path, SETTINGS, SHAPE, ids(), shard_size=4) as other:
        other._claim.leases.patience = 0.2
        (tmp_path / ".shard-000000.lease").write_bytes(b'{"machine": "another"}')
        other.take(), time.sleep(0.3)
        assert other.take() == ids()[:4]
        for pair_ in pairs()[:4]:
            other.add(pair_)
        before = shards(tmp_path)
        assert slow.unsaved == 3
        slow.flush()
        assert not slow.makes(ids()[3]) and slow.added == 0
        slow.add(pairs()[3])
        assert shards(tmp_path) == before and slow.take() == []
    slow.close()


def test_pairs_in_another_order_fill_what_there_is_room_for(tmp_path: Path) -> None:
    """A list of prompts that was changed: what is there stays, whoever makes the rest."""
    given = [pair(i, pairs()[0].scores) for i in range(11)]
    with SharedWriter(tmp_path, SETTINGS, SHAPE, [one.id for one in given[5:10]], shard_size=4) as writer:
        while todo := writer.take():
            [writer.add(one) for one in given if one.id in todo]
    wanted = [one.id for one in given]
    with (
        SharedWriter(tmp_path, SETTINGS, SHAPE, wanted, shard_size=4) as one,
        SharedWriter(tmp_path, SETTINGS, SHAPE, wanted, shard_size=4) as two,
    ):
        first, second = one.take(), two.take()
        assert (first, second) == ([given[i].id for i in (0, 1, 2)], [given[i].id for i in (3, 4, 10)])
        for writer, todo in ((two, second), (one, first)):
            [writer.add(one) for one in given if one.id in todo]
        assert one.take() == two.take() == []
    assert verify(tmp_path) == [] and len(Npd(tmp_path)) == 11


def test_the_plan_of_more_prompts_begins_with_that_of_fewer() -> None:
    """What lets any process grow a folder: shard k holds the same pairs whatever --n is."""
    for n in (1, 7, 18):
        config = dataclasses.replace(CONFIG, seeds_per_prompt=3)
        some, every = plan(PROMPTS[:n], config), plan(PROMPTS, config)
        assert [pair_id(item) for item in some] == [pair_id(item) for item in every[: len(some)]]
