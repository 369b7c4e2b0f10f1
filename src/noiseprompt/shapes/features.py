"""The world's feature network: 64 numbers that say what is on a picture, for Frechet distance, precision and diversity.

A small classifier of rendered, slightly spoiled scenes of the training split. Its last hidden layer is the features, as
the last layer of Inception is for photographs.

Shapes:
    images    (B, 3, 64, 64) in [-1, 1]
    features  (B, 64) float32
    logits    (B, 85), see `GROUPS`
"""

from __future__ import annotations

import os
import platform
from collections.abc import Iterator
from pathlib import Path

import numpy as np
import torch
import torch.nn.functional as F
from torch import nn

from noiseprompt.core.files import claim
from noiseprompt.core.schedules import warm_cosine
from noiseprompt.core.tables import table
from noiseprompt.shapes import scenes, spoiling
from noiseprompt.shapes.settings import FeatureConfig
from noiseprompt.shapes.training import (
    CONFIG_FILE,
    KIND_SHARES,
    average_of,
    begun,
    curve,
    load_average,
    loop,
    optimize,
    read_config,
    save_network,
    to_tensor,
)

WIDTH = 64
"""Numbers in the features of one picture."""

CELLS = 4
"""The picture is cut into 4 x 4 cells; each asks whether an object's centre lies in it."""

COUNTS = 5
"""Numbers of objects told apart: none, one, two, three, four and more."""

GROUPS = {
    "colours": len(scenes.COLOURS),
    "shapes": len(scenes.SHAPES),
    "things": len(scenes.COLOURS) * len(scenes.SHAPES),
    "cells": CELLS * CELLS,
    "count": COUNTS,
    "damage": 2,
}
"""What is asked of a picture -> numbers of logits, in order. All but "count" (one of five) are independent questions;
"damage" is the amount of blur and of grain, each in [0, 1]."""

VALIDATION_SCENES = 1000


class FeatureNet(nn.Module):
    """Five convolutions down to 4 x 4 places, then 64 features, then the answers."""

    def __init__(self) -> None:
        super().__init__()
        layers: list[nn.Module] = []
        for i, (a, b, stride) in enumerate([(3, 16, 2), (16, 32, 2), (32, 48, 1), (48, 64, 2), (64, 48, 1)]):
            layers.append(nn.Conv2d(a, b, 3, stride, 1))
            layers += [nn.GroupNorm(8, b)] if i in (1, 3) else []
            layers.append(nn.ReLU())
        self.picture = nn.Sequential(*layers, nn.AvgPool2d(2)).to(memory_format=torch.channels_last)  # type: ignore[call-overload]
        self.squeeze = nn.Linear(48 * 16, WIDTH)
        self.head = nn.Sequential(nn.SiLU(), nn.Linear(WIDTH, sum(GROUPS.values())))

    def features(self, images: torch.Tensor) -> torch.Tensor:
        """(B, 3, 64, 64) in [-1, 1] -> (B, 64)."""
        return self.squeeze(self.picture(images.contiguous(memory_format=torch.channels_last)).flatten(1))

    def forward(self, images: torch.Tensor) -> torch.Tensor:
        """(B, 3, 64, 64) in [-1, 1] -> logits (B, 85)."""
        return self.head(self.features(images))


# ------------------------------------------------------------------------------------------------------------- data


def answers(scene: scenes.Scene) -> np.ndarray:
    """The right answers for a scene without damage, float32 (85,): 0 or 1."""
    colours: list[str] = list(scenes.COLOURS)
    shapes: list[str] = list(scenes.SHAPES)
    parts = {name: np.zeros(size, np.float32) for name, size in GROUPS.items()}
    for item in scene.objects:
        colour, shape = colours.index(item.colour), shapes.index(item.shape)
        parts["colours"][colour] = parts["shapes"][shape] = 1
        parts["things"][colour * len(shapes) + shape] = 1
        column, row = (min(int(v * CELLS / scenes.SIZE), CELLS - 1) for v in (item.x, item.y))
        parts["cells"][row * CELLS + column] = 1
    parts["count"][min(len(scene.objects), COUNTS - 1)] = 1
    return np.concatenate(list(parts.values()))


def make_batch(rng: np.random.Generator, size: int, split: str = "train") -> tuple[torch.Tensor, torch.Tensor]:
    """Pictures (size, 3, 64, 64) in [-1, 1] and answers (size, 85); a quarter of the scenes has something wrong."""
    drawn = []
    for _ in range(size):
        request = scenes.random_request(rng, str(rng.choice(scenes.KINDS, p=KIND_SHARES)), split)
        scene = scenes.random_scene(rng, request)
        if rng.random() < 0.25:
            scene = spoiling.spoil(rng, scene, str(rng.choice(("missing", "extra", "recoloured", "reshaped"))))
        drawn.append(scene)
    images, damage = wear(rng, to_tensor([scenes.render(scene) for scene in drawn]))
    right = torch.from_numpy(np.stack([answers(scene) for scene in drawn]))
    right[:, -2:] = damage
    return images, right


