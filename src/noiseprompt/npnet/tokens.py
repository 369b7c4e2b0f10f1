"""A transformer over noise patches and prompt tokens that predicts the perturbation itself, or a picture's latents.

Unlike the paper's network each patch sees the words: the target perturbation is a guided prediction of the denoiser,
which depends on both. A fresh network returns its input, or the picture 0.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention

from noiseprompt.core.arguments import held
from noiseprompt.core.errors import ConfigError
from noiseprompt.npnet.base import NPNet
from noiseprompt.npnet.config import NPNetConfig

GAINS = {"noise": 0.1, "picture": 1.0}
"""Initial scale of what the head gives: perturbations are a few per cent of the noise, pictures as large as it."""

LAST_LAYERS = ("head", "gain")
"""Of which the meaning depends on what is predicted."""


def positions(height: int, width: int, depth: int) -> Tensor:
    """(height * width, depth) sinusoidal: a quarter of the depth each for sin, cos of the row and of the column."""
    quarter = depth // 4
    rates = 10_000.0 ** (-torch.arange(quarter, dtype=torch.float32) / quarter)
    rows = torch.arange(height, dtype=torch.float32)[:, None] * rates
    columns = torch.arange(width, dtype=torch.float32)[:, None] * rates
    row = torch.cat([rows.sin(), rows.cos()], -1)[:, None].expand(height, width, -1)
    column = torch.cat([columns.sin(), columns.cos()], -1)[None].expand(height, width, -1)
    return torch.cat([row, column], -1).flatten(0, 1)


class Block(nn.Module):
    """Pre-norm transformer block, (B, N, D) -> (B, N, D)."""

    def __init__(self, width: int, heads: int, hidden: int) -> None:
        super().__init__()
        self.heads = heads
        self.norm1 = nn.LayerNorm(width)
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, hidden), nn.GELU(), nn.Linear(hidden, width))

    def forward(self, x: Tensor) -> Tensor:
        batch, length, width = x.shape
        qkv = self.qkv(self.norm1(x)).view(batch, length, 3, self.heads, width // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        mixed = scaled_dot_product_attention(query, key, value).transpose(1, 2).reshape(batch, length, width)
        x = x + self.out(mixed)
        return x + self.mlp(self.norm2(x))


class TokensNPNet(NPNet):
    """x'_T = x_T + gain * head(transformer([noise patches; prompt tokens])), or a picture h = gain * head(...).

    Raises:
        ConfigError: a patch that does not divide the latents, or heads that do not divide the width.
    """

    def __init__(self, config: NPNetConfig) -> None:
        super().__init__(config)
        channels, height, wide = config.latent_shape
        patch, width = config.patch, config.width
        if height % patch or wide % patch:
            raise ConfigError(f"a patch of {patch} on latents of {height} x {wide}", "a patch that divides both")
        if width % config.heads or width % 4:
            raise ConfigError(f"width {width} with {config.heads} heads", "a width that the heads and 4 divide")
        self.embed_noise = nn.Linear(channels * patch * patch, width)
        self.norm_text = nn.LayerNorm(config.text_width)
        self.embed_text = nn.Linear(config.text_width, width)
        if config.positions == "both_corners":
            self.embed_end = nn.Linear(width, width, bias=False)
            nn.init.zeros_(self.embed_end.weight)
        self.text_positions = nn.Parameter(torch.randn(config.text_length, width) * 0.02)
        hidden = round(config.mlp_ratio * width)
        self.blocks = nn.ModuleList([Block(width, config.heads, hidden) for _ in range(config.depth)])
        self.norm = nn.LayerNorm(width)
        self.head = nn.Linear(width, channels * patch * patch)
        self.gain = nn.Parameter(torch.tensor(float(config.gain)))
        nn.init.zeros_(self.head.weight)
        nn.init.zeros_(self.head.bias)

    def _takes_size(self, latent_shape: tuple[int, ...]) -> bool:
        config = self.config
        same_kind = len(latent_shape) == 3 and latent_shape[0] == config.latent_shape[0]
        return config.any_size and same_kind and all(side > 0 and side % config.patch == 0 for side in latent_shape[1:])

    def predict(self, noise: Tensor, prompt_embeds: Tensor) -> Tensor:
        patch = self.config.patch
        batch, channels, height, width = noise.shape
        rows, columns = height // patch, width // patch
        patches = noise.reshape(batch, channels, rows, patch, columns, patch).permute(0, 2, 4, 1, 3, 5)
        patches = patches.flatten(3).flatten(1, 2)
        where = positions(rows, columns, self.config.width).to(noise.device, self.dtype)
        seen = self.embed_noise(patches.to(self.dtype)) + where
        if self.config.positions == "both_corners":  # patch n - 1 - k is as far from the last as k from the first
            seen = seen + self.embed_end(where.flip(0))
        read = self.embed_text(self.norm_text(prompt_embeds)) + self.text_positions
        x = torch.cat([seen, read.to(seen.dtype)], 1)
        for block in self.blocks:
            x = block(x)
        change = self.head(self.norm(x[:, : rows * columns])).float() * self.gain.float()
        change = change.view(batch, rows, columns, channels, patch, patch).permute(0, 3, 1, 4, 2, 5)
        change = change.reshape(noise.shape)
        return change if self.config.predicts == "picture" else noise + change


@held
def tokens_config(
    latent_shape: tuple[int, int, int],
    text_length: int,
    text_width: int,
    family: str = "",
    denoiser: str = "",
    *,
    any_size: bool = False,
    positions: str = "top_left",
    predicts: str = "noise",
) -> NPNetConfig:
    """The defaults of this architecture, 1.06 M parameters, and the smallest patch of 2, 4, 8... with <= 256 patches.

    Raises:
        ConfigError: latents that no such patch divides.
    """
    patch = 2
    while (latent_shape[1] // patch) * (latent_shape[2] // patch) > 256:
        patch *= 2
    if latent_shape[1] % patch or latent_shape[2] % patch:
        raise ConfigError(f"latents of {latent_shape[1]} x {latent_shape[2]}", f"sides that are multiples of {patch}")
    return NPNetConfig(
        architecture="tokens",
        family=family,
        denoiser=denoiser,
        latent_shape=latent_shape,
        text_length=text_length,
        text_width=text_width,
        predicts=predicts,
        any_size=any_size,
        positions=positions,
        patch=patch,
        gain=GAINS.get(predicts, 0.1),
    )
