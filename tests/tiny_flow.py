"""Tiny flow-matching pipelines of their real classes, 64 x 64 pixels by default where the class lets us say so.

stable_diffusion_3()    latents (16, 8, 8), embeds (B, 16 + 256, 32)
flux(), flux(schnell)   latents (4, H/8, W/8), packed to 16 channels, embeds (B, 512, 24)
qwen_image()            latents (4, H/8, W/8), packed to 16 channels, embeds (B, 512, 16)
z_image()               latents (4, H/8, W/8), embeds (B, 512, 16)
chroma()                latents (16, H/8, W/8), packed to 64 channels, embeds (B, 512, 24)

FLUX, Qwen-Image, Z-Image and Chroma are made for 1024 x 1024 pixels whatever their weights; ask for 64 x 64.
"""

from __future__ import annotations

import string
from typing import Any

import torch

from tests import tiny
from tests.pipelines.families import tiny_text

SHIFTING = {"shift": 3.0, "use_dynamic_shifting": True}


def scheduler(**options: Any) -> Any:
    """FlowMatchEulerDiscreteScheduler with a static shift of 3, as Stable Diffusion 3 has it."""
    from diffusers import FlowMatchEulerDiscreteScheduler

    return FlowMatchEulerDiscreteScheduler(**{"shift": 3.0, **options})


def flow_vae(channels: int = 4) -> Any:
    """AutoencoderKL, factor 8, shifted and scaled latents, no quantising convolutions."""
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(8, 8, 8, 8),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=1,
        norm_num_groups=4,
        latent_channels=channels,
        sample_size=64,
        use_quant_conv=False,
        use_post_quant_conv=False,
        shift_factor=0.0609,
        scaling_factor=1.5035,
    ).eval()


