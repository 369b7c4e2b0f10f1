"""SDXL and Hunyuan-DiT at their full architecture with random weights (speed does not depend on values).

    python benchmarks/full_size.py [--model sdxl|hunyuan-dit] [--size 1024] [--steps 50] [--device cuda]
    python benchmarks/full_size.py --tiny true    the same code on a CPU in seconds, to try it

Seconds per image and peak memory of standard, re-denoise and NPNet (published architecture, SDXL only at 1024 pixels);
pairs/s of one collection batch, the largest that fits by doubling, against batch 1. One JSON line a figure.
"""

from __future__ import annotations

import json
import platform
import string
import sys
import time
from collections.abc import Callable, Sequence
from typing import Any, Literal

import numpy as np
import torch
from jsonargparse import auto_cli

from noiseprompt.core.devices import resolve_dtype
from noiseprompt.core.types import Prompt, Sampling
from noiseprompt.noise.seeds import batch_noise
from noiseprompt.npnet.published import PublishedNPNet, published_config
from noiseprompt.pipelines import Pipeline
from noiseprompt.stages.collect.collect import find_teacher
from noiseprompt.stages.collect.pairs import PairMaker
from noiseprompt.stages.collect.settings import CollectConfig

SCHEDULE: dict[str, Any] = {"beta_schedule": "scaled_linear", "clip_sample": False, "steps_offset": 1}


def clip_tokenizer(length: int = 77) -> Any:
    """Single letters: what the words are does not matter for speed."""
    from transformers import CLIPTokenizer

    tokens = [
        "<|startoftext|>",
        "<|endoftext|>",
        *string.ascii_lowercase,
        *(f"{c}</w>" for c in string.ascii_lowercase),
    ]
    return CLIPTokenizer(vocab={t: i for i, t in enumerate(tokens)}, merges=[], model_max_length=length)


def clip_text(width: int, layers: int, heads: int, tokens: Any, projection: bool) -> Any:
    from transformers import CLIPTextConfig, CLIPTextModel, CLIPTextModelWithProjection

    config = CLIPTextConfig(
        vocab_size=49408,
        hidden_size=width,
        intermediate_size=4 * width,
        num_hidden_layers=layers,
        num_attention_heads=heads,
        projection_dim=width,
        bos_token_id=0,
        eos_token_id=1,
        pad_token_id=1,
    )
    return (CLIPTextModelWithProjection if projection else CLIPTextModel)(config)


def vae(tiny: bool) -> Any:
    from diffusers import AutoencoderKL

    return AutoencoderKL(
        block_out_channels=(8, 8, 16, 16) if tiny else (128, 256, 512, 512),
        down_block_types=("DownEncoderBlock2D",) * 4,
        up_block_types=("UpDecoderBlock2D",) * 4,
        layers_per_block=2,
        norm_num_groups=4 if tiny else 32,
        latent_channels=4,
        scaling_factor=0.13025,
        sample_size=1024,
    )


def build_sdxl(tiny: bool) -> Any:
    """stabilityai/stable-diffusion-xl-base-1.0, by its configuration files."""
    from diffusers import DDIMScheduler, StableDiffusionXLPipeline, UNet2DConditionModel

    unit, first, second = (32, (32, 2, 4), (64, 2, 4)) if tiny else (320, (768, 12, 12), (1280, 32, 20))
    unet = UNet2DConditionModel(
        sample_size=16 if tiny else 128,
        block_out_channels=(unit, 2 * unit, 4 * unit),  # type: ignore[arg-type]
        down_block_types=("DownBlock2D", "CrossAttnDownBlock2D", "CrossAttnDownBlock2D"),  # type: ignore[arg-type]
        up_block_types=("CrossAttnUpBlock2D", "CrossAttnUpBlock2D", "UpBlock2D"),  # type: ignore[arg-type]
        transformer_layers_per_block=(1, 1, 1) if tiny else (1, 2, 10),  # type: ignore[arg-type]
        attention_head_dim=(2, 4, 8) if tiny else (5, 10, 20),  # type: ignore[arg-type]
        cross_attention_dim=first[0] + second[0],
        use_linear_projection=True,
        addition_embed_type="text_time",
        addition_time_embed_dim=256,
        projection_class_embeddings_input_dim=second[0] + 6 * 256,
    )
    tokens = clip_tokenizer()
    return StableDiffusionXLPipeline(
        vae=vae(tiny),
        text_encoder=clip_text(*first, tokens, False),
        text_encoder_2=clip_text(*second, tokens, True),
        tokenizer=tokens,
        tokenizer_2=clip_tokenizer(),
        unet=unet,
        scheduler=DDIMScheduler(beta_start=0.00085, beta_end=0.012, set_alpha_to_one=False, **SCHEDULE),
        add_watermarker=False,
    )


