"""Every benchmark still starts: a name that moved is found here, not on the machine that was booked for it."""

from __future__ import annotations

import importlib.util
import subprocess
import sys
from pathlib import Path

import pytest

FOLDER = Path(__file__).parents[1] / "benchmarks"


@pytest.mark.parametrize("path", sorted(FOLDER.glob("*.py")), ids=lambda path: path.stem)
def test_a_benchmark_can_be_imported(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.syspath_prepend(str(FOLDER))
    spec = importlib.util.spec_from_file_location(f"benchmark_{path.stem}", path)
    assert spec is not None and spec.loader is not None
    module = importlib.util.module_from_spec(spec)
    monkeypatch.setitem(sys.modules, spec.name, module)
    spec.loader.exec_module(module)


QUICK = {
    "collect:apart": ["apart", "--pairs", "4", "--batch-size", "2", "--device-ms", "20", "--repeats", "1"],
    "full_size": ["--tiny", "true"],
    "resize": ["--n", "1"],
    "npd_reads": ["--pairs", "8", "--reads", "16", "--seeds", "2", "--repeats", "1"],
}
"""Benchmark, or one of its commands, -> the words of its smallest run: a few seconds."""

LONGER = {
    "collect": ["speed", "--tiny", "--pairs", "2", "--batch-size", "2", "--dtype", "float32", "--repeats", "1"],
    "collect:scored": ["scored", "--tiny", "--pairs", "2", "--batch-size", "2", "--repeats", "1"],
    "collect:memory": ["memory", "--pairs", "8"],
    "evaluate": ["--images", "20", "--batch_size", "10"],
    "feed": ["--pairs", "128", "--prompts", "16", "--batches", "2", "--steps", "2", "--device_ms", "1"],
    "filter_steps": ["--n", "2", "--steps", "[2,3]", "--batch_size", "2"],
    "help": ["--repeats", "1", "--only", "npd info"],
    "npnet_memory": ["--repeats", "1"],
    "npnet_share": ["--repeats", "1"],
    "npnet_speed": ["--repeats", "1"],
    "picture_price": [],
    "precision": ["--n", "2", "--batch_size", "2"],
    "reward_price": [],
    "reward_signal": ["--n", "3", "--batch_size", "1", "--chains", "[2,1]"],
    "scoring_share": ["--n", "4", "--batch", "2"],
    "web": ["load", "--visitors", "4", "--rounds", "1"],
    "workers": ["--n", "16", "--rounds", "1"],
    "world": ["--n", "2", "--seeds", "2", "--seed_prompts", "1", "--guidance", "[2.0]"],
}


def started(name: str, words: list[str]) -> None:
    done = subprocess.run(
        [sys.executable, str(FOLDER / f"{name.partition(':')[0]}.py"), *words], capture_output=True, text=True
    )
    assert done.returncode == 0, done.stderr[-1500:]
    assert done.stdout.strip()


@pytest.mark.parametrize("name", QUICK)
def test_a_benchmark_runs(name: str) -> None:
    started(name, QUICK[name])


@pytest.mark.slow
@pytest.mark.parametrize("name", LONGER)
def test_a_longer_benchmark_runs(name: str) -> None:
    started(name, LONGER[name])


@pytest.mark.slow
def test_what_reads_an_evaluation_runs(tmp_path: Path) -> None:
    words = [
        "evaluate",
        "--n",
        "4",
        "--num_seeds",
        "2",
        "--methods",
        "standard",
        "--report",
        "false",
        "--features",
        "none",
    ]
    subprocess.run([sys.executable, "-m", "noiseprompt", *words, "--out", str(tmp_path)], check=True)
    started("scorer_agreement", [str(tmp_path)])
    started("layouts", [str(tmp_path)])


def test_every_benchmark_is_tried_here_and_started_by_make() -> None:
    names = {path.stem for path in FOLDER.glob("*.py")}
    tried = {name.partition(":")[0] for name in (*QUICK, *LONGER)}
    assert names == {*tried, "flow_model", "kills", "layouts", "scorer_agreement"}
    recipe = (FOLDER.parent / "Makefile").read_text().split("\nbench:")[1].split("\n\n")[0]
    assert {name for name in names if f"benchmarks/{name}.py" in recipe} == names


def test_kills_are_survived() -> None:
    words = [sys.executable, str(FOLDER / "kills.py"), "--kills", "2", "--only", "scenes"]
    done = subprocess.run(words, capture_output=True, text=True, timeout=300)
    assert done.returncode == 0, done.stderr
    kills, folders, failed, other = map(int, done.stdout.splitlines()[-1].split()[1:5])
    assert kills == 2 and folders >= 1 and failed == other == 0
