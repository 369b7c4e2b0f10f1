"""The lines of an evaluation in object storage: what a process that lost its batch may do, and what is read."""

from __future__ import annotations

import json
import time

import pytest

from noiseprompt.core import s3
from noiseprompt.core.errors import StoreError
from noiseprompt.core.types import EvalResult
from noiseprompt.noise import figures
from noiseprompt.results.book import line_of
from noiseprompt.results.books import book_of
from noiseprompt.results.lines import read_results
from tests.object_server import Bucket

BATCHES = [[("a", 1), ("b", 1)], [("c", 1)]]
FIGURES = {"perturbation": [0.5], "std": [1.0], "neighbour": [0.0], "spectrum": [1.0] * 8}
FAR = json.dumps({"machine": "another", "host": "far", "pid": 7, "since": "2999", "token": "0" * 16}).encode()


@pytest.fixture(autouse=True)
def always_asked(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(s3, "_RECENT", 0.0)


def results(batch: int, score: float = 0.5, method: str = "standard") -> list[EvalResult]:
    return [EvalResult(method, name, "", "", seed, {"s": score}, 1.0, 0.0, 0.0) for name, seed in BATCHES[batch]]


def told(batch: int, method: str = "standard") -> str:
    return figures.record(method, batch, FIGURES)


@pytest.mark.filterwarnings("ignore::noiseprompt.core.errors.NoisepromptWarning")
@pytest.mark.parametrize("known", [True, False])
def test_one_that_was_suspended_commits_nothing_that_another_has_drawn(bucket: Bucket, known: bool) -> None:
    """Also where it does not see that its lease is gone: its commit is refused."""
    with book_of(bucket.folder, BATCHES) as slow:
        lease = slow.take(0)
        assert lease is not None and slow.add(lease, 0, "standard", results(0), told(0))
        lease._ended.set()  # its thread sleeps with it
        bucket.write(".batch-000000.lease", FAR)
        with book_of(bucket.folder, BATCHES) as other:
            other._leases.patience = 0.2
            assert other.take(0) is None
            time.sleep(0.3)
            taken = other.take(0)
            assert taken is not None and other.missing(0, ["standard", "npnet"]) == ["npnet"]
            assert other.add(taken, 0, "npnet", results(0, 0.7, "npnet"), told(0, "npnet"))
            taken.free()
        before = bucket.files()
        if not known:
            lease.held = lambda: True  # type: ignore[method-assign]
        assert not slow.add(lease, 0, "npnet", results(0, 0.9, "npnet"), told(0, "npnet"))
        assert bucket.files()["results.jsonl"] == before["results.jsonl"]
    assert read_results(bucket.folder) == [*results(0), *results(0, 0.7, "npnet")]
    assert figures.read(bucket.folder)["npnet"]["images"] == 1, "of lines made twice the last counts"


def test_two_processes_see_what_each_other_drew(bucket: Bucket) -> None:
    with book_of(bucket.folder, BATCHES) as one:
        lease = one.take(1)
        assert lease is not None and one.add(lease, 1, "standard", results(1), told(1))
        lease.free()
        with book_of(bucket.folder, BATCHES) as other:
            assert other.count(1, "standard") == 1 and other.missing(0, ["standard"]) == ["standard"]
            lease = other.take(0)
            assert lease is not None and one.take(0) is None
            assert other.add(lease, 0, "standard", results(0), told(0))
            lease.free()
        one.refresh()
        assert one.missing(0, ["standard"]) == []
    assert sorted(bucket.files()) == [
        "diagnostics-2.jsonl", "diagnostics.jsonl", "results-2.jsonl", "results.jsonl"
    ]  # fmt: skip
    assert not bucket.files(hidden=True)


def test_a_batch_of_which_a_part_was_copied_there_is_drawn_again(bucket: Bucket) -> None:
    text = "".join(map(line_of, [*results(1), results(0)[0]]))
    bucket.write("results-5.jsonl", text.encode())
    with book_of(bucket.folder, BATCHES) as book:
        assert book.count(0, "standard") == 1
        lease = book.take(0)
        assert lease is not None and book.count(0, "standard") == 0
        assert book.add(lease, 0, "standard", results(0, 0.9), told(0))
        lease.free()
    assert read_results(bucket.folder) == [*results(0, 0.9), *results(1)]


def test_what_is_wrong_in_a_line_is_told_with_its_address(bucket: Bucket) -> None:
    lines = [line_of(result) for result in results(0)]
    bucket.write("results.jsonl", "".join([lines[0], "{oops\n", lines[1]]).encode())
    with pytest.raises(StoreError, match=rf"line 2 of {bucket.folder}/results\.jsonl is damaged"):
        read_results(bucket.folder)
    with pytest.raises(StoreError, match=rf"line 2 of {bucket.folder}/results\.jsonl is damaged"):
        book_of(bucket.folder, BATCHES).refresh()
    bucket.write("results.jsonl", "".join(lines).encode())
    bucket.write("results-3.jsonl", lines[1].encode())
    with pytest.raises(StoreError, match=r"line 1 of .*results-3\.jsonl .* line 2 of results\.jsonl"):
        read_results(bucket.folder)
    with pytest.raises(StoreError, match=rf"{bucket.folder}/results\.jsonl holds prompt b with seed 1"):
        book_of(bucket.folder, [[("a", 1)]]).refresh()
