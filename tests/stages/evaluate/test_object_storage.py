"""An evaluation in object storage: what one on a disk leaves, whoever draws it and whatever dies meanwhile."""

from __future__ import annotations

import dataclasses
import json
import os
import signal
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from noiseprompt.core import s3
from noiseprompt.core.errors import ConfigError, NoisepromptError, StoreError, StoreLockedError
from noiseprompt.core.json_lines import of_all
from noiseprompt.core.part import WHOLE, Part
from noiseprompt.core.types import EvalResult
from noiseprompt.methods.base import MethodSpec
from noiseprompt.results.lines import FILE, read_results
from noiseprompt.results.pictures import Pictures
from noiseprompt.scorers.table import FEATURES
from noiseprompt.stages.evaluate import evaluate as module
from noiseprompt.stages.evaluate import shares
from noiseprompt.stages.evaluate.shares import summed_up
from noiseprompt.stages.report.report import report
from tests.evaluation_fakes import FakeChecker, FakePipeline, FakeScorer
from tests.evaluation_runs import CONFIG, METHODS, PROMPTS
from tests.object_server import Bucket
from tests.results.test_sets import CornerFeatures
from tests.stages.collect.test_many_writers import crowd, ended, fork

pytestmark = pytest.mark.filterwarnings("ignore::noiseprompt.noise.guard.NoiseWarning")
MEASURED = dataclasses.replace(CONFIG, features="corner")
FIGURES = "diagnostics.jsonl"


@pytest.fixture(autouse=True)
def soon(monkeypatch: pytest.MonkeyPatch) -> None:
    """Nobody waits long, a clock stands, and a small network of features is known: all is the same bytes."""
    monkeypatch.setattr(s3, "_RECENT", 0.2)
    monkeypatch.setattr(shares, "PAUSE", 0.05)
    monkeypatch.setattr(module, "_now", lambda pipeline: 0.0)
    monkeypatch.setitem(FEATURES._entries, "corner", CornerFeatures)


class Slow(FakePipeline):
    """So that several processes meet."""

    def __init__(self, pause: float) -> None:
        super().__init__()
        self.pause = pause

    def sample(self, embeds: Any, latents: Any, **kwargs: Any) -> Any:
        time.sleep(self.pause)
        return super().sample(embeds, latents, **kwargs)


def begin(out: str | Path, pause: float = 0.0, part: Part = WHOLE, config: Any = MEASURED) -> Iterator[Any]:
    specs = [MethodSpec.parse(name) for name in METHODS]
    judges: Any = [FakeChecker(), FakeScorer()]
    pipeline: Any = Slow(pause)
    return module.evaluate(pipeline, PROMPTS, judges, specs, config, out, part=part)


def run(*given: Any, **how: Any) -> list[Any]:
    return list(begin(*given, **how))


def joined(files: dict[str, bytes]) -> dict[str, Any]:
    """The files of an evaluation, those of a row of lines as one; their order is that of who wrote them."""
    rows = {name for first in (FILE, FIGURES) for name in of_all(files, first)}
    found: dict[str, Any] = {name: data for name, data in files.items() if name not in rows}
    for first in (FILE, FIGURES):
        lines = [line for name in of_all(files, first) for line in files[name].splitlines(keepends=True)]
        found[first] = sorted(line for line in lines if line.endswith(b"\n"))  # a torn one is no line
    found[FIGURES] = sorted({*found[FIGURES]})  # a line that was made twice counts once
    return found


@pytest.fixture(scope="module")
def undisturbed(tmp_path_factory: pytest.TempPathFactory) -> dict[str, Any]:
    """The files of one process on a disk, its report among them."""
    out = tmp_path_factory.mktemp("undisturbed") / "npd"
    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(module, "_now", lambda pipeline: 0.0)
        patch.setitem(FEATURES._entries, "corner", CornerFeatures)
        run(out)
        report(out)
    files = {path.relative_to(out).as_posix(): path.read_bytes() for path in out.rglob("*") if path.is_file()}
    return joined({name: data for name, data in files.items() if not name.startswith(".")})


def check(bucket: Bucket, undisturbed: dict[str, Any]) -> None:
    """No image lost, none twice, nothing left; the report too."""
    report(bucket.folder)
    there = joined(bucket.files())
    assert there.keys() == undisturbed.keys()
    assert [name for name, data in undisturbed.items() if there[name] != data] == []
    assert sorted(bucket.files(hidden=True)) == [".judging.json", ".summed.json"]
    assert summed_up(bucket.folder)