def wear(rng: np.random.Generator, images: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Blur, grain and a faint colour cast on (B, 3, 64, 64) in [-1, 1]; and the amounts of the first two, (B, 2)."""
    generator = torch.Generator().manual_seed(int(rng.integers(2**62)))
    amounts = (torch.rand(len(images), 2, generator=generator) * 1.6 - 0.6).clamp(0, 1)  # more than a third untouched
    levels = [images.contiguous()]
    for rounds in (1, 1, 2):
        blurred = levels[-1]
        for _ in range(rounds):
            blurred = _box(blurred)
        levels.append(blurred)
    place = 3 * amounts[:, :1, None, None]
    worn = sum(level * (1 - (place - i).abs()).clamp(0, 1) for i, level in enumerate(levels))
    cast = torch.rand(len(images), 3, 1, 1, generator=generator) * 0.12 - 0.06
    grain = torch.randn(images.shape, generator=generator) * 0.3 * amounts[:, 1:, None, None]
    return (worn + cast + grain).clamp(-1, 1), amounts


def _box(images: torch.Tensor) -> torch.Tensor:
    """Mean of 3 x 3 pixels, the edge repeated; sums of slices, which CPUs do faster than a convolution."""
    x = F.pad(images, (1, 1, 1, 1), mode="replicate")
    x = x[..., :-2] + x[..., 1:-1] + x[..., 2:]
    return (x[..., :-2, :] + x[..., 1:-1, :] + x[..., 2:, :]) / 9


# --------------------------------------------------------------------------------------------------------- training


def loss_of(logits: torch.Tensor, right: torch.Tensor) -> torch.Tensor:
    """Cross-entropy of every group, summed over its questions, divided by the number of groups."""
    sizes = list(GROUPS.values())
    total = logits.new_zeros(())
    for name, guess, truth in zip(GROUPS, logits.split(sizes, 1), right.split(sizes, 1), strict=True):
        if name == "count":
            total = total + F.cross_entropy(guess, truth)
        else:
            total = total + F.binary_cross_entropy_with_logits(guess, truth, reduction="none").sum(1).mean()
    return total / len(GROUPS)


def train_features(folder: Path, config: FeatureConfig) -> Iterator[dict]:
    """Train in `folder`, resumable; yields {stage, step, loss, seconds} every 50 steps, at last the validation.

    Raises:
        ConfigError: the folder was made with other settings.
        StoreLockedError: another process trains there.
        DivergedError: a loss is not finite.
    """
    with claim(folder / CONFIG_FILE, config, begun("features")):
        yield from _train(folder, config)


def _train(folder: Path, config: FeatureConfig) -> Iterator[dict]:
    torch.manual_seed(config.seed)
    network = FeatureNet()
    ema = average_of(network, config.ema_decay)
    optimizer = torch.optim.AdamW(network.parameters(), lr=config.lr, weight_decay=1e-2, betas=(0.9, 0.99))

    def step_fn(step: int) -> float:
        images, right = make_batch(np.random.default_rng((config.seed, 6, step)), config.batch_size)
        with torch.autocast("cpu", torch.bfloat16):
            logits = network(images).float()
        loss = loss_of(logits, right)
        optimize(optimizer, ema, loss, config.lr * warm_cosine(step, config.steps, 100), step)
        return loss.item()

    state = {"model": network, "ema": ema, "optimizer": optimizer}
    yield from loop(folder, "features", config.steps, state, step_fn, config.checkpoint_seconds)
    ema.apply()
    yield {"stage": "validation", **validate(network, VALIDATION_SCENES)}


@torch.no_grad()
def validate(network: FeatureNet, count: int, seed: int = 0) -> dict[str, float]:
    """Share of `count` scenes of the validation split with every question of a group answered rightly.

    For "damage": the mean absolute error of the amounts.
    """
    images, right = make_batch(np.random.default_rng((seed, 7)), count, "validation")
    logits = torch.cat([network(part) for part in images.split(100)])
    sizes = list(GROUPS.values())
    result = {}
    for name, guess, truth in zip(GROUPS, logits.split(sizes, 1), right.split(sizes, 1), strict=True):
        if name == "damage":
            score = (guess.sigmoid() - truth).abs().mean()
        elif name == "count":
            score = (guess.argmax(1) == truth.argmax(1)).float().mean()
        else:
            score = ((guess > 0) == (truth > 0.5)).all(1).float().mean()
        result[name] = round(float(score), 4)
    return result


def export(folder: Path, out: Path) -> None:
    """Write the averaged weights of the newest checkpoint in `folder` to `out`: fp16 safetensors, config and card.

    Raises:
        ConfigError: the folder holds no checkpoint.
    """
    config = read_config(folder, FeatureConfig)
    network = FeatureNet()
    step = load_average(folder, "features", network, config.ema_decay)
    size = sum(p.numel() for p in network.parameters())
    save_network(network, config, _card(folder, config, step, size, validate(network, VALIDATION_SCENES)), out)


def _card(folder: Path, config: FeatureConfig, step: int, parameters: int, checked: dict[str, float]) -> str:
    unit = {"damage": "mean absolute error, amounts in [0, 1]; a constant answer: 0.29"}
    rows = [(name, f"{value:.4f}", unit.get(name, "share")) for name, value in checked.items()]
    return (
        "---\nlicense: apache-2.0\n---\n# Feature network of the shapes world\n\n"
        f"64 features of a 64 x 64 picture of the world; {parameters:,} parameters, stored as fp16. They serve the\n"
        "Frechet distance, precision / recall and diversity, as Inception does for photographs.\n\n"
        "Trained with `noiseprompt shapes features --out RUN --export OUT` on rendered, slightly spoiled scenes\n"
        f"of the training split; seed {config.seed}, {step} of {config.steps} steps of {config.batch_size}, "
        f"AdamW {config.lr}, bfloat16,\n"
        f"{torch.get_num_threads()} thread(s) of a CPU ({platform.machine()}, {os.cpu_count()} cores).\n\n"
        f"{curve(folder)}\n\n"
        f"{VALIDATION_SCENES} scenes of the validation split (never seen), spoiled alike; a share counts scenes with\n"
        "every question of the group answered rightly:\n\n"
        f"{table(('group', 'value', ''), rows)}\n"
    )
