"""Resuming, pairing, the control, refusals, and the figures of results written by hand."""

from __future__ import annotations

import dataclasses
import json
import math
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from noiseprompt.core.errors import ConfigError, InputError, NoiseError, StoreError, StoreLockedError
from noiseprompt.core.types import EvalResult, Prompt
from noiseprompt.methods.base import MethodSpec, NoiseMethod
from noiseprompt.methods.table import METHODS as REGISTRY
from noiseprompt.noise import figures
from noiseprompt.noise.seeds import batch_noise, prompt_seed
from noiseprompt.prompts.load import wrong_prompt
from noiseprompt.results.folder import read_results
from noiseprompt.results.names import slug
from noiseprompt.results.summarize import summarize
from noiseprompt.shapes import weights_folder
from noiseprompt.stages.evaluate.evaluate import evaluate, summarize_run
from noiseprompt.stages.evaluate.plan import EvaluateConfig, all_methods, seeds_of
from noiseprompt.stages.report.report import report
from tests.evaluation_fakes import FakeChecker, FakePipeline, FakeScorer

pytestmark = pytest.mark.filterwarnings("ignore::noiseprompt.noise.guard.NoiseWarning")
"""The fake re-denoise moves noise farther than a real one."""

PROMPTS = [Prompt(f"a thing numbered {i}", kind="odd" if i % 2 else "even") for i in range(7)]
METHODS = ("standard", "redenoise", "redenoise:swap", "redenoise:strength=0")
CONFIG = EvaluateConfig(num_seeds=2, batch_size=4)


def _run(
    out: Path, pipeline: FakePipeline | None = None, config=CONFIG, methods=METHODS, prompts=PROMPTS, scorers=None
):
    specs = [MethodSpec.parse(m) for m in methods]
    return evaluate(pipeline or FakePipeline(), prompts, scorers or [FakeChecker(), FakeScorer()], specs, config, out)  # type: ignore[arg-type]


def _timeless(results: list[EvalResult]) -> list[EvalResult]:
    return [dataclasses.replace(r, noise_seconds=0.0, sample_seconds=0.0) for r in results]


@pytest.fixture(scope="module")
def whole(tmp_path_factory) -> Path:
    """An uninterrupted run."""
    out = tmp_path_factory.mktemp("whole")
    list(_run(out))
    return out


# ------------------------------------------------------------------------------------------------------------- running


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
    steps = list(_run(tmp_path))
    assert [len(s.results) for s in steps] == [4] * 12 + [2] * 4
    assert [s.done for s in steps] == list(np.cumsum([len(s.results) for s in steps]))
    assert {s.total for s in steps} == {56}
    assert (tmp_path / "results.md").read_text().count("\n| ") == 4 * (4 + 2)  # three metrics and the categories


def test_strength_zero_draws_the_standard_images(whole: Path) -> None:
    by_method = {m: {(r.prompt_id, r.seed): r.scores for r in read_results(whole) if r.method == m} for m in METHODS}
    assert by_method["redenoise:strength=0"] == by_method["standard"]
    assert by_method["redenoise"] != by_method["standard"]
    row = json.loads((whole / "results.json").read_text())["methods"]["redenoise:strength=0"]["metrics"]["brightness"]
    assert row["gain"] == {"mean": 0.0, "low": 0.0, "high": 0.0, "n": 7}
    assert row["p_holm"] == 1.0


@pytest.mark.parametrize("stop", [0, 1, 5, 9, 15])
def test_stopped_between_batches_ends_the_same(whole: Path, tmp_path: Path, stop: int) -> None:
    steps = _run(tmp_path)
    for _ in range(stop):
        next(steps)
    steps.close()
    pipeline = FakePipeline()
    rest = list(_run(tmp_path, pipeline))
    assert len(rest) == 16 - stop
    assert pipeline.sampled == sum(len(s.results) for s in rest)
    assert _timeless(read_results(tmp_path)) == _timeless(read_results(whole))
    assert (tmp_path / "results.json").exists()


@pytest.mark.parametrize("keep", [0.0, 0.13, 0.5, 0.77, 0.999])
def test_killed_while_writing_ends_the_same(whole: Path, tmp_path: Path, keep: float) -> None:
    data = (whole / "results.jsonl").read_bytes()
    (tmp_path / "settings.json").write_bytes((whole / "settings.json").read_bytes())
    (tmp_path / "results.jsonl").write_bytes(data[: int(len(data) * keep)])
    list(_run(tmp_path))
    assert _timeless(read_results(tmp_path)) == _timeless(read_results(whole))
    assert len((tmp_path / "results.jsonl").read_text().splitlines()) == 56


