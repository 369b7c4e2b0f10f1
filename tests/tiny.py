"""Tiny pipelines of real diffusers classes with random weights, built in code. Each draws an image in 0.1 s or so.

stable_diffusion()      StableDiffusionPipeline, 64 x 64 pixels, latents (4, 8, 8), embeds (B, 16, 32)
stable_diffusion_xl()   StableDiffusionXLPipeline, the same sizes, embeds (B, 16, 64) of two encoders
"""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import torch

TEXT_LENGTH = 16
SCHEDULE = {
    "beta_start": 0.00085,
    "beta_end": 0.012,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "set_alpha_to_one": False,
    "steps_offset": 1,
    "timestep_spacing": "leading",
}
"""SDXL's noise schedule."""


def clip_tokenizer() -> Any:
    """CLIPTokenizer over single letters and four merges."""
    from transformers import CLIPTokenizer

    letters = [*string.ascii_lowercase, *string.digits]
    merges = [("r", "e"), ("re", "d</w>"), ("o", "f</w>"), ("a", "n")]
    tokens = [
        "<|startoftext|>",
        "<|endoftext|>",
        *letters,
        *(f"{c}</w>" for c in letters),
        *("".join(m) for m in merges),
    ]
    vocab = {token: i for i, token in enumerate(tokens)}
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=TEXT_LENGTH)


def clip_text_model(tokenizer: Any, projection: bool = False, act: str = "quick_gelu") -> Any:
    """CLIPTextModel (or with projection) of width 32."""
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        vocab_size=len(tokenizer),
        hidden_size=32,
        intermediate_size=37,
        num_hidden_layers=3,
        num_attention_heads=4,
        max_position_embeddings=TEXT_LENGTH,
        projection_dim=32,
        hidden_act=act,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    return (CLIPTextModelWithProjection if projection else CLIPTextModel)(config)


def vae() -> Any:
    """AutoencoderKL, factor 8, latents of 4 channels."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(8, 8, 16, 16),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        norm_num_groups=4,
        latent_channels=4,
        sample_size=64,
    )


def unet(**options: Any) -> Any:
    """UNet2DConditionModel on latents of 8 x 8."""
    from diffusers import UNet2DConditionModel

    sizes: dict[str, Any] = {
        "sample_size": 8,
        "block_out_channels": (16, 32),
        "down_block_types": ("DownBlock2D", "CrossAttnDownBlock2D"),
        "up_block_types": ("CrossAttnUpBlock2D", "UpBlock2D"),
        "layers_per_block": 1,
        "cross_attention_dim": 32,
        "attention_head_dim": 4,
        "norm_num_groups": 8,
    }
    return UNet2DConditionModel(**{**sizes, **options})


def scheduler(**options: Any) -> Any:
    """DDIM on SDXL's schedule."""
    from diffusers import DDIMScheduler

    return DDIMScheduler(**{**SCHEDULE, **options})


def stable_diffusion(seed: int = 0, **schedule: Any) -> Any:
    """A StableDiffusionPipeline; `schedule` overrides the scheduler's options, e.g. prediction_type."""
    from diffusers import StableDiffusionPipeline

    torch.manual_seed(seed)
    tokenizer = clip_tokenizer()
    pipe = StableDiffusionPipeline(
        vae=vae(),
        text_encoder=clip_text_model(tokenizer).eval(),
        tokenizer=tokenizer,
        unet=unet().eval(),
        scheduler=scheduler(**schedule),
        safety_checker=None,  # type: ignore[arg-type]
        feature_extractor=None,  # type: ignore[arg-type]
        requires_safety_checker=False,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def stable_diffusion_xl(seed: int = 0, **schedule: Any) -> Any:
    """A StableDiffusionXLPipeline with two text encoders and SDXL's extra conditions."""
    from diffusers import StableDiffusionXLPipeline

    torch.manual_seed(seed)
    tokenizer = clip_tokenizer()
    pipe = StableDiffusionXLPipeline(
        vae=vae(),
        text_encoder=clip_text_model(tokenizer).eval(),
        text_encoder_2=clip_text_model(tokenizer, projection=True, act="gelu").eval(),
        tokenizer=tokenizer,
        tokenizer_2=clip_tokenizer(),
        unet=unet(
            cross_attention_dim=64,
            attention_head_dim=(2, 4),
            use_linear_projection=True,
            addition_embed_type="text_time",
            addition_time_embed_dim=8,
            projection_class_embeddings_input_dim=32 + 6 * 8,
        ).eval(),
        scheduler=scheduler(**schedule),
        add_watermarker=False,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def save(pipe: Any, folder: Path) -> Path:
    """Write a pipeline as a user's model folder; returns the folder."""
    pipe.save_pretrained(folder)
    return folder