def build_hunyuan_dit(tiny: bool) -> Any:
    """Tencent-Hunyuan/HunyuanDiT-v1.2-Diffusers, by its configuration files."""
    from diffusers import DDIMScheduler, HunyuanDiT2DModel, HunyuanDiTPipeline
    from transformers import BertConfig, BertModel, BertTokenizer, T5Config, T5EncoderModel, T5Tokenizer

    heads, layers, bert, t5 = (2, 2, 32, 32) if tiny else (16, 40, 1024, 2048)
    transformer = HunyuanDiT2DModel(
        num_attention_heads=heads,
        attention_head_dim=88,
        in_channels=4,
        patch_size=2,
        activation_fn="gelu-approximate",
        sample_size=16 if tiny else 128,
        hidden_size=88 * heads,
        num_layers=layers,
        mlp_ratio=4.3637,
        learn_sigma=True,
        cross_attention_dim=bert,
        cross_attention_dim_t5=t5,
        pooled_projection_dim=1024,
        text_len=77,
        text_len_t5=256,
        norm_type="layer_norm",
        use_style_cond_and_image_meta_size=False,
    )
    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", *string.ascii_lowercase]
    pieces = [("<pad>", 0.0), ("</s>", 0.0), ("<unk>", 0.0), *((c, -2.0) for c in "▁" + string.ascii_lowercase)]
    depth = 2 if tiny else 24
    return HunyuanDiTPipeline(
        vae=vae(tiny),
        text_encoder=BertModel(
            BertConfig(
                hidden_size=bert, num_hidden_layers=depth, num_attention_heads=bert // 16, intermediate_size=4 * bert
            )
        ),
        tokenizer=BertTokenizer(vocab={w: i for i, w in enumerate(words)}, model_max_length=77),
        text_encoder_2=T5EncoderModel(
            T5Config(
                d_model=t5,
                d_kv=t5 // 32,
                num_heads=32,
                d_ff=5 * t5 // 2,
                num_layers=depth,
                feed_forward_proj="gated-gelu",
            )
        ),
        tokenizer_2=T5Tokenizer(vocab=pieces, extra_ids=0),
        transformer=transformer,
        scheduler=DDIMScheduler(
            beta_start=0.00085, beta_end=0.018, prediction_type="v_prediction", set_alpha_to_one=False, **SCHEDULE
        ),
        safety_checker=None,  # type: ignore[arg-type]
        feature_extractor=None,  # type: ignore[arg-type]
        requires_safety_checker=False,
    )


BUILDERS = {"sdxl": build_sdxl, "hunyuan-dit": build_hunyuan_dit}


class Level:
    """Mean level of an image: a scorer that costs nothing."""

    name = "level"

    def score(self, images: np.ndarray, prompts: Sequence[Prompt]) -> np.ndarray:
        return images.mean(axis=(1, 2, 3), dtype=np.float64)


def measured(work: Callable[[], Any], device: str, repeats: int) -> dict[str, float]:
    """Median seconds of `work` after one run to warm up, and peak accelerator memory in GiB."""
    cuda = torch.device(device).type == "cuda"
    times = []
    for _ in range(repeats + 1):
        if cuda:
            torch.cuda.reset_peak_memory_stats()
            torch.cuda.synchronize()
        begun = time.perf_counter()
        work()
        if cuda:
            torch.cuda.synchronize()
        times.append(time.perf_counter() - begun)
    peak = {"peak_gib": round(torch.cuda.max_memory_allocated() / 2**30, 2)} if cuda else {}
    return {"seconds": round(float(np.median(times[1:])), 4), **peak}


