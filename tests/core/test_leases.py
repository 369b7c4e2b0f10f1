"""Leases: one holder a unit, dead ones replaced, races with one winner, no clock compared."""

from __future__ import annotations

import errno
import json
import os
import signal
import subprocess
import sys
import threading
import time
from pathlib import Path

import pytest

from noiseprompt.core import disk, machine
from noiseprompt.core import leases as module
from noiseprompt.core.errors import NoisepromptWarning, StoreError
from noiseprompt.core.leases import Leases
from tests.faulty_disk import FAULTS, Killed, faulty


def quick(folder: Path) -> Leases:
    return Leases(folder, patience=0.4, refresh=0.05)


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """No process is known to be of this machine, as between machines."""
    monkeypatch.setattr(machine, "identity", lambda: "")


@pytest.mark.parametrize("links", [True, False])
def test_one_holder_a_unit_until_it_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, links: bool) -> None:
    if not links:  # as on some disks over a network
        monkeypatch.setattr(disk, "link", lambda old, new: os.link(old, tmp_path / "no folder" / "x"))
        monkeypatch.setattr(module, "_NO_LINKS", (errno.ENOENT,))
    first, second = Leases(tmp_path / "new"), Leases(tmp_path / "new")
    lease = first.take("a")
    assert lease is not None and lease.held()
    assert second.take("a") is None and first.take("a") is None
    other = second.take("b")
    assert other is not None
    [file] = tmp_path.glob("new/.a.lease")
    said = json.loads(file.read_text())
    assert (said["pid"], said["unit"]) == (os.getpid(), "a") and said["host"]
    assert str(first.holders()["b"]).startswith(f"process {os.getpid()} on ")
    with lease, other:
        pass
    lease.free()
    assert list((tmp_path / "new").iterdir()) == [] and first.holders() == {}
    again = second.take("a")
    assert again is not None
    again.free()


HOLD = (
    "import sys, time; from pathlib import Path; from noiseprompt.core.leases import Leases\n"
    "lease = Leases(Path(sys.argv[1])).take('a'); print('held', flush=True); time.sleep(60)\n"
)


def test_what_a_killed_process_of_this_machine_held_is_free_at_once(tmp_path: Path) -> None:
    process = subprocess.Popen([sys.executable, "-c", HOLD, str(tmp_path)], stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"held\n"
    leases = Leases(tmp_path)
    assert leases.take("a") is None and leases.insist("a") is None and not leases.holders()["a"].ended
    process.send_signal(signal.SIGKILL)
    time.sleep(0.1)  # dead, and nobody has asked for its status yet
    assert leases.holders()["a"].ended
    lease = leases.take("a")
    assert lease is not None and lease.held()
    process.wait()
    process.stdout.close()
    assert sorted(os.listdir(tmp_path)) == [".a.lease", ".a.lease1"]
    assert Leases(tmp_path).take("a") is None
    lease.free()
    assert os.listdir(tmp_path) == []


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"pid": 1}', b'{"machine": "other", "host": "h", "pid": 1}'])
def test_an_abandoned_lease_is_taken_over_after_the_stated_time(tmp_path: Path, content: bytes) -> None:
    """Whatever the clocks say: its time is an hour ahead."""
    path = tmp_path / ".a.lease"
    path.write_bytes(content)
    os.utime(path, (time.time() + 3600,) * 2)
    leases, begun = quick(tmp_path), time.monotonic()
    assert leases.take("a") is None
    with pytest.warns(NoisepromptWarning, match="waiting up to"):
        lease = leases.insist("a")
    assert lease is not None and time.monotonic() - begun > 0.4
    lease.free()
    assert os.listdir(tmp_path) == []


@pytest.mark.filterwarnings("ignore::noiseprompt.core.errors.NoisepromptWarning")
def test_a_holder_that_lives_elsewhere_keeps_it_and_one_that_was_suspended_sees_its_loss(
    tmp_path: Path, elsewhere: None
) -> None:
    lease, other = quick(tmp_path).take("a"), quick(tmp_path)
    assert lease is not None
    until = time.monotonic() + 1.2
    while time.monotonic() < until:
        assert other.take("a") is None
        time.sleep(0.02)
    assert other.insist("a") is None and lease.held()
    lease._ended.set()  # as if it were suspended
    taken = other.insist("a")
    assert taken is not None and taken.held() and not lease.held()
    lease.free()
    assert taken.held() and quick(tmp_path).take("a") is None
    taken.free()
    assert os.listdir(tmp_path) == []


