"""AuraFlow: flow matching, one T5 encoder. The example of docs/bring-your-own-model.md."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from noiseprompt.families.base import Family, TextEmbeds, patches, transformer_channels


def encode_aura_flow(pipe: Any, texts: Sequence[str]) -> TextEmbeds:
    """T5, zero where the mask is: prompt_embeds (B, 256, 2048)."""
    prompt, mask, negative, negative_mask = pipe.encode_prompt(list(texts))
    return TextEmbeds(
        {
            "prompt_embeds": prompt,
            "prompt_attention_mask": mask,
            "negative_prompt_embeds": negative,
            "negative_prompt_attention_mask": negative_mask,
        },
        prompt,
    )


def own_size(pipe: Any) -> tuple[int, int]:
    """The default of the pipeline's call; the transformer's sample_size is half of it."""
    return 1024, 1024


FAMILY = Family(
    name="aura-flow",
    pipeline_classes=("AuraFlowPipeline",),
    encode=encode_aura_flow,
    guidance_scale=3.5,
    num_inference_steps=50,
    denoise_guidance_scale=3.5,
    collection_steps=10,
    source="guidance and steps: diffusers' AuraFlowPipeline; collection steps: the paper's SDXL settings",
    denoiser="transformer",
    channels=transformer_channels,
    multiple=patches,
    default_size=own_size,
    traps=("masks are as large as the embeddings, and needed beside them, though nothing reads them",),
)
