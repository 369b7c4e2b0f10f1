"""Sana: Gemma text behind a long instruction, an autoencoder of factor 32, flow prediction."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from noiseprompt.pipelines.families.base import Family
from noiseprompt.pipelines.families.embeds import TextEmbeds
from noiseprompt.pipelines.families.pixart import call_default, masked_embeds
from noiseprompt.pipelines.families.sizes import scale_factor, transformer_channels, transformer_size


def encode_sana(pipe: Any, texts: Sequence[str]) -> TextEmbeds:
    """Gemma 2 with the pipeline's own instruction before each prompt: prompt_embeds (B, 300, 2304)."""
    return masked_embeds(pipe, texts, complex_human_instruction=call_default(pipe, "complex_human_instruction"))


def thirty_two(pipe: Any) -> int:
    """The pipeline asks for multiples of 32 pixels whatever the autoencoder."""
    return max(32, scale_factor(pipe))


FAMILY = Family(
    name="sana",
    pipeline_classes=("SanaPipeline",),
    encode=encode_sana,
    guidance_scale=4.5,
    num_inference_steps=20,
    denoise_guidance_scale=4.5,
    collection_steps=10,
    source="guidance and steps: diffusers' SanaPipeline; collection steps: the paper's SDXL settings",
    denoiser="transformer",
    channels=transformer_channels,
    multiple=thirty_two,
    default_size=transformer_size,
    token_limits={"tokenizer": 300},
    fixed_kwargs={"negative_prompt": None, "use_resolution_binning": False},
    float32_latents=True,
    traps=(
        "flow prediction through DPM-Solver++ with use_flow_sigmas: its levels are sigmas, not alpha-bar",
        "the first sigma of its grid is 0.9997, not 1",
        "the instruction stands before the prompt and not before the empty one, as in diffusers",
        "latents have 32 channels of 32 x 32: the singular value branch of an NPNet tiles them 4 x 8",
        "the pipeline draws the nearest size of a list and crops; switched off here, so that the size asked is drawn",
    ),
)
