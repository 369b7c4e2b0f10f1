"""What judging adds to drawing: a whole evaluation of the world, checker, preference scorer and set metrics included.

    python benchmarks/evaluate.py [--images 1000] [--batch_size 50]

Time in the pipeline's sampler against all other time of the same run (encoding, scoring, saving, features, reference
scenes, statistics, report), as a ratio, by the clock and by the processor: the second does not depend on what else the
machine does. Also the largest memory of the process after the first tenth of the images and at the end.
"""

from __future__ import annotations

import json
import platform
import resource
import sys
import tempfile
import time
from pathlib import Path

import torch
from jsonargparse import auto_cli

from noiseprompt.methods.base import MethodSpec
from noiseprompt.pipelines import Pipeline
from noiseprompt.prompts import load_prompts
from noiseprompt.scorers.base import load_scorers
from noiseprompt.stages.evaluate.evaluate import evaluate
from noiseprompt.stages.evaluate.plan import EvaluateConfig
from noiseprompt.stages.report.report import report


class Timed(Pipeline):
    """A pipeline that counts the time of its sampler."""

    clock = 0.0
    processor = 0.0

    def sample(self, *args, **kwargs):
        clock, processor = time.perf_counter(), time.process_time()
        images = super().sample(*args, **kwargs)
        self.clock += time.perf_counter() - clock
        self.processor += time.process_time() - processor
        return images


def main(images: int = 1000, batch_size: int = 50, model: str = "shapes") -> None:
    """Measure and print one JSON line."""
    pipeline = Timed.load(model)
    prompts = load_prompts("shapes:test", limit=images // 2).prompts
    scorers = load_scorers(["shapes-preference", "shapes-checker"])
    config = EvaluateConfig(num_seeds=2, batch_size=batch_size)
    memory: list[float] = []
    with tempfile.TemporaryDirectory() as folder:
        clock, processor = time.perf_counter(), time.process_time()
        specs = [MethodSpec.parse("standard")]
        for progress in evaluate(pipeline, prompts, scorers, specs, config, folder):
            if not memory and progress.done >= progress.total / 10:
                memory.append(_megabytes())
        evaluated = time.process_time() - processor
        report(Path(folder))
        clock, processor = time.perf_counter() - clock, time.process_time() - processor
    memory.append(_megabytes())
    line = {
        "images": 2 * len(prompts),
        "machine": platform.processor() or platform.machine(),
        "threads": torch.get_num_threads(),
        "drawing_seconds": round(pipeline.processor, 1),
        "judging_seconds": round(evaluated - pipeline.processor, 1),
        "judging_per_drawing": round((evaluated - pipeline.processor) / pipeline.processor, 3),
        "with_report": round((processor - pipeline.processor) / pipeline.processor, 3),
        "with_report_by_the_clock": round((clock - pipeline.clock) / pipeline.clock, 3),
        "megabytes_at_a_tenth_and_at_the_end": [round(m) for m in memory],
    }
    print(json.dumps(line))


def _megabytes() -> float:
    return resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024


if __name__ == "__main__":
    sys.exit(auto_cli(main))