def images(pipeline: Pipeline, size: int, steps: int, repeats: int, net: PublishedNPNet | None) -> dict[str, Any]:
    """One image by standard, re-denoise and NPNet."""
    embeds = pipeline.encode(["a small photograph of nothing at all"])
    noise = batch_noise([0], pipeline.latent_shape(size, size), device=str(pipeline.device))
    draw = {"num_inference_steps": steps, "height": size, "width": size}
    work: dict[str, Callable[[], Any]] = {
        "standard": lambda: pipeline.sample(embeds, noise, **draw),
        "redenoise": lambda: pipeline.sample(embeds, pipeline.redenoise(embeds, noise), **draw),
    }
    if net is not None:
        work["npnet"] = lambda: pipeline.sample(embeds, net(noise, embeds.prompt_embeds.float()), **draw)
    figures: dict[str, Any] = {name: measured(job, str(pipeline.device), repeats) for name, job in work.items()}
    base = figures["standard"]["seconds"]
    for row in figures.values():
        row["ratio"] = round(row["seconds"] / base, 4)
    return figures


def collection(pipeline: Pipeline, size: int, steps: int, largest: int) -> dict[str, Any]:
    """Pairs/s of one batch of 1, 2, 4 ... pairs, until memory or `largest` ends it."""
    config = CollectConfig(redenoise_steps=steps, num_inference_steps=steps, height=size, width=size)
    maker = PairMaker(pipeline, [Level()], find_teacher(pipeline, config), Sampling.of(config))
    rates: dict[str, float] = {}
    batch = 1
    while batch <= largest:
        items = [(Prompt(f"prompt {i}"), i) for i in range(batch)]
        try:
            rates[str(batch)] = round(
                batch / measured(lambda i=items: maker.make(i), str(pipeline.device), 1)["seconds"], 4
            )
        except Exception as error:  # out of memory, as the pair maker words it
            rates[f"{batch} failed: {type(error).__name__}"] = 0.0
            break
        batch *= 2
    return {"pairs_per_second": rates, "best_ratio": round(max(rates.values()) / rates["1"], 3)}


@torch.no_grad()
def main(
    model: Literal["sdxl", "hunyuan-dit"] = "sdxl",
    size: int = 1024,
    steps: int = 50,
    collection_steps: int = 10,
    device: str = "cuda",
    dtype: str = "bfloat16",
    repeats: int = 3,
    largest_batch: int = 32,
    tiny: bool = False,
) -> None:
    """Build, measure, print."""
    if tiny:
        size, steps, collection_steps, device, dtype, repeats, largest_batch = 128, 4, 2, "cpu", "float32", 1, 2
    torch.manual_seed(0)
    before = torch.get_default_dtype()
    torch.set_default_dtype(resolve_dtype(dtype))
    with torch.device(device):
        pipe = BUILDERS[model](tiny)
    torch.set_default_dtype(before)
    pipe.to(device, resolve_dtype(dtype))
    pipe.set_progress_bar_config(disable=True)
    pipeline = Pipeline(pipe, name=f"{model}-random-weights")
    name = (
        torch.cuda.get_device_name(device) if device.startswith("cuda") else platform.processor() or platform.machine()
    )
    print(
        json.dumps({"model": model, "tiny": tiny, "size": size, "steps": steps, "dtype": dtype, "device": name}),
        flush=True,
    )
    width = pipeline.encode(["a"]).prompt_embeds.shape[-1]
    fits = size == 1024 and pipeline.latent_shape(size, size) == (4, 128, 128)
    net = PublishedNPNet(published_config(width)).to(device).eval() if fits else None
    print(json.dumps(images(pipeline, size, steps, repeats, net)), flush=True)
    print(json.dumps(collection(pipeline, size, collection_steps, largest_batch)), flush=True)


if __name__ == "__main__":
    sys.exit(auto_cli(main))
