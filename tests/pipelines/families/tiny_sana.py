"""A tiny SanaPipeline of its real classes: 64 x 64 pixels, spatial factor 32, Gemma embeds (B, 300, 16)."""

from __future__ import annotations

from typing import Any

import torch

from tests.pipelines.families import tiny_text


def sana(seed: int = 0, channels: int = 32, scheduler: Any = None) -> Any:
    """A SanaPipeline with a deep-compression autoencoder and the flow schedule it is published with."""
    import diffusers

    torch.manual_seed(seed)
    depth = 6
    vae = diffusers.AutoencoderDC(
        in_channels=3,
        latent_channels=channels,
        attention_head_dim=2,
        encoder_block_types="ResBlock",
        decoder_block_types="ResBlock",
        encoder_block_out_channels=(4,) * (depth - 1) + (8,),
        decoder_block_out_channels=(4,) * (depth - 1) + (8,),
        encoder_layers_per_block=(1,) * depth,
        decoder_layers_per_block=(1,) * depth,
        encoder_qkv_multiscales=((),) * depth,
        decoder_qkv_multiscales=((),) * depth,
        downsample_block_type="conv",
        upsample_block_type="interpolate",
        encoder_out_shortcut=False,
        decoder_in_shortcut=False,
        scaling_factor=0.41407,
    )
    transformer = diffusers.SanaTransformer2DModel(
        in_channels=channels,
        out_channels=channels,
        num_layers=1,
        num_attention_heads=2,
        attention_head_dim=8,
        num_cross_attention_heads=2,
        cross_attention_head_dim=8,
        cross_attention_dim=16,
        caption_channels=16,
        sample_size=2,
        patch_size=1,
    )
    pipe = diffusers.SanaPipeline(
        tokenizer=tiny_text.gemma_tokenizer(),
        text_encoder=tiny_text.gemma_model(),
        vae=vae.eval(),
        transformer=transformer.eval(),
        scheduler=scheduler
        or diffusers.DPMSolverMultistepScheduler(
            prediction_type="flow_prediction", use_flow_sigmas=True, flow_shift=3.0, final_sigmas_type="zero"
        ),
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe
