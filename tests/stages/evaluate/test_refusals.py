"""Methods that refuse this pipeline or these prompts: left out with the reason, and counted nowhere."""

from __future__ import annotations

import json
from pathlib import Path

import pytest

from noiseprompt.core.errors import InputError
from noiseprompt.methods.base import MethodSpec, NoiseMethod
from noiseprompt.methods.table import METHODS as REGISTRY
from noiseprompt.results.lines import read_results
from noiseprompt.results.summarize import summarize
from noiseprompt.stages.evaluate.evaluate import evaluate, summarize_run
from noiseprompt.stages.report.report import report
from tests.evaluation_fakes import FakePipeline, FakeScorer
from tests.evaluation_runs import CONFIG, PROMPTS, run

pytestmark = pytest.mark.filterwarnings("ignore::noiseprompt.noise.guard.NoiseWarning")
"""The fake re-denoise moves noise farther than a real one."""


class _Refuses(NoiseMethod):
    """Works with no pipeline."""

    name = "refuses"

    def prepare(self, pipeline, sampling) -> None:
        raise InputError("a pipeline without cross-attention", "a U-Net pipeline")

    def perturb(self, pipeline, embeds, noise):
        return noise


class _RefusesLater(_Refuses):
    """Finds out at the third batch."""

    name = "refuses-later"

    def __init__(self) -> None:
        self.batches = 0

    def prepare(self, pipeline, sampling) -> None:
        pass

    def perturb(self, pipeline, embeds, noise):
        self.batches += 1
        if self.batches == 3:
            raise InputError("a prompt without a subject", "a noun")
        return noise


@pytest.fixture
def refusing(monkeypatch) -> list[str]:
    monkeypatch.setitem(REGISTRY._entries, "refuses", _Refuses)
    monkeypatch.setitem(REGISTRY._entries, "refuses-later", _RefusesLater)
    return ["standard", "refuses", "redenoise", "refuses-later"]


def _optional(out: Path, methods: list[str], prompts=PROMPTS):
    specs = [MethodSpec.parse(m) for m in methods]
    optional = [m for m in methods if m != "standard"]
    return evaluate(FakePipeline(), prompts, [FakeScorer()], specs, CONFIG, out, optional=optional)  # type: ignore[arg-type]


def test_methods_that_refuse_are_left_out_with_the_reason(tmp_path: Path, refusing: list[str]) -> None:
    steps = list(_optional(tmp_path, refusing))
    assert steps[-1].done == steps[-1].total == 2 * 14
    assert sum(r.method == "refuses-later" for r in read_results(tmp_path)) == 8  # they stay on disk and count nowhere
    summary = json.loads((tmp_path / "results.json").read_text())
    assert list(summary["refused"]) == ["refuses", "refuses-later"]
    assert "without cross-attention" in summary["refused"]["refuses"]
    assert summary["methods"]["redenoise"]["images"] == 14
    assert list(summary["methods"]) == ["standard", "redenoise"]
    words = (tmp_path / "results.md").read_text()
    assert "refuses: left out. " in words and "without a subject" in words
    assert "| refuses-later" not in words
    page = report(tmp_path).read_text().partition("Settings and versions")[0]
    assert "refuses-later: left out. a prompt without a subject" in page
    assert page.count("refuses-later") == 1  # in no table, chart, gallery


def test_what_a_method_drew_before_it_gave_up_changes_no_figure(tmp_path: Path, refusing: list[str]) -> None:
    list(_optional(tmp_path / "with", refusing))
    list(_optional(tmp_path / "without", ["standard", "redenoise"]))
    ours, theirs = (json.loads((tmp_path / n / "results.json").read_text()) for n in ("with", "without"))
    assert (ours["images"], ours["prompts"]) == (theirs["images"], theirs["prompts"]) == (28, 7)
    assert ours["methods"]["redenoise"]["metrics"] == theirs["methods"]["redenoise"]["metrics"]  # one p, as without it
    again = summarize(read_results(tmp_path / "with"), refused=ours["refused"])
    assert again.methods.keys() == {"standard", "redenoise"}


def test_a_method_stays_left_out_until_it_is_asked_for_again(
    tmp_path: Path, refusing: list[str], monkeypatch: pytest.MonkeyPatch
) -> None:
    def left_out() -> tuple[list[str], list[str]]:
        summary = json.loads((tmp_path / "results.json").read_text())
        return list(summary["refused"]), list(summary["methods"])

    list(_optional(tmp_path, refusing))
    list(_optional(tmp_path, ["standard", "redenoise"]))
    assert left_out() == (["refuses", "refuses-later"], ["standard", "redenoise"])
    monkeypatch.setattr(_RefusesLater, "perturb", _Refuses.perturb)  # now it can do it
    steps = list(_optional(tmp_path, ["standard", "refuses-later"]))
    assert [(s.done, s.total) for s in steps] == [(26, 28), (28, 28)]
    assert left_out() == (["refuses"], ["standard", "redenoise", "refuses-later"])


def test_a_run_killed_after_a_refusal_tells_of_it(tmp_path: Path, refusing: list[str]) -> None:
    steps = _optional(tmp_path, refusing)
    refusal = next(step for step in steps if not step.results)
    assert (refusal.method, refusal.done, refusal.total) == ("refuses-later", 4 * 2 * 2 + 2 * 4, 2 * 14)
    steps.close()
    summarize_run(tmp_path)
    summary = json.loads((tmp_path / "results.json").read_text())
    assert list(summary["refused"]) == ["refuses", "refuses-later"]
    assert list(summary["methods"]) == ["standard", "redenoise"]


def test_a_named_method_that_refuses_stops_the_run(tmp_path: Path, refusing: list[str]) -> None:
    with pytest.raises(InputError, match="cross-attention"):
        list(run(tmp_path / "new", methods=refusing[:2]))
    assert not (tmp_path / "new").exists()
    with pytest.raises(InputError, match="subject"):
        list(run(tmp_path / "new", methods=["standard", "refuses-later"]))


def test_an_optional_control_needs_a_second_prompt(tmp_path: Path) -> None:
    list(_optional(tmp_path, ["standard", "redenoise", "redenoise:swap"], PROMPTS[:1]))
    summary = json.loads((tmp_path / "results.json").read_text())
    assert "second prompt" in summary["refused"]["redenoise:swap"]
    assert summary["methods"]["redenoise"]["images"] == 2
