"""Tiny PixArt pipelines of their real classes: 64 x 64 pixels, latents (4, 8, 8), T5 embeds of width 24."""

from __future__ import annotations

from typing import Any

import torch

from tests import tiny
from tests.pipelines.families import tiny_text


def pixart(kind: str = "PixArtAlphaPipeline", seed: int = 0, **transformer: Any) -> Any:
    """A PixArtAlphaPipeline or PixArtSigmaPipeline with the scheduler that both are published with."""
    import diffusers

    torch.manual_seed(seed)
    sizes: dict[str, Any] = {
        "sample_size": 8,
        "num_layers": 2,
        "patch_size": 2,
        "attention_head_dim": 8,
        "num_attention_heads": 2,
        "caption_channels": 24,
        "in_channels": 4,
        "cross_attention_dim": 16,
        "out_channels": 8,
        "attention_bias": True,
        "activation_fn": "gelu-approximate",
        "num_embeds_ada_norm": 1000,
        "norm_type": "ada_norm_single",
        "norm_elementwise_affine": False,
        "norm_eps": 1e-6,
    }
    pipe = getattr(diffusers, kind)(
        tokenizer=tiny_text.t5_tokenizer(),
        text_encoder=tiny_text.t5_encoder(),
        vae=tiny.vae(),
        transformer=diffusers.PixArtTransformer2DModel(**{**sizes, **transformer}).eval(),
        scheduler=diffusers.DPMSolverMultistepScheduler(beta_start=0.0001, beta_end=0.02, beta_schedule="linear"),
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe
