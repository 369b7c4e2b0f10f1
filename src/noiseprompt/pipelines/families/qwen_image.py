"""Qwen-Image: packed latents, Qwen2.5-VL text of any length, true guidance whose norm is put back."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from noiseprompt.pipelines.families.base import Family
from noiseprompt.pipelines.families.embeds import TextEmbeds, fixed_length
from noiseprompt.pipelines.families.flux import pack, quarter_channels, square, unpack
from noiseprompt.pipelines.families.sizes import patches

TOKENS = 512
"""Token embeddings an NPNet sees; the pipeline itself takes as many as the longest prompt of a batch has."""


def encode_qwen_image(pipe: Any, texts: Sequence[str]) -> TextEmbeds:
    """The last hidden states of the prompt in its template: prompt_embeds (B, 512, 3584), zero where there is no text.

    The empty prompt is a space, as in the model card.
    """
    named: dict[str, torch.Tensor] = {}
    for prefix, lines in (("", list(texts)), ("negative_", [" "] * len(texts))):
        embeds, mask = pipe.encode_prompt(lines, max_sequence_length=TOKENS)
        if mask is None:  # diffusers' way of saying that nothing is padding
            mask = torch.ones(embeds.shape[:2], dtype=torch.long, device=embeds.device)
        named[f"{prefix}prompt_embeds"], named[f"{prefix}prompt_embeds_mask"] = embeds, mask
    return TextEmbeds(named, fixed_length(named["prompt_embeds"], TOKENS))


FAMILY = Family(
    name="qwen-image",
    pipeline_classes=("QwenImagePipeline",),
    encode=encode_qwen_image,
    guidance_scale=4.0,
    num_inference_steps=50,
    denoise_guidance_scale=4.0,
    collection_steps=10,
    source="guidance and steps: diffusers' QwenImagePipeline; re-denoise: not in the paper, the sampler's guidance",
    denoiser="transformer",
    channels=quarter_channels,
    multiple=patches,
    default_size=square,
    pack=pack,
    unpack=unpack,
    frames=True,
    guidance_argument="true_cfg_scale",
    guided_only=("negative_prompt_embeds", "negative_prompt_embeds_mask"),
    token_limits={"tokenizer": TOKENS},
    hands_sigmas=True,
    traps=(
        "the guided prediction is scaled to the norm of the conditional one: it is not linear in the guidance scale,"
        " and the closed form of theorem E.1 does not hold",
        "flow: the grid depends on the size in pixels",
    ),
)
