"""Scorers with a gradient that cost nothing, and settings of a training by reward on the tiny pipelines."""

from __future__ import annotations

import dataclasses
from collections.abc import Sequence
from typing import Any

import numpy as np
import torch

from noiseprompt.core.types import Prompt
from noiseprompt.stages.train.judges import Judges
from noiseprompt.stages.train.settings import TrainConfig


class Red:
    """Mean of the red channel, 0 to 1."""

    name = "red"
    channels = (1.0, 0.0, 0.0)

    def score(self, images: np.ndarray, prompts: Sequence[Prompt]) -> np.ndarray:
        return (images / 255.0).mean((1, 2)) @ np.array(self.channels)

    def score_tensor(self, images: torch.Tensor, prompts: Sequence[Prompt]) -> torch.Tensor:
        return images.mean((2, 3)) @ torch.tensor(self.channels, device=images.device)


class Warm(Red):
    """Red less half of blue: goes with `Red`, and is another scorer."""

    name = "warm"
    channels = (1.0, 0.0, -0.5)


class Flat(Red):
    """Takes tensors, and gives no gradient."""

    name = "flat"

    def score_tensor(self, images: torch.Tensor, prompts: Sequence[Prompt]) -> torch.Tensor:
        return super().score_tensor(images.detach(), prompts)


JUDGES = Judges((Red(),), (1.0,), (Warm(),))
PROMPTS = [Prompt(f"{colour} cube {number}") for colour in ("red", "blue", "green") for number in range(6)]
CONFIG = TrainConfig(
    objective="reward",
    architecture="tokens",
    sizes={"width": 16, "depth": 1, "heads": 2},
    epochs=2,
    batch_size=4,
    lr=1e-2,
    warmup_steps=1,
    ema_decay=0.0,
    validation_share=0.4,
    validate_every=2,
    checkpoint_every=2,
    reward=("red",),
    validation_scorers=("warm",),
    validation_images=4,
    chain_steps=2,
    num_inference_steps=3,
    guidance_scale=2.0,
    checkpoint_seconds=0,
)


def config_of(**changed: Any) -> TrainConfig:
    return dataclasses.replace(CONFIG, **changed)
