"""SIGKILL at random moments: what is continued with the same command ends as what was never killed. Goal: always.

    python benchmarks/kills.py [--kills 100] [--seed 0] [--only collect train ...]

A process that has loaded everything forks for each try, so that kills fall into the work and not into the start.
A folder is killed up to four times, then finished; its rows, weights and pictures are compared with those of a run that
nobody killed. Seconds, which rows and records tell too, are left out. Exit status 1 where anything differs.
"""

from __future__ import annotations

import argparse
import json
import math
import os
import random
import shutil
import signal
import sys
import tempfile
import time
from collections.abc import Callable, Mapping
from dataclasses import dataclass
from pathlib import Path
from typing import Any

MOST = 4
"""Kills of one folder."""

SIZES = {"width": 16, "depth": 1, "heads": 2}
DRAWN = {"num_inference_steps": 2, "batch_size": 4}
COLLECT = {"prompts": "shapes:train", "n": 24, "shard_size": 5, "scorers": ["shapes-preference"], **DRAWN}
TRAIN = {
    "architecture": "tokens",
    "sizes": SIZES,
    "epochs": 6,
    "batch_size": 4,
    "validation_share": 0.3,
    "checkpoint_every": 3,
    "checkpoint_seconds": 0,
    "validate_every": 3,
    "margin": -99,
}
SCENES = {
    "prompts": "shapes:train",
    "n": 8,
    "pictures": "shapes",
    "seeds_per_prompt": 3,
    "shard_size": 5,
    "batch_size": 4,
}
LEARN_SCENES = {**{key: value for key, value in TRAIN.items() if key != "margin"}, "objective": "picture"}
EVALUATE = {"prompts": "shapes:test", "n": 8, "scorers": ["shapes-preference"], **DRAWN}
RECIPE = {
    "collect": {**COLLECT, "n": 12},
    "train": {**TRAIN, "epochs": 3},
    "evaluate": {**EVALUATE, "n": 4, "batch_size": 2, "methods": "standard,npnet:path={npnet}"},
}
"""All three stages, smaller than alone: a kill costs about as much as half a run, and a folder one more."""

# ------------------------------------------------------------------------------------------------------- what counts


def without_times(value: Any) -> Any:
    """JSON data without what a clock decides."""
    if isinstance(value, dict):
        return {key: without_times(one) for key, one in value.items() if "second" not in key}
    return [without_times(one) for one in value] if isinstance(value, list) else value


def files_of(out: Path) -> dict[str, bytes]:
    """Relative path -> content of every file below a folder."""
    return {str(path.relative_to(out)): path.read_bytes() for path in sorted(out.rglob("*")) if path.is_file()}


def _lines(path: Path) -> list[dict[str, Any]]:
    return [json.loads(line) for line in path.read_text().splitlines()]


def pairs(out: Path) -> dict[str, Any]:
    """Every byte of a data set."""
    return files_of(out)


def weights(out: Path) -> dict[str, Any]:
    """Networks, and the steps that were told: those after the last checkpoint may be told twice."""
    found: dict[str, Any] = {name: data for name, data in files_of(out).items() if name.endswith(".safetensors")}
    for path in out.rglob("metrics.jsonl"):
        found |= {f"{line.get('stage')} {line['step']}": True for line in _lines(path)}
    return found


def pictures(out: Path) -> dict[str, Any]:
    """Pictures, rows of results in any order, and their summary."""
    found: dict[str, Any] = {name: data for name, data in files_of(out).items() if name.endswith(".png")}
    for name in ("run.json", "results.json"):
        found |= {str(p.relative_to(out)): without_times(json.loads(p.read_text())) for p in out.rglob(name)}
    for path in out.rglob("results.jsonl"):
        found["rows"] = sorted(map(str, without_times(_lines(path))))
    return found


def story(out: Path) -> dict[str, Any]:
    """Of a recipe, all of these."""
    return {**pairs(out / "npd"), **weights(out / "npnet"), **pictures(out / "evaluation")}


# ------------------------------------------------------------------------------------------------------ the commands


def words(**options: Any) -> list[str]:
    """As on the command line."""
    return [f"--{name}={value if isinstance(value, str) else json.dumps(value)}" for name, value in options.items()]


@dataclass(frozen=True)
class Case:
    """One command.

    Fields:
        words: of the command line without its output; {npd} and {scenes} are data sets, {recipe} a recipe.
        made: what counts of its output.
    """

    words: tuple[str, ...]
    made: Callable[[Path], dict[str, Any]]


CASES: dict[str, Case] = {
    "collect": Case(("collect", *words(**COLLECT)), pairs),
    "train": Case(("train", "--npd={npd}", *words(**TRAIN)), weights),
    "scenes": Case(("collect", *words(**SCENES)), pairs),
    "train on scenes": Case(("train", "--npd={scenes}", *words(**LEARN_SCENES)), weights),
    "evaluate": Case(("evaluate", *words(methods="standard,redenoise", **EVALUATE)), pictures),
    "generate": Case(("generate", "a cat", *words(methods="standard,redenoise", seeds="0-7", **DRAWN)), pictures),
    "recipe": Case(("run", "{recipe}"), story),
}


