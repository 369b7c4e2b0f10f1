"""What the tiny pipelines of families are given: two prompts, and noise of fixed seeds."""

from __future__ import annotations

import torch

from noiseprompt.noise.seeds import batch_noise

PROMPTS = ["a red cube", "nine green birds"]


def noise(pipeline, size=(64, 64)) -> torch.Tensor:
    return batch_noise([1, 2], pipeline.latent_shape(*size))
