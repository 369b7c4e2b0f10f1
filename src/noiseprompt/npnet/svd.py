"""Singular value prediction (eqs. 6 and 7): keep the singular vectors of the noise, predict its singular values.

The latents are tiled to one matrix, channels as a grid of blocks that is as square as their number allows:
(B, 4, H, W) -> (B, 2H, 2W) with channels 0 1 in the upper row and 2 3 in the lower, 32 channels as 4 x 8.
"""

from __future__ import annotations

import math
from collections.abc import Iterator
from contextlib import contextmanager

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from noiseprompt.core.errors import ConfigError


def grid(channels: int) -> tuple[int, int]:
    """Rows and columns of blocks; as many rows as the largest divisor of `channels` up to its square root."""
    rows = next(n for n in range(math.isqrt(channels), 0, -1) if channels % n == 0)
    return rows, channels // rows


def tile(latents: Tensor) -> Tensor:
    """(B, r*c, H, W) -> (B, r*H, c*W)."""
    batch, channels, height, width = latents.shape
    down, across = grid(channels)
    blocks = latents.reshape(batch, down, across, height, width).transpose(2, 3)
    return blocks.reshape(batch, down * height, across * width)


def untile(matrix: Tensor, channels: int) -> Tensor:
    """The inverse of `tile`."""
    down, across = grid(channels)
    batch, rows, columns = matrix.shape
    blocks = matrix.reshape(batch, down, rows // down, across, columns // across).transpose(2, 3)
    return blocks.reshape(batch, channels, rows // down, columns // across)


Singular = tuple[Tensor, Tensor, Tensor]
"""U (B, R, K), S (B, K), V^T (B, K, C) of a batch of tiled noises."""


def decompose(noise: Tensor, fix_signs: bool) -> Singular:
    """Singular vectors and values of (B, C, H, W) float32 noise: of each image alone, whatever the batch.

    Args:
        fix_signs: as of `SingularBranch`.
    """
    with torch.autocast(noise.device.type, enabled=False):
        left, values, right = torch.linalg.svd(tile(noise.float()), full_matrices=False)
    if fix_signs:
        signs = left.gather(1, left.abs().argmax(1, keepdim=True)).sign()
        left, right = left * signs, right * signs.mT
    return left, values, right


@contextmanager
def decomposed(net: nn.Module, parts: Singular | None) -> Iterator[None]:
    """While it lasts, the singular value branch of a network takes what it would `decompose` from here.

    Args:
        parts: of the noise that the network is called with; None computes them as ever.
    """
    branch = getattr(net, "singular", None)
    if branch is None or parts is None:
        yield
        return
    branch.given = parts
    try:
        yield
    finally:
        branch.given = None


class SelfAttention(nn.Module):
    """Multi-head self-attention, (B, N, D) -> (B, N, D); queries, keys and values have no bias."""

    def __init__(self, width: int, heads: int) -> None:
        super().__init__()
        self.heads = heads
        self.qkv = nn.Linear(width, 3 * width, bias=False)
        self.out = nn.Linear(width, width)

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        qkv = self.qkv(x).view(batch, length, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        return self.out(scaled_dot_product_attention(query, key, value).transpose(1, 2).reshape(batch, length, width))


def _mlp(width_in: int, hidden: int, width_out: int) -> nn.Sequential:
    return nn.Sequential(nn.Linear(width_in, hidden), nn.ReLU(), nn.Linear(hidden, width_out))


class SingularBranch(nn.Module):
    """x_T = U S V^T  ->  U S~ V^T, with S~ = f(g(phi(U, S, V))) + S.

    The tokens of the attention g are the singular directions: token i embeds column i of U and row i of V^T, and all of
    them the singular values. A fresh branch returns its input: the last layer starts at zero.

    Args:
        latent_shape: (C, H, W).
        hidden: width inside the embeddings of U and V.
        wide: width inside the last network.
        heads: of the attention.
        fix_signs: turn each pair of singular vectors so that the largest component of the left one is positive. Their
            common sign is otherwise an accident of the linear algebra library, and so is the prediction.

    Raises:
        ConfigError: heads that do not divide the number of singular values.
    """

    def __init__(
        self, latent_shape: tuple[int, int, int], hidden: int, wide: int, heads: int, *, fix_signs: bool = True
    ) -> None:
        super().__init__()
        self.fix_signs = fix_signs
        self.given: Singular | None = None
        channels, height, width = latent_shape
        down, across = grid(channels)
        rows, columns = down * height, across * width
        rank = min(rows, columns)
        if rank % heads:
            raise ConfigError(f"{heads} heads over {rank} singular values", "a number of heads that divides them")
        self.embed_left = _mlp(rows, hidden, rank)
        self.embed_right = _mlp(columns, hidden, rank)
        self.embed_values = nn.Linear(rank, rank)
        self.attention = SelfAttention(rank, heads)
        self.head = _mlp(rank, wide, rank)
        nn.init.zeros_(self.head[2].weight)  # type: ignore[arg-type]
        nn.init.zeros_(self.head[2].bias)  # type: ignore[arg-type]

    def forward(self, noise: Tensor) -> Tensor:
        """(B, C, H, W) float32 -> the same; decomposition and product in float32 whatever the weights or autocast."""
        kind = self.embed_values.weight.dtype
        left, values, right = self.given or decompose(noise, self.fix_signs)
        tokens = self.embed_left(left.mT.to(kind)) + self.embed_right(right.to(kind))
        tokens = tokens + self.embed_values(values.to(kind)).unsqueeze(1)
        change = self.head(self.attention(tokens).mean(1))
        with torch.autocast(noise.device.type, enabled=False):
            matrix = (left * (values + change.float()).unsqueeze(1)) @ right
        return untile(matrix, noise.shape[1])
