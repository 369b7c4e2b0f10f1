"""Time to judge images of the world (checker, preference scorer, features) as a share of the time to draw them.

python benchmarks/scoring_share.py [--n 1000] [--batch 16]
"""

from __future__ import annotations

import json
import platform
import sys
import time

import torch
from jsonargparse import auto_cli

from noiseprompt.noise.seeds import batch_noise
from noiseprompt.pipelines import Pipeline
from noiseprompt.prompts import load_prompts
from noiseprompt.scorers import load_scorers
from noiseprompt.scorers.sets.distances import FeatureStore
from noiseprompt.scorers.sets.extractors import load_features


@torch.no_grad()
def main(n: int = 1000, batch: int = 16) -> None:
    """Print one JSON line: milliseconds an image, and shares of the time to draw."""
    pipeline, prompts = Pipeline.load("shapes"), load_prompts("shapes:test", limit=n).prompts
    scorers, network = load_scorers(["shapes-checker", "shapes-preference"]), load_features("shapes-features")
    seconds = dict.fromkeys(["draw", *(scorer.name for scorer in scorers), network.name], 0.0)
    store = FeatureStore(network.width)
    for start in range(-batch, len(prompts), batch):  # the first batch warms up
        part = prompts[max(start, 0) : max(start, 0) + batch]
        noise = batch_noise(range(len(part)), pipeline.latent_shape())
        marks = [time.perf_counter()]
        images = pipeline.sample(pipeline.encode([p.text for p in part]), noise, num_inference_steps=10)
        marks.append(time.perf_counter())
        for scorer in scorers:
            scorer.score(images, part)
            marks.append(time.perf_counter())
        store.add(network.features(images))
        marks.append(time.perf_counter())
        if start >= 0:
            for name, begin, end in zip(seconds, marks, marks[1:], strict=False):
                seconds[name] += end - begin
    drawn = seconds["draw"]
    line = {f"{name}_ms": round(1e3 * spent / len(prompts), 2) for name, spent in seconds.items()}
    share = round(sum(seconds.values()) / drawn - 1, 4)
    machine = {"machine": platform.processor() or platform.machine(), "threads": torch.get_num_threads()}
    print(json.dumps({**machine, "n": len(prompts), "batch": batch, **line, "judging_share": share}))


if __name__ == "__main__":
    sys.exit(auto_cli(main))