def test_a_last_line_that_lacks_only_its_newline_is_mended(whole: Path, tmp_path: Path) -> None:
    data = (whole / "results.jsonl").read_bytes()
    (tmp_path / "settings.json").write_bytes((whole / "settings.json").read_bytes())
    lines = data.splitlines(keepends=True)
    (tmp_path / "results.jsonl").write_bytes(b"".join(lines[:8])[:-1])
    list(_run(tmp_path))
    assert _timeless(read_results(tmp_path)) == _timeless(read_results(whole))


def test_a_finished_run_draws_nothing_and_takes_more_methods(whole: Path, tmp_path: Path) -> None:
    list(_run(tmp_path, methods=METHODS[:2]))
    pipeline = FakePipeline()
    assert list(_run(tmp_path, pipeline, methods=METHODS[:2])) == []
    assert pipeline.sampled == 0
    list(_run(tmp_path, pipeline))
    assert pipeline.sampled == 2 * 14
    assert set(json.loads((tmp_path / "settings.json").read_text())["methods"]) == set(METHODS)

    def ordered(folder: Path) -> list[EvalResult]:
        return sorted(_timeless(read_results(folder)), key=lambda r: (r.method, r.prompt_id, r.seed))

    assert ordered(tmp_path) == ordered(whole)


def test_other_settings_are_refused_with_both_fingerprints(whole: Path) -> None:
    old = json.loads((whole / "settings.json").read_text())["fingerprint"]
    with pytest.raises(ConfigError, match=f"{old} there.*here.*guidance_scale") as error:
        list(_run(whole, config=dataclasses.replace(CONFIG, guidance_scale=3.0)))
    assert "new folder" in str(error.value)
    with pytest.raises(ConfigError, match="prompts"):
        list(_run(whole, prompts=PROMPTS[:-1]))
    pipeline = FakePipeline()
    pipeline.denoiser.bias.data.add_(1)
    with pytest.raises(ConfigError, match="denoiser"):
        list(_run(whole, pipeline))
    assert (
        list(_run(whole, config=dataclasses.replace(CONFIG, guidance_scale=2.0))) == []
    )  # the family's default, written out


def test_the_same_model_in_another_place_continues_and_no_path_is_published(tmp_path: Path) -> None:
    pipeline, moved = FakePipeline(), FakePipeline()
    pipeline.name, moved.name = str(tmp_path / "a" / "model"), "/elsewhere/model"
    (tmp_path / "a" / "model").mkdir(parents=True)
    out = tmp_path / "out"
    list(_run(out, pipeline))
    before = (out / "settings.json").read_text()
    assert list(_run(out, moved)) == []
    assert (out / "settings.json").read_text() == before
    report(out)
    for name in ("settings.json", "results.json", "results.md", "report.html", "report.md"):
        assert str(tmp_path) not in (out / name).read_text(), name
        assert tmp_path.name not in (out / name).read_text(), name
    moved.name = "/elsewhere/other"
    with pytest.raises(ConfigError, match=r"pipeline: .*'model'.* there, .*'other'"):
        list(_run(out, moved))


@pytest.mark.parametrize("recorded", ["/long/ago/model", "runs/model", "owner/model"])
def test_a_folder_that_names_the_models_path_continues(whole: Path, tmp_path: Path, recorded: str) -> None:
    old = json.loads((whole / "settings.json").read_text())
    old["settings"]["pipeline"]["name"] = recorded
    (tmp_path / "settings.json").write_text(json.dumps(old))
    (tmp_path / "results.jsonl").write_bytes((whole / "results.jsonl").read_bytes())
    pipeline = FakePipeline()
    pipeline.name = "/now/model"
    assert list(_run(tmp_path, pipeline)) == []
    assert json.loads((tmp_path / "settings.json").read_text())["settings"]["pipeline"]["name"] == "model"


def test_a_second_writer_is_refused(tmp_path: Path) -> None:
    steps = _run(tmp_path)
    next(steps)
    with pytest.raises(StoreLockedError, match="another process"):
        next(_run(tmp_path))
    steps.close()
    next(_run(tmp_path))


