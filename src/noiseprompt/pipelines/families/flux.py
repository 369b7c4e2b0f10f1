"""FLUX.1 dev and schnell: packed latents; guidance as a condition, and real guidance as `true_cfg_scale`."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from noiseprompt.pipelines.families.base import Family, Variant
from noiseprompt.pipelines.families.embeds import TextEmbeds
from noiseprompt.pipelines.families.sizes import patches, scale_factor

SCHNELL_TOKENS = 256


def encode_flux(pipe: Any, texts: Sequence[str], max_sequence_length: int = 512) -> TextEmbeds:
    """T5: prompt_embeds (B, 512, 4096), and CLIP's pooled output; the empty prompt for true guidance."""
    options = {"max_sequence_length": max_sequence_length}
    prompt, pooled, _ = pipe.encode_prompt(list(texts), None, **options)
    negative, negative_pooled, _ = pipe.encode_prompt([""] * len(texts), None, **options)
    named = {"prompt_embeds": prompt, "negative_prompt_embeds": negative}
    pools = {"pooled_prompt_embeds": pooled, "negative_pooled_prompt_embeds": negative_pooled}
    return TextEmbeds({**named, **pools}, prompt)


def encode_schnell(pipe: Any, texts: Sequence[str]) -> TextEmbeds:
    """As `encode_flux`, with the tokens schnell was made for."""
    return encode_flux(pipe, texts, SCHNELL_TOKENS)


def quarter_channels(pipe: Any) -> int:
    """Latent channels of a transformer that reads packed latents."""
    return int(pipe.transformer.config.in_channels) // 4


def square(pipe: Any) -> tuple[int, int]:
    """The pipeline's own default size."""
    side = int(pipe.default_sample_size) * scale_factor(pipe)
    return side, side


def pack(latents: torch.Tensor) -> torch.Tensor:
    """(B, C, H, W) -> (B, H/2 W/2, 4 C): each token holds 2 x 2 latents, as `FluxPipeline._pack_latents`."""
    batch, channels, height, width = latents.shape
    tiles = latents.reshape(batch, channels, height // 2, 2, width // 2, 2)
    return tiles.permute(0, 2, 4, 1, 3, 5).reshape(batch, (height // 2) * (width // 2), channels * 4)


def unpack(packed: torch.Tensor, height: int, width: int) -> torch.Tensor:
    """The way back from `pack`."""
    batch, _, values = packed.shape
    tiles = packed.reshape(batch, height // 2, width // 2, values // 4, 2, 2)
    return tiles.permute(0, 3, 1, 4, 2, 5).reshape(batch, values // 4, height, width)


def is_schnell(pipe: Any) -> bool:
    """Whether the transformer takes no guidance as a condition."""
    return not pipe.transformer.config.guidance_embeds


FAMILY = Family(
    name="flux",
    pipeline_classes=("FluxPipeline",),
    encode=encode_flux,
    guidance_scale=1.0,
    num_inference_steps=28,
    denoise_guidance_scale=3.5,
    collection_steps=10,
    source="steps and embedded guidance 3.5: diffusers' FluxPipeline; re-denoise: not in the paper, true guidance 3.5",
    denoiser="transformer",
    channels=quarter_channels,
    multiple=patches,
    default_size=square,
    pack=pack,
    unpack=unpack,
    guidance_argument="true_cfg_scale",
    guided_only=("negative_prompt_embeds", "negative_pooled_prompt_embeds"),
    fixed_kwargs={"guidance_scale": 3.5},
    token_limits={"tokenizer_2": 512},  # of CLIP, the first, there is a pooled vector only
    hands_sigmas=True,
    traps=(
        "guidance_scale here is FluxPipeline's true_cfg_scale, guidance against the empty prompt with a second pass;"
        " the embedded guidance stays 3.5 in every call, since between two embedded scales there is no gap to invert",
        "flow: the grid depends on the size in pixels",
    ),
    variants=(
        Variant(
            "FLUX.1-schnell",
            {
                "num_inference_steps": 4,
                "collection_steps": 4,
                "encode": encode_schnell,
                "token_limits": {"tokenizer_2": SCHNELL_TOKENS},
                "fixed_kwargs": {},
            },
            "model card of black-forest-labs/FLUX.1-schnell: 4 steps, no guidance, 256 tokens; re-denoise by"
            " true_cfg_scale, which schnell was not trained for",
            applies=is_schnell,
        ),
    ),
)