@pytest.mark.filterwarnings("ignore::noiseprompt.core.errors.NoisepromptWarning")
@pytest.mark.parametrize("stale", [False, True])
def test_of_many_at_once_one_wins(tmp_path: Path, stale: bool) -> None:
    """Threads stand for processes; each has a view of its own."""
    for turn in range(5):
        folder = tmp_path / str(turn)
        folder.mkdir()
        if stale:
            (folder / ".a.lease").write_bytes(b'{"machine": "other"}')
        start, won = threading.Barrier(8), []

        def race(folder=folder, start=start, won=won) -> None:
            leases = Leases(folder, patience=0.1, refresh=0.05)
            start.wait()
            lease = leases.insist("a") if stale else leases.take("a")
            if lease is not None:
                won.append(lease)

        threads = [threading.Thread(target=race) for _ in range(8)]
        [thread.start() for thread in threads]
        [thread.join() for thread in threads]
        assert len(won) == 1 and won[0].held()
        won[0].free()
        assert os.listdir(folder) == []


def test_holders_never_overlap(tmp_path: Path) -> None:
    inside, overlaps, times = [], [], []

    def work() -> None:
        leases = Leases(tmp_path)
        while len(times) < 30:
            lease = leases.take("a")
            if lease is None:
                continue
            inside.append(1)
            overlaps.append(len(inside) != 1)
            times.append(1)
            inside.pop()
            lease.free()

    threads = [threading.Thread(target=work) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert len(times) >= 30 and not any(overlaps)


def test_one_that_is_found_stale_and_then_done_is_not_followed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """Between looking and making the next file, its holder ended well and another began anew."""
    (tmp_path / ".a.lease").write_bytes(b'{"machine": "other"}')
    leases, make = Leases(tmp_path, patience=0.0), module.Lease.make
    assert leases.take("a") is None

    def late(given, unit: str, number: int):
        monkeypatch.setattr(module.Lease, "make", make)
        (tmp_path / ".a.lease").unlink()
        fresh.append(Leases(tmp_path).take("a"))
        return make(given, unit, number)

    fresh: list = []
    monkeypatch.setattr(module.Lease, "make", late)
    assert leases.take("a") is None
    assert fresh[0].held() and sorted(os.listdir(tmp_path)) == [".a.lease"]
    fresh[0].free()


def test_a_folder_that_cannot_be_written_is_one_error(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("x")
    for folder in (tmp_path / "file", tmp_path / "file" / "below"):
        with pytest.raises(StoreError, match="cannot write to"):
            Leases(folder).take("a")


@pytest.mark.parametrize("fault", FAULTS)
def test_whatever_fails_on_the_way_no_lease_is_left_that_lives(tmp_path: Path, fault: str) -> None:
    def work(folder: Path) -> None:
        lease = Leases(folder).take("a")
        assert lease is not None
        lease.free()

    with faulty() as count:
        work(tmp_path / "all")
    for number in range(len(count.seen)):
        folder = tmp_path / str(number)
        with faulty(number, fault), pytest.raises((StoreError, Killed)):
            work(folder)
        work(folder)
        Leases(folder).sweep()
        assert os.listdir(folder) == []


@pytest.mark.parametrize("number", [errno.EMFILE, errno.EACCES])
def test_a_folder_that_cannot_be_looked_into_is_told_and_not_waited_for(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, number: int
) -> None:
    """Too many open files, or no right to list them: nobody can be seen to hold anything."""

    def fails(folder: Path) -> list[str]:
        raise OSError(number, os.strerror(number), str(folder))

    monkeypatch.setattr(os, "listdir", fails)
    for act in (Leases(tmp_path).wait, Leases(tmp_path).fresh, Leases(tmp_path).insist):
        with pytest.raises(StoreError, match=os.strerror(number)):
            act("a")


def test_a_lease_that_cannot_be_read_back_is_not_kept(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def fails(path: Path, *_: object, **__: object) -> object:
        raise OSError(errno.EMFILE, "too many")

    monkeypatch.setattr(Path, "open", fails)
    with pytest.raises(StoreError, match="too many"):
        Leases(tmp_path).take("a")
    assert not list(tmp_path.iterdir())


def test_a_fresh_lease_in_a_folder_that_is_emptied_is_told(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module.Lease, "held", lambda self: False)
    with pytest.raises(StoreError, match="what was written a moment ago is gone"):
        Leases(tmp_path).fresh("a")
