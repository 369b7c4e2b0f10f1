"""Noise put back among white noise: blocks of its spectrum scaled to the norms that white noise has.

Of unit white noise every Fourier coefficient (orthonormal transform) has the expected energy 1, so a block of n of them
has n, up to a relative spread of about sqrt(2 / n). An optimised noise leaves that where it draws structure; scaling
each block to sqrt(n) is the nearest noise with these norms. After GPER (arXiv 2602.08646), which fixes the norms of
blocks of Fourier coefficients; own code, with blocks of neighbouring radial frequency.
"""

from __future__ import annotations

import functools
import math

import torch

from noiseprompt.core.arguments import held
from noiseprompt.core.errors import InputError, ShapeError
from noiseprompt.core.types import check_tensor

BLOCK = 32
"""Coefficients of a block, at least."""


@held
def project_white(noise: torch.Tensor, block: int = BLOCK) -> torch.Tensor:
    """The nearest noise whose spectrum has, block by block and channel by channel, the norms of white noise.

    White noise hardly changes, and a projected one not at all. Differentiable. A block that is 0 stays 0.

    Args:
        noise: (B, C, H, W).
        block: coefficients of a block, at least; from 1 (every coefficient has absolute value 1) to H W (only the norm
            of each channel is fixed).

    Returns:
        Shape, dtype and device of `noise`; computed in float32 (float64 for float64).

    Raises:
        InputError, ShapeError: no such noise, or a block without coefficients.
    """
    if block < 1:
        raise InputError(f"a block of {block} Fourier coefficients", "1 or more")
    check_tensor(noise, "noise", "(B, C, H, W)")
    if noise.ndim != 4 or not noise.numel():
        raise ShapeError(f"noise of shape {tuple(noise.shape)}", "(B, C, H, W), B from 1 on")
    x = noise.to(torch.promote_types(noise.dtype, torch.float32))
    height, width = x.shape[-2:]
    place = torch.tensor(blocks(height, width, block), device=x.device)
    count = torch.bincount(place).to(x)
    spectrum = torch.fft.fft2(x, norm="ortho")
    power = (spectrum.real**2 + spectrum.imag**2).flatten(2)
    energy = torch.zeros(*x.shape[:2], len(count), device=x.device, dtype=x.dtype).index_add(2, place, power)
    scale = (count / energy.clamp_min(1e-12)).sqrt()
    spectrum = spectrum * scale[:, :, place].reshape(x.shape)
    return torch.fft.ifft2(spectrum, norm="ortho").real.to(noise.dtype)


@functools.lru_cache(maxsize=16)
def blocks(height: int, width: int, size: int) -> tuple[int, ...]:
    """The block of each coefficient of `fft2`, row by row: neighbours in radial frequency, `size` or a few more each.

    A coefficient and its conjugate are in one block, or the noise would not stay real. The last block may hold up to
    twice as many.
    """

    def frequency(index: int, length: int) -> int:
        return index if 2 * index <= length else index - length

    pairs: dict[tuple[int, int], list[int]] = {}
    for row in range(height):
        for column in range(width):
            twin = (-row % height) * width + (-column % width)
            own = row * width + column
            pairs.setdefault((min(own, twin), max(own, twin)), []).append(own)

    def order(pair: tuple[int, int]) -> tuple[float, float]:
        v, u = frequency(pair[0] // width, height) / height, frequency(pair[0] % width, width) / width
        return round(math.hypot(v, u), 9), math.atan2(v, u) % math.pi

    found, current, held = [0] * (height * width), 0, 0
    left = height * width
    for pair in sorted(pairs, key=order):
        if held >= size and left >= size:
            current, held = current + 1, 0
        for own in pairs[pair]:
            found[own] = current
        held, left = held + len(pairs[pair]), left - len(pairs[pair])
    return tuple(found)
