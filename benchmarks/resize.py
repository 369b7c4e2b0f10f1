"""How far other bicubic resizes are from Pillow's, which scorers' images go through: in steps of 255, per value.

    python benchmarks/resize.py [--n 16]

float32: torch's antialiased bicubic, rounded; uint8: the same on bytes (CPU alone). products: Pillow's own fixed-point
weights as two matrix products in float64, where every sum of theirs is exact, so that the device does not matter.
"""

from __future__ import annotations

import argparse
import math
from collections.abc import Callable
from functools import cache

import numpy as np
import torch
from PIL import Image
from torch.nn import functional as F

from noiseprompt.shapes.scenes import random_request, random_scene, render

ONE = 1 << 22
"""Pillow's weights are whole multiples of 1 / ONE."""


def scenes(n: int) -> np.ndarray:
    """Of the world, uint8 (n, 64, 64, 3)."""
    rng = np.random.default_rng(0)
    found = [render(random_scene(rng, random_request(rng))) for _ in range(n)]
    return (np.stack(found) * 255).round().astype(np.uint8)


def pillow(images: np.ndarray, side: int, kind: Image.Resampling = Image.Resampling.BICUBIC) -> np.ndarray:
    return np.stack([np.asarray(Image.fromarray(image).resize((side, side), kind)) for image in images])


def floats(images: np.ndarray, side: int) -> np.ndarray:
    return _torch(torch.from_numpy(images).float(), side)


def bytes_(images: np.ndarray, side: int) -> np.ndarray:
    return _torch(torch.from_numpy(images), side)


def _torch(images: torch.Tensor, side: int) -> np.ndarray:
    made = F.interpolate(images.permute(0, 3, 1, 2), (side, side), mode="bicubic", antialias=True)
    return made.permute(0, 2, 3, 1).round().clamp(0, 255).to(torch.uint8).numpy()


def products(images: np.ndarray, side: int) -> np.ndarray:
    across, down = weights(images.shape[2], side), weights(images.shape[1], side)
    made = []
    for image in torch.from_numpy(images):  # one at a time: 25 MB in float64 at 1024 pixels
        rows = _rounded(image.permute(2, 0, 1).double() @ across.T)
        made.append(_rounded(down @ rows).permute(1, 2, 0).to(torch.uint8))
    return torch.stack(made).numpy()


def _rounded(sums: torch.Tensor) -> torch.Tensor:
    return ((sums + ONE // 2) / ONE).floor().clamp(0, 255)


@cache
def weights(old: int, new: int) -> torch.Tensor:
    """(new, old) whole numbers in float64: Keys' cubic (a = -1/2), widened where there are fewer pixels than before."""
    scale = old / new
    wide = max(scale, 1.0)
    table = np.zeros((new, old))
    for i in range(new):
        centre = (i + 0.5) * scale
        first, last = max(int(centre - 2 * wide + 0.5), 0), min(int(centre + 2 * wide + 0.5), old)
        away = np.abs(np.arange(first, last) - centre + 0.5) / wide
        near, far = (1.5 * away - 2.5) * away**2 + 1, ((2.5 - 0.5 * away) * away - 4) * away + 2
        values = np.where(away < 1, near, np.where(away < 2, far, 0.0))
        whole = values / math.fsum(values) * ONE
        table[i, first:last] = np.trunc(whole + np.copysign(0.5, whole))
    return torch.from_numpy(table)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--n", type=int, default=16, help="pictures of a kind")
    n = parser.parse_args().n
    small, rng = scenes(n), np.random.default_rng(1)
    large = pillow(small, 1024, Image.Resampling.LANCZOS)
    cases = {"scenes": small, "scenes, enlarged": large}
    cases |= {f"random, {side}": rng.integers(0, 256, (n, side, side, 3), np.uint8) for side in (64, 1024)}
    ways: dict[str, Callable[[np.ndarray, int], np.ndarray]] = {"float32": floats, "uint8": bytes_}
    ways["products"] = products
    print(f"{n} pictures of each kind; largest, mean, share of values that differ")
    for name, images in cases.items():
        for side in (224, 336):
            told = [f"{name} {images.shape[1]} -> {side}:"]
            for way, act in ways.items():
                apart = np.abs(act(images, side).astype(int) - pillow(images, side))
                told.append(f"{way} {apart.max()}, {apart.mean():.4f}, {(apart > 0).mean():.2%}")
            print("  ".join(told), flush=True)


if __name__ == "__main__":
    main()
