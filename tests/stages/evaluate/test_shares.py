"""One evaluation by several processes: none of its images lost, none doubled, the figures those of one process."""

from __future__ import annotations

import json
import multiprocessing
import os
import signal
import time
from pathlib import Path

import pytest

from noiseprompt.core.errors import StoreError
from noiseprompt.core.json_lines import files_of_all
from noiseprompt.core.part import WHOLE, Part
from noiseprompt.methods.base import MethodSpec
from noiseprompt.results.books import book_of
from noiseprompt.results.lines import FILE, read_results
from noiseprompt.stages.evaluate.evaluate import evaluate
from noiseprompt.stages.evaluate.shares import summed_up
from tests.evaluation_fakes import FakeChecker, FakePipeline, FakeScorer
from tests.evaluation_runs import CONFIG, METHODS, PROMPTS, run, timeless

pytestmark = [
    pytest.mark.filterwarnings("ignore::noiseprompt.noise.guard.NoiseWarning"),
    pytest.mark.skipif(not hasattr(os, "fork"), reason="processes are forked"),
]
FORK = multiprocessing.get_context("fork")


class Slow(FakePipeline):
    """So that several processes meet."""

    def sample(self, embeds, latents, **kwargs):
        time.sleep(0.02)
        return super().sample(embeds, latents, **kwargs)


def start(out: Path, part: Part = WHOLE) -> multiprocessing.Process:
    def work() -> None:
        specs = [MethodSpec.parse(name) for name in METHODS]
        list(evaluate(Slow(), PROMPTS, [FakeChecker(), FakeScorer()], specs, CONFIG, out, part=part))  # type: ignore[arg-type]

    process = FORK.Process(target=work)
    process.start()
    return process  # type: ignore[return-value]


def ended(*processes: multiprocessing.Process) -> list[int | None]:
    for process in processes:
        process.join(60)
    return [process.exitcode for process in processes]


def rows(out: Path) -> list[Path]:
    """The files of lines."""
    return [Path(str(file)) for file in files_of_all(out, FILE)]


def figures(out: Path) -> dict:
    """The summary without what a clock says."""
    found = json.loads((out / "results.json").read_text())
    for method in found["methods"].values():
        for name in ("noise_seconds", "sample_seconds"):
            method.pop(name)
    return found


def lines(out: Path) -> list:
    return sorted(timeless(read_results(out)), key=lambda r: (r.method, r.prompt_id, r.seed))


@pytest.mark.parametrize("count", [2, 3])
def test_several_processes_give_the_images_and_figures_of_one(whole: Path, tmp_path: Path, count: int) -> None:
    assert ended(*[start(tmp_path) for _ in range(count)]) == [0] * count
    assert lines(tmp_path) == lines(whole)
    assert figures(tmp_path) == figures(whole)
    assert len(rows(tmp_path)) > 1, "they shared the work"
    assert not list(tmp_path.glob(".*.lease*"))


def test_parts_are_summed_up_by_the_last(whole: Path, tmp_path: Path) -> None:
    for number in (2, 1, 3):
        assert not summed_up(tmp_path)
        assert ended(start(tmp_path, Part(number, 3))) == [0]
    assert summed_up(tmp_path)
    assert figures(tmp_path) == figures(whole)


def test_a_killed_process_is_replaced_by_the_others_and_by_a_later_one(whole: Path, tmp_path: Path) -> None:
    others = [start(tmp_path), start(tmp_path)]
    while sum(path.stat().st_size for path in rows(tmp_path)) < 1000:
        time.sleep(0.01)
    os.kill(others[0].pid, signal.SIGKILL)  # type: ignore[arg-type]
    assert ended(*others) == [-signal.SIGKILL, 0]
    assert lines(tmp_path) == lines(whole)
    for path in rows(tmp_path):  # torn in the middle of a line
        with path.open("r+b") as file:
            file.truncate(max(0, path.stat().st_size - 150))
    assert list(run(tmp_path)), "what was torn is drawn again"
    assert lines(tmp_path) == lines(whole)
    assert figures(tmp_path) == figures(whole)


def test_the_same_image_in_two_files_is_named(whole: Path, tmp_path: Path) -> None:
    text = (whole / FILE).read_text().splitlines(keepends=True)
    (tmp_path / FILE).write_text("".join(text[:3]))
    (tmp_path / "results-2.jsonl").write_text(text[2])
    with pytest.raises(StoreError, match=r"line 1 of .*results-2\.jsonl .* line 3 of results\.jsonl"):
        read_results(tmp_path)


def test_a_batch_taken_over_meanwhile_is_not_written(tmp_path: Path) -> None:
    with book_of(tmp_path, [[("a", 1)]]) as book:
        lease = book.take(0)
        assert lease is not None
        with lease:
            assert book.take(0) is None
            (tmp_path / ".batch-000000.lease").write_text("{}")  # another's
            assert not book.add(lease, 0, "standard", [], "")
    assert not (tmp_path / FILE).exists()
