"""Hunyuan-DiT v1.1 and v1.2: BERT and mT5 text, v-prediction, a DDPM sampler."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from noiseprompt.pipelines.families.base import UNLIMITED, Family, Variant
from noiseprompt.pipelines.families.embeds import TextEmbeds
from noiseprompt.pipelines.families.sizes import scale_factor, transformer_channels, transformer_size

MT5_LENGTH = 256
"""Tokens that mT5 reads; the pipeline's `encode_prompt` says it inside."""


def encode_hunyuan_dit(pipe: Any, texts: Sequence[str]) -> TextEmbeds:
    """BERT and mT5, both with masks; an NPNet sees BERT's, prompt_embeds (B, 77, 1024)."""
    named: dict[str, Any] = {}
    for index, (suffix, length) in enumerate((("", 77), ("_2", MT5_LENGTH))):
        prompt, negative, mask, negative_mask = pipe.encode_prompt(
            list(texts),
            device=pipe._execution_device,
            dtype=pipe.transformer.dtype,
            max_sequence_length=length,
            text_encoder_index=index,
        )
        named[f"prompt_embeds{suffix}"], named[f"prompt_attention_mask{suffix}"] = prompt, mask
        named[f"negative_prompt_embeds{suffix}"] = negative
        named[f"negative_prompt_attention_mask{suffix}"] = negative_mask
    return TextEmbeds(named, named["prompt_embeds"])


def sixteen(pipe: Any) -> int:
    """The pipeline rounds sizes down to multiples of 16 pixels: patches of 2 x 2 latents, 8 pixels each."""
    return max(16, 2 * scale_factor(pipe))


FAMILY = Family(
    name="hunyuan-dit",
    pipeline_classes=("HunyuanDiTPipeline",),
    encode=encode_hunyuan_dit,
    guidance_scale=5.0,
    num_inference_steps=50,
    denoise_guidance_scale=5.0,
    collection_steps=10,
    source="the paper, section 4 and appendix: guidance 5.0, 10 collection steps",
    denoiser="transformer",
    channels=transformer_channels,
    multiple=sixteen,
    default_size=transformer_size,
    token_limits={"tokenizer": UNLIMITED, "tokenizer_2": MT5_LENGTH},
    renamed_classes={"MT5Tokenizer": "T5Tokenizer"},  # transformers 5 has the second only
    fixed_kwargs={"use_resolution_binning": False},
    traps=(
        "v-prediction: keep the prediction_type of its scheduler when you replace the scheduler",
        "its own scheduler is DDPM, which draws noise at every step: it follows the image's seed in every command,"
        " and in Python the generator that is handed to `sample`",
        "the pipeline maps sizes to its list of standard shapes; switched off here, so that the size asked is drawn:"
        " ask for one of them (1024 x 1024, 1280 x 1280, 1024 x 768, 1152 x 864, 1280 x 960, 1280 x 768, or turned)",
        "positions are computed from height // 8 whatever the autoencoder: its factor must be 8",
        "an index that names MT5Tokenizer loads as T5Tokenizer; its files need sentencepiece and protobuf",
        "the empty prompt is the unconditional one, as in diffusers; the authors' demo uses a Chinese negative prompt",
    ),
    variants=(
        Variant(
            "distilled",
            {"num_inference_steps": 25},
            "guidance: the paper; 25 steps: model card of Tencent-Hunyuan/HunyuanDiT-v1.2-Diffusers-Distilled",
            pattern=r"hunyuandit.*distilled",
        ),
    ),
)
