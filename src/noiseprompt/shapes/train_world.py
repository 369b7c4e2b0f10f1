"""Training of the embedded world: autoencoder, then text encoder and U-Net on its latents. Resumable at any moment.

One run folder holds everything: checkpoints (weights-only), `vae/`, `latents.npy`, `metrics.jsonl`. The same command on
the same folder continues; two runs with one seed give the same weights on one machine.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import Any

import numpy as np
import torch

from noiseprompt.core.files import claim, left_to_a_library, replacing
from noiseprompt.core.schedules import warm_cosine
from noiseprompt.shapes import model, scenes
from noiseprompt.shapes.card import write_card
from noiseprompt.shapes.phases import Layout, locate, loss_weights
from noiseprompt.shapes.settings import WorldConfig
from noiseprompt.shapes.training import (
    CONFIG_FILE,
    KIND_SHARES,
    average_of,
    begun,
    load_average,
    loop,
    optimize,
    to_tensor,
)
from noiseprompt.shapes.world import NAME


def draw_scenes(seed: int, count: int) -> tuple[list[scenes.Request], list[scenes.Scene]]:
    """`count` training requests and one scene each; a longer list starts with the shorter one."""
    requests, drawn = [], []
    for index in range(count):
        rng = np.random.default_rng((seed, index))
        request = scenes.random_request(rng, kind=str(rng.choice(scenes.KINDS, p=KIND_SHARES)))
        requests.append(request)
        drawn.append(scenes.random_scene(rng, request))
    return requests, drawn


def train_vae(folder: Path, config: WorldConfig) -> Iterator[dict]:
    """Autoencoder on rendered scenes: L1 + squared error and a faint KL term; ends with the measured scaling factor."""
    torch.manual_seed(config.seed)
    vae = model.build_vae().to(memory_format=torch.channels_last)
    ema = average_of(vae, 0.995)
    optimizer = torch.optim.AdamW(vae.parameters(), lr=config.vae_lr, weight_decay=1e-4)

    def step_fn(step: int) -> float:
        rng = np.random.default_rng((config.seed, 1, step))
        images = [
            scenes.render(scenes.random_scene(rng, scenes.random_request(rng))) for _ in range(config.vae_batch_size)
        ]
        x = to_tensor(images).to(memory_format=torch.channels_last)
        generator = torch.Generator().manual_seed(step)
        with torch.autocast("cpu", torch.bfloat16):
            posterior = vae.encode(x).latent_dist
            latents = posterior.sample(generator)
            restored = vae.decode(latents).sample
        error = restored.float() - x
        kl = 0.5 * (posterior.mean.float() ** 2 + posterior.var.float() - 1 - posterior.logvar.float()).mean()
        loss = error.abs().mean() + 2 * error.square().mean() + 1e-4 * kl
        optimize(optimizer, ema, loss, config.vae_lr * warm_cosine(step, config.vae_steps, 100), step)
        return loss.item()

    yield from loop(
        folder,
        "vae",
        config.vae_steps,
        {"model": vae, "ema": ema, "optimizer": optimizer},
        step_fn,
        config.checkpoint_seconds,
    )
    ema.apply()
    with left_to_a_library(folder / "vae"):
        vae.save_pretrained(folder / "vae")


@torch.no_grad()
def normalise_latents(vae: Any, mean: torch.Tensor, std: torch.Tensor) -> None:
    """Fold a per-channel shift and scale, each (4,), into the VAE's 1 x 1 convolutions: latents of mean 0, deviation 1.

    Stable Diffusion's pipeline knows one scaling factor only; an offset would leak through the schedule's last level.
    """
    count = len(mean)
    enter, leave = vae.quant_conv, vae.post_quant_conv
    enter.bias[:count] = (enter.bias[:count] - mean) / std
    enter.weight[:count] /= std.view(-1, 1, 1, 1)
    enter.bias[count:] -= 2 * std.log()
    leave.bias += (leave.weight[:, :, 0, 0] * mean).sum(1)
    leave.weight *= std.view(1, -1, 1, 1)


@torch.no_grad()
def encode_scenes(folder: Path, config: WorldConfig) -> tuple[list[scenes.Request], torch.Tensor]:
    """Requests and latents (N, 4, 16, 16) of the training scenes, of unit variance per channel."""
    from diffusers import AutoencoderKL

    requests, drawn = draw_scenes(config.seed, config.num_scenes)
    path = folder / "latents.npy"
    if not path.exists():
        vae: Any = AutoencoderKL.from_pretrained(folder / "vae")
        vae.to(memory_format=torch.channels_last)
        parts = []
        for start in range(0, len(drawn), 250):
            x = to_tensor([scenes.render(s) for s in drawn[start : start + 250]]).to(memory_format=torch.channels_last)
            parts.append(vae.encode(x).latent_dist.mean.contiguous())
        latents = torch.cat(parts)
        mean, std = latents.mean((0, 2, 3)), latents.std((0, 2, 3))
        normalise_latents(vae, mean, std)
        with left_to_a_library(folder / "vae_normalised"):
            vae.save_pretrained(folder / "vae_normalised")
        with replacing(path) as file:
            np.save(file, ((latents - mean.view(1, -1, 1, 1)) / std.view(1, -1, 1, 1)).half().numpy())
    return requests, torch.from_numpy(np.load(path))


def train_unet(folder: Path, config: WorldConfig) -> Iterator[dict]:
    """Text encoder and U-Net: epsilon prediction, weighted by `phases.loss_weights`, phase after phase."""
    from diffusers.models.attention_processor import AttnProcessor

    requests, latents = encode_scenes(folder, config)
    torch.manual_seed(config.seed + 1)
    tokenizer, text_encoder = model.build_tokenizer(), model.build_text_encoder()
    unet = model.build_unet().to(memory_format=torch.channels_last)
    unet.set_attn_processor(AttnProcessor())  # on CPUs faster than fused attention at these sizes
    both = torch.nn.ModuleList([text_encoder, unet])
    ema = average_of(both, config.ema_decay)
    optimizer = torch.optim.AdamW(both.parameters(), lr=config.phases[0].lr, weight_decay=1e-2, betas=(0.9, 0.99))
    alphas = model.build_scheduler().alphas_cumprod
    weights = [loss_weights(alphas, phase.snr_floor) for phase in config.phases]

    layout = Layout(model.TEXT_WIDTH)
    layout_optimizer = torch.optim.AdamW(layout.parameters(), lr=1e-3)

    def denoising_loss(x: torch.Tensor, embeds: torch.Tensor, step: int, weight: torch.Tensor) -> torch.Tensor:
        generator = torch.Generator().manual_seed(step)
        noise = torch.randn(x.shape, generator=generator)
        t = torch.randint(0, 1000, (len(x),), generator=generator)
        a = alphas[t].view(-1, 1, 1, 1)
        noised = (a.sqrt() * x + (1 - a).sqrt() * noise).to(memory_format=torch.channels_last)
        with torch.autocast("cpu", torch.bfloat16):
            predicted = unet(noised, t, embeds).sample
        return ((predicted.float() - noise).square().mean((1, 2, 3)) * weight[t]).mean()

    def step_fn(step: int) -> float:
        rng = np.random.default_rng((config.seed, 2, step))
        number, within = locate(config.phases, step)
        phase = config.phases[number]
        captions = phase.captions(within, config.empty)
        layout_only = within < phase.layout_only
        chosen = rng.integers(len(requests), size=config.batch_size * (3 if layout_only else 1))
        texts = [captions.caption(rng, requests[i]) for i in chosen]
        x = latents[torch.from_numpy(chosen)].float()
        tokens = tokenizer(
            texts, padding="max_length", max_length=model.TEXT_LENGTH, truncation=True, return_tensors="pt"
        ).input_ids
        embeds = text_encoder(tokens).last_hidden_state
        loss = torch.zeros(()) if layout_only else denoising_loss(x, embeds, step, weights[number])
        both_losses = loss + phase.layout_weight * layout(embeds, x) if phase.layout_weight else loss
        layout_optimizer.zero_grad()
        optimize(optimizer, ema, both_losses, phase.rate(within), step)
        layout_optimizer.step()
        return both_losses.item() if layout_only else loss.item()

    yield from loop(
        folder,
        "unet",
        sum(phase.steps for phase in config.phases),
        {"model": both, "ema": ema, "optimizer": optimizer, "layout": layout, "layout_optimizer": layout_optimizer},
        step_fn,
        config.checkpoint_seconds,
    )


def export(folder: Path, config: WorldConfig, out: Path) -> None:
    """Write the pipeline of the newest checkpoint's averaged weights to `out`, fp16, in diffusers' layout.

    Raises:
        ConfigError: the folder holds no U-Net checkpoint yet.
    """
    from diffusers import AutoencoderKL

    both = torch.nn.ModuleList([model.build_text_encoder(), model.build_unet()])
    load_average(folder, "unet", both, config.ema_decay)
    vae: Any = AutoencoderKL.from_pretrained(folder / "vae_normalised")
    vae.register_to_config(_name_or_path=NAME)  # not the folder of whoever trained it
    model.save_pipeline(model.build_pipeline(vae, both[0], both[1]), out)
    write_card(folder, config, out)


def train_world(folder: Path, config: WorldConfig) -> Iterator[dict]:
    """All stages in order; yields a record {stage, step, loss, seconds} every 50 steps.

    Raises:
        ConfigError: the folder was made with other settings.
        StoreLockedError: another process trains there.
        DivergedError: a loss is not finite.
    """
    with claim(folder / CONFIG_FILE, config, (*begun("vae", "unet"), "latents.npy")):
        if not (folder / "latents.npy").exists():
            yield from train_vae(folder, config)
        yield from train_unet(folder, config)
