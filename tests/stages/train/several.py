"""Trainings that several processes make together: `python -m tests.stages.train.several FOLDER`, started by a launcher.

FOLDER/pairs, FOLDER/pictures    data sets
FOLDER/NAME                      run folders, of `RUNS`
FOLDER/seen-RANK.json            what each process saw
"""

from __future__ import annotations

import itertools
import json
import os
import subprocess
import sys
import threading
from collections.abc import Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

from noiseprompt.core.ranks import ALONE, Processes
from noiseprompt.npd import Npd
from noiseprompt.pipelines import Pipeline
from noiseprompt.stages.train.settings import TrainConfig, TrainProgress
from noiseprompt.stages.train.train import train
from noiseprompt.stages.train.train_reward import train_reward
from tests import reward_fakes, tiny
from tests.train_fakes import CONFIG, FakePipeline

SIZES = {"svd_hidden": 16, "svd_wide": 16, "swin_depths": [1], "swin_heads": [2], "swin_width": 16}
LONG = replace(CONFIG, epochs=8, batch_size=15, validate_every=25, checkpoint_every=20)
"""More than 50 steps; 15 pairs are no whole number for each of two processes."""

RUNS: dict[str, TrainConfig] = {
    "tokens": LONG,
    "paper": replace(LONG, architecture="paper", sizes=SIZES, accumulate=2, keep_text=False),
    "half": replace(LONG, mixed_precision="bf16", epochs=1),
    "picture": replace(LONG, objective="picture", epochs=3),
    "reward": reward_fakes.config_of(epochs=1, accumulate=2),
}


def run(name: str, folder: Path, processes: Processes = ALONE) -> tuple[Iterator[TrainProgress], Any]:
    """One training of `RUNS`, and its pipeline."""
    config, out = RUNS[name], folder / name
    if config.objective == "reward":
        pipeline: Any = Pipeline(tiny.stable_diffusion())
        return train_reward(reward_fakes.PROMPTS, pipeline, config, out, reward_fakes.JUDGES, processes), pipeline
    pipeline = FakePipeline()
    npd = Npd(folder / ("pictures" if config.objective == "picture" else "pairs"))
    return train(npd, pipeline, config, out, processes), pipeline


def launch(words: list[str], port: int, size: int = 2, **said: str) -> list[subprocess.Popen[str]]:
    """Processes as torchrun starts them, without torchrun above them."""
    all_of = {**os.environ, "WORLD_SIZE": str(size), "MASTER_ADDR": "127.0.0.1", "MASTER_PORT": str(port), **said}
    return [
        subprocess.Popen(
            [sys.executable, *words],
            env={**all_of, "RANK": str(rank), "LOCAL_RANK": str(rank), "OMP_NUM_THREADS": "1"},
            cwd=Path(__file__).parents[3],
            stdout=subprocess.PIPE,
            stderr=subprocess.PIPE,
            text=True,
        )
        for rank in range(size)
    ]


def main(folder: Path) -> None:
    from noiseprompt.engines.processes import joined

    with joined("cpu") as processes:
        seen: dict[str, Any] = {}
        for name in RUNS:
            records, pipeline = run(name, folder, processes)
            # of one training a part: another number of processes goes on with it
            found = list(itertools.islice(records, 25 if name == "tokens" else None))
            del records
            seen[name] = {
                "losses": [record.loss for record in found],
                "explained": [record.explained for record in found],
                "encoded": getattr(pipeline, "encoded", None),
            }
        path = folder / f"seen-{processes.rank}.json"
        path.write_text(json.dumps({**seen, "threads": [thread.name for thread in threading.enumerate()]}))


if __name__ == "__main__":
    main(Path(sys.argv[1]))
