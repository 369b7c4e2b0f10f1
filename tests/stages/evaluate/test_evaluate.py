"""An evaluation from the first image to the report: every image once, controls, judges, noise figures."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from noiseprompt.core.config import fingerprint
from noiseprompt.core.errors import NoiseError
from noiseprompt.core.types import EvalResult
from noiseprompt.methods.base import NoiseMethod
from noiseprompt.methods.table import METHODS as REGISTRY
from noiseprompt.noise import figures
from noiseprompt.noise.seeds import batch_noise
from noiseprompt.results.lines import read_results
from noiseprompt.results.names import slug
from noiseprompt.shapes import weights_folder
from noiseprompt.stages.evaluate.evaluate import summarize_run
from noiseprompt.stages.report.report import report
from tests.evaluation_fakes import FakeChecker, FakePipeline, FakeScorer
from tests.evaluation_runs import CONFIG, METHODS, PROMPTS, run, timeless

pytestmark = pytest.mark.filterwarnings("ignore::noiseprompt.noise.guard.NoiseWarning")
"""The fake re-denoise moves noise farther than a real one."""


def test_every_image_is_there_once_and_right(whole: Path) -> None:
    results = read_results(whole)
    keys = {(r.method, r.prompt_id, r.seed) for r in results}
    assert len(keys) == len(results) == 4 * 7 * 2
    for r in results:
        prompt = next(p for p in PROMPTS if p.id == r.prompt_id)
        assert (r.text, r.kind) == (prompt.text, prompt.kind)
        assert r.noise_seconds >= 0
        assert r.sample_seconds > 0
        assert r.denoiser_calls == (23 if r.method in ("redenoise", "redenoise:swap") else 20)
        if r.method == "standard":
            image = np.asarray(Image.open(whole / "images" / r.image))
            noise = batch_noise([r.seed], (4, 8, 8))[0, :3].permute(1, 2, 0).numpy()
            assert np.array_equal(image, np.clip(np.round(noise * 40 + 128), 0, 255).astype(np.uint8))
            assert r.scores["brightness"] == image.mean() / 255


def test_progress_counts_images(tmp_path: Path) -> None:
    steps = list(run(tmp_path))
    assert [len(s.results) for s in steps] == [4] * 12 + [2] * 4
    assert [s.done for s in steps] == list(np.cumsum([len(s.results) for s in steps]))
    assert {s.total for s in steps} == {56}
    assert (tmp_path / "results.md").read_text().count("\n| ") == 5 * (
        4 + 2
    )  # three metrics, the prices and the categories


def test_strength_zero_draws_the_standard_images(whole: Path) -> None:
    by_method = {m: {(r.prompt_id, r.seed): r.scores for r in read_results(whole) if r.method == m} for m in METHODS}
    assert by_method["redenoise:strength=0"] == by_method["standard"]
    assert by_method["redenoise"] != by_method["standard"]
    row = json.loads((whole / "results.json").read_text())["methods"]["redenoise:strength=0"]["metrics"]["brightness"]
    assert row["gain"] == {"mean": 0.0, "low": 0.0, "high": 0.0, "n": 7}
    assert row["p_holm"] == 1.0


def test_a_finished_run_draws_nothing_and_takes_more_methods(whole: Path, tmp_path: Path) -> None:
    list(run(tmp_path, methods=METHODS[:2]))
    pipeline = FakePipeline()
    assert list(run(tmp_path, pipeline, methods=METHODS[:2])) == []
    assert pipeline.sampled == 0
    list(run(tmp_path, pipeline))
    assert pipeline.sampled == 2 * 14
    assert set(json.loads((tmp_path / "settings.json").read_text())["methods"]) == set(METHODS)

    def ordered(folder: Path) -> list[EvalResult]:
        return sorted(timeless(read_results(folder)), key=lambda r: (r.method, r.prompt_id, r.seed))

    assert ordered(tmp_path) == ordered(whole)


def test_a_score_that_is_not_finite_stops_the_run(tmp_path: Path) -> None:
    class Broken(FakeScorer):
        def score(self, images, prompts):
            return np.full(len(images), math.nan)

    with pytest.raises(NoiseError, match="brightness"):
        list(run(tmp_path, scorers=[Broken()]))


@pytest.mark.parametrize(("save", "expected"), [("all", 14), ("none", 0), (3, 6), ("auto", 14)])
def test_save_images(tmp_path: Path, save: str | int, expected: int) -> None:
    list(run(tmp_path, config=dataclasses.replace(CONFIG, save_images=save), methods=["standard"]))
    saved = [r.image for r in read_results(tmp_path) if r.image]
    assert len(saved) == len(set(saved)) == expected == len(list((tmp_path / "images").rglob("*.png")))
    assert all((tmp_path / "images" / name).is_file() for name in saved)


def test_the_control_sees_wrong_prompts_and_draws_the_right_ones(tmp_path: Path) -> None:
    pipeline = FakePipeline()
    list(run(tmp_path, pipeline))
    own, wrong = pipeline.encoded[0::2], pipeline.encoded[1::2]
    assert sum(map(len, own)) == sum(map(len, wrong)) == 14  # once a batch for all methods
    for right, other in zip(own, wrong, strict=True):
        assert all(a != b for a, b in zip(right, other, strict=True))
    used = [texts for texts, _ in pipeline.redenoised]
    assert used == [texts for pair in zip(own, wrong, strict=True) for texts in pair]


def test_a_label_with_an_option_of_before_is_summed_up_and_reported(tmp_path: Path) -> None:
    """Labels on disk are words: `steps` was `num_inference_steps` when the folder was made."""
    label = "redenoise:num_inference_steps=4"
    list(run(tmp_path, methods=["standard", "redenoise:steps=4"]))
    for path in [*tmp_path.glob("*.json"), *tmp_path.glob("*.jsonl")]:
        told = path.read_text().replace("redenoise:steps=4", label)
        path.write_text(told.replace(slug("redenoise:steps=4"), slug(label)))
    if (tmp_path / "images").is_dir():
        (tmp_path / "images" / slug("redenoise:steps=4")).rename(tmp_path / "images" / slug(label))
    assert list(summarize_run(tmp_path).methods) == ["standard", label]
    assert label in report(tmp_path).read_text()
    pipeline = FakePipeline()
    list(run(tmp_path, pipeline, methods=["standard", "redenoise:steps=4"]))  # goes on, under the new name
    assert {r.method for r in read_results(tmp_path)} == {"standard", label, "redenoise:steps=4"}
    assert pipeline.sampled == 14


def test_the_world_by_its_folder_is_measured_as_the_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def measure(out: Path, extractor: str, reference: str, *, world: bool) -> None:
        asked.append((extractor, world))

    asked: list[tuple[str, bool]] = []
    monkeypatch.setattr("noiseprompt.stages.evaluate.evaluate.measure", measure)
    pipeline = FakePipeline()
    pipeline.name = str(weights_folder())
    list(run(tmp_path, pipeline, methods=["standard"]))
    assert asked == [("shapes-features", True)]
    for name in ("settings.json", ".judging.json"):  # a folder of an earlier version: the name alone tells
        told = json.loads((tmp_path / name).read_text())
        del told.get("judging", told)["world"]
        if "settings" in told:
            told["settings"]["pipeline"]["name"] = "shapes"
            told["fingerprint"] = fingerprint(told["settings"])
        (tmp_path / name).write_text(json.dumps(told))
    summarize_run(tmp_path)
    assert asked[1:] == [("shapes-features", True)]


def test_controls_are_marked(tmp_path: Path) -> None:
    list(run(tmp_path, methods=["standard", "redenoise", "redenoise:swap", "redenoise:shuffle"]))
    methods = json.loads((tmp_path / "results.json").read_text())["methods"]
    assert {label: m["control"] for label, m in methods.items()} == {
        "standard": "",
        "redenoise": "",
        "redenoise:swap": "swap",
        "redenoise:shuffle": "shuffle",
    }
    text = (tmp_path / "results.md").read_text()
    assert "| redenoise:shuffle (control) |" in text
    assert "made for another source noise" in text


def test_the_filter_may_be_named_later_without_drawing_again(tmp_path: Path) -> None:
    list(run(tmp_path, methods=METHODS[:2]))
    pipeline = FakePipeline()
    named = dataclasses.replace(CONFIG, filter_scorers=("brightness",))
    assert list(run(tmp_path, pipeline, named, METHODS[:2])) == []
    assert json.loads((tmp_path / "results.json").read_text())["filter_scorers"] == ["brightness"]


@pytest.mark.parametrize("stop", [3, 8])
def test_noise_figures_are_recorded_once_an_image(whole: Path, tmp_path: Path, stop: int) -> None:
    steps = run(tmp_path)
    for _ in range(stop):
        next(steps)
    steps.close()
    lines = (tmp_path / "results.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "results.jsonl").write_bytes(b"".join(lines[:-2]))  # killed within a batch: it is drawn again
    list(run(tmp_path))
    assert figures.read(tmp_path) == figures.read(whole)
    found = figures.read(whole)
    assert {label: f["images"] for label, f in found.items()} == dict.fromkeys(METHODS, 14)
    assert found["standard"]["perturbation"] == found["redenoise:strength=0"]["perturbation"] == [0, 0, 0]
    assert found["redenoise"]["perturbation"][0] > 0


def test_a_scorer_is_no_judge_of_the_method_it_steers(tmp_path: Path, monkeypatch) -> None:
    class Steered(NoiseMethod):
        name = "steered"

        def describe(self) -> dict:
            return {"scorer": "brightness"}

        def perturb(self, pipeline, embeds, noise):
            return noise + 0.3

    monkeypatch.setitem(REGISTRY._entries, "steered", Steered)
    list(run(tmp_path, methods=["standard", "redenoise", "steered"], scorers=[FakeScorer(), FakeChecker()]))
    text = (tmp_path / "results.md").read_text()
    tables = dict(part.split("\n", 1) for part in text.split("### ")[1:])
    assert "| steered (steered by it) |" in tables["brightness"]
    assert "| steered |" in tables["shapes-checker"]
    assert "steered by it) marks" in text
    page = report(tmp_path).read_text()
    assert "Gain over standard: brightness" in page and ">steered (steered by it)<" in page
