"""A recipe of one run of each stage: collect, train and evaluate, and what is refused before anything runs."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import yaml

from noiseprompt.cli import main
from noiseprompt.core.errors import ConfigError
from noiseprompt.npd import Npd
from noiseprompt.recipes.plan import read_recipe
from noiseprompt.recipes.run import story_calls

RECIPES = Path(__file__).parents[2] / "recipes"


def recipe(model: str) -> dict:
    return {
        "model": model,
        "collect": {
            "prompts": "shapes:train",
            "n": 24,
            "num_inference_steps": 2,
            "batch_size": 8,
            "shard_size": 8,
            "scorers": ["shapes-checker"],
        },
        "train": {
            "architecture": "tokens",
            "sizes": {"width": 16, "depth": 1, "heads": 2},
            "epochs": 1,
            "batch_size": 8,
            "validation_share": 0.2,
        },
        "evaluate": {
            "prompts": "shapes:test",
            "n": 4,
            "num_inference_steps": 2,
            "scorers": ["shapes-checker"],
            "methods": "standard,redenoise,npnet:path={npnet},npnet:path={npnet},strength=0",
        },
    }


def test_a_recipe_runs_collect_train_and_evaluate(model: str, tmp_path: Path) -> None:
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(recipe(model)))
    assert main(["run", str(path), "--out", str(tmp_path / "run")]) == 0
    assert len(Npd(tmp_path / "run" / "npd")) == 24
    assert (tmp_path / "run" / "npnet" / "best" / "model.safetensors").exists()
    lines = (tmp_path / "run" / "evaluation" / "results.jsonl").read_text().splitlines()
    results = [json.loads(line) for line in lines]
    assert len(results) == 4 * 4
    by_method: dict[str, dict] = {}
    for r in results:
        by_method.setdefault(r["method"], {})[r["prompt_id"], r["seed"]] = r["scores"]["shapes-checker"]
    plain, *_, silent = by_method.values()
    assert plain == silent  # strength 0 draws the standard image
    assert (tmp_path / "run" / "evaluation" / "report.html").exists()
    before = (tmp_path / "run" / "npnet" / "best" / "model.safetensors").stat().st_mtime_ns
    assert main(["run", str(path), "--out", str(tmp_path / "run")]) == 0  # complete: passed over
    assert (tmp_path / "run" / "npnet" / "best" / "model.safetensors").stat().st_mtime_ns == before


def test_a_recipe_of_pictures_runs_to_a_network(model: str, tmp_path: Path) -> None:
    data = recipe(model)
    data["collect"] = {"prompts": "shapes:train", "n": 8, "pictures": "shapes", "seeds_per_prompt": 3, "shard_size": 8}
    data["train"] |= {"objective": "picture", "validation_share": 0.4}
    del data["evaluate"]
    path = tmp_path / "pictures.yaml"
    path.write_text(yaml.safe_dump(data))
    assert main(["run", str(path), "--out", str(tmp_path / "run")]) == 0
    npd = Npd(tmp_path / "run" / "npd")
    assert len(npd) == 24 and npd.pictures and npd.settings["pictures"] == "shapes"
    config = json.loads((tmp_path / "run" / "npnet" / "best" / "config.json").read_text())
    assert config["predicts"] == "picture" and config["gain"] == 1.0


@pytest.mark.parametrize("name", ["shapes-pictures", "shapes-own-pictures", "sdxl-pictures"])
def test_the_recipes_of_pictures_are_read(name: str, tmp_path: Path) -> None:
    path = RECIPES / f"{name}.yaml"
    calls = dict(story_calls(path, read_recipe(path), tmp_path))
    assert list(calls) == ["collect", "train", "evaluate"]
    assert calls["collect"]["settings"].pictures and calls["train"]["settings"].objective == "picture"
    assert f"npnet:path={tmp_path / 'npnet' / 'best'}" in calls["evaluate"]["methods"]


@pytest.mark.parametrize("name", ["shapes-reward", "sdxl-reward"])
def test_the_recipes_of_rewards_are_read(name: str, tmp_path: Path) -> None:
    path = RECIPES / f"{name}.yaml"
    calls = dict(story_calls(path, read_recipe(path), tmp_path))
    assert list(calls) == ["train", "evaluate"] and "npd" not in calls["train"]
    settings = calls["train"]["settings"]
    assert settings.objective == "reward" and settings.reward and settings.validation_scorers
    assert calls["train"]["prompts"] and calls["train"]["out"] == tmp_path / "npnet"


@pytest.mark.parametrize(
    ("training", "match"),
    [
        ({"objective": "reward"}, "train: prompts is missing"),
        ({"prompts": "shapes:train", "n": 3}, "train: prompts without objective: reward; train: n without"),
        ({"objective": "reward", "prompts": "shapes:train", "reward": ["hpsv3"]}, "train: reward: .*hpsv3"),
    ],
)
def test_a_training_by_reward_in_a_recipe(training: dict, match: str, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match=match):
        story_calls(tmp_path / "a.yaml", {"train": training}, tmp_path)


def test_pictures_made_for_prompts_need_them(tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="collect: prompts is missing"):
        story_calls(tmp_path / "a.yaml", {"collect": {"pictures": "drawn"}}, tmp_path)
    assert story_calls(tmp_path / "a.yaml", {"collect": {"pictures": "folder"}}, tmp_path)


def test_a_recipe_with_an_unknown_option_is_refused_before_anything_runs(
    model: str, tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    data = recipe(model)
    data["evaluate"]["guidance"] = 3
    path = tmp_path / "tiny.yaml"
    path.write_text(yaml.safe_dump(data))
    assert main(["run", str(path), "--out", str(tmp_path / "run")]) == 2
    assert "no option guidance" in capsys.readouterr().err
    assert not (tmp_path / "run").exists()


def test_on_and_smoke_belong_to_recipes_with_rows(tmp_path: Path) -> None:
    path = tmp_path / "story.yaml"
    path.write_text("evaluate: {n: 1}\n")
    from noiseprompt.recipes.run import run

    with pytest.raises(ConfigError, match="a recipe with rows"):
        run(path, smoke=True)
