"""The flow-matching families: a tiny pipeline of each, how a user calls it, and its velocity written out."""

from __future__ import annotations

import functools
import math
from collections.abc import Callable
from dataclasses import dataclass, field
from typing import Any

import torch
from diffusers import FluxPipeline

from noiseprompt.pipelines import Pipeline
from tests import tiny_flow

PROMPTS = ["a red cube", "two blue ball of"]


def packed(x: torch.Tensor) -> torch.Tensor:
    return FluxPipeline._pack_latents(x, *x.shape)


def unpacked(x: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    return FluxPipeline._unpack_latents(x, *size, 8)


def expand(t: float, x: torch.Tensor) -> torch.Tensor:
    return torch.full((len(x),), float(t))


def velocity_sd3(pipe, x, t, texts):
    text, _, pooled, _ = pipe.encode_prompt(texts, None, None, do_classifier_free_guidance=False)
    named = {"encoder_hidden_states": text, "pooled_projections": pooled}
    return pipe.transformer(hidden_states=x, timestep=expand(t, x), **named).sample


def velocity_flux(pipe, x, t, texts, tokens=512):
    text, pooled, ids = pipe.encode_prompt(texts, max_sequence_length=tokens)
    places = pipe._prepare_latent_image_ids(1, x.shape[2] // 2, x.shape[3] // 2, "cpu", torch.float32)
    out = pipe.transformer(
        hidden_states=packed(x),
        timestep=expand(t, x) / 1000,
        guidance=torch.full((len(x),), 3.5) if pipe.transformer.config.guidance_embeds else None,
        encoder_hidden_states=text,
        pooled_projections=pooled,
        txt_ids=ids,
        img_ids=places,
    ).sample
    return unpacked(out, (x.shape[2] * 8, x.shape[3] * 8))


def velocity_qwen(pipe, x, t, texts):
    text, mask = pipe.encode_prompt(texts)
    out = pipe.transformer(
        hidden_states=packed(x),
        timestep=expand(t, x) / 1000,
        encoder_hidden_states=text,
        encoder_hidden_states_mask=mask,
        img_shapes=[[(1, x.shape[2] // 2, x.shape[3] // 2)]] * len(x),
    ).sample
    return unpacked(out, (x.shape[2] * 8, x.shape[3] * 8))


def velocity_z(pipe, x, t, texts):
    text, _ = pipe.encode_prompt(list(texts), do_classifier_free_guidance=False)
    out = pipe.transformer(list(x[:, :, None].unbind(0)), (1000 - expand(t, x)) / 1000, text).sample
    return -torch.stack(list(out)).squeeze(2)


def linear(conditional, empty, scale):
    return empty + scale * (conditional - empty)


def same_norm(conditional, empty, scale):
    """Qwen-Image's guidance: the norm over the values of a token is that of the conditional prediction."""
    token, guided = packed(conditional), packed(linear(conditional, empty, scale))
    rescaled = guided * token.norm(dim=-1, keepdim=True) / guided.norm(dim=-1, keepdim=True)
    return unpacked(rescaled, (conditional.shape[2] * 8, conditional.shape[3] * 8))


@dataclass(frozen=True)
class Case:
    """A family: how its tiny pipeline is built, how a user calls it, what its denoiser predicts, its time shift."""

    build: Callable[[], Any]
    family: str
    channels: int
    text: tuple[int, int]
    call: Callable[[float], dict[str, Any]]
    velocity: Callable[..., torch.Tensor]
    last: str
    guide: Callable[..., torch.Tensor] = linear
    packs: bool = False
    empty: str = ""
    shift: Callable[[int], float] = lambda tokens: 3.0
    folder: str = "model"
    fixed: dict[str, Any] = field(default_factory=dict)


def dynamic(tokens: int) -> float:
    """exp(mu) of FLUX: mu is 0.5 at 256 tokens and 1.15 at 4096, linear between (diffusers' calculate_shift)."""
    return math.exp(0.5 + (1.15 - 0.5) * (tokens - 256) / (4096 - 256))


def true_cfg(empty: str) -> Callable[[float], dict[str, Any]]:
    return lambda g: {"true_cfg_scale": g, **({"negative_prompt": [empty] * len(PROMPTS)} if g > 1 else {})}


CASES = {
    "sd3": Case(
        tiny_flow.stable_diffusion_3,
        "stable-diffusion-3",
        16,
        (16 + 256, 64),
        lambda g: {"guidance_scale": g},
        velocity_sd3,
        "proj_out",
    ),
    "flux": Case(
        tiny_flow.flux, "flux", 4, (512, 24), true_cfg(""), velocity_flux, "proj_out", packs=True, shift=dynamic
    ),
    "schnell": Case(
        functools.partial(tiny_flow.flux, schnell=True),
        "flux",
        4,
        (256, 24),
        lambda g: {**true_cfg("")(g), "max_sequence_length": 256},
        functools.partial(velocity_flux, tokens=256),
        "proj_out",
        packs=True,
        shift=lambda tokens: 1.0,
    ),
    "qwen": Case(
        tiny_flow.qwen_image,
        "qwen-image",
        4,
        (512, 16),
        true_cfg(" "),
        velocity_qwen,
        "proj_out",
        guide=same_norm,
        packs=True,
        empty=" ",
        shift=dynamic,
    ),
    "z": Case(
        tiny_flow.z_image,
        "z-image",
        4,
        (512, 16),
        lambda g: {"guidance_scale": g - 1},
        velocity_z,
        "all_final_layer.2-1.linear",
    ),
}


@functools.cache
def pipeline_of(name: str) -> Pipeline:
    return Pipeline(CASES[name].build())
