"""Z-Image and Z-Image-Turbo: flow, Qwen3 text as a list, guidance counted from 0."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from noiseprompt.pipelines.families.base import Family, Variant
from noiseprompt.pipelines.families.embeds import TextEmbeds, fixed_length
from noiseprompt.pipelines.families.sizes import patches, transformer_channels

TOKENS = 512


def encode_z_image(pipe: Any, texts: Sequence[str]) -> TextEmbeds:
    """One tensor (L_i, 2560) a prompt; an NPNet sees prompt_embeds (B, 512, 2560), zero where there is no text."""
    prompt, negative = pipe.encode_prompt(list(texts), max_sequence_length=TOKENS)
    seen = torch.cat([fixed_length(embeds[None], TOKENS) for embeds in prompt])
    return TextEmbeds({"prompt_embeds": prompt, "negative_prompt_embeds": negative}, seen)


def default_size(pipe: Any) -> tuple[int, int]:
    """The pipeline's own default."""
    return 1024, 1024


FAMILY = Family(
    name="z-image",
    pipeline_classes=("ZImagePipeline",),
    encode=encode_z_image,
    guidance_scale=6.0,
    num_inference_steps=50,
    denoise_guidance_scale=6.0,
    collection_steps=10,
    source="guidance and steps: diffusers' ZImagePipeline; re-denoise: not in the paper, the sampler's guidance",
    denoiser="transformer",
    channels=transformer_channels,
    multiple=patches,
    default_size=default_size,
    guidance_offset=-1.0,
    token_limits={"tokenizer": TOKENS},
    hands_sigmas=True,
    float32_latents=True,
    traps=(
        "ZImagePipeline adds guidance_scale (cond - uncond) to cond: its 5 is 6 here, its 0 is 1",
        "flow: the grid depends on the size in pixels if its scheduler shifts dynamically",
    ),
    variants=(
        Variant(
            "Z-Image-Turbo",
            {"guidance_scale": 1.0, "num_inference_steps": 9, "denoise_guidance_scale": 1.0},
            "model card of Tongyi-MAI/Z-Image-Turbo: its guidance_scale 0, 9 steps",
            pattern=r"z-image-turbo",
        ),
    ),
)
