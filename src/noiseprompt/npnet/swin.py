"""A Swin transformer (Liu et al., 2021) as a feature extractor: windowed self-attention, every second block shifted.

It computes what timm's `swin_tiny_patch4_window7_224` computes before its pooling, under names of our own;
`from_timm` translates those of timm.
"""

from __future__ import annotations

import math
import re
from collections.abc import Mapping
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from noiseprompt.core.errors import ConfigError


def relative_positions(window: int) -> Tensor:
    """(N, N) long, N = window ** 2: row of the bias table for each pair of tokens, (2 * window - 1) ** 2 rows."""
    axis = torch.arange(window, device="cpu")
    places = torch.stack(torch.meshgrid(axis, axis, indexing="ij")).flatten(1)
    down, across = places[:, :, None] - places[:, None, :] + window - 1
    return down * (2 * window - 1) + across


def order(side: int, window: int, shift: int) -> Tensor:
    """(side ** 2,) long: places of the map, row by row, window after window; the windows cut from it moved by `shift`.

    Tokens stay in such an order from one attention to the next: everything between looks at one token alone.
    """
    places = torch.arange(side * side, device="cpu").view(side, side).roll((-shift, -shift), (0, 1))
    count = side // window
    return places.view(count, window, count, window).transpose(1, 2).flatten()


def reordered(tokens: Tensor, index: Tensor | None) -> Tensor:
    """(B, T, D) tokens by an index of them; as they are where it is None."""
    return tokens if index is None else tokens.index_select(1, index)


def between(now: Tensor, then: Tensor) -> Tensor | None:
    """The index that brings tokens from one order to another; None where they are the same."""
    return None if torch.equal(now, then) else now.argsort()[then]


def shift_mask(side: int, window: int, shift: int) -> Tensor:
    """(windows, N, N) float: -100 between tokens that only the cyclic shift made neighbours, else 0."""
    edges = torch.zeros(side, dtype=torch.long, device="cpu")
    edges[side - window :] = 1
    edges[side - shift :] = 2
    regions = (3 * edges[:, None] + edges).flatten()[order(side, window, 0)].view(-1, window**2)
    return (regions[:, :, None] != regions[:, None, :]).float() * -100.0


