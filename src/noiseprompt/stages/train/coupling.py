"""Which picture of a prompt a noise aims at.

Noise and pictures are independent in the data; a network that should use its noise needs a rule that ties them.

    correlation   of the prompt's pictures the one whose low-pass latents have the largest inner product with those of
                  the noise: the picture that sampling from this noise is likeliest to come near
    any           any picture of the prompt, whatever the noise: the comparison. What is learned is their mean
    nearest       the picture is given; of several noises the one from which the network predicts it best is trained
                  (implicit maximum likelihood estimation: Li and Malik, arXiv 1809.09087)
"""

from __future__ import annotations

import itertools
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor
from torch.nn.functional import avg_pool2d

COUPLINGS = ("correlation", "any", "nearest")


def low_pass(latents: Tensor, side: int) -> Tensor:
    """(B, features): means of (B, C, H, W) over squares of `side` x `side` latents, less what is left at an edge."""
    return avg_pool2d(latents.float(), side).flatten(1)


def best_correlated(noise: Tensor, pictures: Tensor, counts: Sequence[int], side: int) -> Tensor:
    """(B,) int64 rows of `pictures`: for each noise that of its candidates with the largest low-pass inner product.

    Args:
        noise: (B, C, H, W).
        pictures: (sum of counts, C, H, W): the candidates of the first noise, then those of the second, and so on.
        side: of the squares whose means are compared, in latents.
    """
    owner = torch.repeat_interleave(torch.arange(len(noise)), torch.as_tensor(counts))
    products = (low_pass(pictures, side) * low_pass(noise, side)[owner]).sum(1)
    starts = np.cumsum([0, *counts])
    return torch.stack([products[a:b].argmax() + a for a, b in itertools.pairwise(starts)])


@torch.no_grad()
def nearest(predict: Callable[[Tensor, Tensor], Tensor], noises: Tensor, embeds: Tensor, target: Tensor) -> Tensor:
    """(B, C, H, W): for each picture that of its noises from which the prediction is nearest.

    Args:
        predict: (noise, prompt_embeds) -> pictures.
        noises: (B, m, C, H, W).
        embeds: (B, L, D).
        target: (B, C, H, W).
    """
    errors = [(predict(noise, embeds).float() - target).square().flatten(1).sum(1) for noise in noises.unbind(1)]
    best = torch.stack(errors, 1).argmin(1)
    return noises[torch.arange(len(noises), device=noises.device), best]
