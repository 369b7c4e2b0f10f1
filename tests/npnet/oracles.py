"""Straight-line computations from dictionaries of tensors, written from formulas; no code shared with src."""

from __future__ import annotations

import torch
from torch.nn import functional as F


def tiny_shapes(width=96, depths=(2, 2, 6, 2), heads=(3, 6, 12, 24), window=7, channels=3, patch=4, classes=1000):
    """timm's names and shapes of a Swin transformer; the window is as large as the smallest map or larger."""
    shapes = {
        "patch_embed.proj.weight": (width, channels, patch, patch),
        "patch_embed.proj.bias": (width,),
        "patch_embed.norm.weight": (width,),
        "patch_embed.norm.bias": (width,),
    }
    for i, depth in enumerate(depths):
        d = width * 2**i
        if i:
            shapes[f"layers.{i}.downsample.norm.weight"] = shapes[f"layers.{i}.downsample.norm.bias"] = (2 * d,)
            shapes[f"layers.{i}.downsample.reduction.weight"] = (d, 2 * d)
        for j in range(depth):
            p = f"layers.{i}.blocks.{j}"
            for norm in ("norm1", "norm2"):
                shapes[f"{p}.{norm}.weight"] = shapes[f"{p}.{norm}.bias"] = (d,)
            shapes[f"{p}.attn.relative_position_bias_table"] = ((2 * window - 1) ** 2, heads[i])
            for name, out, inn in (("attn.qkv", 3, 1), ("attn.proj", 1, 1), ("mlp.fc1", 4, 1), ("mlp.fc2", 1, 4)):
                shapes[f"{p}.{name}.weight"], shapes[f"{p}.{name}.bias"] = (out * d, inn * d), (out * d,)
    last = width * 2 ** (len(depths) - 1)
    shapes["norm.weight"] = shapes["norm.bias"] = (last,)
    shapes["head.fc.weight"], shapes["head.fc.bias"] = (classes, last), (classes,)
    return shapes


def random_state(shapes, seed):
    """Random tensors that keep activations of order one: norms near 1, matrices scaled by their width."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in shapes.items():
        value = torch.randn(shape, generator=generator)
        if "norm" in name and name.endswith("weight"):
            value = 1 + 0.2 * value
        elif len(shape) > 1 and "table" not in name:
            value = value / value[0].numel() ** 0.5
        else:
            value = 0.5 * value
        state[name] = value
    return state


def swin(state, x, heads, window):
    """Swin from timm's tensors. A shifted window is the set of tokens whose floor((place - shift) / window) agree."""
    p = {k: v.to(x.dtype) for k, v in state.items()}
    patch = p["patch_embed.proj.weight"].shape[-1]
    x = F.conv2d(x, p["patch_embed.proj.weight"], p["patch_embed.proj.bias"], stride=patch).permute(0, 2, 3, 1)
    x = _norm(x, p, "patch_embed.norm")
    for i, count in enumerate(heads):
        if i:
            x = torch.cat([x[:, 0::2, 0::2], x[:, 1::2, 0::2], x[:, 0::2, 1::2], x[:, 1::2, 1::2]], -1)
            x = _norm(x, p, f"layers.{i}.downsample.norm") @ p[f"layers.{i}.downsample.reduction.weight"].T
        side = x.shape[1]
        span = min(window, side)
        j = 0
        while f"layers.{i}.blocks.{j}.norm1.weight" in p:
            name = f"layers.{i}.blocks.{j}"
            shift = span // 2 if j % 2 and span < side else 0
            x = x + _attend(_norm(x, p, f"{name}.norm1"), p, f"{name}.attn", count, span, shift)
            y = _norm(x, p, f"{name}.norm2")
            y = F.gelu(y @ p[f"{name}.mlp.fc1.weight"].T + p[f"{name}.mlp.fc1.bias"])
            x = x + y @ p[f"{name}.mlp.fc2.weight"].T + p[f"{name}.mlp.fc2.bias"]
            j += 1
    return _norm(x, p, "norm")


def _norm(x, p, name):
    mean, var = x.mean(-1, keepdim=True), x.var(-1, unbiased=False, keepdim=True)
    return (x - mean) / (var + 1e-5).sqrt() * p[f"{name}.weight"] + p[f"{name}.bias"]


def _attend(x, p, name, heads, window, shift):
    batch, side, _, depth = x.shape
    places = torch.arange(side)
    rows, columns = places.repeat_interleave(side), places.repeat(side)
    home = torch.stack(
        [(rows - shift).div(window, rounding_mode="floor"), (columns - shift).div(window, rounding_mode="floor")]
    )
    near = (home[:, :, None] == home[:, None, :]).all(0)
    down, across = rows[:, None] - rows[None], columns[:, None] - columns[None]
    index = (down + window - 1) * (2 * window - 1) + across + window - 1
    bias = p[f"{name}.relative_position_bias_table"][index.where(near, torch.zeros_like(index))]
    qkv = x.reshape(batch, side * side, depth) @ p[f"{name}.qkv.weight"].T + p[f"{name}.qkv.bias"]
    size = depth // heads
    out = []
    for h in range(heads):
        q, k, v = (qkv[..., part * depth + h * size : part * depth + (h + 1) * size] for part in range(3))
        scores = q @ k.mT / size**0.5 + bias[..., h]
        out.append(scores.masked_fill(~near, -torch.inf).softmax(-1) @ v)
    y = torch.cat(out, -1) @ p[f"{name}.proj.weight"].T + p[f"{name}.proj.bias"]
    return y.reshape(batch, side, side, depth)


def group_norm_one(x, eps=1e-6):
    mean = x.mean((1, 2, 3), keepdim=True)
    return (x - mean) / (x.var((1, 2, 3), unbiased=False, keepdim=True) + eps).sqrt()


def quadrants(x):
    """(B, 4, H, W) -> (B, 2H, 2W)."""
    return torch.cat([torch.cat([x[:, 0], x[:, 1]], -1), torch.cat([x[:, 2], x[:, 3]], -1)], -2)


def unquadrants(m):
    h, w = m.shape[1] // 2, m.shape[2] // 2
    return torch.stack([m[:, :h, :w], m[:, :h, w:], m[:, h:, :w], m[:, h:, w:]], 1)


def singular(p, x, heads=8):
    """The singular value branch from the published names; decomposed in float32, because signs are not unique."""
    u, s, vh = (part.to(x.dtype) for part in torch.linalg.svd(quadrants(x.float())))
    linear = lambda y, name: y @ p[f"{name}.weight"].T + p[f"{name}.bias"]  # noqa: E731
    mlp = lambda y, name: linear(linear(y, f"{name}.0").relu(), f"{name}.2")  # noqa: E731
    tokens = mlp(u.permute(0, 2, 1), "mlp1") + mlp(vh, "mlp2") + linear(s, "mlp3.0")[:, None]
    depth = tokens.shape[-1]
    size = depth // heads
    qkv = tokens @ p["attention.qkv.weight"].T
    out = []
    for h in range(heads):
        q, k, v = (qkv[..., part * depth + h * size : part * depth + (h + 1) * size] for part in range(3))
        out.append((q @ k.mT / size**0.5).softmax(-1) @ v)
    pooled = linear(torch.cat(out, -1), "attention.proj").mean(1)
    return unquadrants(u @ torch.diag_embed(mlp(pooled, "mlp4") + s) @ vh)


def singular_shapes(n=256, hidden=64, wide=1024):
    return {
        **{f"mlp{i}.{k}": v for i in (1, 2) for k, v in _mlp(n, hidden).items()},
        "mlp3.0.weight": (n, n),
        "mlp3.0.bias": (n,),
        "attention.qkv.weight": (3 * n, n),
        "attention.proj.weight": (n, n),
        "attention.proj.bias": (n,),
        **{f"mlp4.{k}": v for k, v in _mlp(n, wide).items()},
    }


def _mlp(n, hidden):
    return {"0.weight": (hidden, n), "0.bias": (hidden,), "2.weight": (n, hidden), "2.bias": (n,)}
