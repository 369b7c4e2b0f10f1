"""SDXL base, its fine-tunes, and its distilled relatives, which share the pipeline class but not the settings."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from noiseprompt.pipelines.families.base import Family, Variant
from noiseprompt.pipelines.families.embeds import TextEmbeds


def encode_stable_diffusion_xl(pipe: Any, texts: Sequence[str]) -> TextEmbeds:
    """Two CLIP text encoders side by side: prompt_embeds (B, 77, 2048), and the second one's pooled output."""
    prompt, negative, pooled, negative_pooled = pipe.encode_prompt(
        list(texts), device=pipe._execution_device, num_images_per_prompt=1, do_classifier_free_guidance=True
    )
    return TextEmbeds(
        {
            "prompt_embeds": prompt,
            "negative_prompt_embeds": negative,
            "pooled_prompt_embeds": pooled,
            "negative_pooled_prompt_embeds": negative_pooled,
        },
        prompt,
    )


def embedded_guidance(pipe: Any) -> str:
    """A latent consistency U-Net takes the guidance scale as a condition and never computes a second prediction."""
    if pipe.unet.config.get("time_cond_proj_dim") is None:
        return ""
    return "its U-Net is distilled with the guidance scale as a condition (time_cond_proj_dim): one prediction only"


def guidance_free(steps: int) -> dict[str, Any]:
    """Settings of a checkpoint that is sampled without guidance in a few steps."""
    return {"guidance_scale": 1.0, "num_inference_steps": steps, "denoise_guidance_scale": 1.0}


FAMILY = Family(
    name="stable-diffusion-xl",
    pipeline_classes=("StableDiffusionXLPipeline",),
    encode=encode_stable_diffusion_xl,
    guidance_scale=5.5,
    num_inference_steps=50,
    denoise_guidance_scale=5.5,
    collection_steps=10,
    source="the paper, section 4 and appendix",
    timestep_schedules={"ays": "StableDiffusionXLTimesteps"},
    no_guidance=embedded_guidance,
    traps=(
        "guidance-free relatives (Turbo, Lightning, LCM, most of PCM) have no guidance gap: an NPNet works, re-denoise"
        " does not",
        "the size is a condition: pass height and width, never resize afterwards",
    ),
    variants=(
        Variant(
            "DreamShaper-xl-v2-turbo",
            {
                "guidance_scale": 3.5,
                "num_inference_steps": 4,
                "denoise_guidance_scale": 3.5,
                "collection_steps": 4,
                "grid": "dpm-solver",
            },
            "the paper, section 4 and appendix: guidance 3.5, 4 steps, DPM-Solver",
            pattern=r"dreamshaper.*xl.*turbo",
        ),
        Variant("SDXL-Turbo", guidance_free(1), "model card of stabilityai/sdxl-turbo", pattern=r"sdxl-turbo"),
        Variant("SDXL-Lightning", guidance_free(4), "model card of ByteDance/SDXL-Lightning", pattern=r"lightning"),
        Variant("LCM", guidance_free(4), "model card of latent-consistency/lcm-lora-sdxl", pattern=r"(^|[-_])lcm"),
        Variant(
            "PCM with normal guidance",
            {"guidance_scale": 3.0, "num_inference_steps": 4, "denoise_guidance_scale": 3.0},
            "model card of wangfuyun/PCM_Weights: 2.5 to 3.5 at 4 steps",
            pattern=r"(^|[-_])pcm.*normal_?cfg",
        ),
        Variant("PCM", guidance_free(4), "model card of wangfuyun/PCM_Weights", pattern=r"(^|[-_])pcm"),
    ),
)
