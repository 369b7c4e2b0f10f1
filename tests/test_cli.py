"""The command line: every command parses, bad input ends in one line, and the whole story runs from a recipe."""

from __future__ import annotations

import json
from pathlib import Path

import pytest
import torch
import yaml

from noiseprompt.cli import COMMANDS, Command, build_parser, main
from noiseprompt.commands import _names
from noiseprompt.shapes.model import build_pipeline
from noiseprompt.store import Npd


def every_command() -> list[list[str]]:
    found = []
    for name, command in COMMANDS.items():
        found += [[name]] if isinstance(command, Command) else [[name, inner] for inner in command]
    return found


@pytest.fixture(scope="module")
def model(tmp_path_factory: pytest.TempPathFactory) -> str:
    """An untrained world on disk: the commands meet the same loading code as for a 7 GB model."""
    torch.manual_seed(0)
    folder = tmp_path_factory.mktemp("model") / "world"
    build_pipeline().save_pretrained(folder)
    return str(folder)


@pytest.mark.parametrize("words", every_command(), ids=" ".join)
def test_every_command_explains_itself(words: list[str], capsys: pytest.CaptureFixture[str]) -> None:
    with pytest.raises(SystemExit) as stop:
        build_parser([*words, "--help"]).parse_args([*words, "--help"])
    assert stop.value.code == 0
    assert "--config" in capsys.readouterr().out


@pytest.mark.parametrize(
    ("words", "message"),
    [
        ("generate x --out {tmp}/o --model {tmp}/nothing", "nothing"),
        ("generate x --out {tmp}/o --methods standrad", "Did you mean 'standard'"),
        ("generate x --out {tmp}/o --seeds 5-2", "seeds '5-2'"),
        ("collect --prompts {tmp}/none.txt --out {tmp}/o", "none.txt"),
        ("evaluate --out {tmp}/o --prompts {tmp}/none.csv --scorers+ shapes-checker", "none.csv"),
        ("evaluate --out {tmp}/o --model {model} --scorers+ beauty", "unknown scorer 'beauty'"),
        ("train --npd {tmp}/none --out {tmp}/o", "none"),
        ("npd info {tmp}/none", "none"),
        ("import {tmp}/none.pth {tmp}/o", "none.pth"),
        ("run {tmp}/none.yaml", "none.yaml"),
        ("report {tmp}", "evaluat"),
    ],
)
def test_bad_input_ends_in_one_message(
    words: str, message: str, tmp_path: Path, model: str, capsys: pytest.CaptureFixture[str]
) -> None:
    assert main([w.format(tmp=tmp_path, model=model) for w in words.split()]) == 2
    error = capsys.readouterr().err
    assert error.count("noiseprompt: error:") == 1 and message in error and "Traceback" not in error


def test_method_lists_keep_options_together() -> None:
    assert _names("standard,npnet:path=a,strength=1.5,redenoise:swap") == [
        "standard",
        "npnet:path=a,strength=1.5",
        "redenoise:swap",
    ]


def recipe(model: str) -> dict:
    return {
        "model": model,
        "collect": {
            "prompts": "shapes:train",
            "limit": 24,
            "sampling_steps": 2,
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
