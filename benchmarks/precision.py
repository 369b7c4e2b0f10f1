"""What half precision does to re-denoise: the error of its perturbation, and whether the images still show the same.

    python benchmarks/precision.py [--model shapes] [--dtype bfloat16] [--n 100]

The yardstick is the same model in float32. The perturbation (target noise - source noise) is a small difference of
large predictions, so rounding weighs more on it than on an image.
"""

from __future__ import annotations

import sys
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch
from jsonargparse import auto_cli

from noiseprompt.core.types import Prompt
from noiseprompt.noise.seeds import batch_noise, prompt_seed
from noiseprompt.pipelines import Pipeline
from noiseprompt.prompts import load_prompts
from noiseprompt.scorers.base import load_scorers


def run(
    model: str, dtype: str, prompts: Sequence[Prompt], batch_size: int
) -> tuple[torch.Tensor, dict[str, np.ndarray]]:
    """Perturbations (n, C, H, W), and by method the checker's scores of the images."""
    pipeline = Pipeline.load(model, dtype=dtype, device="auto")
    (checker,) = load_scorers(["shapes-checker"])
    moved: list[torch.Tensor] = []
    scores: dict[str, list[Any]] = {"standard": [], "redenoise": []}
    for start in range(0, len(prompts), batch_size):
        part = prompts[start : start + batch_size]
        embeds = pipeline.encode([p.text for p in part])
        source = batch_noise([prompt_seed(0, p.id) for p in part], pipeline.latent_shape())
        target = pipeline.redenoise(embeds, source)
        moved.append((target - source).cpu())
        for name, noise in (("standard", source), ("redenoise", target)):
            scores[name].append(checker.score(pipeline.sample(embeds, noise), part))
    return torch.cat(moved), {name: np.concatenate(found) for name, found in scores.items()}


def main(model: str = "shapes", dtype: str = "bfloat16", n: int = 100, batch_size: int = 50) -> None:
    """Measure and print."""
    prompts = load_prompts("shapes:test", limit=n).prompts
    exact, scores = run(model, "float32", prompts, batch_size)
    found, again = run(model, dtype, prompts, batch_size)
    a, b = exact.flatten(1), found.flatten(1)
    error = ((a - b).norm(dim=1) / a.norm(dim=1)).numpy()
    cosine = torch.nn.functional.cosine_similarity(a, b).numpy()
    print(f"{dtype} against float32, {len(prompts)} prompts, mean [lowest, highest]")
    print(f"relative error of the perturbation {error.mean():.2f} [{error.min():.2f}, {error.max():.2f}]")
    print(f"cosine of the two perturbations {cosine.mean():.2f} [{cosine.min():.2f}, {cosine.max():.2f}]")
    for name, first in scores.items():
        right, same = (first == 1, again[name] == 1)
        print(f"{name}: right {right.mean():.1%} and {same.mean():.1%}; the same verdict {(right == same).mean():.1%}")


if __name__ == "__main__":
    sys.exit(auto_cli(main))
