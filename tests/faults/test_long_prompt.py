"""A prompt of 10,000 letters is a prompt like any other: file names, reports, rows and progress."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from noiseprompt.cli import main
from noiseprompt.core.types import Prompt
from noiseprompt.npd import Npd
from noiseprompt.prompts import load_prompts
from noiseprompt.results.lines import read_results
from noiseprompt.scorers.table import SCORERS
from tests import tiny
from tests.evaluation_fakes import FakeScorer

LONG = "a red cube of an " + "re of an " * 1109 + "ä\U0001f600"
"""Of 10,000 characters."""


@pytest.fixture(scope="module")
def model(tmp_path_factory) -> Path:
    return tiny.save(tiny.stable_diffusion(), tmp_path_factory.mktemp("model"))


def test_it_is_read_as_a_text_and_from_a_file(tmp_path) -> None:
    assert len(LONG) == 10_000
    (tmp_path / "prompts.txt").write_text(f"{LONG}\na blue ring\n", encoding="utf-8")
    assert list(load_prompts(tmp_path / "prompts.txt").prompts) == [Prompt(LONG), Prompt("a blue ring")]
    (tmp_path / "prompts.jsonl").write_text(json.dumps(LONG) + "\n", encoding="utf-8")
    assert list(load_prompts(tmp_path / "prompts.jsonl").prompts) == [Prompt(LONG)]


def test_it_is_drawn_by_generate(model, tmp_path, capsys) -> None:
    out = tmp_path / "out"
    drawing = ["--num_inference_steps=2", "--seeds=0", "--methods=standard,redenoise"]
    assert main(["generate", LONG, f"--model={model}", f"--out={out}", *drawing]) == 0
    run = json.loads((out / "run.json").read_text(encoding="utf-8"))
    assert LONG in json.dumps(run, ensure_ascii=False)
    assert len(list(out.glob("*.png"))) == 3  # two pictures and the grid
    assert all(len(file.name) < 100 for file in out.iterdir())
    assert "Traceback" not in capsys.readouterr().err


def test_it_is_collected_and_evaluated(model, tmp_path) -> None:
    prompts, common = tmp_path / "prompts.txt", [f"--model={model}", "--scorers=brightness"]
    prompts.write_text(f"{LONG}\na blue ring\n", encoding="utf-8")
    with pytest.MonkeyPatch.context() as patch:
        patch.setitem(SCORERS._entries, "brightness", FakeScorer)
        pairs = ["--num_inference_steps=2", f"--out={tmp_path / 'npd'}"]
        assert main(["collect", f"--prompts={prompts}", *common, *pairs]) == 0
        assert {prompt.text for prompt in Npd(tmp_path / "npd").prompts()} == {LONG, "a blue ring"}
        drawing = ["--num_inference_steps=2", "--methods=standard,redenoise", f"--out={tmp_path / 'run'}"]
        assert main(["evaluate", f"--prompts={prompts}", *common, *drawing]) == 0
    assert {result.text for result in read_results(tmp_path / "run")} == {LONG, "a blue ring"}
    report = (tmp_path / "run" / "report.html").read_text(encoding="utf-8")
    assert LONG in report and (tmp_path / "run" / "report.md").is_file()
