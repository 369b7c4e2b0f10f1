"""The networks of the embedded world, built from diffusers' and transformers' classes and saved in diffusers' layout.

Shapes:
    image           (B, 3, 64, 64) in [-1, 1]
    latents         (B, 4, 16, 16), about unit variance
    prompt_embeds   (B, 12, 128)

Schedule: SDXL's (scaled_linear .00085-.012, leading spacing, offset 1, epsilon prediction).
"""

from __future__ import annotations

from pathlib import Path
from typing import Any

import torch

from noiseprompt.core.files import left_to_a_library
from noiseprompt.shapes.scenes import SIZE, vocabulary

TEXT_LENGTH = 12
TEXT_WIDTH = 128
LATENT_SHAPE = (4, 16, 16)


def build_tokenizer() -> Any:
    """A word-level tokenizer over `scenes.vocabulary` that transformers saves as tokenizer.json."""
    from tokenizers import Tokenizer, models, normalizers, pre_tokenizers, processors
    from transformers import PreTrainedTokenizerFast

    special = ["<pad>", "<unk>", "<s>", "</s>"]
    vocab = {word: i for i, word in enumerate([*special, *vocabulary()])}
    tokenizer = Tokenizer(models.WordLevel(vocab, unk_token="<unk>"))
    tokenizer.normalizer = normalizers.Lowercase()
    tokenizer.pre_tokenizer = pre_tokenizers.Whitespace()
    tokenizer.post_processor = processors.TemplateProcessing(
        single="<s> $A </s>", special_tokens=[("<s>", vocab["<s>"]), ("</s>", vocab["</s>"])]
    )
    return PreTrainedTokenizerFast(
        tokenizer_object=tokenizer,
        pad_token="<pad>",
        unk_token="<unk>",
        bos_token="<s>",
        eos_token="</s>",
        model_max_length=TEXT_LENGTH,
    )


def build_text_encoder() -> Any:
    """A small CLIPTextModel: 3 layers, width 128."""
    from transformers import CLIPTextConfig, CLIPTextModel

    return CLIPTextModel(
        CLIPTextConfig(
            vocab_size=4 + len(vocabulary()),
            hidden_size=TEXT_WIDTH,
            intermediate_size=2 * TEXT_WIDTH,
            num_hidden_layers=3,
            num_attention_heads=4,
            max_position_embeddings=TEXT_LENGTH,
            pad_token_id=0,
            bos_token_id=2,
            eos_token_id=3,
            projection_dim=TEXT_WIDTH,
        )
    )


def build_vae() -> Any:
    """AutoencoderKL, spatial factor 4, about 0.2 M parameters."""
    from diffusers import AutoencoderKL

    sizes: dict[str, Any] = {  # diffusers annotates these as one-tuples
        "block_out_channels": (16, 32, 32),
        "down_block_types": ("DownEncoderBlock2D",) * 3,
        "up_block_types": ("UpDecoderBlock2D",) * 3,
    }
    return AutoencoderKL(
        **sizes,
        in_channels=3,
        out_channels=3,
        latent_channels=LATENT_SHAPE[0],
        layers_per_block=1,
        norm_num_groups=8,
        sample_size=SIZE,
        mid_block_add_attention=False,
        scaling_factor=1.0,
    )


def build_unet() -> Any:
    """UNet2DConditionModel with cross-attention at 8 x 8, about 4 M parameters."""
    from diffusers import UNet2DConditionModel

    return UNet2DConditionModel(
        sample_size=LATENT_SHAPE[-1],
        in_channels=LATENT_SHAPE[0],
        out_channels=LATENT_SHAPE[0],
        block_out_channels=(64, 128),
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D"),
        up_block_types=("CrossAttnUpBlock2D", "UpBlock2D"),
        layers_per_block=1,
        cross_attention_dim=TEXT_WIDTH,
        attention_head_dim=4,
        norm_num_groups=16,
    )


def build_scheduler() -> Any:
    """DDIM on SDXL's noise schedule."""
    from diffusers import DDIMScheduler

    return DDIMScheduler(
        beta_start=0.00085,
        beta_end=0.012,
        beta_schedule="scaled_linear",
        clip_sample=False,
        set_alpha_to_one=False,
        steps_offset=1,
        timestep_spacing="leading",
    )


def build_pipeline(vae: Any = None, text_encoder: Any = None, unet: Any = None) -> Any:
    """A StableDiffusionPipeline of the world; networks not given are freshly initialised."""
    from diffusers import StableDiffusionPipeline

    return StableDiffusionPipeline(
        vae=vae or build_vae(),
        text_encoder=text_encoder or build_text_encoder(),
        tokenizer=build_tokenizer(),
        unet=unet or build_unet(),
        scheduler=build_scheduler(),
        safety_checker=None,  # type: ignore[arg-type]
        feature_extractor=None,  # type: ignore[arg-type]
        requires_safety_checker=False,
    )


def save_pipeline(pipeline: Any, folder: Path) -> None:
    """Save as fp16 safetensors in the plain diffusers layout."""
    pipeline.to(dtype=torch.float16)
    with left_to_a_library(folder):
        pipeline.save_pretrained(folder, safe_serialization=True)
