"""A tiny HunyuanDiTPipeline of its real classes: 64 x 64 pixels, latents (4, 8, 8), BERT embeds (B, 77, 32)."""

from __future__ import annotations

from typing import Any

import torch

from tests import tiny
from tests.pipelines.families import tiny_text

SCHEDULE = {
    "beta_start": 0.00085,
    "beta_end": 0.018,
    "beta_schedule": "scaled_linear",
    "clip_sample": False,
    "prediction_type": "v_prediction",
    "steps_offset": 1,
    "timestep_spacing": "leading",
}
"""Of HunyuanDiT-v1.2-Diffusers, whose scheduler is DDPM."""


def hunyuan_dit(seed: int = 0, scheduler: str = "DDPMScheduler", sample_size: int = 8, **schedule: Any) -> Any:
    """A HunyuanDiTPipeline with BERT, mT5 and a v-prediction transformer that also learns a variance."""
    import diffusers

    torch.manual_seed(seed)
    transformer = diffusers.HunyuanDiT2DModel(
        sample_size=sample_size,
        num_layers=2,
        patch_size=2,
        attention_head_dim=8,
        num_attention_heads=2,
        in_channels=4,
        hidden_size=16,
        mlp_ratio=2.0,
        cross_attention_dim=32,
        cross_attention_dim_t5=24,
        pooled_projection_dim=16,
        text_len=77,
        text_len_t5=256,
        activation_fn="gelu-approximate",
    )
    pipe = diffusers.HunyuanDiTPipeline(
        vae=tiny.vae(),
        text_encoder=tiny_text.bert_model(),
        tokenizer=tiny_text.bert_tokenizer(),
        text_encoder_2=tiny_text.t5_encoder(kind="T5"),
        tokenizer_2=tiny_text.t5_tokenizer(),
        transformer=transformer.eval(),
        scheduler=getattr(diffusers, scheduler)(**{**SCHEDULE, **schedule}),
        safety_checker=None,  # type: ignore[arg-type]
        feature_extractor=None,  # type: ignore[arg-type]
        requires_safety_checker=False,
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe
