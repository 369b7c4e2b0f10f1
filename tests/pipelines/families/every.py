"""A tiny pipeline of every family, and of one class of none."""

from __future__ import annotations

import functools
import warnings
from collections.abc import Callable
from typing import Any

import numpy as np
import torch
from PIL import Image

from noiseprompt.noise.seeds import batch_noise
from noiseprompt.pipelines import Pipeline
from noiseprompt.pipelines.controlnet import set_control_image
from tests import tiny, tiny_flow
from tests.pipelines.families import tiny_controlnet
from tests.pipelines.families.checks import PROMPTS
from tests.pipelines.families.tiny_hunyuan import hunyuan_dit
from tests.pipelines.families.tiny_pixart import pixart
from tests.pipelines.families.tiny_sana import sana


def _controlled(build: Callable[[], Any]) -> Any:
    pipe, pixels = build(), np.random.default_rng(0).random((64, 64, 1)) > 0.8
    set_control_image(pipe, Image.fromarray(np.repeat(pixels, 3, 2).astype(np.uint8) * 255))
    return pipe


PIPELINES: dict[str, Callable[[], Any]] = {
    "stable-diffusion": tiny.stable_diffusion,
    "stable-diffusion-xl": tiny.stable_diffusion_xl,
    "controlnet": lambda: _controlled(tiny_controlnet.stable_diffusion_controlnet),
    "controlnet-xl": lambda: _controlled(tiny_controlnet.stable_diffusion_xl_controlnet),
    "hunyuan-dit": hunyuan_dit,
    "pixart-alpha": pixart,
    "pixart-sigma": functools.partial(pixart, "PixArtSigmaPipeline"),
    "sana": sana,
    "stable-diffusion-3": tiny_flow.stable_diffusion_3,
    "flux": tiny_flow.flux,
    "flux-schnell": functools.partial(tiny_flow.flux, schnell=True),
    "qwen-image": tiny_flow.qwen_image,
    "z-image": tiny_flow.z_image,
    "chroma": tiny_flow.chroma,
    "no-family": tiny_flow.aura_flow,
}


def build(name: str) -> Pipeline:
    """Made anew."""
    with warnings.catch_warnings():
        warnings.simplefilter("ignore")  # of no known family
        return Pipeline(PIPELINES[name]())


def noise(pipeline: Pipeline, dtype: torch.dtype = torch.float32) -> torch.Tensor:
    """(2, C, H, W) for 64 x 64 pixels, for `PROMPTS`."""
    return batch_noise([1, 2], pipeline.latent_shape(64, 64), dtype=dtype)


def generators() -> list[torch.Generator]:
    """One an image, of fixed seeds: the sampler of Hunyuan-DiT draws noise."""
    return [torch.Generator().manual_seed(7 + i) for i in range(len(PROMPTS))]
