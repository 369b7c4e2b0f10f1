"""A tiny pipeline whose denoiser is a formula, scorers that are a formula, and what a method must leave as it was."""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
import torch

from noiseprompt.core.types import Prompt
from noiseprompt.noise.seeds import batch_noise
from noiseprompt.pipelines import Pipeline
from tests import tiny

TEXTS = ("a red cat and a dog", "one fan of a cube")
NOISE = batch_noise([1, 2], (4, 8, 8))
STEPS = 10


def pipeline(formula: Callable[[torch.Tensor, torch.Tensor], torch.Tensor] | None = None, **schedule: Any) -> Pipeline:
    """StableDiffusion; with a formula its U-Net predicts formula(x, w), w a number of each row's text."""
    made = Pipeline(tiny.stable_diffusion(**schedule))
    if formula is not None:
        made.denoiser.forward = lambda x, t, encoder_hidden_states, **_: (formula(x, weight(encoder_hidden_states)),)
    return made


def weight(embeds: torch.Tensor) -> torch.Tensor:
    """(B, L, D) -> (B, 1, 1, 1), of the order of 1 and different for different texts."""
    return 3 * embeds[:, 3:8, 5].mean(1)[:, None, None, None]


def alphas(steps: int = STEPS) -> tuple[float, float]:
    """alpha-bar at T and T-k of SDXL's schedule, from its definition in float64."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    bar = torch.cumprod(1 - betas, 0)
    k = 1000 // steps
    return bar[k * (steps - 1) + 1].item(), bar[k * (steps - 2) + 1].item()


class Brightness:
    """Mean of an image in [0, 1], times 10; with a gradient."""

    name = "brightness"

    def score(self, images: np.ndarray, prompts: Sequence[Prompt]) -> np.ndarray:
        assert len(images) == len(prompts)
        return images.reshape(len(images), -1).mean(1) / 25.5

    def score_tensor(self, images: torch.Tensor, prompts: Sequence[Prompt]) -> torch.Tensor:
        assert len(images) == len(prompts)
        return 10 * images.mean((1, 2, 3))


class Opaque:
    """No gradient, and every image as good as any other."""

    name = "opaque"

    def score(self, images: np.ndarray, prompts: Sequence[Prompt]) -> np.ndarray:
        return np.zeros(len(images))


def state(made: Pipeline) -> tuple[Any, ...]:
    """What a method must not leave changed on a pipeline."""
    unet, pipe = made.denoiser, made.pipe
    processors = getattr(unet, "attn_processors", {})
    return (
        {name: id(processor) for name, processor in processors.items()},
        id(pipe.scheduler),
        len(unet._forward_pre_hooks),
        unet.__dict__.get("forward"),
        unet.training,
        [(p.requires_grad, p.grad is None) for part in (unet, pipe.vae, pipe.text_encoder) for p in part.parameters()],
    )
