"""`noiseprompt evaluate` as a worker of an engine does it: from plain options, the images of the command itself."""

from __future__ import annotations

import json
from pathlib import Path

from noiseprompt.cli import main
from noiseprompt.cli.evaluating import work
from noiseprompt.cli.sharing import plain
from noiseprompt.pipelines.options import ModelOptions
from noiseprompt.results.lines import read_results
from noiseprompt.stages.evaluate.plan import EvaluateConfig
from noiseprompt.stages.evaluate.shares import summed_up
from tests.evaluation_runs import timeless


def test_a_worker_draws_what_the_command_draws_and_reports_it(tmp_path: Path) -> None:
    drawn = ["--methods=standard,npnet", "--n=3", "--num_inference_steps=2", "--batch_size=2"]
    words = [*drawn, "--report=false", "--features=none"]
    assert main(["evaluate", f"--out={tmp_path / 'command'}", *words]) == 0
    config = EvaluateConfig(num_inference_steps=2, batch_size=2, features="none")
    given = {"out": tmp_path / "worker", "methods": "standard,npnet", "n": 3, "settings": config}
    options = json.loads(json.dumps(plain({**given, "loading": ModelOptions()})))  # as it comes to a worker
    reports = list(work(options, lambda: False))
    assert [report["done"] for report in reports] == [report["made"] for report in reports] == [2, 4, 5, 6]
    assert {report["total"] for report in reports} == {6}
    assert timeless(read_results(tmp_path / "worker")) == timeless(read_results(tmp_path / "command"))
    assert summed_up(tmp_path / "worker")


def test_other_sizes_of_the_world_are_judged_by_what_judges_any(tmp_path: Path) -> None:
    """The preference scorer and the features were trained on its own size; the checker was not trained."""
    words = ["--methods=standard", "--n=2", "--num_inference_steps=1", "--height=64", "--width=80", "--report=false"]
    assert main(["evaluate", f"--out={tmp_path}", *words]) == 0
    assert {name for result in read_results(tmp_path) for name in result.scores} == {"shapes-checker"}
    assert json.loads((tmp_path / "settings.json").read_text())["judging"]["features"] == ""


def test_a_worker_that_is_asked_to_stop_leaves_whole_batches(tmp_path: Path) -> None:
    options = plain({"out": tmp_path, "methods": "standard", "n": 3, "part": "1/2"})
    options |= {"num_inference_steps": 2, "batch_size": 1, "features": "none"}
    assert len(list(work(options, lambda: True))) == 1
    assert len(read_results(tmp_path)) == 1
    rest = list(work(options, lambda: False))
    assert rest[-1]["done"] == rest[-1]["total"] == 2, "of this part, the first and the third"
    assert not summed_up(tmp_path)
