"""Distance and diversity of a run's images: against scipy and sums written out; killed and continued; cached."""

from __future__ import annotations

import json
from pathlib import Path

import numpy as np
import pytest
from PIL import Image
from scipy import linalg

from noiseprompt.core.errors import InputError, UnknownNameError
from noiseprompt.core.types import EvalResult, Prompt
from noiseprompt.methods.base import MethodSpec
from noiseprompt.results import sets
from noiseprompt.results.lines import read_results
from noiseprompt.results.statistics import paired_bootstrap, sign_flip_test
from noiseprompt.results.summarize import summarize
from noiseprompt.results.summary import Reference, SetFigures, Sets
from noiseprompt.results.words import headline
from noiseprompt.scorers.table import FEATURES
from noiseprompt.stages.evaluate.evaluate import evaluate, summarize_run
from noiseprompt.stages.evaluate.plan import EvaluateConfig
from noiseprompt.stages.report.report import report
from tests.evaluation_fakes import FakePipeline, FakeScorer

pytestmark = pytest.mark.filterwarnings("ignore::noiseprompt.noise.guard.NoiseWarning")
"""The fake re-denoise moves noise farther than a real one."""

PROMPTS = [Prompt(f"a thing numbered {i}") for i in range(9)]
METHODS = ("standard", "redenoise", "redenoise:swap")


class CornerFeatures:
    """The first three pixels, nine numbers."""

    name = "corner"
    width = 9
    looked_at = 0

    def __init__(self, path: str = "") -> None:
        self.scale = float(Path(path).read_text()) if path else 1.0

    def features(self, images: np.ndarray) -> np.ndarray:
        assert images.dtype == np.uint8
        assert len(images) <= sets.BATCH
        type(self).looked_at += len(images)
        return images[:, 0, :3].reshape(len(images), 9).astype(np.float32) / 255 * self.scale


@pytest.fixture(autouse=True)
def _registered(monkeypatch):
    monkeypatch.setitem(FEATURES._entries, "corner", CornerFeatures)
    CornerFeatures.looked_at = 0


@pytest.fixture
def reference(tmp_path: Path) -> Path:
    folder, rng = tmp_path / "reference" / "deep", np.random.default_rng(0)
    folder.mkdir(parents=True)
    for i in range(30):
        size = (8, 8) if i % 3 else (12, 10)  # pictures of several sizes
        Image.fromarray(rng.integers(60, 200, (*size, 3), dtype=np.uint8)).save(folder / f"{i:02}.png")
    return tmp_path / "reference"


def _run(out: Path, reference: Path | str = "", seeds: int = 3, features: str = "corner"):
    config = EvaluateConfig(num_seeds=seeds, batch_size=5, features=features, reference=str(reference))
    specs = [MethodSpec.parse(m) for m in METHODS]
    return evaluate(FakePipeline(), PROMPTS, [FakeScorer()], specs, config, out)  # type: ignore[arg-type]


def _features(folder: Path, method: str) -> dict[tuple[str, int], np.ndarray]:
    found = {}
    for r in read_results(folder):
        if r.method == method:
            image = np.asarray(Image.open(folder / "images" / r.image), np.float64)
            found[r.prompt_id, r.seed] = image[0, :3].reshape(9) / 255
    return found


def test_figures_by_hand(tmp_path: Path, reference: Path) -> None:
    out = tmp_path / "run"
    list(_run(out, reference))
    summary = json.loads((out / "results.json").read_text())
    assert summary["sets"]["features"] == "corner"
    assert summary["sets"]["reference_images"] == 30
    files = sorted(reference.rglob("*.png"))
    target = np.stack([np.asarray(Image.open(f), np.float64)[0, :3].reshape(9) / 255 for f in files])
    spread = {}
    for method in METHODS:
        own = _features(out, method)
        rows = np.stack([own[key] for key in sorted(own)])
        entry = summary["methods"][method]
        covariances = np.cov(rows.T), np.cov(target.T)
        root = linalg.sqrtm(covariances[0] @ covariances[1]).real
        distance = ((rows.mean(0) - target.mean(0)) ** 2).sum() + np.trace(covariances[0] + covariances[1] - 2 * root)
        assert entry["sets"]["fid"] == pytest.approx(distance, rel=1e-4)
        assert entry["sets"]["images"] == 27
        assert 0 <= entry["sets"]["precision"] <= 1
        spread[method] = []
        for prompt in sorted(p.id for p in PROMPTS):
            a, b, c = (own[key] for key in sorted(own) if key[0] == prompt)
            spread[method].append(np.mean([np.linalg.norm(a - b), np.linalg.norm(a - c), np.linalg.norm(b - c)]))
        assert entry["diversity"]["mean"] == pytest.approx(np.mean(spread[method]), rel=1e-5)
        assert entry["diversity"]["n"] == 9
    row = summary["methods"]["redenoise"]["diversity"]
    difference = np.subtract(spread["redenoise"], spread["standard"])
    interval = paired_bootstrap(difference)
    assert row["gain"] == pytest.approx(
        {"mean": interval.mean, "low": interval.low, "high": interval.high, "n": 9}, abs=1e-6
    )
    assert row["p"] == pytest.approx(sign_flip_test(difference), abs=0.02)  # rounding may part two equal sums
    assert row["p_holm"] >= row["p"]
    words = (out / "results.md").read_text() + report(out).read_text()
    assert words.count(f"{summary['methods']['standard']['sets']['fid']:.3f}") == 2
    assert words.count("<figcaption>Change in diversity") == 1


