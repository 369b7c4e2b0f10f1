"""docs/reproduction.md: the paper's figures beside ours, and nothing claimed that was not run."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from noiseprompt.cli import main
from noiseprompt.core.tables import table
from noiseprompt.recipes.cells import figures_text, gain_text, mean_text, training_text, verdict, win_text
from noiseprompt.recipes.document import one_table
from noiseprompt.results.summary import ACCURACY
from tests.recipes.test_plan import FILES, TABLES, write

DOCUMENT = Path(__file__).parents[2] / "docs" / "reproduction.md"

PAPER = {
    "columns": ["PickScore", "ImageReward"],
    "rows": {"Standard": [21.5, 0.58], "NPNet": [21.75, 0.65], "DPO": [None, 0.9]},
}
RECIPE: dict[str, Any] = {
    "about": "a test",
    "paper": PAPER,
    "rows": {
        "Standard": {"method": "standard"},
        "NPNet": {"method": "redenoise", "title": "re-denoise"},
        "DPO": {"only": ["sdxl"]},
    },
}


def cell(row: str, gain: tuple[float, float, float] | None, against: dict[str, Any] | None = None) -> dict[str, Any]:
    figures: dict[str, Any] = {"n": 200, "mean": 0.405}
    if gain is not None:
        figures["gain"] = {"mean": gain[0], "low": gain[1], "high": gain[2], "n": 200}
        figures["win"] = {"wins": 3, "losses": 1, "ties": 4, "rate": 0.625, "low": 0.3, "high": 0.86}
        figures["p_holm"] = 0.01
    return {
        "group": "", "row": row, "prompts": 200, "denoiser_calls": 20.0, "noise_seconds": 0.25, "sample_seconds": 0.5,
        "metrics": {ACCURACY: figures}, "training": None, "against": against or {},
    }  # fmt: skip


def section(tmp_path: Path, recipe: dict[str, Any], cells: list[dict[str, Any]] | None) -> str:
    path = write(tmp_path, recipe)
    if cells is not None:
        made = {"smoke": False, "metrics": [ACCURACY], "cells": cells, "analyses": {}}
        (tmp_path / "tiny.json").write_text(json.dumps(made))
    return one_table(path, "shapes", tmp_path)


def cells_of(text: str) -> list[list[str]]:
    return [[c.strip() for c in line.strip("|").split("|")] for line in text.splitlines() if line.startswith("| ")]


def test_a_table_that_was_not_run_says_so_beside_the_papers_figures(tmp_path: Path) -> None:
    text = section(tmp_path, RECIPE, None)
    assert "**Not run yet.**" in text
    titles, standard, npnet, dpo = cells_of(text)
    assert titles == ["", "paper: PickScore", "paper: ImageReward", "here"]
    assert standard == ["Standard", "21.50", "0.58", "not run yet"]
    assert npnet[0] == "NPNet (here: re-denoise)"
    assert dpo == ["DPO", "", "0.90", "not run here: needs weights"]


def test_our_figures_stand_beside_the_papers(tmp_path: Path) -> None:
    text = section(tmp_path, RECIPE, [cell("Standard", None), cell("NPNet", (-0.05, -0.08, -0.02))])
    assert "Not run yet" not in text
    titles, standard, npnet, dpo = cells_of(text)
    assert titles[3:] == ["n", "accuracy", "accuracy: gain over standard", "as in the paper?"]
    assert standard[3:] == ["200", "40.5 %", "", ""]
    assert npnet[3:] == ["200", "40.5 %", "-5.0 points [-8.0, -2.0]\\*", "no"]
    assert dpo[3] == "not run here: needs weights" and len(dpo) == len(titles)


def test_differences_to_another_row(tmp_path: Path) -> None:
    recipe = {**RECIPE, "paper": {**PAPER, "against": "NPNet", "cost": True}}
    difference = {ACCURACY: {"mean": -0.1, "low": -0.2, "high": -0.05, "n": 200}}
    titles, standard, npnet, _ = cells_of(
        section(tmp_path, recipe, [cell("Standard", None, difference), cell("NPNet", (0.1, 0.05, 0.2))])
    )
    assert titles[6:] == ["accuracy: difference to NPNet", "as in the paper?", "denoiser calls", "seconds an image"]
    assert standard[6:] == ["-10.0 points [-20.0, -5.0]", "yes", "20", "0.75"]  # the paper: .58 below .65
    assert npnet[6:8] == ["", ""]


def test_no_verdict_where_the_paper_prints_no_score(tmp_path: Path) -> None:
    cells = [cell("Standard", None), cell("NPNet", (0.1, 0.05, 0.2))]
    for paper in ({}, {**PAPER, "metric": "none"}):
        assert "as in the paper?" not in section(tmp_path, {**RECIPE, "paper": paper}, cells)
    first = section(tmp_path, {**RECIPE, "paper": {**PAPER, "metric": "PickScore"}}, cells)
    assert cells_of(first)[2][-1] == "yes"


@pytest.mark.parametrize(
    ("paper", "gain", "word"),
    [
        (0.07, (0.05, 0.01, 0.09), "yes"),
        (0.07, (-0.05, -0.09, -0.01), "no"),
        (-0.07, (-0.05, -0.09, -0.01), "yes"),
        (0.07, (0.05, -0.01, 0.09), "undecided"),
        (0.0, (0.05, 0.01, 0.09), "undecided"),
        (None, (0.05, 0.01, 0.09), ""),
    ],
)
def test_verdict(paper: float | None, gain: tuple[float, float, float], word: str) -> None:
    assert verdict(paper, dict(zip(("mean", "low", "high"), gain, strict=True))) == word
    assert verdict(paper, None) == ""


def test_cells_as_text() -> None:
    gain = {"mean": 0.0321, "low": -0.0019, "high": 0.064}
    assert gain_text(ACCURACY, {"gain": gain, "p_holm": 0.2}) == "+3.2 points [-0.2, +6.4]"
    assert gain_text("hpsv2", {"gain": {**gain, "low": None}, "p_holm": 0.04}) == "+0.032 [?, +0.064]\\*"
    assert gain_text("hpsv2", {}) == win_text({}) == training_text(None) == ""
    assert mean_text(ACCURACY, {"mean": 0.3761}) == "37.6 %" and mean_text("aes", {"mean": 6.03}) == "6.030"
    assert win_text({"win": {"rate": 0.535, "low": 0.44, "high": 0.628}}) == "54 % [44, 63]"
    assert figures_text({"rows": {"a": [1.0e-4, 2.0], "b": [2.0e-5, 3.25]}}, [1.0e-4, 2.0]) == ["0.0001", "2.00"]
    assert table(["a", "b"], [["x|y"], [1, 2]]) == "| a | b |\n|---|---|\n| x\\|y |  |\n| 1 | 2 |"
    trained = {"dropped": 0.25, "kept": 1500, "pairs": 2000, "limit": 300, "steps": 1200, "explained": 0.321}
    text = "25.0 % dropped, 1,500 of 2,000 pairs, the first 300; 1,200 steps; 32.1 % explained"
    assert training_text(trained) == text


def test_the_command_writes_every_recipe(tmp_path: Path, capsys: pytest.CaptureFixture[str]) -> None:
    out = tmp_path / "docs" / "reproduction.md"
    assert main(["tables", str(out), str(tmp_path / "runs" / "shapes"), "--recipes", str(TABLES)]) == 0
    assert f"0 of {len(FILES)} recipes were run" in capsys.readouterr().out
    text = out.read_text()
    assert text.count("**Not run yet.**") == len(FILES)
    for file in FILES:
        assert f"## {file.stem.replace('-', ' ').capitalize()}: " in text
        assert f"`noiseprompt run {file} --on shapes`" in text


def test_the_document_in_the_repository_is_of_these_recipes() -> None:
    text = DOCUMENT.read_text(encoding="utf-8")
    found = re.findall(r"^## ([A-Z][a-z]+ \d+): ", text, flags=re.MULTILINE)
    assert found == [file.stem.replace("-", " ").capitalize() for file in FILES]
    assert "A check with a few prompts" not in text
