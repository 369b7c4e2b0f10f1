"""A flow model of the embedded world, in the form of Stable Diffusion 3: what a start below sigma 1 is worth to one.

    noiseprompt collect --model shapes --prompts shapes:train --n 2000 --pictures shapes --seeds_per_prompt 32 \
        --shard_size 2048 --batch_size 64 --out runs/flow/scenes
    python benchmarks/flow_model.py runs/flow/scenes runs/flow        (about 80 minutes on one idle core)

Writes runs/flow/model, a StableDiffusion3Pipeline that every command takes: a transformer of 3.5 M parameters that
predicts eps - x_0 from x = sigma eps + (1 - sigma) x_0 and begins at pure noise, with the world's own autoencoder and
text encoder. Below sigma .93 it learns the velocity of the world's U-Net, which is the same quantity after a change of
variables (that converges several times as fast); above, where the U-Net was never trained, it learns from the pictures.
The same command continues after a kill.
"""

from __future__ import annotations

import json
import math
from collections.abc import Iterator
from pathlib import Path
from typing import Any
from unittest import mock

import numpy as np
import torch
from jsonargparse import auto_cli

from noiseprompt.core.schedules import warm_cosine
from noiseprompt.npd import Npd
from noiseprompt.pipelines import Pipeline
from noiseprompt.pipelines.families.stable_diffusion_3 import encode_stable_diffusion_3
from noiseprompt.shapes import model
from noiseprompt.shapes.training import average_of, load_average, loop, optimize

WIDTH, LAYERS, HEADS = 128, 6, 4
TAUGHT_BELOW = 0.93
"""sigma up to which the world's U-Net, whose noisiest timestep is 999, was trained well."""
ZEROS = 256
"""Tokens of the absent T5 encoder, all zero: the same in every layer, so one of them stands for all in training."""


def build_transformer() -> Any:
    """An SD3Transformer2DModel whose blocks begin as the identity (as DiT, arXiv:2212.09748)."""
    from diffusers import SD3Transformer2DModel

    made = SD3Transformer2DModel(
        sample_size=model.LATENT_SHAPE[-1],
        patch_size=2,
        in_channels=model.LATENT_SHAPE[0],
        out_channels=model.LATENT_SHAPE[0],
        num_layers=LAYERS,
        num_attention_heads=HEADS,
        attention_head_dim=WIDTH // HEADS,
        caption_projection_dim=WIDTH,
        joint_attention_dim=2 * model.TEXT_WIDTH,
        pooled_projection_dim=2 * model.TEXT_WIDTH,
        pos_embed_max_size=32,
    )
    for name, parameter in made.named_parameters():
        if ".norm1" in name or "norm_out" in name or name.startswith("proj_out"):
            torch.nn.init.zeros_(parameter)
    with torch.no_grad():
        made.context_embedder.weight /= 8  # the world's embeddings before their last norm have a deviation of 9
    return made


def build_text_encoder(own: Any) -> Any:
    """The world's CLIPTextModel with a fourth layer that does nothing: Stable Diffusion 3 reads the last but one."""
    from transformers import CLIPTextConfig, CLIPTextModelWithProjection

    config = CLIPTextConfig(**{**own.config.to_dict(), "num_hidden_layers": own.config.num_hidden_layers + 1})
    made: Any = CLIPTextModelWithProjection(config)
    text = {name: value for name, value in own.state_dict().items() if "position_ids" not in name}
    state = {name if name in made.state_dict() else f"text_model.{name}": value for name, value in text.items()}
    missing = made.load_state_dict(state, strict=False)
    assert not missing.unexpected_keys, missing.unexpected_keys
    last = made.text_model.encoder.layers[-1]
    with torch.no_grad():
        for layer in (last.self_attn.out_proj, last.mlp.fc2):
            layer.weight.zero_(), layer.bias.zero_()
        made.text_projection.weight.copy_(torch.eye(model.TEXT_WIDTH))
    return made


def build_pipeline(transformer: Any) -> Any:
    """A StableDiffusion3Pipeline of the world, without T5, with this transformer."""
    from diffusers import AutoencoderKL, FlowMatchEulerDiscreteScheduler, StableDiffusion3Pipeline

    own = Pipeline.load("shapes").pipe
    vae: Any = AutoencoderKL.from_config({**own.vae.config, "shift_factor": 0.0})
    vae.load_state_dict(own.vae.state_dict())
    encoder = build_text_encoder(own.text_encoder.float())
    return StableDiffusion3Pipeline(
        transformer=transformer,
        scheduler=FlowMatchEulerDiscreteScheduler(),
        vae=vae.float(),
        text_encoder=encoder,
        tokenizer=own.tokenizer,
        text_encoder_2=encoder,
        tokenizer_2=own.tokenizer,
        text_encoder_3=None,  # type: ignore[arg-type]
        tokenizer_3=None,  # type: ignore[arg-type]
    )


