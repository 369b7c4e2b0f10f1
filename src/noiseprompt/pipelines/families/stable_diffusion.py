"""Stable Diffusion 1.x and 2.x, and the embedded world, which is one. 2.1 predicts v: its scheduler says so."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from noiseprompt.pipelines.families.base import Family, Variant
from noiseprompt.pipelines.families.embeds import TextEmbeds


def encode_stable_diffusion(pipe: Any, texts: Sequence[str]) -> TextEmbeds:
    """One CLIP text encoder: prompt_embeds (B, 77, 768), 2.x: (B, 77, 1024)."""
    prompt, negative = pipe.encode_prompt(list(texts), pipe._execution_device, 1, True)
    return TextEmbeds({"prompt_embeds": prompt, "negative_prompt_embeds": negative}, prompt)


def is_shapes(pipe: Any) -> bool:
    """Whether a StableDiffusionPipeline has the dimensions of the embedded world, also of one trained anew.

    They tell its settings alone; whether a model is the shipped world is asked of `shapes/world.py`.
    """
    config = getattr(getattr(pipe, "unet", None), "config", {})
    return (config.get("sample_size"), config.get("cross_attention_dim")) == (16, 128)


FAMILY = Family(
    name="stable-diffusion",
    pipeline_classes=("StableDiffusionPipeline",),
    encode=encode_stable_diffusion,
    guidance_scale=7.5,
    num_inference_steps=50,
    denoise_guidance_scale=5.5,
    collection_steps=10,
    source="guidance and steps: diffusers' StableDiffusionPipeline; re-denoise: the paper's SDXL settings",
    timestep_schedules={"ays": "StableDiffusionTimesteps"},
    traps=(
        "2.1 (768 pixels) predicts v: keep the prediction_type of its scheduler when you replace the scheduler",
        "an NPNet trained on SDXL has another text width: use it with its text term removed (table 6)",
    ),
    variants=(
        Variant(
            "shapes",
            {"guidance_scale": 3.5, "num_inference_steps": 10},
            "the embedded world's guidance curve (benchmarks/world.py)",
            applies=is_shapes,
        ),
        Variant(
            "SD-Turbo",
            {"guidance_scale": 1.0, "num_inference_steps": 1, "denoise_guidance_scale": 1.0},
            "model card of stabilityai/sd-turbo: one step, no guidance",
            pattern=r"sd-turbo",
        ),
    ),
)
