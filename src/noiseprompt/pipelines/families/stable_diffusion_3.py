"""Stable Diffusion 3 and 3.5: flow matching, three text encoders, 16 latent channels."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from noiseprompt.pipelines.families.base import UNLIMITED, Family, Variant
from noiseprompt.pipelines.families.embeds import TextEmbeds
from noiseprompt.pipelines.families.sizes import patches, transformer_channels, transformer_size


def encode_stable_diffusion_3(pipe: Any, texts: Sequence[str]) -> TextEmbeds:
    """Two CLIP encoders side by side, then T5 behind them: prompt_embeds (B, 77 + 256, 4096)."""
    prompt, negative, pooled, negative_pooled = pipe.encode_prompt(list(texts), None, None)
    named = {"prompt_embeds": prompt, "negative_prompt_embeds": negative}
    pools = {"pooled_prompt_embeds": pooled, "negative_pooled_prompt_embeds": negative_pooled}
    return TextEmbeds({**named, **pools}, prompt)


def _card(name: str, pattern: str, guidance: float, steps: int) -> Variant:
    settings = {"guidance_scale": guidance, "num_inference_steps": steps, "denoise_guidance_scale": guidance}
    return Variant(name, settings, f"model card of stabilityai/{name}", pattern=pattern)


FAMILY = Family(
    name="stable-diffusion-3",
    pipeline_classes=("StableDiffusion3Pipeline",),
    encode=encode_stable_diffusion_3,
    guidance_scale=7.0,
    num_inference_steps=28,
    denoise_guidance_scale=7.0,
    collection_steps=10,
    source="guidance, steps: diffusers' StableDiffusion3Pipeline; re-denoise: not in the paper, the sampler's guidance",
    denoiser="transformer",
    channels=transformer_channels,
    multiple=patches,
    default_size=transformer_size,
    token_limits={"tokenizer": UNLIMITED, "tokenizer_2": UNLIMITED, "tokenizer_3": 256},
    may_lack=("text_encoder_3", "tokenizer_3"),
    traps=(
        "flow: the grid of re-denoise is the pipeline's own, shift included",
        "without its T5 encoder (text_encoder_3 None) a prompt reads zeros there: an NPNet trained with it is no use",
    ),
    variants=(
        _card("stable-diffusion-3.5-large-turbo", r"3\.5.*turbo", 1.0, 4),
        _card("stable-diffusion-3.5-medium", r"3\.5.*medium", 4.5, 40),
        _card("stable-diffusion-3.5-large", r"3\.5.*large", 3.5, 28),
    ),
)