class Teacher:
    """The world's U-Net as a flow model below `TAUGHT_BELOW`."""

    def __init__(self) -> None:
        from diffusers.models.attention_processor import AttnProcessor

        pipe = Pipeline.load("shapes").pipe
        self.unet = pipe.unet.float().to(memory_format=torch.channels_last)
        self.unet.set_attn_processor(AttnProcessor())  # on CPUs faster than fused attention at these sizes
        alphas = pipe.scheduler.alphas_cumprod.double().numpy()
        self.log_snr = np.log(alphas / (1 - alphas))

    @torch.no_grad()
    def velocity(self, x: torch.Tensor, sigma: torch.Tensor, embeds: torch.Tensor) -> torch.Tensor:
        """eps - x_0 at x = sigma eps + (1 - sigma) x_0, (B, C, H, W), of the timestep with the same signal to noise."""
        s = sigma.view(-1, 1, 1, 1)
        log_snr = 2 * ((1 - sigma) / sigma).double().log().numpy()
        t = torch.from_numpy(np.interp(-log_snr, -self.log_snr, np.arange(len(self.log_snr)))).float()
        scaled = (x / (s**2 + (1 - s) ** 2).sqrt()).to(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            eps = self.unet(scaled, t, embeds).sample.float()
        return (eps - x) / (1 - s)


def one_zero_token() -> mock._patch[Any]:
    """While it is on, the last text token counts as `ZEROS` tokens in every attention: what equal tokens do."""
    attend = torch.nn.functional.scaled_dot_product_attention

    def counted(query: torch.Tensor, key: torch.Tensor, value: torch.Tensor, **_: Any) -> torch.Tensor:
        bias = query.new_zeros(key.shape[-2])
        bias[-1] = math.log(ZEROS)
        return attend(query, key, value, attn_mask=bias.expand(query.shape[-2], -1))

    return mock.patch("torch.nn.functional.scaled_dot_product_attention", counted)


def draw_sigmas(count: int, generator: torch.Generator) -> torch.Tensor:
    """Half of them in (0, 1), half above .6, where the layout is decided, (count,)."""
    u = torch.rand(count, generator=generator).clamp(1e-3)
    high = torch.arange(count) % 2 == 1
    return torch.where(high, 0.6 + 0.4 * u, u)


def conditions(pipe: Any, own: Any, texts: list[str]) -> dict[str, torch.Tensor]:
    """Of each text: what the flow model reads, with one zero token, and what the U-Net reads."""
    parts: list[dict[str, torch.Tensor]] = []
    with torch.no_grad():
        for start in range(0, len(texts), 100):
            few = texts[start : start + 100]
            read = encode_stable_diffusion_3(pipe, few)
            pooled = read.call_kwargs["pooled_prompt_embeds"]
            taught = own.encode_prompt(few, "cpu", 1, False)[0].float()
            prompt = read.prompt_embeds[:, : model.TEXT_LENGTH + 1]
            parts.append({"prompt": prompt.clone(), "pooled": pooled, "taught": taught})
    return {name: torch.cat([part[name] for part in parts]) for name in parts[0]}


def train(npd: Npd, folder: Path, steps: int, batch_size: int, lr: float, seed: int) -> Iterator[dict]:
    """Flow matching on the pictures of `npd`, with the teacher below `TAUGHT_BELOW`."""
    torch.manual_seed(seed)
    transformer = build_transformer()
    pipe, teacher = build_pipeline(transformer), Teacher()
    texts = list(dict.fromkeys(npd.table().column("prompt").to_pylist()))
    known = conditions(pipe, Pipeline.load("shapes").pipe, [*texts, ""])
    rows = torch.from_numpy(npd.prompt_rows())
    ema = average_of(transformer, 0.998)
    optimizer = torch.optim.AdamW(transformer.parameters(), lr=lr, weight_decay=1e-2, betas=(0.9, 0.99))

    def step_fn(step: int) -> float:
        generator = torch.Generator().manual_seed(step)
        chosen = np.random.default_rng((seed, step)).integers(len(npd), size=batch_size)
        x_0 = torch.from_numpy(npd.targets(chosen)).float()
        row = torch.where(torch.rand(batch_size, generator=generator) < 0.1, len(texts), rows[chosen])
        noise, sigma = torch.randn(x_0.shape, generator=generator), draw_sigmas(batch_size, generator)
        s = sigma.view(-1, 1, 1, 1)
        x, target = s * noise + (1 - s) * x_0, noise - x_0
        below = sigma < TAUGHT_BELOW
        target[below] = teacher.velocity(x[below], sigma[below], known["taught"][row[below]])
        with torch.autocast("cpu", torch.bfloat16), one_zero_token():
            made = transformer(x, known["prompt"][row], known["pooled"][row], sigma * 1000).sample
        loss = (made.float() - target).square().mean()
        optimize(optimizer, ema, loss, lr * warm_cosine(step, steps, 200), step)
        return loss.item()

    yield from loop(folder, "flow", steps, {"model": transformer, "ema": ema, "optimizer": optimizer}, step_fn, 60.0)


def main(scenes: Path, out: Path, steps: int = 3_600, batch_size: int = 64, lr: float = 1.5e-3, seed: int = 0) -> None:
    """Train it, or go on, and write OUT/model."""
    out.mkdir(parents=True, exist_ok=True)
    for record in train(Npd(scenes), out, steps, batch_size, lr, seed):
        print(json.dumps(record), flush=True)
    transformer = build_transformer()
    load_average(out, "flow", transformer, 0.998)
    build_pipeline(transformer).save_pretrained(out / "model")


if __name__ == "__main__":
    auto_cli(main)