def test_it_leaves_what_one_on_a_disk_does(bucket: Bucket, undisturbed: dict[str, Any]) -> None:
    steps = run(bucket.folder)
    assert (len(steps), steps[-1].done, steps[-1].total) == (16, 56, 56)
    assert {name for name in undisturbed if name.startswith(("images/", "features/"))} > {"features/standard.npz"}
    check(bucket, undisturbed)
    assert str(report(bucket.folder)) == f"{bucket.folder}/report.html"
    assert of_all(bucket.files(), FILE) == [FILE, *(f"results-{number}.jsonl" for number in (2, 3, 4))]
    before = bucket.files()
    bucket.server.log.clear()
    assert run(bucket.folder) == []
    assert not [path for _, path in bucket.server.log if "/images/" in path], "what is there is not asked for again"
    assert bucket.files() == before


def test_a_report_of_it_may_lie_on_a_disk(bucket: Bucket, tmp_path: Path, undisturbed: dict[str, Any]) -> None:
    run(bucket.folder)
    page = report([bucket.folder], tmp_path / "report")
    assert page == tmp_path / "report" / "report.html"
    assert Path(page).read_bytes() == undisturbed["report.html"] and "report.html" not in bucket.files()


@pytest.mark.parametrize(
    ("count", "kills", "seed"),
    [(2, 0, 0), (2, 2, 1), *(pytest.param(3, 5, seed, marks=pytest.mark.slow) for seed in range(2, 8))],
)
def test_any_number_of_processes_and_kills_give_the_same_bytes(
    bucket_apart: Bucket, undisturbed: dict[str, Any], count: int, kills: int, seed: int
) -> None:
    crowd(lambda: run(bucket_apart.folder, 0.02), count, kills, seed, pause=(0.1, 0.8))
    check(bucket_apart, undisturbed)


def test_parts_are_summed_up_by_the_last(bucket_apart: Bucket, undisturbed: dict[str, Any]) -> None:
    run(bucket_apart.folder, part=Part(2, 3))
    assert of_all(bucket_apart.files(), FILE) == ["results-2.jsonl"] and not summed_up(bucket_apart.folder)
    works = [lambda number=number: run(bucket_apart.folder, part=Part(number, 3)) for number in (3, 1)]
    assert [ended(number) for number in [fork(work) for work in works]] == [0, 0]
    check(bucket_apart, undisturbed)


def test_a_part_that_ends_while_another_draws_its_last_batch_is_seen(bucket: Bucket) -> None:
    run(bucket.folder, config=CONFIG)
    others = {name: data for name, data in bucket.files().items() if "-2.jsonl" in name or "-4.jsonl" in name}
    for name in (*bucket.files(), *bucket.files(hidden=True)):
        bucket.remove(name)
    last = begin(bucket.folder, part=Part(1, 2), config=CONFIG)
    for _ in range(5):  # of eight: in the middle of its second batch
        next(last)
    for name, data in others.items():
        bucket.write(name, data)
    assert len(others) == 4 and not summed_up(bucket.folder)
    assert len(list(last)) == 3 and summed_up(bucket.folder)


def test_the_batch_of_a_process_that_was_killed_is_taken_over(
    bucket_apart: Bucket, undisturbed: dict[str, Any]
) -> None:
    number, until = fork(lambda: run(bucket_apart.folder, 0.3)), time.monotonic() + 120
    while FILE not in bucket_apart.files() and time.monotonic() < until:
        time.sleep(0.05)
    os.kill(number, signal.SIGKILL)
    ended(number)
    assert ".batch-000000.lease" in bucket_apart.files(hidden=True)
    whole = bucket_apart.read(FILE)
    run(bucket_apart.folder)
    assert bucket_apart.read(FILE).startswith(whole), "what it had committed stays"
    check(bucket_apart, undisturbed)


def test_other_settings_are_refused(bucket: Bucket) -> None:
    run(bucket.folder)
    before = bucket.files()
    with pytest.raises(ConfigError, match=rf"{bucket.folder} was made with other settings.*guidance_scale"):
        run(bucket.folder, config=dataclasses.replace(MEASURED, guidance_scale=3.0))
    assert bucket.files() == before


def test_of_two_that_begin_at_once_with_other_settings_one_is_refused(bucket: Bucket) -> None:
    """The second writes settings between the first's look and its writing."""
    steps = module.evaluate(
        FakePipeline(), PROMPTS, [FakeScorer()], [MethodSpec.parse("standard")], CONFIG, bucket.folder  # type: ignore[arg-type]
    )  # fmt: skip
    written = []

    def other(method: str, path: str) -> bool:
        if method == "PUT" and path.endswith("/.judging.json") and not written:
            written.append(path)
            bucket.client.put_object(Bucket=bucket.name, Key="runs/npd/settings.json", Body=json.dumps(OTHER).encode())
        return False

    OTHER = {
        "fingerprint": "0" * 12,
        "settings": {"pipeline": {"name": "fake"}, "config": {"seed": 7}},
        "methods": {},
        "environment": {},
    }
    bucket.server.loses = other
    with pytest.raises(ConfigError, match="was made with other settings"):
        next(steps)
    assert written and json.loads(bucket.read("settings.json")) == OTHER


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
def test_a_store_that_refuses_meanwhile_ends_it_and_the_same_command_continues(
    bucket: Bucket, undisturbed: dict[str, Any]
) -> None:
    puts = []

    def forbids(method: str, path: str) -> bool:
        puts.extend([path] * (method == "PUT" and path.endswith(".png")))
        return len(puts) > 20

    bucket.server.forbids = forbids
    with pytest.raises(StoreError, match=rf"no rights on {bucket.folder}/images/.*AccessDenied"):
        run(bucket.folder)
    bucket.server.forbids = lambda method, path: False
    drawn = len(read_results(bucket.folder))
    assert 0 < drawn < 56
    assert sum(len(step.results) for step in run(bucket.folder)) == 56 - drawn
    check(bucket, undisturbed)


