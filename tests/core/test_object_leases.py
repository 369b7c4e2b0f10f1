"""Leases in object storage: one holder a unit, dead ones replaced, races with one winner, no clock compared."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import sys
import threading
import time
from collections.abc import Iterator
from typing import Any

import pytest

from noiseprompt.core import machine, s3
from noiseprompt.core.errors import NoisepromptWarning, StoreError
from noiseprompt.core.object_leases import ObjectLeases
from noiseprompt.core.places import Address
from tests.object_server import Bucket


@pytest.fixture(autouse=True)
def always_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "_RECENT", 0.0)


@pytest.fixture
def elsewhere(monkeypatch: pytest.MonkeyPatch) -> None:
    """No process is known to be of this machine, as between machines."""
    monkeypatch.setattr(machine, "identity", lambda: "")


def quick(bucket: Bucket, patience: float = 0.6) -> ObjectLeases:
    return ObjectLeases(s3.S3Store(Address(bucket.folder)), patience=patience, refresh=0.1)


def test_one_holder_a_unit_until_it_is_done(bucket: Bucket) -> None:
    first, second = quick(bucket, 120), quick(bucket, 120)
    lease = first.take("a")
    assert lease is not None and lease.held()
    assert second.take("a") is None and first.take("a") is None
    other = second.take("b")
    assert other is not None
    said = json.loads(bucket.read(".a.lease"))
    assert (said["pid"], said["unit"]) == (os.getpid(), "a") and said["host"]
    assert str(first.holders()["b"]).startswith(f"process {os.getpid()} on ")
    with lease, other:
        pass
    lease.free()
    assert bucket.files(hidden=True) == {} and first.holders() == {}
    again = second.take("a")
    assert again is not None and again.held() and not lease.held()
    lease.free()
    assert again.held()
    again.free()


HOLD = (
    "import sys, time; from noiseprompt.core.stores import store_of\n"
    "lease = store_of(sys.argv[1]).leases().take('a'); print('held', flush=True); time.sleep(60)\n"
)


def test_what_a_killed_process_of_this_machine_held_is_free_at_once(bucket: Bucket) -> None:
    process = subprocess.Popen([sys.executable, "-c", HOLD, bucket.folder], stdout=subprocess.PIPE)
    assert process.stdout is not None and process.stdout.readline() == b"held\n"
    leases = quick(bucket, 120)
    assert leases.take("a") is None and leases.insist("a") is None and not leases.holders()["a"].ended
    process.send_signal(signal.SIGKILL)
    process.wait()
    process.stdout.close()
    assert leases.holders()["a"].ended
    lease = leases.take("a")
    assert lease is not None and lease.held() and quick(bucket, 120).take("a") is None
    lease.free()
    assert bucket.files(hidden=True) == {}


@pytest.mark.parametrize("content", [b"", b"{", b"[]", b'{"machine": "other", "since": "2999-01-01T00:00:00+00:00"}'])
def test_an_abandoned_lease_is_taken_over_after_the_stated_time(bucket: Bucket, content: bytes) -> None:
    """Whatever the clocks of its holder and of the store say."""
    bucket.write(".a.lease", content)
    leases, begun = quick(bucket), time.monotonic()
    assert leases.take("a") is None
    with pytest.warns(NoisepromptWarning, match=r"s3://.* is held by .*waiting up to"):
        lease = leases.insist("a")
    assert lease is not None and time.monotonic() - begun > 0.6
    lease.free()
    assert bucket.files(hidden=True) == {}


@pytest.mark.filterwarnings("ignore::noiseprompt.core.errors.NoisepromptWarning")
def test_a_holder_that_lives_elsewhere_keeps_it_and_one_that_was_suspended_sees_its_loss(
    bucket: Bucket, elsewhere: None
) -> None:
    lease, other = quick(bucket, 5).take("a"), quick(bucket, 5)
    assert lease is not None and other.insist("a") is None  # it was renewed meanwhile
    lease._ended.set()  # as if it were suspended
    other.patience = 0.3
    taken = other.insist("a")
    assert taken is not None and taken.held() and not lease.held()
    before = bucket.read(".a.lease")
    taken._ended.set()
    lease._renew(), lease.free()
    assert json.loads(bucket.read(".a.lease"))["token"] == json.loads(before)["token"] == taken.token
    taken.free()
    assert bucket.files(hidden=True) == {}


@pytest.mark.filterwarnings("ignore::noiseprompt.core.errors.NoisepromptWarning")
@pytest.mark.parametrize("stale", [False, True])
def test_of_many_at_once_one_wins(bucket: Bucket, stale: bool) -> None:
    """Threads stand for processes; each has a view of its own."""
    if stale:
        bucket.write(".a.lease", b'{"machine": "other"}')
    start, won = threading.Barrier(4), []

    def race() -> None:
        leases = quick(bucket, 0.3 if stale else 120)
        leases.refresh = 120
        if stale:
            leases.take("a")
            time.sleep(0.4)
        start.wait()
        lease = leases.take("a")
        if lease is not None:
            won.append(lease)

    threads = [threading.Thread(target=race) for _ in range(4)]
    [thread.start() for thread in threads]
    [thread.join() for thread in threads]
    assert len(won) == 1 and won[0].held()
    won[0].free()
    assert bucket.files(hidden=True) == {}


def test_of_a_lease_that_was_there_a_moment_ago_the_store_is_not_asked(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "_RECENT", 1e6)
    bucket.write(".a.lease", b'{"machine": "other"}')
    leases = quick(bucket, 120)
    assert leases.take("a") is None
    bucket.server.log.clear()
    assert leases.take("a") is None and bucket.server.log == []
    bucket.remove(".a.lease")
    leases.store.names()
    lease = leases.take("a")
    assert lease is not None
    lease.free()


@pytest.fixture
def losing(bucket: Bucket) -> Iterator[list[str]]:
    """Methods whose next request is carried out, and its answer lost."""
    lost: list[str] = []

    def loses(method: str, path: str) -> bool:
        found = method in lost and path.endswith(".lease")
        if found:
            lost.remove(method)
        return found

    bucket.server.loses = loses
    yield lost
    assert lost == []


def test_a_lost_answer_does_not_lock_out_who_asked(bucket: Bucket, losing: list[str]) -> None:
    """The client asks again and is refused, for what it wrote itself."""
    losing.append("PUT")
    lease = quick(bucket, 120).take("a")
    assert lease is not None and lease.held()
    lease._ended.set()
    time.sleep(0.3)
    losing.append("PUT")
    lease._renew()
    lease._renew()
    assert lease.held()
    losing.append("DELETE")
    lease.free()
    assert bucket.files(hidden=True) == {}


def test_an_answer_that_never_comes_is_an_error_and_its_lease_is_free_to_take(
    bucket: Bucket, losing: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(s3, "_ATTEMPTS", 2)
    monkeypatch.setenv("AWS_ANOTHER", "client")
    losing += ["PUT", "PUT"]
    with pytest.raises(StoreError, match=r"cannot use s3://.*ServiceUnavailable.*Nothing committed is lost"):
        quick(bucket, 120).take("a")
    assert list(bucket.files(hidden=True)) == [".a.lease"]
    lease = quick(bucket, 120).take("a")
    assert lease is not None
    lease.free()


def test_a_renewal_that_fails_for_a_while_is_tried_again(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    lease = quick(bucket, 120).take("a")
    assert lease is not None
    stamp = lease._stamp

    def down(*_: Any) -> Any:
        raise StoreError("the network is down")

    with monkeypatch.context() as patch:
        patch.setattr(lease._store, "swap", down)
        time.sleep(0.3)
        assert lease._stamp == stamp
    until = time.monotonic() + 30
    while lease._stamp == stamp and time.monotonic() < until:
        time.sleep(0.05)
    assert lease._stamp != stamp and lease.held()
    lease.free()
