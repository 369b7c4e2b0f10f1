"""How far a filter at few steps chooses the pairs that a filter at many steps would, on the embedded world.

    python benchmarks/filter_steps.py                (about 10 minutes on one core)

Source and target (re-denoise) noises of training prompts are drawn at each number of steps and scored. A filter keeps a
pair whose target's image scores higher. Per number of steps, one JSON line: the share it keeps, how often it agrees
with the reference (the largest number of steps), and by how much the pairs it keeps gain in the reference's images, in
preference and in accuracy of the checker.
"""

from __future__ import annotations

import json
import sys

import numpy as np
from jsonargparse import auto_cli

from noiseprompt.noise.seeds import batch_noise
from noiseprompt.pipelines import Pipeline
from noiseprompt.prompts import load_prompts
from noiseprompt.results.statistics import paired_bootstrap
from noiseprompt.scorers.base import load_scorers


def gains(n: int, seed: int, steps: list[int], batch_size: int) -> dict[int, dict[str, np.ndarray]]:
    """Number of steps -> scorer -> (n,) score of the target's image less that of the source's."""
    pipeline, scorers = Pipeline.load("shapes"), load_scorers(["shapes-preference", "shapes-checker"])
    prompts = load_prompts("shapes:train", limit=n, model="shapes").prompts
    noise = batch_noise([seed + i for i in range(n)], pipeline.latent_shape())
    found: dict[int, dict[str, list[float]]] = {count: {s.name: [] for s in scorers} for count in steps}
    for start in range(0, n, batch_size):
        rows = slice(start, start + batch_size)
        embeds = pipeline.encode([prompt.text for prompt in prompts[rows]])
        target = pipeline.redenoise(embeds, noise[rows])
        for count in steps:
            source_images, target_images = (
                pipeline.sample(embeds, latents, num_inference_steps=count) for latents in (noise[rows], target)
            )
            for scorer in scorers:
                after, before = (scorer.score(images, prompts[rows]) for images in (target_images, source_images))
                if scorer.name == "shapes-checker":  # accuracy: whether the image is right
                    after, before = after == 1, before == 1
                found[count][scorer.name] += (np.asarray(after, float) - np.asarray(before, float)).tolist()
    return {count: {name: np.array(values) for name, values in table.items()} for count, table in found.items()}


def mean(values: np.ndarray) -> list[float] | None:
    """Mean and its 95 % bootstrap interval; None of no pairs."""
    if not len(values):
        return None
    interval = paired_bootstrap(values)
    return [round(float(value), 4) for value in (interval.mean, interval.low, interval.high)]


def main(n: int = 300, seed: int = 300_000, steps: tuple[int, ...] = (4, 6, 10, 20, 50), batch_size: int = 50) -> None:
    """Print a JSON line a number of steps, the reference last."""
    counts = sorted(steps)
    table = gains(n, seed, counts, batch_size)
    reference = table[counts[-1]]
    kept = {count: table[count]["shapes-preference"] > 0 for count in counts}
    for count in counts:
        line = {
            "steps": count,
            "pairs": n,
            "kept": round(float(kept[count].mean()), 4),
            "agreement": mean((kept[count] == kept[counts[-1]]).astype(float)),
            "preference of kept": mean(reference["shapes-preference"][kept[count]]),
            "accuracy of kept": mean(reference["shapes-checker"][kept[count]]),
            "preference of dropped": mean(reference["shapes-preference"][~kept[count]]),
            "accuracy of dropped": mean(reference["shapes-checker"][~kept[count]]),
        }
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    sys.exit(auto_cli(main))
