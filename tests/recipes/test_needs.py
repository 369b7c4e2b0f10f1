"""What is not at hand is told in one message before anything runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from noiseprompt.cli import main
from noiseprompt.recipes.plan import Plan, Stage, make_plan, recipes_in

TABLES = Path(__file__).parents[2] / "recipes" / "tables"
FILES = recipes_in(TABLES)


@pytest.fixture
def offline(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    monkeypatch.setattr(constants, "HF_HUB_CACHE", str(tmp_path / "hub"))


@pytest.mark.usefixtures("offline")
def test_missing_weights_are_said_in_one_message(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    words = ["run", str(TABLES / "table-1.yaml"), "--on", "sdxl", "--out", str(tmp_path / "runs")]
    assert main(words) == 2
    error = capsys.readouterr().err
    assert error.count("noiseprompt: error: needs weights: ") == 1 and error.count("\n") == 1
    for name in (
        "stabilityai/stable-diffusion-xl-base-1.0",
        "Lykon/dreamshaper-xl-v2-turbo",
        "hpsv2",
        "sayakpaul/drawbench",
    ):
        assert name in error
    assert not (tmp_path / "runs").exists()


@pytest.mark.usefixtures("offline")
@pytest.mark.parametrize("file", FILES, ids=lambda file: file.stem)
def test_the_world_needs_nothing(file: Path) -> None:
    from noiseprompt.recipes.needs import find_missing

    assert find_missing(make_plan(file, "shapes")) == []


@pytest.mark.usefixtures("offline")
def test_a_split_may_go_by_its_short_name_on_the_world_alone(tmp_path: Path) -> None:
    from noiseprompt.recipes.needs import find_missing

    plan = Plan("any", {}, "shapes", False, tmp_path)
    plan.stages = {
        Path(m): Stage("evaluate", Path(m), {"prompts": "test", "model": m}) for m in ("shapes", str(tmp_path))
    }
    assert find_missing(plan) == ["prompts test"]
    del plan.stages[tmp_path]
    assert find_missing(plan) == []
