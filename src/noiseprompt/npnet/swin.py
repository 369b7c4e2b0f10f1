"""A Swin transformer (Liu et al., 2021) as a feature extractor: windowed self-attention, every second block shifted.

It computes what timm's `swin_tiny_patch4_window7_224` computes before its pooling, under names of our own;
`from_timm` translates those of timm.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from noiseprompt.core.errors import ConfigError


def relative_positions(window: int) -> Tensor:
    """(N, N) long, N = window ** 2: row of the bias table for each pair of tokens, (2 * window - 1) ** 2 rows."""
    axis = torch.arange(window)
    places = torch.stack(torch.meshgrid(axis, axis, indexing="ij")).flatten(1)
    down, across = places[:, :, None] - places[:, None, :] + window - 1
    return down * (2 * window - 1) + across


def shift_mask(side: int, window: int, shift: int) -> Tensor:
    """(windows, N, N) float: -100 between tokens that only the cyclic shift made neighbours, else 0."""
    edges = torch.zeros(side, dtype=torch.long)
    edges[side - window :] = 1
    edges[side - shift :] = 2
    regions = partition((3 * edges[:, None] + edges)[None, :, :, None], window).squeeze(-1)
    return (regions[:, :, None] != regions[:, None, :]).float() * -100.0


def partition(x: Tensor, window: int) -> Tensor:
    """(B, H, W, D) -> (B * windows, window ** 2, D)."""
    batch, height, width, depth = x.shape
    x = x.view(batch, height // window, window, width // window, window, depth)
    return x.transpose(2, 3).reshape(-1, window * window, depth)


def unpartition(x: Tensor, window: int, side: int) -> Tensor:
    """The inverse of `partition` for a square map."""
    count = side // window
    x = x.view(-1, count, count, window, window, x.shape[-1])
    return x.transpose(2, 3).reshape(-1, side, side, x.shape[-1])


class WindowAttention(nn.Module):
    """Self-attention inside windows, with a learned bias for each relative position.

    A window as large as the map is not shifted: there is only one.
    """

    relative: Tensor
    mask: Tensor | None

    def __init__(self, width: int, heads: int, side: int, window: int, shift: int) -> None:
        super().__init__()
        self.heads, self.side, self.window, self.shift = heads, side, window, shift
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.bias_table = nn.Parameter(torch.empty((2 * window - 1) ** 2, heads))
        nn.init.trunc_normal_(self.bias_table, std=0.02)
        self.register_buffer("relative", relative_positions(window), persistent=False)
        self.register_buffer("mask", shift_mask(side, window, shift) if shift else None, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, side, side, D) -> the same."""
        batch, depth, tokens = len(x), x.shape[-1], self.window**2
        if self.shift:
            x = x.roll((-self.shift, -self.shift), (1, 2))
        qkv = self.qkv(partition(x, self.window)).view(-1, tokens, 3, self.heads, depth // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        bias = self.bias_table[self.relative].permute(2, 0, 1)
        if self.mask is not None:
            bias = (bias + self.mask[:, None].to(bias.dtype)).repeat(batch, 1, 1, 1)
        else:
            bias = bias[None]
        x = F.scaled_dot_product_attention(query, key, value, attn_mask=bias.to(query.dtype))
        x = unpartition(self.out(x.transpose(1, 2).reshape(-1, tokens, depth)), self.window, self.side)
        return x.roll((self.shift, self.shift), (1, 2)) if self.shift else x


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)); in training a sample skips each sum with probability `drop`."""

    def __init__(self, width: int, heads: int, side: int, window: int, shift: int, drop: float) -> None:
        super().__init__()
        self.drop = drop
        self.norm1 = nn.LayerNorm(width)
        self.attention = WindowAttention(width, heads, side, window, shift)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        x = x + self._sometimes(self.attention(self.norm1(x)))
        return x + self._sometimes(self.mlp(self.norm2(x)))

    def _sometimes(self, x: Tensor) -> Tensor:
        if not self.training or self.drop == 0:
            return x
        keep = 1 - self.drop
        return x * (torch.rand(len(x), 1, 1, 1, device=x.device) < keep).to(x.dtype) / keep


class Merge(nn.Module):
    """(B, H, W, D) -> (B, H/2, W/2, 2D): each 2 x 2 neighbourhood, column by column, normalised and projected."""

    def __init__(self, width: int) -> None:
        super().__init__()
        self.norm = nn.LayerNorm(4 * width)
        self.project = nn.Linear(4 * width, 2 * width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        corners = [x[:, down::2, across::2] for across in (0, 1) for down in (0, 1)]
        return self.project(self.norm(torch.cat(corners, -1)))


class Swin(nn.Module):
    """Features of a square image.

    Args:
        image: side of the image.
        channels: of the image.
        patch: side of a patch; the first map has side image / patch, each later stage half of it and twice the width.
        window: side of an attention window, or of the whole map where that is smaller.
        width: of the first stage.
        depths, heads: blocks and attention heads of each stage.
        drop_path: stochastic depth of the last block in training, growing linearly from 0 at the first.

    Raises:
        ConfigError: sizes that do not divide each other.
    """

    def __init__(
        self,
        *,
        image: int,
        channels: int,
        patch: int,
        window: int,
        width: int,
        depths: tuple[int, ...],
        heads: tuple[int, ...],
        drop_path: float = 0.0,
    ) -> None:
        super().__init__()
        _check(image, patch, window, width, heads)
        self.embed = nn.Conv2d(channels, width, patch, patch)
        self.embed_norm = nn.LayerNorm(width)
        drops = iter([drop_path * i / max(sum(depths) - 1, 1) for i in range(sum(depths))])
        self.merges, self.stages = nn.ModuleList(), nn.ModuleList()
        for i, (depth, count) in enumerate(zip(depths, heads, strict=True)):
            side, wide = image // patch >> i, width << i
            span = min(window, side)
            shifts = [span // 2 if j % 2 and span < side else 0 for j in range(depth)]
            self.merges.append(Merge(wide // 2) if i else nn.Identity())
            self.stages.append(nn.Sequential(*[Block(wide, count, side, span, shift, next(drops)) for shift in shifts]))
        self.image, self.out_width = image, width << (len(depths) - 1)
        self.norm = nn.LayerNorm(self.out_width)
        self.apply(_initialise)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, image, image) -> (B, side, side, out_width), channels last."""
        x = self.embed_norm(self.embed(x).permute(0, 2, 3, 1))
        for merge, stage in zip(self.merges, self.stages, strict=True):
            x = stage(merge(x))
        return self.norm(x)


