"""Recipes with rows, run: tables of the world in smoke size, a recipe that was killed, a folder with a bad recipe."""

from __future__ import annotations

import dataclasses
import functools
import json
import shutil
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import scipy.linalg
import yaml
from safetensors.torch import load_file

from noiseprompt.cli import collecting, commands, evaluating, main
from noiseprompt.core.errors import NoisepromptError, NoisepromptWarning, StoreError
from noiseprompt.core.types import Prompt, ScoredPair
from noiseprompt.npd import Npd, NpdWriter
from noiseprompt.prompts import load_prompts
from noiseprompt.recipes.analysis import similarity, singular_vectors
from noiseprompt.recipes.gather import gather
from noiseprompt.recipes.plan import Plan, Stage, make_plan
from noiseprompt.recipes.run import run
from noiseprompt.recipes.steps import npd_folder, planned_ids, run_stages
from noiseprompt.stages.collect.settings import CollectConfig
from tests.recipes.test_plan import TABLES, write

SMOKED = ("table-11", "table-13", "figure-5")


@pytest.fixture(scope="module")
def runs(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """Three of the world's tables in smoke size, in one folder."""
    out = tmp_path_factory.mktemp("runs")
    for name in SMOKED:
        assert main(["run", str(TABLES / f"{name}.yaml"), "--on", "shapes", "--smoke", "--out", str(out)]) == 0
    return out


def made(runs: Path, name: str) -> dict[str, Any]:
    return json.loads((runs / "shapes-smoke" / "tables" / f"{name}.json").read_text())


def lines(folder: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in (folder / "results.jsonl").read_text().splitlines()]


def test_tables_share_their_stages(runs: Path) -> None:
    folders = {kind: len(list((runs / "shapes-smoke" / kind).iterdir())) for kind in ("npd", "npnet", "evaluation")}
    assert folders == {"npd": 1, "npnet": 2, "evaluation": 1}


def test_the_table_holds_the_figures_of_its_images(runs: Path) -> None:
    plan = make_plan(TABLES / "table-11.yaml", smoke=True, out=runs)
    table = made(runs, "table-11")
    assert [cell["row"] for cell in table["cells"]] == ["NPNet w/o text embedding e", "NPNet"]
    assert table["metrics"] == ["shapes-checker accuracy", "shapes-preference"] and table["smoke"]
    scores: dict[str, dict[Any, float]] = {}
    for line in lines(plan.cells[0].evaluation):
        scores.setdefault(line["method"], {})[line["prompt_id"], line["seed"]] = line["scores"]["shapes-preference"]
    without, full = (scores[cell.method] for cell in plan.cells)
    for own, cell in ((without, table["cells"][0]), (full, table["cells"][1])):
        figures = cell["metrics"]["shapes-preference"]
        assert figures["n"] == cell["prompts"] == 4
        assert figures["mean"] == pytest.approx(np.mean(list(own.values())), abs=1e-9)
        gain = np.mean([own[key] - scores["standard"][key] for key in own])
        assert figures["gain"]["mean"] == pytest.approx(gain, abs=1e-9)
    difference = np.mean([without[key] - full[key] for key in full])
    assert table["cells"][0]["against"]["shapes-preference"]["mean"] == pytest.approx(difference, abs=1e-9)
    assert table["cells"][1]["against"] == {}


def test_the_table_says_what_was_trained(runs: Path) -> None:
    plan = make_plan(TABLES / "table-11.yaml", smoke=True, out=runs)
    npd = next(cell.npd for cell in plan.cells)
    assert npd and len(Npd(npd)) == 40
    for cell in made(runs, "table-11")["cells"]:
        training = cell["training"]
        assert training["pairs"] == training["kept"] == 40 and training["dropped"] == 0  # a margin that keeps all
        assert training["steps"] >= 3 and training["filter_scorers"] == ["shapes-preference"]


def test_the_scalars_are_those_of_the_network(runs: Path) -> None:
    plan = make_plan(TABLES / "table-13.yaml", smoke=True, out=runs)
    net = plan.cells[0].npnet
    assert net is not None
    weights = load_file(net / "best" / "model.safetensors")
    (row,) = made(runs, "table-13")["analyses"]["scalars"]["rows"]
    assert row == ["the world", *(f"{float(weights[name]):.3g}" for name in ("alpha", "beta"))]


def test_singular_vectors_of_source_and_target_are_closer_than_chance(runs: Path) -> None:
    analysis = made(runs, "figure-5")["analyses"]["singular-vectors"]
    mean = {(row[0], row[1]): float(row[3].split()[0]) for row in analysis["rows"]}
    assert all(row[2] == 40 for row in analysis["rows"])
    for side in ("left", "right"):
        assert mean["source and target", side] > 3 * mean["two unrelated noises", side]


def test_singular_vectors_are_those_of_stored_sources(tmp_path: Path) -> None:
    """Noises of no seed, each its own target: every vector is as its partner."""
    rng = np.random.default_rng(0)
    with NpdWriter(tmp_path, {"scorers": []}, (4, 4, 4), store_source=True) as writer:
        for i in range(3):
            noise = rng.standard_normal((4, 4, 4)).astype(np.float32)
            writer.add(ScoredPair(f"{i}", Prompt(f"{i}"), i, noise, noise, {}))
    plan = Plan("any", {}, "shapes", False, tmp_path, stages={tmp_path: Stage("collect", tmp_path, {})})
    assert [row[3].split()[0] for row in singular_vectors(plan)["rows"][:2]] == ["1.000", "1.000"]


def test_similarity_is_the_cosine_of_matched_singular_vectors() -> None:
    rng = np.random.default_rng(0)
    source, target = rng.standard_normal((2, 4, 4, 4)).astype(np.float32)
    assert np.allclose(similarity(source, -source), 1, atol=1e-6)

    def square(x: np.ndarray) -> np.ndarray:  # channels 0 1 above 2 3
        return np.block([[x[0], x[1]], [x[2], x[3]]]).astype(np.float64)

    u, _, vt = scipy.linalg.svd(square(source))
    u2, _, vt2 = scipy.linalg.svd(square(target))
    left = sorted((abs(u[:, i] @ u2[:, i]) for i in range(8)), reverse=True)
    right = sorted((abs(vt[i] @ vt2[i]) for i in range(8)), reverse=True)
    assert np.allclose(similarity(source, target), [left, right], atol=1e-5)


def test_a_finished_recipe_is_passed_over(runs: Path) -> None:
    net = make_plan(TABLES / "table-13.yaml", smoke=True, out=runs).cells[0].npnet
    assert net is not None
    before = (net / "best" / "model.safetensors").stat().st_mtime_ns, made(runs, "table-13")
    run(TABLES / "table-13.yaml", out=runs, smoke=True)
    assert ((net / "best" / "model.safetensors").stat().st_mtime_ns, made(runs, "table-13")) == before


# ------------------------------------------------------------------------------------------------- small recipes

TINY = {
    "collect": {"n": 20, "num_inference_steps": 1, "batch_size": 10, "shard_size": 10},
    "train": {
        "architecture": "tokens",
        "sizes": {"width": 16, "depth": 1, "heads": 2},
        "epochs": 1,
        "batch_size": 8,
        "validation_share": 0.3,
    },
    "evaluate": {"n": 3, "num_inference_steps": 1, "save_images": "none", "features": "none", "batch_size": 3},
}
ROWS = {"Standard": {"method": "standard"}, "NPNet": {"method": "npnet:path={npnet}"}}


def test_a_killed_recipe_continues(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    recipe = write(tmp_path, {"rows": ROWS}, TINY)
    plan = make_plan(recipe, out=tmp_path / "runs")
    npd, net, evaluation = (stage.folder for stage in plan.stages.values())
    killed = KeyboardInterrupt("killed")

    @functools.wraps(evaluating.evaluate)
    def die(*_: Any, **__: Any) -> None:
        raise killed

    with monkeypatch.context() as patch:
        patch.setattr(evaluating, "evaluate", die)
        with pytest.raises(KeyboardInterrupt):
            run(recipe, out=tmp_path / "runs")
    written = {path: path.stat().st_mtime_ns for path in [*npd.glob("*.arrow"), *net.glob("best/*")]}
    assert written and not evaluation.exists()
    with pytest.raises(NoisepromptError):
        gather(plan)
    run(recipe, out=tmp_path / "runs")
    assert {path: path.stat().st_mtime_ns for path in written} == written
    table = json.loads((tmp_path / "runs" / "shapes" / "tables" / "tiny.json").read_text())
    assert [cell["row"] for cell in table["cells"]] == ["Standard", "NPNet"]
    with pytest.warns(NoisepromptWarning, match=r"not measured: mine\. Shown: shapes-checker$"):
        gather(dataclasses.replace(plan, show=("mine", "shapes-checker")))


def test_pairs_made_elsewhere_serve_where_they_are_the_same(tmp_path: Path) -> None:
    elsewhere = tmp_path / "elsewhere"
    first = make_plan(write(tmp_path / "a", {"rows": ROWS}, TINY), out=tmp_path / "a")
    (collect,) = (stage for stage in first.stages.values() if stage.name == "collect")
    collecting.collect(**{**collect.options, "out": elsewhere})
    before = sorted((path.name, path.stat().st_mtime_ns) for path in elsewhere.glob("*.arrow"))
    recipe = write(tmp_path / "b", {"rows": {"NPNet": ROWS["NPNet"]}}, {**TINY, "reuse": [str(elsewhere)]})
    run(recipe, out=tmp_path / "b" / "runs")
    assert not (tmp_path / "b" / "runs" / "shapes" / "npd").exists()
    other = {**TINY, "reuse": [str(elsewhere)], "collect": {**TINY["collect"], "denoise_guidance_scale": 2.0}}
    recipe = write(tmp_path / "c", {"rows": {"NPNet": ROWS["NPNet"]}}, other)
    run(recipe, out=tmp_path / "c" / "runs")
    assert len(list((tmp_path / "c" / "runs" / "shapes" / "npd").iterdir())) == 1
    assert sorted((path.name, path.stat().st_mtime_ns) for path in elsewhere.glob("*.arrow")) == before


@pytest.fixture
def collect_alone(monkeypatch: pytest.MonkeyPatch) -> list[Path]:
    """Only collections run; the data sets that trainings were given."""
    given: list[Path] = []

    @functools.wraps(commands.train)
    def train(**options: Any) -> None:
        given.extend(options["npd"])

    monkeypatch.setattr(commands, "train", train)
    monkeypatch.setattr(evaluating, "evaluate", functools.wraps(evaluating.evaluate)(lambda **_: None))
    return given


def reusing(tmp_path: Path, prompts: str) -> tuple[Plan, Path]:
    """A plan of six pairs, beside a finished collection of as many in the same settings, of `prompts`."""
    small = {**TINY, "collect": {"n": 6, "num_inference_steps": 1, "shard_size": 8}, "reuse": [str(tmp_path / "other")]}
    plan = make_plan(write(tmp_path, {"rows": {"NPNet": ROWS["NPNet"]}}, small), out=tmp_path / "runs")
    (collect,) = (stage for stage in plan.stages.values() if stage.name == "collect")
    collecting.collect(**{**collect.options, "prompts": prompts, "out": tmp_path / "other"})
    return plan, collect.folder


def test_as_many_pairs_of_other_prompts_do_not_serve(tmp_path: Path, collect_alone: list[Path]) -> None:
    plan, own = reusing(tmp_path, "shapes:test")
    before = [path.read_bytes() for path in (tmp_path / "other").glob("*.arrow")]
    run_stages(plan)
    assert collect_alone == [own] and npd_folder(plan, own) == own
    assert [path.read_bytes() for path in (tmp_path / "other").glob("*.arrow")] == before
    assert {p.text for p in Npd(own).prompts()} == {p.text for p in load_prompts("shapes:train", limit=6).prompts}


def test_figures_are_of_the_data_set_that_was_trained_on(tmp_path: Path, collect_alone: list[Path]) -> None:
    plan, own = reusing(tmp_path, "shapes:train")
    run_stages(plan)
    assert collect_alone == [tmp_path / "other"] and npd_folder(plan, own) == tmp_path / "other"
    forgetful = replace(plan, reuse=())  # the file of the model names it no more
    assert npd_folder(forgetful, own) == tmp_path / "other"
    shutil.rmtree(tmp_path / "other")
    options = {**plan.stages[own].options, "prompts": "shapes:test", "out": tmp_path / "other"}
    collecting.collect(**options)
    with pytest.raises(StoreError, match="has changed since"):
        npd_folder(plan, own)
    run_stages(plan)
    assert collect_alone[1:] == [own] and npd_folder(plan, own) == own


def test_one_bad_recipe_does_not_stop_the_others(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    good = write(tmp_path, {"rows": {"Standard": ROWS["Standard"]}}, TINY)
    (tmp_path / "table-1.yaml").write_text(yaml.safe_dump({"rows": {"a": {"method": "none"}}}))
    assert main(["run", str(tmp_path), "--out", str(tmp_path / "runs")]) == 2
    shown = capsys.readouterr()
    assert "1 of 2 recipes made their table" in shown.out and "failed: table-1" in shown.err
    assert (tmp_path / "runs" / "shapes" / "tables" / f"{good.stem}.json").is_file()


def test_pairs_are_planned_from_the_prompts_that_are_collected() -> None:
    """ "train" is a split of the world for the command, so for the plan too."""
    options = {"prompts": "train", "model": "shapes", "n": 7, "settings": CollectConfig(seeds_per_prompt=2)}
    assert len(planned_ids(options)) == 14