def test_damage_inside_the_file_is_named(whole: Path, tmp_path: Path) -> None:
    lines = (whole / "results.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "settings.json").write_bytes((whole / "settings.json").read_bytes())
    (tmp_path / "results.jsonl").write_bytes(b"".join([*lines[:2], b"{oops\n", *lines[3:]]))
    with pytest.raises(StoreError, match="line 3"):
        list(_run(tmp_path))


@pytest.mark.parametrize(
    ("change", "error", "words"),
    [
        ({"methods": ["redenoise"]}, InputError, "'standard' among them"),
        ({"methods": ["standard", "standard:strength=1"]}, InputError, "different methods"),
        ({"prompts": []}, InputError, "0 prompts"),
        ({"prompts": PROMPTS[:1]}, InputError, "two different prompts"),
        ({"prompts": [*PROMPTS, PROMPTS[0]]}, InputError, "repeat another"),
        ({"config": EvaluateConfig(batch_size=0)}, ConfigError, "batch_size 0"),
        ({"config": EvaluateConfig(save_images="some")}, ConfigError, "save_images"),
        ({"config": EvaluateConfig(num_seeds=3, seed_range=(1, 2))}, ConfigError, "seed_range 1-2"),
    ],
)
def test_bad_input(tmp_path: Path, change: dict, error: type[Exception], words: str) -> None:
    with pytest.raises(error) as caught:
        list(_run(tmp_path / "new", **change))
    assert words in str(caught.value)
    assert not (tmp_path / "new").exists()


def test_a_score_that_is_not_finite_stops_the_run(tmp_path: Path) -> None:
    class Broken(FakeScorer):
        def score(self, images, prompts):
            return np.full(len(images), math.nan)

    with pytest.raises(NoiseError, match="brightness"):
        list(_run(tmp_path, scorers=[Broken()]))


@pytest.mark.parametrize(("save", "expected"), [("all", 14), ("none", 0), (3, 6), ("auto", 14)])
def test_save_images(tmp_path: Path, save: str | int, expected: int) -> None:
    list(_run(tmp_path, config=dataclasses.replace(CONFIG, save_images=save), methods=["standard"]))
    saved = [r.image for r in read_results(tmp_path) if r.image]
    assert len(saved) == len(set(saved)) == expected == len(list((tmp_path / "images").rglob("*.png")))
    assert all((tmp_path / "images" / name).is_file() for name in saved)


def test_slugs_differ_and_are_file_names() -> None:
    labels = ["npnet:strength=1", "npnet:strength=-1", "npnet:path=a/b", "npnet:path=a_b", "npnet:path=A/b", "standard"]
    assert len({slug(label).lower() for label in labels}) == len(labels)
    assert all("/" not in slug(label) and ":" not in slug(label) for label in labels)
    assert slug("standard") == "standard"


# ----------------------------------------------------------------------------------------------------- seeds and swaps


def test_seeds() -> None:
    prompt, named = Prompt("a"), Prompt("a", seed=40)
    assert seeds_of(named, EvaluateConfig(seeds=(5, 6))) == [5, 6]
    assert seeds_of(named, EvaluateConfig(num_seeds=2)) == [40, 41]
    assert seeds_of(prompt, EvaluateConfig(seed=3)) == [prompt_seed(3, prompt.id)]
    assert sorted(seeds_of(prompt, EvaluateConfig(num_seeds=5, seed_range=(10, 14)))) == [10, 11, 12, 13, 14]


@pytest.mark.parametrize("n", [2, 3, 4, 7, 50])
def test_the_wrong_prompt_is_never_the_same_text(n: int) -> None:
    prompts = [Prompt(f"text {i}") for i in range(n)]
    wrong = [wrong_prompt(prompts, i) for i in range(n)]
    assert all(a.text != b.text for a, b in zip(prompts, wrong, strict=True))
    assert {p.text for p in wrong} == {p.text for p in prompts}  # each once: the control has the same mix of prompts
    repeated = [Prompt("same", seed=1), Prompt("other"), Prompt("same", seed=2)]
    assert [wrong_prompt(repeated, i).text for i in range(3)] == ["other", "same", "other"]


def test_the_control_sees_wrong_prompts_and_draws_the_right_ones(tmp_path: Path) -> None:
    pipeline = FakePipeline()
    list(_run(tmp_path, pipeline))
    own, wrong = pipeline.encoded[0::2], pipeline.encoded[1::2]
    assert sum(map(len, own)) == sum(map(len, wrong)) == 14  # once a batch for all methods
    for right, other in zip(own, wrong, strict=True):
        assert all(a != b for a, b in zip(right, other, strict=True))
    used = [texts for texts, _ in pipeline.redenoised]
    assert used == [texts for pair in zip(own, wrong, strict=True) for texts in pair]


# ---------------------------------------------------------------------------------------------- all methods, refusals


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


def test_a_label_with_an_option_of_before_is_summed_up_and_reported(tmp_path: Path) -> None:
    """Labels on disk are words: `steps` was `num_inference_steps` when the folder was made."""
    label = "redenoise:num_inference_steps=4"
    list(_run(tmp_path, methods=["standard", "redenoise:steps=4"]))
    for path in [*tmp_path.glob("*.json"), *tmp_path.glob("*.jsonl")]:
        path.write_text(path.read_text().replace("redenoise:steps=4", label))
    assert list(summarize_run(tmp_path).methods) == ["standard", label]
    assert label in report(tmp_path).read_text()
    pipeline = FakePipeline()
    list(_run(tmp_path, pipeline, methods=["standard", "redenoise:steps=4"]))  # goes on, under the new name
    assert {r.method for r in read_results(tmp_path)} == {"standard", label, "redenoise:steps=4"}
    assert pipeline.sampled == 14


def _optional(out: Path, methods: list[str], prompts=PROMPTS):
    specs = [MethodSpec.parse(m) for m in methods]
    optional = [m for m in methods if m != "standard"]
    return evaluate(FakePipeline(), prompts, [FakeScorer()], specs, CONFIG, out, optional=optional)  # type: ignore[arg-type]


def test_all_methods_are_every_registered_one_and_two_controls() -> None:
    labels = [spec.label for spec in all_methods()]
    assert labels[0] == "standard"
    assert sorted(labels) == sorted([*REGISTRY, "redenoise:swap", "npnet:swap"])


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
        list(_run(tmp_path / "new", methods=refusing[:2]))
    assert not (tmp_path / "new").exists()
    with pytest.raises(InputError, match="subject"):
        list(_run(tmp_path / "new", methods=["standard", "refuses-later"]))


def test_an_optional_control_needs_a_second_prompt(tmp_path: Path) -> None:
    list(_optional(tmp_path, ["standard", "redenoise", "redenoise:swap"], PROMPTS[:1]))
    summary = json.loads((tmp_path / "results.json").read_text())
    assert "second prompt" in summary["refused"]["redenoise:swap"]
    assert summary["methods"]["redenoise"]["images"] == 2


def test_the_world_by_its_folder_is_measured_as_the_world(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def measure(out: Path, extractor: str, reference: str, *, world: bool) -> None:
        asked.append((extractor, world))

    asked: list[tuple[str, bool]] = []
    monkeypatch.setattr("noiseprompt.stages.evaluate.evaluate.measure", measure)
    pipeline = FakePipeline()
    pipeline.name = str(weights_folder())
    list(_run(tmp_path, pipeline, methods=["standard"]))
    assert asked == [("shapes-features", True)]
    for name in ("settings.json", ".judging.json"):  # a folder of an earlier version: the name alone tells
        told = json.loads((tmp_path / name).read_text())
        del told.get("judging", told)["world"]
        if "settings" in told:
            told["settings"]["pipeline"]["name"] = "shapes"
        (tmp_path / name).write_text(json.dumps(told))
    summarize_run(tmp_path)
    assert asked[1:] == [("shapes-features", True)]


# ------------------------------------------------------------------------------------------- filters, controls, noise


def test_controls_are_marked(tmp_path: Path) -> None:
    list(_run(tmp_path, methods=["standard", "redenoise", "redenoise:swap", "redenoise:shuffle"]))
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
    list(_run(tmp_path, methods=METHODS[:2]))
    pipeline = FakePipeline()
    named = dataclasses.replace(CONFIG, filter_scorers=("brightness",))
    assert list(_run(tmp_path, pipeline, named, METHODS[:2])) == []
    assert json.loads((tmp_path / "results.json").read_text())["filter_scorers"] == ["brightness"]


@pytest.mark.parametrize("stop", [3, 8])
def test_noise_figures_are_recorded_once_an_image(whole: Path, tmp_path: Path, stop: int) -> None:
    steps = _run(tmp_path)
    for _ in range(stop):
        next(steps)
    steps.close()
    lines = (tmp_path / "results.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "results.jsonl").write_bytes(b"".join(lines[:-2]))  # killed within a batch: it is drawn again
    list(_run(tmp_path))
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
    list(_run(tmp_path, methods=["standard", "redenoise", "steered"], scorers=[FakeScorer(), FakeChecker()]))
    text = (tmp_path / "results.md").read_text()
    tables = dict(part.split("\n", 1) for part in text.split("### ")[1:])
    assert "| steered (steered by it) |" in tables["brightness"]
    assert "| steered |" in tables["shapes-checker"]
    assert "steered by it) marks" in text
    page = report(tmp_path).read_text()
    assert "Gain over standard: brightness" in page and ">steered (steered by it)<" in page