def test_features_are_computed_once(tmp_path: Path, reference: Path) -> None:
    out = tmp_path / "run"
    list(_run(out, reference))
    assert CornerFeatures.looked_at == 3 * 27 + 30
    before = (out / "results.json").read_text()
    summarize_run(out)
    assert CornerFeatures.looked_at == 3 * 27 + 30
    assert (out / "results.json").read_text() == before
    Image.fromarray(np.zeros((8, 8, 3), np.uint8)).save(reference / "new.png")  # another reference
    summarize_run(out)
    assert CornerFeatures.looked_at == 3 * 27 + 30 + 31


def test_paths_stay_on_the_machine(tmp_path: Path, reference: Path) -> None:
    weights, out = tmp_path / "weights.txt", tmp_path / "run"
    weights.write_text("1.0")
    list(_run(out, reference, features=f"corner:path={weights}"))
    before = (out / "results.json").read_text()
    assert json.loads(before)["sets"]["features"] == "corner:path=weights.txt"
    assert json.loads(before)["sets"]["reference"] == "the pictures in reference"
    report(out)
    for name in ("settings.json", "results.json", "results.md", "report.html", "report.md"):
        assert tmp_path.name not in (out / name).read_text(), name
    looked_at = CornerFeatures.looked_at
    summarize_run(out)  # the paths are still known here
    assert (out / "results.json").read_text() == before
    assert CornerFeatures.looked_at == looked_at
    old = json.loads((out / "settings.json").read_text())
    old["judging"] |= {"features": f"corner:path={weights}", "reference": str(reference)}
    (out / "settings.json").write_text(json.dumps(old))  # as an earlier release left it
    (out / ".judging.json").unlink()
    summarize_run(out)
    assert (out / "results.json").read_text() == before


def test_new_weights_in_the_same_place_make_new_features(tmp_path: Path, reference: Path) -> None:
    out, weights = tmp_path / "run", tmp_path / "weights"
    weights.write_text("1.0")
    list(_run(out, reference))

    def spread() -> float:
        found = sets.measure(out, f"corner:path={weights}", str(reference))
        assert found is not None
        return float(np.mean(list(found.diversity["standard"].values())))

    before = spread()
    weights.write_text("10.0")
    assert spread() == pytest.approx(10 * before, rel=1e-5)


@pytest.mark.parametrize("stop", [2, 17])
def test_killed_and_continued_ends_the_same(tmp_path: Path, reference: Path, stop: int) -> None:
    list(_run(tmp_path / "whole", reference))
    steps = _run(tmp_path / "cut", reference)
    for _ in range(stop):
        next(steps)
    steps.close()
    list(_run(tmp_path / "cut", reference))
    whole, cut = (json.loads((tmp_path / name / "results.json").read_text())["methods"] for name in ("whole", "cut"))
    for method in METHODS:
        assert (whole[method]["sets"], whole[method]["diversity"]) == (cut[method]["sets"], cut[method]["diversity"])


