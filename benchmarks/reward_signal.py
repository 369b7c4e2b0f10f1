"""How much of the gradient of a reward is common to all images, and how short a chain may be, on the embedded world.

    python benchmarks/reward_signal.py               (about 2 minutes on one idle core)

Noises of training prompts go through the shipped network of pictures, a chain of so many of the sampler's levels and
the preference scorer. The gradient of each image at the latents is brought to norm 1 and summed, batch by batch, at the
network's parameters. Per chain and low-pass (means over squares of so many latents; 1 is none), one JSON line:

    cosine          of the sums of two batches, with a 95 % jackknife interval over batches
    images          until the common part is as large as all else: batch size * (1 / cosine - 1); null where the cosine
                    is not above 0
    with the first  cosine of the sum over all images with that of the first chain
"""

from __future__ import annotations

import json
import sys

import numpy as np
import torch
from jsonargparse import auto_cli
from torch.nn.functional import avg_pool2d, cosine_similarity, interpolate

from noiseprompt.core.types import Sampling
from noiseprompt.noise.seeds import batch_noise
from noiseprompt.npnet import NPNet
from noiseprompt.pipelines import Pipeline
from noiseprompt.prompts import load_prompts
from noiseprompt.scorers.base import load_scorers
from noiseprompt.shapes import world
from noiseprompt.stages.train.reward import draw_short


def sums(n: int, seed: int, batch_size: int, chain: int, passes: tuple[int, ...]) -> dict[int, list[torch.Tensor]]:
    """Low-pass -> the gradient at the network's parameters of each batch."""
    pipeline, (scorer,) = Pipeline.load("shapes"), load_scorers(["shapes-preference"])
    net = NPNet.from_pretrained(world.npnet_folder("pictures"))
    run = Sampling().resolve(pipeline.family)
    prompts, level = load_prompts("shapes:train", limit=n, model="shapes").prompts, pipeline.start_level()
    found: dict[int, list[torch.Tensor]] = {side: [] for side in passes}
    for start in range(0, n, batch_size):
        few = prompts[start : start + batch_size]
        embeds = pipeline.encode([prompt.text for prompt in few])
        noise = batch_noise([seed + start + i for i in range(len(few))], pipeline.latent_shape())
        made = net(noise, embeds.prompt_embeds, level)
        leaf = made.detach().clone().requires_grad_()
        scores = scorer.score_tensor(draw_short(pipeline, embeds, leaf, run, chain), few)
        gradient = torch.autograd.grad(-scores.sum(), leaf)[0]
        gradient = gradient / torch.linalg.vector_norm(gradient, dim=(1, 2, 3), keepdim=True)
        for side in passes:
            passed = interpolate(avg_pool2d(gradient, side), scale_factor=side)
            parts = torch.autograd.grad(made, list(net.parameters()), passed, retain_graph=True)
            found[side].append(torch.cat([part.flatten() for part in parts]))
    return found


def common(batches: list[torch.Tensor]) -> list[float] | None:
    """Cosine of two batches and its 95 % jackknife interval; None of fewer than three batches."""
    if len(batches) < 3:
        return None
    products = np.array([[float(a @ b) for b in batches] for a in batches])

    def cosine(kept: np.ndarray) -> float:
        table = products[np.ix_(kept, kept)]
        return (table.sum() - table.trace()) / (len(kept) - 1) / table.trace()

    every = np.arange(len(batches))
    left_out = np.array([cosine(np.delete(every, i)) for i in every])
    error = np.sqrt((len(every) - 1) * left_out.var())
    value = cosine(every)
    return [round(float(x), 4) for x in (value, value - 1.96 * error, value + 1.96 * error)]


def main(
    n: int = 64,
    seed: int = 310_000,
    batch_size: int = 8,
    chains: tuple[int, ...] = (10, 6, 4, 1),
    passes: tuple[int, ...] = (1, 4),
) -> None:
    """Print a JSON line a chain and low-pass."""
    first: dict[int, torch.Tensor] = {}
    for chain in chains:
        for side, batches in sums(n, seed, batch_size, chain, passes).items():
            total = torch.stack(batches).sum(0)
            first.setdefault(side, total)
            cosine = common(batches)
            line = {
                "levels": chain,
                "low_pass": side,
                "n": n,
                "cosine": cosine,
                "images": round(batch_size * (1 / cosine[0] - 1)) if cosine and cosine[0] > 0 else None,
                "with the first": round(float(cosine_similarity(total, first[side], dim=0)), 3),
            }
            print(json.dumps(line), flush=True)


if __name__ == "__main__":
    sys.exit(auto_cli(main))