@pytest.mark.filterwarnings("error::pytest.PytestUnraisableExceptionWarning")
def test_a_bucket_that_vanishes_ends_it_and_the_same_command_begins_anew(
    bucket: Bucket, undisturbed: dict[str, Any]
) -> None:
    steps = begin(bucket.folder)
    next(steps)
    for name in (*bucket.files(), *bucket.files(hidden=True)):
        bucket.remove(name)
    bucket.client.delete_bucket(Bucket=bucket.name)
    with pytest.raises(NoisepromptError, match=rf"there is no bucket {bucket.name} at http"):
        list(steps)
    bucket.client.create_bucket(Bucket=bucket.name)
    run(bucket.folder)
    check(bucket, undisturbed)


def test_lost_answers_lose_and_double_nothing(bucket: Bucket, undisturbed: dict[str, Any]) -> None:
    lost = [FILE, FIGURES, "results-2.jsonl", "diagnostics-3.jsonl", "settings.json", "results.md"]

    def loses(method: str, path: str) -> bool:
        name = path.rpartition("/")[2]
        return method == "PUT" and name in lost and not lost.remove(name)

    bucket.server.loses = loses
    run(bucket.folder)
    assert lost == []
    check(bucket, undisturbed)


def test_a_folder_that_was_copied_there_in_the_middle_continues(
    bucket: Bucket, tmp_path: Path, undisturbed: dict[str, Any]
) -> None:
    """Its lines lie as processes on a disk wrote them, the last one torn."""
    out = tmp_path / "npd"
    run(out)
    lines = (out / FILE).read_bytes().splitlines(keepends=True)
    figures = (out / FIGURES).read_bytes().splitlines(keepends=True)
    for path in (path for path in out.rglob("*.png")):
        bucket.write(path.relative_to(out).as_posix(), path.read_bytes())
    for name in ("settings.json", ".judging.json"):
        bucket.write(name, (out / name).read_bytes())
    bucket.write(FILE, b"".join(lines[:21]) + lines[21][:-1])  # whole but for its end, in the second batch
    bucket.write(FIGURES, b"".join(figures[:5]) + figures[5][:9])
    run(bucket.folder)
    check(bucket, undisturbed)


def test_a_second_run_of_one_process_is_refused(bucket: Bucket) -> None:
    def steps() -> Any:
        return module.evaluate(
            FakePipeline(), PROMPTS, [FakeScorer()], [MethodSpec.parse("standard")], CONFIG, bucket.folder  # type: ignore[arg-type]
        )  # fmt: skip

    first = steps()
    next(first)
    with pytest.raises(StoreLockedError, match=rf"another run of this process draws into {bucket.folder}"):
        next(steps())
    first.close()
    next(steps())


def test_a_run_that_is_refused_before_it_drew_takes_its_settings_back(bucket: Bucket) -> None:
    class Broken(FakePipeline):
        def encode(self, texts: Any) -> Any:
            raise StoreError("no text", "one")

    with pytest.raises(StoreError, match="no text"):
        list(
            module.evaluate(
                Broken(), PROMPTS, [FakeScorer()], [MethodSpec.parse("standard")], CONFIG, bucket.folder  # type: ignore[arg-type]
            )
        )  # fmt: skip
    assert bucket.files() == {} and bucket.files(hidden=True) == {}


@pytest.mark.parametrize("image", ["../secret.png", "a/../../secret.png", "/secret.png", "a//b.png", "x" * 2000])
def test_lines_of_others_name_no_object_elsewhere(bucket: Bucket, image: str) -> None:
    with pytest.raises(StoreError, match=r"results\.jsonl names the picture .*pictures in s3://.*images alone"):
        Pictures(bucket.folder).file(image)
    line = EvalResult("standard", "a", "a cat", "", 1, {"brightness": 0.5}, 1.0, 0.0, 0.0, image)
    with pytest.raises(StoreError, match="names the picture"):
        Pictures(bucket.folder).size(line.image)