def stable_diffusion_3(seed: int = 0, **schedule: Any) -> Any:
    """A StableDiffusion3Pipeline of the 3.5 kind (query and key normalised, one dual layer)."""
    from diffusers import SD3Transformer2DModel, StableDiffusion3Pipeline

    torch.manual_seed(seed)
    tokenizer = tiny.clip_tokenizer()
    pipe = StableDiffusion3Pipeline(
        transformer=SD3Transformer2DModel(
            sample_size=8,
            patch_size=2,
            in_channels=16,
            out_channels=16,
            num_layers=2,
            attention_head_dim=8,
            num_attention_heads=2,
            joint_attention_dim=64,
            caption_projection_dim=16,
            pooled_projection_dim=64,
            pos_embed_max_size=16,
            dual_attention_layers=(0,),
            qk_norm="rms_norm",
        ).eval(),
        scheduler=scheduler(**schedule),
        vae=flow_vae(16),
        text_encoder=tiny.clip_text_model(tokenizer, projection=True).eval(),
        tokenizer=tokenizer,
        text_encoder_2=tiny.clip_text_model(tokenizer, projection=True, act="gelu").eval(),
        tokenizer_2=tiny.clip_tokenizer(),
        text_encoder_3=tiny_text.t5_encoder(64),
        tokenizer_3=tiny_text.t5_tokenizer(),
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def flux(seed: int = 0, schnell: bool = False, **schedule: Any) -> Any:
    """A FluxPipeline: dev takes guidance as a condition and shifts by size, schnell does neither."""
    from diffusers import FluxPipeline, FluxTransformer2DModel

    torch.manual_seed(seed)
    tokenizer = tiny.clip_tokenizer()
    own = {"shift": 1.0} if schnell else SHIFTING
    pipe = FluxPipeline(
        transformer=FluxTransformer2DModel(
            in_channels=16,
            num_layers=1,
            num_single_layers=1,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=24,
            pooled_projection_dim=32,
            guidance_embeds=not schnell,
            axes_dims_rope=(4, 6, 6),
        ).eval(),
        scheduler=scheduler(**{**own, **schedule}),
        vae=flow_vae(),
        text_encoder=tiny.clip_text_model(tokenizer).eval(),
        tokenizer=tokenizer,
        text_encoder_2=tiny_text.t5_encoder(),
        tokenizer_2=tiny_text.t5_tokenizer(),
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def qwen_tokenizer() -> Any:
    """Qwen2Tokenizer over single characters, with its chat marks and a chat template."""
    from transformers import Qwen2Tokenizer

    marks = ["<|endoftext|>", "<|im_start|>", "<|im_end|>"]
    letters = [*string.ascii_letters, *string.digits, *string.punctuation, "Ġ", "Ċ"]
    tokenizer = Qwen2Tokenizer(vocab={token: i for i, token in enumerate([*letters, *marks])}, merges=[])
    tokenizer.chat_template = "{% for m in messages %}<|im_start|>{{ m.role }}\n{{ m.content }}<|im_end|>\n{% endfor %}"
    return tokenizer


def qwen_image(seed: int = 0, **schedule: Any) -> Any:
    """A QwenImagePipeline."""
    from diffusers import AutoencoderKLQwenImage, QwenImagePipeline, QwenImageTransformer2DModel
    from transformers import Qwen2_5_VLConfig, Qwen2_5_VLForConditionalGeneration

    torch.manual_seed(seed)
    text = {
        "hidden_size": 16,
        "intermediate_size": 16,
        "num_hidden_layers": 2,
        "num_attention_heads": 2,
        "num_key_value_heads": 2,
        "vocab_size": 128,
        "rope_scaling": {"mrope_section": [1, 1, 2], "rope_type": "default", "type": "default"},
        "rope_theta": 1000000.0,
    }
    vision = {"depth": 1, "hidden_size": 16, "intermediate_size": 16, "num_heads": 2, "out_hidden_size": 16}
    config = Qwen2_5_VLConfig(text_config=text, vision_config=vision, vision_start_token_id=1, vision_end_token_id=2)
    pipe = QwenImagePipeline(
        transformer=QwenImageTransformer2DModel(
            in_channels=16,
            out_channels=4,
            num_layers=2,
            attention_head_dim=16,
            num_attention_heads=2,
            joint_attention_dim=16,
            axes_dims_rope=(4, 6, 6),
        ).eval(),
        scheduler=scheduler(**{**SHIFTING, "shift_terminal": 0.02, **schedule}),
        vae=AutoencoderKLQwenImage(
            base_dim=8,
            z_dim=4,
            dim_mult=[1, 1, 1, 1],
            num_res_blocks=1,
            latents_mean=[0.1, -0.2, 0.0, 0.3],
            latents_std=[1.0, 2.0, 0.5, 1.5],
        ).eval(),
        text_encoder=Qwen2_5_VLForConditionalGeneration(config).eval(),
        tokenizer=qwen_tokenizer(),
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def z_image(seed: int = 0, **schedule: Any) -> Any:
    """A ZImagePipeline."""
    from diffusers import ZImagePipeline, ZImageTransformer2DModel
    from transformers import Qwen3Config, Qwen3Model

    torch.manual_seed(seed)
    text = Qwen3Config(
        hidden_size=16,
        intermediate_size=16,
        num_hidden_layers=2,
        num_attention_heads=2,
        num_key_value_heads=2,
        vocab_size=128,
        head_dim=8,
    )
    transformer = ZImageTransformer2DModel(
        in_channels=4,
        dim=32,
        n_layers=1,
        n_refiner_layers=1,
        n_heads=2,
        n_kv_heads=2,
        cap_feat_dim=16,
        axes_dims=[4, 6, 6],
        axes_lens=[1024, 64, 64],
    ).eval()
    with torch.no_grad():  # pad tokens are allocated without values
        transformer.x_pad_token.normal_()
        transformer.cap_pad_token.normal_()
    pipe = ZImagePipeline(
        transformer=transformer,
        scheduler=scheduler(**schedule),
        vae=flow_vae(),
        text_encoder=Qwen3Model(text).eval(),
        tokenizer=qwen_tokenizer(),
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def chroma(seed: int = 0, **schedule: Any) -> Any:
    """A ChromaPipeline."""
    from diffusers import ChromaPipeline, ChromaTransformer2DModel

    torch.manual_seed(seed)
    transformer = ChromaTransformer2DModel(
        in_channels=64,
        num_layers=1,
        num_single_layers=1,
        attention_head_dim=16,
        num_attention_heads=2,
        joint_attention_dim=24,
        axes_dims_rope=(4, 6, 6),
        approximator_num_channels=8,
        approximator_hidden_dim=16,
        approximator_layers=1,
    )
    pipe = ChromaPipeline(
        scheduler=scheduler(**{"shift": 1.0, "use_dynamic_shifting": True, **schedule}),
        vae=flow_vae(16),
        text_encoder=tiny_text.t5_encoder(24),
        tokenizer=tiny_text.t5_tokenizer(),
        transformer=transformer.eval(),
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe


def aura_flow(seed: int = 0, **schedule: Any) -> Any:
    """An AuraFlowPipeline: latents (4, 8, 8), embeds (B, 256, 24)."""
    from diffusers import AuraFlowPipeline, AuraFlowTransformer2DModel

    torch.manual_seed(seed)
    pipe = AuraFlowPipeline(
        tokenizer=tiny_text.t5_tokenizer(),
        text_encoder=tiny_text.t5_encoder(24, "UMT5"),
        vae=tiny.vae().eval(),
        transformer=AuraFlowTransformer2DModel(
            sample_size=8,
            num_mmdit_layers=1,
            num_single_dit_layers=1,
            attention_head_dim=8,
            num_attention_heads=2,
            joint_attention_dim=24,
            caption_projection_dim=16,
            pos_embed_max_size=64,
        ).eval(),
        scheduler=scheduler(**{"shift": 1.73, **schedule}),
    )
    pipe.set_progress_bar_config(disable=True)
    return pipe