def _initialise(module: nn.Module) -> None:
    if isinstance(module, nn.Linear):
        nn.init.trunc_normal_(module.weight, std=0.02)
        if module.bias is not None:
            nn.init.zeros_(module.bias)


def _check(image: int, patch: int, window: int, width: int, heads: tuple[int, ...]) -> None:
    if image % patch:
        raise ConfigError(f"a Swin patch of {patch} in an image of side {image}", "a patch that divides it")
    for i, count in enumerate(heads):
        side = image // patch >> i
        if side < 1 or (image // patch) % (1 << i) or side % min(window, side):
            map_side = f"{image // patch} / {1 << i}"
            raise ConfigError(f"Swin windows of {window} over a map of side {map_side}", "windows that divide each map")
        if (width << i) % count:
            raise ConfigError(f"{count} Swin heads over width {width << i}", "heads that divide the width")


_TIMM = (
    (r"patch_embed\.proj\.", "embed."),
    (r"patch_embed\.norm\.", "embed_norm."),
    (r"layers\.(\d+)\.downsample\.reduction\.", r"merges.\1.project."),
    (r"layers\.(\d+)\.downsample\.norm\.", r"merges.\1.norm."),
    (r"layers\.(\d+)\.blocks\.(\d+)\.attn\.relative_position_bias_table$", r"stages.\1.\2.attention.bias_table"),
    (r"layers\.(\d+)\.blocks\.(\d+)\.attn\.qkv\.", r"stages.\1.\2.attention.qkv."),
    (r"layers\.(\d+)\.blocks\.(\d+)\.attn\.proj\.", r"stages.\1.\2.attention.out."),
    (r"layers\.(\d+)\.blocks\.(\d+)\.mlp\.fc1\.", r"stages.\1.\2.mlp.0."),
    (r"layers\.(\d+)\.blocks\.(\d+)\.mlp\.fc2\.", r"stages.\1.\2.mlp.2."),
    (r"layers\.(\d+)\.blocks\.(\d+)\.(norm[12])\.", r"stages.\1.\2.\3."),
)
_TIMM_UNUSED = re.compile(r"head\.|.*\.(relative_position_index|attn_mask)$")


def from_timm(state: Mapping[str, Tensor]) -> dict[str, Tensor]:
    """timm's tensors of a Swin under the names of `Swin`; unknown names are kept as they are.

    The classification head and the tables timm once saved with the weights are left out. timm before 0.9 counted a
    merge as the end of the stage before it, so its `layers.0.downsample` is the later `layers.1.downsample`.
    """
    old = any(name.startswith("layers.0.downsample.") for name in state)
    found = {}
    for name, value in state.items():
        if _TIMM_UNUSED.match(name):
            continue
        if old:
            name = re.sub(r"^layers\.(\d+)\.downsample", lambda m: f"layers.{int(m[1]) + 1}.downsample", name)
        for pattern, ours in _TIMM:
            name, changed = re.subn(f"^{pattern}", ours, name)
            if changed:
                break
        found[name] = value
    return found
