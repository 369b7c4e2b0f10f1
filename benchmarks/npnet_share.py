"""NPNet's share of the time of one 10-step image of the world, batch 1 and 16, medians of repeated runs.

python benchmarks/npnet_share.py [--repeats 9]
"""

from __future__ import annotations

import json
import platform
import statistics
import sys
import time
from collections.abc import Callable

import torch
from jsonargparse import auto_cli

from noiseprompt.noise.seeds import batch_noise
from noiseprompt.npnet import NPNet
from noiseprompt.pipelines import Pipeline
from noiseprompt.prompts import load_prompts
from noiseprompt.shapes import npnet_folder


def median_seconds(work: Callable[[], object], repeats: int) -> float:
    work()
    times = []
    for _ in range(repeats):
        started = time.perf_counter()
        work()
        times.append(time.perf_counter() - started)
    return statistics.median(times)


@torch.no_grad()
def main(repeats: int = 9) -> None:
    """Print one JSON line a batch size."""
    pipeline, npnet = Pipeline.load("shapes"), NPNet.from_pretrained(npnet_folder())
    print(json.dumps({"machine": platform.processor() or platform.machine(), "threads": torch.get_num_threads()}))
    for batch in (1, 16):
        texts = [p.text for p in load_prompts("shapes:test", limit=batch).prompts]
        embeds = pipeline.encode(texts)
        noise = batch_noise(range(batch), pipeline.latent_shape())
        level = pipeline.start_level(10)
        image = median_seconds(lambda e=embeds, x=noise: pipeline.sample(e, x, num_inference_steps=10), repeats)
        net = median_seconds(lambda e=embeds, x=noise, at=level: npnet(x, e.prompt_embeds, at), repeats)
        down_up = median_seconds(lambda e=embeds, x=noise: pipeline.redenoise(e, x), repeats)
        line = {"batch": batch, "image_ms": image, "npnet_ms": net, "redenoise_ms": down_up}
        line = {k: round(v * 1e3 / batch, 2) if k.endswith("ms") else v for k, v in line.items()}
        print(json.dumps({**line, "npnet_share": round(net / image, 4), "redenoise_share": round(down_up / image, 4)}))


if __name__ == "__main__":
    sys.exit(auto_cli(main))