class WindowAttention(nn.Module):
    """Self-attention inside windows, with a learned bias for each relative position.

    A window as large as the map is not shifted: there is only one.
    """

    relative: Tensor
    mask: Tensor | None

    def __init__(self, width: int, heads: int, side: int, window: int, shift: int) -> None:
        super().__init__()
        self.heads, self.tokens = heads, window**2
        self._kept: tuple[tuple[Tensor, int, torch.dtype], Tensor] | None = None
        self.qkv = nn.Linear(width, 3 * width)
        self.out = nn.Linear(width, width)
        self.bias_table = nn.Parameter(torch.empty((2 * window - 1) ** 2, heads))
        nn.init.trunc_normal_(self.bias_table, std=0.02)
        self.register_buffer("relative", relative_positions(window), persistent=False)
        self.register_buffer("mask", shift_mask(side, window, shift) if shift else None, persistent=False)

    def forward(self, x: Tensor) -> Tensor:
        """(B, T, D), window after window -> the same."""
        batch, total, depth = x.shape
        qkv = self.qkv(x).view(-1, self.tokens, 3, self.heads, depth // self.heads)
        query, key, value = qkv.permute(2, 0, 3, 1, 4).unbind(0)
        bias = self.bias(query.dtype)
        if len(bias) > 1 and batch > 1:
            bias = bias.repeat(batch, 1, 1, 1)
        x = F.scaled_dot_product_attention(query, key, value, attn_mask=bias)
        return self.out(x.transpose(1, 2).reshape(batch, total, depth))

    def bias(self, dtype: torch.dtype) -> Tensor:
        """(1 or windows, heads, N, N) of the bias table, with the mask of the shift; kept while the table is the same
        and nothing is learned."""
        table = self.bias_table
        if torch.is_grad_enabled() or table.is_inference():
            return self._bias(dtype)
        state = (table, table._version, dtype)
        if self._kept is None or self._kept[0][0] is not table or self._kept[0][1:] != state[1:]:
            self._kept = (state, self._bias(dtype))
        return self._kept[1]

    def _bias(self, dtype: torch.dtype) -> Tensor:
        bias = self.bias_table[self.relative].permute(2, 0, 1)[None]
        return (bias if self.mask is None else bias + self.mask[:, None].to(bias.dtype)).to(dtype).contiguous()

    def _apply(self, *args: Any, **options: Any) -> Any:
        self._kept = None  # the table goes to another device or dtype
        return super()._apply(*args, **options)


class Block(nn.Module):
    """x + attention(norm(x)), then x + mlp(norm(x)); in training a sample skips each sum with probability `drop`.

    Its tokens come in the order of the block before it.
    """

    enter: Tensor | None

    def __init__(self, width: int, heads: int, side: int, window: int, shifts: tuple[int, int], drop: float) -> None:
        super().__init__()
        self.drop = drop
        before, shift = shifts
        enter = between(order(side, window, before), order(side, window, shift))
        self.register_buffer("enter", enter, persistent=False)
        self.norm1 = nn.LayerNorm(width)
        self.attention = WindowAttention(width, heads, side, window, shift)
        self.norm2 = nn.LayerNorm(width)
        self.mlp = nn.Sequential(nn.Linear(width, 4 * width), nn.GELU(), nn.Linear(4 * width, width))

    def forward(self, x: Tensor) -> Tensor:
        x = reordered(x, self.enter)
        x = self._added(x, self.attention(self.norm1(x)))
        return self._added(x, self.mlp(self.norm2(x)))

    def _added(self, x: Tensor, change: Tensor) -> Tensor:
        if not self.training or self.drop == 0:
            return x + change
        keep = 1 - self.drop
        return x + change * (torch.rand(len(x), 1, 1, device=x.device) < keep).to(x.dtype) / keep


class Merge(nn.Module):
    """(B, T, D) -> (B, T / 4, 2D): each 2 x 2 neighbourhood, column by column, normalised and projected.

    Args:
        width: D.
        now: order of the tokens that come.
        then: order of those that go, on the map of half the side.
    """

    corners: Tensor

    def __init__(self, width: int, now: Tensor, then: Tensor) -> None:
        super().__init__()
        half = math.isqrt(len(then))
        row, column = 2 * (then // half), 2 * (then % half)
        places = torch.stack([(row + down) * 2 * half + column + across for across in (0, 1) for down in (0, 1)], 1)
        self.register_buffer("corners", now.argsort()[places.flatten()], persistent=False)
        self.norm = nn.LayerNorm(4 * width)
        self.project = nn.Linear(4 * width, 2 * width, bias=False)

    def forward(self, x: Tensor) -> Tensor:
        batch, total, depth = x.shape
        return self.project(self.norm(x.index_select(1, self.corners).view(batch, total // 4, 4 * depth)))


class Swin(nn.Module):
    """Features of a square image. Tokens are moved once between two attentions, not four times as by rolls and cuts.

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

    enter: Tensor | None
    leave: Tensor | None

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
        side, now = image // patch, torch.arange((image // patch) ** 2, device="cpu")
        for i, (depth, count) in enumerate(zip(depths, heads, strict=True)):
            side, wide = image // patch >> i, width << i
            span = min(window, side)
            shifts = [span // 2 if j % 2 and span < side else 0 for j in range(depth)]
            then = order(side, span, 0)
            self.merges.append(Merge(wide // 2, now, then) if i else nn.Identity())
            pairs = zip([0, *shifts], shifts, strict=False)
            blocks = [Block(wide, count, side, span, pair, next(drops)) for pair in pairs]
            self.stages.append(nn.Sequential(*blocks))
            if not i:
                self.register_buffer("enter", between(now, then), persistent=False)
            now = order(side, span, shifts[-1])
        self.side = side
        self.register_buffer("leave", between(now, torch.arange(side * side, device="cpu")), persistent=False)
        self.image, self.out_width = image, width << (len(depths) - 1)
        self.norm = nn.LayerNorm(self.out_width)
        self.apply(_initialise)

    def forward(self, x: Tensor) -> Tensor:
        """(B, channels, image, image) -> (B, side, side, out_width), channels last."""
        x = reordered(self.embed_norm(self.embed(x).flatten(2).mT), self.enter)
        for merge, stage in zip(self.merges, self.stages, strict=True):
            x = stage(merge(x))
        return self.norm(reordered(x, self.leave)).view(len(x), self.side, self.side, self.out_width)


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
