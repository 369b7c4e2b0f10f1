"""Which picture of a prompt a noise aims at.

Noise and pictures are independent in the data; a network that should use its noise needs a rule that ties them.

    correlation   a mean of the prompt's pictures, weighted by how well the low-pass latents of each go with those of
                  the noise: what an ideal denoiser would see in the noise, sharper. A function of noise and prompt
                  without chance, hence easy to learn
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


def low_pass(latents: Tensor, side: int) -> Tensor:
    """(B, features): means of (B, C, H, W) over squares of `side` x `side` latents, less what is left at an edge."""
    return avg_pool2d(latents.float(), side).flatten(1)


def correlated(noise: Tensor, pictures: Tensor, counts: Sequence[int], side: int, sharpness: float) -> Tensor:
    """(B, C, H, W): for each noise the mean of its candidates, weighted by softmax(sharpness z).

    z is the inner product of the low-pass latents of noise and picture, less its mean over the prompt's pictures and
    divided by its standard deviation there. (The posterior mean of x_0 given x_T has the weights of a softmax of inner
    products too, at a far lower sharpness.)

    Args:
        noise: (B, C, H, W).
        pictures: (sum of counts, C, H, W): the candidates of the first noise, then those of the second, and so on.
        side: of the squares whose means are compared, in latents.
        sharpness: 0 is the plain mean, infinity the picture with the largest inner product.
    """
    owner = torch.repeat_interleave(torch.arange(len(noise)), torch.as_tensor(counts))
    products = (low_pass(pictures, side) * low_pass(noise, side)[owner]).sum(1)
    starts = np.cumsum([0, *counts])
    return torch.stack([_mean(products[a:b], pictures[a:b], sharpness) for a, b in itertools.pairwise(starts)])


def _mean(products: Tensor, pictures: Tensor, sharpness: float) -> Tensor:
    away = products - products.mean()
    weights = torch.softmax(sharpness * away / away.square().mean().sqrt().clamp_min(1e-12), 0)
    return torch.tensordot(weights, pictures, 1)


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
