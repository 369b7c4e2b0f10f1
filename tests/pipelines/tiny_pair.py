"""Tiny Stable Diffusion and SDXL, each made once, with prompts and noise of fixed seeds."""

from __future__ import annotations

import functools

import torch

from noiseprompt.noise.seeds import batch_noise
from noiseprompt.pipelines import Pipeline
from tests import tiny

PROMPTS = ["a red cube", "nine green birds", "of an age"]
KINDS = ["stable_diffusion", "stable_diffusion_xl"]


@functools.cache
def tiny_pipeline(kind: str) -> Pipeline:
    return Pipeline(getattr(tiny, kind)())


def noise(pipeline: Pipeline, count: int = 3) -> torch.Tensor:
    return batch_noise(range(count), pipeline.latent_shape())
