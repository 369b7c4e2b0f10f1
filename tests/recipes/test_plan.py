"""Recipes with rows: every file of recipes/tables resolves, equal stages are made once, and what is missing is said."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import pytest
import yaml

from noiseprompt.core.errors import ConfigError, InputError
from noiseprompt.core.specs import split_specs
from noiseprompt.methods.base import MethodSpec
from noiseprompt.methods.table import METHODS
from noiseprompt.npnet import build
from noiseprompt.recipes.analysis import ANALYSES
from noiseprompt.recipes.calls import stage_call
from noiseprompt.recipes.plan import flatten, make_plan, merge, read_recipe, recipes_in
from noiseprompt.scorers.table import SCORERS
from noiseprompt.stages.train.settings import network_config

TABLES = Path(__file__).parents[2] / "recipes" / "tables"
FILES = recipes_in(TABLES)

WANTED = [f"table-{n}" for n in range(1, 15)] + [f"figure-{n}" for n in (5, 6, 7, 8, 9, 10, 11, 15, 16)]


def test_every_table_and_figure_has_a_recipe_and_they_stand_in_order() -> None:
    assert [file.stem for file in FILES] == WANTED


@pytest.mark.parametrize("smoke", [False, True], ids=["full", "smoke"])
@pytest.mark.parametrize("on", ["shapes", "sdxl"])
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_every_recipe_resolves(file: Path, on: str, smoke: bool) -> None:
    plan = make_plan(file, on, smoke=smoke)
    assert plan.cells and plan.stages
    assert set(plan.recipe.get("analyse") or ()) <= set(ANALYSES)
    facts = {"latent_shape": (4, 16, 16), "text_length": 12, "text_width": 128, "family": "", "denoiser": ""}
    for stage in plan.stages.values():
        assert (on == "shapes") == (stage.options["model"] == "shapes")
        if stage.name == "train":
            build(network_config(stage.options["settings"], **facts))
            npd = plan.stages[stage.options["npd"]]
            assert set(stage.options["settings"].filter_scorers) <= set(npd.options["scorers"])
        else:
            assert set(stage.options["scorers"]) <= set(SCORERS)
        if smoke and stage.name != "train":
            assert stage.options["n"] == (40 if stage.name == "collect" else 4)
    order = [stage.name == "evaluate" for stage in plan.stages.values()]
    assert order == sorted(order)
    for cell in plan.cells:
        assert cell.method.partition(":")[0] in METHODS
        assert plan.stages[cell.evaluation].name == "evaluate"


@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_paper_figures_fit_their_columns_and_rows(file: Path) -> None:
    data = read_recipe(file)
    paper, rows, groups = data.get("paper", {}), data["rows"], data.get("groups") or {}
    assert not set(paper.get("groups") or ()) - set(groups)
    for part in [paper.get("rows") or {}, *(paper.get("groups") or {}).values()]:
        assert set(part) <= set(rows) | {"Standard"}
        assert all(len(figures) == len(paper["columns"]) for figures in part.values())
    assert paper.get("against", next(iter(rows))) in rows
    assert paper.get("metric", "none") in [*(paper.get("columns") or ()), "none"]


def paper_row(name: str, row: str, group: str = "") -> dict[str, float]:
    paper = read_recipe(TABLES / f"{name}.yaml")["paper"]
    return dict(zip(paper["columns"], (paper["groups"][group] if group else paper["rows"])[row], strict=True))


def test_figures_the_paper_repeats_are_the_same_here() -> None:
    """Tables 1, 3, 4, 5, 10, 11, 12 and 14 print the same two rows: standard SDXL and NPNet, 50 steps, Pick-a-Pic."""
    standard = {"PickScore": 21.6977, "HPSv2": 0.2848, "AES": 6.0373, "ImageReward": 0.5801}
    npnet = {"PickScore": 21.8642, "HPSv2": 0.2868, "AES": 6.0540, "ImageReward": 0.6501}
    places = [
        ("table-1", "Standard", "NPNet", "SDXL, Pick-a-Pic"),
        ("table-3", "Standard", "", ""),
        ("table-4", "Standard", "NPNet", ""),
        ("table-5", "Standard", "NPNet", "DDIMScheduler"),
        ("table-10", "", "30 epochs, guidance 5.5, batch 64", ""),
        ("table-11", "", "NPNet", ""),
        ("table-12", "Standard", "100k pairs", ""),
        ("table-14", "Standard", "NPNet", "50 steps, [0, 1024]"),
    ]
    for name, *rows, group in places:
        for row, figures in zip(rows, (standard, npnet), strict=True):
            if row:
                found = paper_row(name, row, group)
                assert {metric: found[metric] for metric in figures} == figures, (name, row)


def test_recipes_say_what_they_cost() -> None:
    for file in FILES:
        assert flatten(read_recipe(file), "shapes")["minutes"] > 0
        head = file.read_text(encoding="utf-8").splitlines()[:2]
        assert f"noiseprompt run recipes/tables/{file.name} --on shapes" in head[1] and "minute" in head[1]


@pytest.mark.parametrize("file", sorted(TABLES.parent.glob("*.yaml")), ids=lambda file: file.stem)
def test_every_story_resolves(file: Path) -> None:
    data = read_recipe(file)
    for stage in ("collect", "train", "evaluate"):
        if stage in data:
            call = stage_call(stage, data[stage], data["model"])
            assert call["model"] == data["model"] and call["settings"] is not None
    listed = data["evaluate"]["methods"].replace("{npnet}", "runs/x/best")
    methods = [MethodSpec.parse(text) for text in split_specs(listed, METHODS)]
    assert methods[0].label == "standard" and len({spec.label for spec in methods}) == len(methods)


# ------------------------------------------------------------------------------------------------------ settings


def write(folder: Path, recipe: dict[str, Any], defaults: dict[str, Any] | None = None) -> Path:
    """A recipe with one model, "shapes", beside it."""
    (folder / "on").mkdir(parents=True, exist_ok=True)
    base = {
        "model": "shapes",
        "collect": {"prompts": "shapes:train", "n": 24, "scorers": ["shapes-checker"]},
        "train": {"architecture": "paper", "epochs": 3},
        "evaluate": {"prompts": "shapes:test", "n": 8, "scorers": ["shapes-checker"]},
        "smoke": {"evaluate": {"n": 2, "num_inference_steps": 1}, "train": {"epochs": 1}},
    }
    (folder / "on" / "shapes.yaml").write_text(yaml.safe_dump(merge(base, defaults or {})))
    path = folder / "tiny.yaml"
    path.write_text(yaml.safe_dump(recipe, sort_keys=False))
    return path


def test_the_last_layer_wins(tmp_path: Path) -> None:
    recipe = {
        "evaluate": {"num_inference_steps": 5},
        "on": {"shapes": {"evaluate": {"guidance_scale": 3.0}}},
        "groups": {"few": {}, "many": {"evaluate": {"num_inference_steps": 7, "n": 100}}},
        "rows": {"one": {}, "two": {"evaluate": {"num_inference_steps": 9}, "on": {"other": {"method": "redenoise"}}}},
    }
    path = write(tmp_path, recipe)
    shutil.copy(path.parent / "on" / "shapes.yaml", path.parent / "on" / "other.yaml")

    def found(smoke: bool) -> list[tuple[Any, ...]]:
        plan = make_plan(path, smoke=smoke)
        options = [plan.stages[cell.evaluation].options for cell in plan.cells]
        return [(o["n"], o["settings"].num_inference_steps, o["settings"].guidance_scale) for o in options]

    assert found(smoke=False) == [(8, 5, 3.0), (8, 9, 3.0), (100, 7, 3.0), (100, 9, 3.0)]
    assert found(smoke=True) == [(2, 1, 3.0), (2, 9, 3.0), (2, 7, 3.0), (2, 9, 3.0)]
    assert {cell.method for cell in make_plan(path).cells} == {"standard"}


def test_a_smoke_run_may_change_a_row(tmp_path: Path) -> None:
    rows = {"Standard": {"method": "standard"}, "two": {"method": "redenoise:rounds=2"}}
    path = write(tmp_path, {"rows": rows, "smoke": {"rows": {"two": {"method": "redenoise"}}}})
    assert [cell.method for cell in make_plan(path).cells] == ["standard", "redenoise:rounds=2"]
    assert [cell.method for cell in make_plan(path, smoke=True).cells] == ["standard", "redenoise"]


def test_the_bare_word_on_is_a_key(tmp_path: Path) -> None:
    path = tmp_path / "a.yaml"
    path.write_text("rows:\n  a: {on: {shapes: {title: b}}}\non: {shapes: {minutes: 2}}\n")
    assert read_recipe(path) == {"rows": {"a": {"on": {"shapes": {"title": "b"}}}}, "on": {"shapes": {"minutes": 2}}}


def test_equal_stages_are_made_once_and_others_apart(tmp_path: Path) -> None:
    net = "npnet:path={npnet}"
    rows = {
        "plain": {"method": net},
        "same": {"method": net + ",strength=2", "train": {"epochs": 3, "max_pairs": 0}},  # 0 is the default
        "longer": {"method": net, "train": {"epochs": 4}},
        "other guidance": {"method": net, "evaluate": {"guidance_scale": 2.0}},
        "other pairs": {"method": net, "collect": {"denoise_guidance_scale": 3.0}},
    }
    plan = make_plan(write(tmp_path, {"rows": rows}), out=tmp_path)
    plain, same, longer, guided, pairs = plan.cells
    assert plain.npnet == same.npnet == guided.npnet and plain.npd == longer.npd != pairs.npd
    assert len({plain.npnet, longer.npnet, pairs.npnet}) == 3
    assert plain.evaluation == same.evaluation == longer.evaluation != guided.evaluation
    assert sorted(stage.name for stage in plan.stages.values()) == ["collect"] * 2 + ["evaluate"] * 2 + ["train"] * 3
    assert same.method == f"npnet:path={plain.npnet}/best,strength=2"
    assert plan.methods(guided.evaluation) == ["standard", guided.method]


def test_one_network_starts_from_anothers(tmp_path: Path) -> None:
    rows = {
        "base": {"hidden": True, "train": {"epochs": 9}},
        "tuned": {"method": "npnet:path={npnet}", "train": {"init": "{npnet:base}"}},
        "base's own": {"method": "npnet:path={npnet:base}"},
    }
    plan = make_plan(write(tmp_path, {"rows": rows}), out=tmp_path)
    tuned, base = plan.cells
    assert [cell.row for cell in plan.cells] == ["tuned", "base's own"]
    assert tuned.npnet and base.npnet and tuned.npnet != base.npnet
    assert plan.stages[tuned.npnet].options["settings"].init == str(base.npnet / "best")
    trained = [stage.folder for stage in plan.stages.values() if stage.name == "train"]
    assert trained == [base.npnet, tuned.npnet]


def test_rows_for_other_models_are_left_out(tmp_path: Path) -> None:
    recipe = write(tmp_path, {"rows": {"a": {}, "b": {"only": ["sdxl"]}}})
    with pytest.raises(ConfigError, match=r"only: sdxl of row 'b'\. Expected some of shapes"):
        make_plan(recipe)
    (tmp_path / "on" / "sdxl.yaml").write_text("model: sdxl\n")
    plan = make_plan(recipe)
    assert [cell.row for cell in plan.cells] == ["a"] and plan.left_out == {("", "b"): ("sdxl",)}


def test_a_row_trained_by_reward_has_no_data_set(tmp_path: Path) -> None:
    own = {"filter_scorers": None}  # takes back what the model's own file says
    train = {"objective": "reward", "prompts": "shapes:train", "n": 9, "init": "{npnet:a}", **own}
    rows = {"a": {"method": "npnet:path={npnet}"}, "b": {"method": "npnet:path={npnet}", "train": train}}
    plan = make_plan(write(tmp_path, {"rows": rows}), out=tmp_path / "runs")
    first, second = plan.cells
    assert first.npd is not None and second.npd is None and second.npnet is not None
    options = plan.stages[second.npnet].options
    assert "npd" not in options and options["settings"].init == str(first.npnet / "best")  # type: ignore[operator]


@pytest.mark.parametrize(
    ("recipe", "on", "message"),
    [
        ({"rows": {"a": {}}}, "moon", "--on moon"),
        ({"rows": {"a": {}}, "colour": 1}, "shapes", "colour"),
        ({"rows": {"a": {"metod": "standard"}}}, "shapes", "metod"),
        ({"rows": {"a": {"evaluate": {"steps": 3}}}}, "shapes", "no option steps"),
        ({"rows": {"a": {"method": "npnet:path={npnet:b}"}}}, "shapes", "no row 'b'"),
        ({"rows": {"a": {"method": "npnet:path={npnet}", "train": {"init": "{npnet}"}}}}, "shapes", "another row"),
        ({"rows": {"a": {"method": "standrad"}}}, "shapes", "standrad"),
        (
            {"rows": {"a": {"method": "npnet:path={npnet}", "train": {"filter_scorers": "shapes-checker"}}}}
            | {"collect": {"scored_share": 0.5}},
            "shapes",
            "row 'a': train: filter_scorers with collect: scored_share 0.5 (expected 1, every pair scored",
        ),
    ],
)
def test_mistakes_are_refused_before_anything_runs(
    recipe: dict[str, Any], on: str, message: str, tmp_path: Path
) -> None:
    path = write(tmp_path, recipe)
    with pytest.raises(InputError, match=message.replace("(", "\\(")):
        make_plan(path, on, out=tmp_path / "runs")
    assert not (tmp_path / "runs").exists()