def test_killed_among_the_features_loses_nothing(tmp_path: Path, monkeypatch) -> None:
    whole, out = tmp_path / "whole", tmp_path / "run"
    list(_run(whole))
    calls = []
    write = sets._file

    def dies(*arguments):
        calls.append(arguments)
        if len(calls) == 2:
            raise KeyboardInterrupt
        return write(*arguments)

    monkeypatch.setattr(sets, "_file", dies)
    with pytest.raises(KeyboardInterrupt):
        list(_run(out))
    monkeypatch.undo()
    monkeypatch.setitem(FEATURES._entries, "corner", CornerFeatures)
    CornerFeatures.looked_at = 0
    assert list(_run(out)) == []  # every image was there
    assert CornerFeatures.looked_at == 2 * 27  # the first method's features too
    whole_methods, methods = (json.loads((f / "results.json").read_text())["methods"] for f in (whole, out))
    assert [m["diversity"] for m in methods.values()] == [m["diversity"] for m in whole_methods.values()]


def test_without_a_reference_diversity_alone(tmp_path: Path) -> None:
    list(_run(tmp_path))
    entry = json.loads((tmp_path / "results.json").read_text())["methods"]["redenoise"]
    assert entry["sets"] == {"images": 27, "fid": None, "precision": None, "recall": None}
    assert entry["diversity"]["n"] == 9


def test_one_seed_has_no_diversity(tmp_path: Path, reference: Path) -> None:
    list(_run(tmp_path / "run", reference, seeds=1))
    entry = json.loads((tmp_path / "run" / "results.json").read_text())["methods"]["redenoise"]
    assert "diversity" not in entry
    assert entry["sets"]["fid"] > 0


def test_what_is_wrong_is_told_before_anything_is_drawn(tmp_path: Path) -> None:
    pipeline = FakePipeline()
    config = EvaluateConfig(features="no-such-features")
    specs = [MethodSpec.parse("standard")]
    with pytest.raises(UnknownNameError, match="corner"):
        list(evaluate(pipeline, PROMPTS, [FakeScorer()], specs, config, tmp_path / "new"))  # type: ignore[arg-type]
    assert pipeline.sampled == 0
    (tmp_path / "empty").mkdir()
    with pytest.raises(InputError, match="no picture"):
        list(_run(tmp_path / "run", tmp_path / "empty"))


def test_the_worlds_reference_shows_the_prompts() -> None:
    from noiseprompt.shapes.checker import check
    from noiseprompt.shapes.scenes import parse
    from noiseprompt.shapes.world import reference_scenes

    texts = ["a red circle above a blue square", "two green stars"]
    pictures = list(reference_scenes(texts, 3))
    assert len(pictures) == 6
    assert all(check(p, parse(texts[i // 3])).score == 1 for i, p in enumerate(pictures))
    assert all((a == b).all() for a, b in zip(pictures, reference_scenes(texts, 3), strict=True))
    assert not (pictures[0] == pictures[1]).all()


def test_prompts_the_world_cannot_show_have_no_reference(tmp_path: Path) -> None:
    list(_run(tmp_path))
    found = sets.measure(tmp_path, "corner", world=True)
    assert found is not None
    assert (found.reference.reference, found.reference.reference_images) == ("", 0)
    assert found.figures["standard"].fid is None


def _sets(standard: list[float], method: list[float]) -> Sets:
    spread = {
        label: {f"p{i:02}": value for i, value in enumerate(values)}
        for label, values in (("standard", standard), ("better", method))
    }
    return Sets(Reference("f", "r", 5), dict.fromkeys(spread, SetFigures(48, 1.0, 0.5, 0.5)), spread)


@pytest.mark.parametrize(
    ("gain", "spread", "words"),
    [
        (1.0, -0.4, "better: its gain is bought with diversity (diversity -0.400"),
        (0.0, -0.4, "better: its images of one prompt are more alike than standard's (diversity -0.400"),
        (1.0, 0.4, ""),
        (1.0, 0.0, ""),
    ],
)
def test_preference_bought_with_diversity_is_told(gain: float, spread: float, words: str) -> None:
    rng = np.random.default_rng(0)
    wobble = rng.normal(0, 0.1, (2, 24))
    results = []
    for i in range(24):
        results.append(EvalResult("standard", f"p{i:02}", "t", "", 0, {"taste": wobble[0, i]}, 20, 0, 0.1))
        results.append(EvalResult("better", f"p{i:02}", "t", "", 0, {"taste": wobble[0, i] + gain}, 20, 0, 0.1))
    base = [2.0] * 24
    summary = summarize(
        results, sets=_sets(base, [2 + spread + (w if spread else 0) for w in wobble[1] - wobble[1].mean()])
    )
    told = [line for line in headline(summary) if "diversity" in line]
    assert len(told) == bool(words)
    assert not words or told[0].startswith(words)
