"""Chroma: FLUX's latents, one T5 encoder, guidance of its own. The example of docs/bring-your-own-model.md."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from noiseprompt.pipelines.families.base import Family
from noiseprompt.pipelines.families.embeds import TextEmbeds
from noiseprompt.pipelines.families.flux import pack, quarter_channels, square, unpack
from noiseprompt.pipelines.families.sizes import patches


def encode_chroma(pipe: Any, texts: Sequence[str]) -> TextEmbeds:
    """T5 with a mask that lets one padding token through: prompt_embeds (B, 512, 4096)."""
    prompt, _, mask, negative, _, negative_mask = pipe.encode_prompt(list(texts))
    return TextEmbeds(
        {
            "prompt_embeds": prompt,
            "prompt_attention_mask": mask,
            "negative_prompt_embeds": negative,
            "negative_prompt_attention_mask": negative_mask,
        },
        prompt,
    )


FAMILY = Family(
    name="chroma",
    pipeline_classes=("ChromaPipeline",),
    encode=encode_chroma,
    guidance_scale=5.0,
    num_inference_steps=35,
    denoise_guidance_scale=5.0,
    collection_steps=10,
    source="guidance and steps: diffusers' ChromaPipeline; collection steps: the paper's SDXL settings",
    denoiser="transformer",
    channels=quarter_channels,
    multiple=patches,
    default_size=square,
    pack=pack,
    unpack=unpack,
    token_limits={"tokenizer": 512},
    hands_sigmas=True,
    traps=("flow: the grid depends on the size in pixels",),
)
