"""Facts of the shipped world: accuracy against guidance, and whether the seeds of one prompt differ in outcome.

    python benchmarks/world.py [--n 500] [--seeds 8] [--seed_prompts 100]

Accuracy: share of images of held-out prompts that the exact checker accepts, 10 steps, one seed a prompt, Wilson 95 %.
"""

from __future__ import annotations

import json
import platform
import sys
import time
from pathlib import Path

import numpy as np
import torch
from jsonargparse import auto_cli

from noiseprompt.noise.seeds import batch_noise, prompt_seed
from noiseprompt.pipelines import Pipeline
from noiseprompt.prompts import load_prompts
from noiseprompt.results.statistics import win_rate
from noiseprompt.scorers.shapes_checker import ShapesChecker


def accuracy(pipeline: Pipeline, prompts, seeds, guidance_scale: float, batch: int = 50) -> np.ndarray:
    """Whether each image is right, bool (n,)."""
    right = []
    for i in range(0, len(prompts), batch):
        part = prompts[i : i + batch]
        noise = batch_noise(seeds[i : i + batch], pipeline.latent_shape())
        embeds = pipeline.encode([p.text for p in part])
        images = pipeline.sample(embeds, noise, guidance_scale=guidance_scale, num_inference_steps=10)
        right.append(ShapesChecker().score(images, part) == 1.0)
    return np.concatenate(right)


def main(
    n: int = 500,
    seeds: int = 8,
    seed_prompts: int = 100,
    guidance: list[float] = [1.0, 2.0, 3.0, 4.0, 5.5],  # noqa: B006
    model: str = "shapes",
    out: Path | None = None,
) -> None:
    """Measure and print one JSON line a figure."""
    started = time.time()
    pipeline = Pipeline.load(model)
    prompts = load_prompts("shapes:test", limit=n).prompts
    assigned = [prompt_seed(0, p.id) for p in prompts]
    lines = [{"machine": platform.processor() or platform.machine(), "threads": torch.get_num_threads()}]
    for scale in guidance:
        right = accuracy(pipeline, prompts, assigned, scale)
        w = win_rate(right.astype(float), np.full(len(right), 0.5))
        kinds = {k: round(float(np.mean([r for r, p in zip(right, prompts, strict=True) if p.kind == k])), 3)
                 for k in sorted({p.kind for p in prompts})}  # fmt: skip
        lines.append(
            {"guidance_scale": scale, "n": n, "accuracy": w.rate, "low": w.low, "high": w.high, "kinds": kinds}
        )
        print(json.dumps(lines[-1]), flush=True)
    some = [p for p in prompts[:seed_prompts] for _ in range(seeds)]
    table = accuracy(pipeline, some, list(range(seeds)) * seed_prompts, pipeline.family.guidance_scale)
    table = table.reshape(seed_prompts, seeds)
    differ = (table.any(1) & ~table.all(1)).mean()
    lines.append({"prompts": seed_prompts, "seeds": seeds, "share_of_prompts_whose_seeds_differ": float(differ)})
    lines.append({"seconds": round(time.time() - started)})
    print("\n".join(json.dumps(line) for line in lines[-2:]))
    if out:
        out.write_text("\n".join(json.dumps(line) for line in lines) + "\n")


if __name__ == "__main__":
    sys.exit(auto_cli(main))
