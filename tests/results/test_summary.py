"""The summary on disk: what is written is what is written by hand, and a damaged file is refused."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from noiseprompt.core.config import fingerprint
from noiseprompt.core.errors import InputError, StoreError
from noiseprompt.core.types import EvalResult, Prompt
from noiseprompt.results.summary import Reference, SetFigures, Sets, Summary, read_summary
from noiseprompt.stages.evaluate.evaluate import summarize_run

BY_HAND = """
{
 "baseline": "standard",
 "filter_scorers": ["other"],
 "main_metric": "taste",
 "metrics": ["taste"],
 "kinds": ["k"],
 "prompts": 2,
 "images": 4,
 "refused": {"gone": "It could not."},
 "sets": {"features": "f", "reference": "the pictures in r", "reference_images": 5},
 "methods": {
  "standard": {
   "control": "", "scorer": "", "images": 2, "denoiser_calls": 20.0, "noise_seconds": 0.0, "sample_seconds": 0.5,
   "metrics": {"taste": {"n": 2, "mean": 0.375, "kinds": {"k": {"n": 1, "mean": 0.25}}}},
   "sets": {"images": 2, "fid": 4.0, "precision": 0.5, "recall": 0.25},
   "diversity": {"n": 2, "mean": 2.0, "low": 2.0, "high": 2.0}
  },
  "redenoise:swap": {
   "control": "swap", "scorer": "taste", "images": 2, "denoiser_calls": 23.0, "noise_seconds": 0.25,
   "sample_seconds": 0.5,
   "metrics": {
    "taste": {
     "n": 2, "mean": 0.625, "baseline_mean": 0.375, "gain": {"mean": 0.25, "low": 0.25, "high": 0.25, "n": 2},
     "p": 0.5, "detectable": 0.0,
     "win": {"wins": 2, "losses": 0, "ties": 0, "rate": 1.0, "low": 0.342380, "high": 1.0},
     "kinds": {
      "k": {
       "n": 1, "mean": 0.5, "baseline_mean": 0.25, "gain": {"mean": 0.25, "low": null, "high": null, "n": 1},
       "p": 1.0, "detectable": null,
       "win": {"wins": 1, "losses": 0, "ties": 0, "rate": 1.0, "low": 0.206549, "high": 1.0}
      }
     },
     "p_holm": 1.0
    }
   },
   "sets": {"images": 2, "fid": null, "precision": null, "recall": null},
   "diversity": {
    "n": 2, "mean": 1.5, "baseline_mean": 2.0, "gain": {"mean": -0.5, "low": -0.5, "high": -0.5, "n": 2},
    "p": 0.5, "detectable": 0.0,
    "win": {"wins": 0, "losses": 2, "ties": 0, "rate": 0.0, "low": 0.0, "high": 0.657620},
    "low": 1.5, "high": 1.5, "p_holm": 1.0
   }
  }
 }
}
"""
"""Of two prompts with one seed: each gains 0.25 and loses 0.5 of diversity. Two of four sign flips are as large (p
0.5), doubled by Holm; Wilson's limits of 2 of 2 and 1 of 1 are n / (n + 1.96^2) and 1."""


def _folder(out: Path, monkeypatch: pytest.MonkeyPatch) -> Summary:
    """`summarize_run` of an evaluation whose lines, settings and set figures are written by hand."""
    settings = {"config": {"seed": 0}, "pipeline": {"name": "fake"}}
    judging = {"filter_scorers": ["other"], "features": "f", "reference": "r"}
    methods = {"standard": {}, "redenoise:swap": {"scorer": "taste"}}
    told = {"methods": methods, "refused": {"gone": "It could not."}, "environment": {}}
    data = {"fingerprint": fingerprint(settings), "settings": settings, "judging": judging, **told}
    (out / "settings.json").write_text(json.dumps(data))
    scores = {"standard": (0.25, 0.5), "gone": (0.0, 0.0), "redenoise:swap": (0.5, 0.75)}
    spent = {"standard": (20.0, 0.0, 0.5), "gone": (1.0, 1.0, 1.0), "redenoise:swap": (23.0, 0.25, 0.5)}
    lines = [
        EvalResult(label, Prompt(f"text {i}").id, f"text {i}", ("k", "")[i], 7, {"taste": score}, *spent[label])
        for label, both in scores.items()
        for i, score in enumerate(both)
    ]
    (out / "results.jsonl").write_text("".join(json.dumps(dataclasses.asdict(line)) + "\n" for line in lines))
    figures = {"standard": SetFigures(2, 4.0, 0.5, 0.25), "redenoise:swap": SetFigures(2, None, None, None)}
    spread = {
        label: {Prompt(f"text {i}").id: mean for i in range(2)}
        for label, mean in (("standard", 2.0), ("redenoise:swap", 1.5))
    }
    sets = Sets(Reference("f", "the pictures in r", 5), figures, spread)
    monkeypatch.setattr("noiseprompt.stages.evaluate.evaluate.measure", lambda *_, **__: sets)
    return summarize_run(out)


def test_the_file_is_the_one_written_by_hand(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    summary = _folder(tmp_path, monkeypatch)

    def ordered(text: str) -> object:
        return json.loads(text, object_pairs_hook=list, parse_float=lambda digits: round(float(digits), 6))

    text = (tmp_path / "results.json").read_text()
    assert ordered(text) == ordered(BY_HAND)
    assert text == json.dumps(json.loads(text), indent=1) + "\n"
    assert read_summary(tmp_path) == summary


@pytest.mark.parametrize(
    ("change", "words"),
    [
        (lambda data: data.pop("refused"), "the summary lacks refused"),
        (lambda data: data.update(extra=1), "the summary has extra"),
        (lambda data: data["methods"].update(third=[]), r"methods / third is \[\]"),
        (lambda data: data["methods"]["standard"].update(images="2"), "methods / standard / images is '2'"),
        (lambda data: data["methods"]["redenoise:swap"]["metrics"]["taste"].pop("win"), "taste lacks win"),
        (lambda data: data.update(metrics="taste"), "metrics is 'taste'"),
    ],
)
def test_another_file_is_refused_in_one_line(tmp_path: Path, change, words: str) -> None:
    data = json.loads(BY_HAND)
    change(data)
    (tmp_path / "results.json").write_text(json.dumps(data))
    with pytest.raises(StoreError, match=words):
        read_summary(tmp_path)
    (tmp_path / "results.json").unlink()
    with pytest.raises(InputError, match="to its end"):
        read_summary(tmp_path)