def prepare(home: Path) -> dict[str, str]:
    """Import and load all that the commands need, and make what they are made of."""
    import torch
    import yaml

    from noiseprompt.cli import commands
    from noiseprompt.pipelines import Pipeline
    from noiseprompt.pipelines.loading import silence
    from noiseprompt.pipelines.options import ModelOptions
    from noiseprompt.shapes.model import build_pipeline

    torch.set_num_threads(1)  # a process with threads does not fork
    torch.manual_seed(0)
    silence()
    build_pipeline().save_pretrained(home / "world")
    pipeline = Pipeline.load(str(home / "world"), ModelOptions(device="cpu"))
    commands._load = lambda *_: pipeline  # type: ignore[assignment]
    (home / "recipe.yaml").write_text(yaml.safe_dump(RECIPE))
    places = {"npd": str(home / "npd"), "scenes": str(home / "scenes"), "recipe": str(home / "recipe.yaml")}
    end(start(CASES["collect"], home / "npd", places, home / "log"))
    end(start(CASES["scenes"], home / "scenes", places, home / "log"))
    return places


def start(case: Case, out: Path, places: Mapping[str, str], log: Path) -> int:
    """Fork a process that runs the command; its number."""
    given = [
        word.format(**places) if word in ("--npd={npd}", "--npd={scenes}", "{recipe}") else word for word in case.words
    ]
    number = os.fork()
    if number:
        return number
    try:
        handle = os.open(log, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600)
        os.dup2(handle, 1), os.dup2(handle, 2)
        import torch

        from noiseprompt.cli import main

        torch.set_num_threads(1)  # torch makes its pool anew after a fork, and fails where two threads do so at once
        os._exit(main([*given, f"--out={out}"]))
    finally:
        os._exit(70)


def end(number: int, after: float | None = None) -> int | None:
    """The exit status of a process, None where it was killed after so many seconds."""
    if after is not None:
        until = time.monotonic() + after
        while time.monotonic() < until:
            ended, status = os.waitpid(number, os.WNOHANG)
            if ended:  # it was faster
                return os.waitstatus_to_exitcode(status)
            time.sleep(0.001)
        os.kill(number, signal.SIGKILL)
    status = os.waitstatus_to_exitcode(os.waitpid(number, 0)[1])
    return None if status == -signal.SIGKILL else status


# ---------------------------------------------------------------------------------------------------------- the kills


@dataclass
class Row:
    """Of the table.

    Fields:
        kills: that hit a running process.
        folders: finished afterwards.
        failed: of them, those whose command did not end well.
        other: of them, those that differ.
        seconds: of a run that is not killed.
    """

    kills: int = 0
    folders: int = 0
    failed: int = 0
    other: int = 0
    seconds: float = 0.0


def try_case(case: Case, home: Path, places: Mapping[str, str], kills: int, random_: random.Random) -> Row:
    """Kill one command so many times."""
    out, log, row = home / "out", home / "log", Row(seconds=math.inf)  # one name for all: recipes tell it

    def finish(whole: bool = False) -> dict[str, Any]:
        begun = time.monotonic()
        status = end(start(case, out, places, log))
        if status:
            row.failed += 1
            print(log.read_text(errors="replace")[-2000:], file=sys.stderr)
        if whole:
            row.seconds = min(row.seconds, time.monotonic() - begun)
        made = case.made(out) if not status else {}
        shutil.rmtree(out, ignore_errors=True)
        return made

    expected = [finish(whole=True) for _ in range(2)][-1]  # the first is slow
    while row.kills < kills:
        for _ in range(min(MOST, kills - row.kills)):
            if end(start(case, out, places, log), random_.uniform(0, row.seconds)) is not None:
                break
            row.kills += 1
        made = finish()
        row.folders += 1
        print(f"{row.kills} of {kills} kills, {row.folders} folders", file=sys.stderr, flush=True)
        if made and made != expected:
            row.other += 1
            differing = sorted(name for name in {*made, *expected} if made.get(name) != expected.get(name))
            print(f"other than without kills: {', '.join(differing[:8])}", file=sys.stderr)
    return row


def run(kills: int = 100, seed: int = 0, only: list[str] | None = None) -> bool:
    """Print the table; whether nothing was lost."""
    names = only or list(CASES)
    random_, good = random.Random(seed), True
    print(f"{'command':<16} {'kills':>6} {'folders':>8} {'failed':>7} {'other':>6} {'s a run':>8}")
    with tempfile.TemporaryDirectory() as folder:
        home = Path(folder)
        places = prepare(home)
        for index, name in enumerate(names):
            share = kills // len(names) + (index < kills % len(names))
            row = try_case(CASES[name], home, places, share, random_)
            good = good and not row.failed and not row.other
            figures = f"{row.kills:>6} {row.folders:>8} {row.failed:>7} {row.other:>6} {row.seconds:>8.2f}"
            print(f"{name:<16} {figures}", flush=True)
    return good


if __name__ == "__main__":
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    parser.add_argument("--kills", type=int, default=100)
    parser.add_argument("--seed", type=int, default=0)
    parser.add_argument("--only", nargs="+", choices=CASES, default=None)
    given = parser.parse_args()
    sys.exit(not run(given.kills, given.seed, given.only))
