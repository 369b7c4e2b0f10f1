"""PixArt-alpha and PixArt-Sigma: T5 text with a mask, a transformer that also predicts a variance."""

from __future__ import annotations

import inspect
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

from noiseprompt.pipelines.families.base import Family, Variant
from noiseprompt.pipelines.families.embeds import TextEmbeds
from noiseprompt.pipelines.families.sizes import patches, transformer_channels, transformer_size


def call_default(pipe: Any, name: str) -> Any:
    """The default of an argument of the pipeline call."""
    return inspect.signature(type(pipe).__call__).parameters[name].default


def can_clean_captions() -> bool:
    """Whether the packages are here without which the pipeline skips its cleaning of captions (with a warning)."""
    from diffusers.utils import is_bs4_available, is_ftfy_available

    return is_bs4_available() and is_ftfy_available()


def masked_embeds(pipe: Any, texts: Sequence[str], **options: Any) -> TextEmbeds:
    """What PixArt's and Sana's `encode_prompt` gives, with masks; an NPNet sees every token, padding included."""
    prompt, mask, negative, negative_mask = pipe.encode_prompt(
        list(texts),
        do_classifier_free_guidance=True,
        device=pipe._execution_device,
        max_sequence_length=call_default(pipe, "max_sequence_length"),
        **options,
    )
    return TextEmbeds(
        {
            "prompt_embeds": prompt,
            "prompt_attention_mask": mask,
            "negative_prompt_embeds": negative,
            "negative_prompt_attention_mask": negative_mask,
        },
        prompt,
    )


def encode_pixart(pipe: Any, texts: Sequence[str]) -> TextEmbeds:
    """T5: prompt_embeds (B, 120, 4096), Sigma: (B, 300, 4096). Captions are cleaned where the pipeline would."""
    return masked_embeds(pipe, texts, clean_caption=can_clean_captions())


ALPHA = Family(
    name="pixart-alpha",
    pipeline_classes=("PixArtAlphaPipeline",),
    encode=encode_pixart,
    guidance_scale=4.5,
    num_inference_steps=20,
    denoise_guidance_scale=4.5,
    collection_steps=10,
    source="guidance and steps: diffusers' PixArtAlphaPipeline; its own sampler's grid, 10 steps as the paper's SDXL",
    denoiser="transformer",
    channels=transformer_channels,
    multiple=patches,
    default_size=transformer_size,
    grid="dpm-solver",
    token_limits={"tokenizer": 120},
    fixed_kwargs={"negative_prompt": None, "use_resolution_binning": False},
    traps=(
        "the pipeline draws the nearest size of a list and crops; switched off here, so that the size asked is drawn",
        "captions are cleaned (lower case, punctuation) where beautifulsoup4 and ftfy are installed, and not elsewhere:"
        " the same prompt is then another text; a data set and what is trained on it need the same installation",
        "T5 embeddings are large: 1 MB (Sigma 2.5 MB) a prompt in half precision when training caches them",
        "one sampling step needs a scheduler with two results, such as LCM: the alpha pipeline reads the second",
    ),
    variants=(
        Variant(
            "PixArt-LCM",
            {"guidance_scale": 1.0, "num_inference_steps": 4, "denoise_guidance_scale": 1.0},
            "model card of PixArt-alpha/PixArt-LCM-XL-2-1024-MS: four steps, no guidance",
            pattern=r"pixart.*lcm",
        ),
    ),
)

SIGMA = replace(
    ALPHA,
    name="pixart-sigma",
    pipeline_classes=("PixArtSigmaPipeline",),
    source=ALPHA.source.replace("Alpha", "Sigma"),
    token_limits={"tokenizer": 300},
    traps=ALPHA.traps[:-1],
    variants=(),
)

FAMILIES = (ALPHA, SIGMA)
