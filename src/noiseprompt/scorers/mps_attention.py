"""The cross-attention of MPS: image tokens look at the prompt's tokens, then at each other.

Written to the shapes and names of the published checkpoint (`cross_model.*` of Kwai-Kolors/MPS). One key and one value
head serve all query heads, and attention and feed-forward run side by side (as in PaLM, arXiv:2204.02311).

Shapes:
    tokens   (B, N, D) of the image
    context  (B, L, D) of the prompt
    mask     (B, L) bool, True where a token of the prompt may be looked at
"""

from __future__ import annotations

from collections.abc import Mapping

import torch
import torch.nn.functional as F
from torch import nn

from noiseprompt.core.tensors import check_values, other_numbers, refuse_other_numbers
from noiseprompt.scorers.loading import check_keys, infer


class Gate(nn.Module):
    """(..., 2 D) -> (..., D): the first half times SiLU of the second (arXiv:2002.05202)."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        value, gate = x.chunk(2, -1)
        return value * F.silu(gate)


class Residual(nn.Module):
    """x + fn(x, ...)."""

    def __init__(self, fn: nn.Module) -> None:
        super().__init__()
        self.fn = fn

    def forward(self, x: torch.Tensor, *rest: torch.Tensor) -> torch.Tensor:
        return x + self.fn(x, *rest)


class CrossAttention(nn.Module):
    """Image tokens look at the prompt's, beside a feed-forward layer."""

    def __init__(self, dim: int, heads: int, head: int, inner: int) -> None:
        super().__init__()
        self.heads, self.head = heads, head
        self.norm = nn.LayerNorm(dim)
        self.to_q = nn.Linear(dim, heads * head, bias=False)
        self.to_kv = nn.Linear(dim, 2 * head, bias=False)
        self.to_out = nn.Linear(heads * head, dim, bias=False)
        self.ff = nn.Sequential(nn.Linear(dim, 2 * inner, bias=False), Gate(), nn.Linear(inner, dim, bias=False))

    def forward(self, tokens: torch.Tensor, context: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        x = self.norm(tokens)
        query = self.to_q(x).unflatten(-1, (self.heads, self.head)).transpose(1, 2)
        key, value = self.to_kv(context).unsqueeze(1).chunk(2, -1)
        seen = F.scaled_dot_product_attention(
            query, key.expand(-1, self.heads, -1, -1), value.expand(-1, self.heads, -1, -1), mask[:, None, None]
        )
        return self.to_out(seen.transpose(1, 2).flatten(2)) + self.ff(x)


class Rotary(nn.Module):
    """Rotary positions (arXiv:2104.09864) on (..., N, head), the halves of a head turned against each other.

    The checkpoint holds the frequencies, but they are made anew: rounded to bfloat16 they are off by a radian at the
    far end of an image.
    """

    def __init__(self, head: int) -> None:
        super().__init__()
        self.register_buffer("inv_freq", _frequencies(head, None))

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        angle = torch.arange(x.shape[-2], device=x.device)[:, None] * _frequencies(x.shape[-1], x.device)
        cos, sin = (torch.cat([f(angle)] * 2, -1).to(x.dtype) for f in (torch.cos, torch.sin))
        first, second = x.chunk(2, -1)
        return x * cos + torch.cat([-second, first], -1) * sin


def _frequencies(head: int, device: torch.device | None) -> torch.Tensor:
    return 10_000 ** (-torch.arange(0, head, 2, dtype=torch.float32, device=device) / head)


class SelfAttention(nn.Module):
    """Image tokens look at each other, beside a feed-forward layer; one matrix makes queries, key, value and gate."""

    def __init__(self, dim: int, heads: int, head: int, inner: int) -> None:
        super().__init__()
        self.heads, self.parts = heads, (heads * head, head, head, 2 * inner)
        self.norm = nn.LayerNorm(dim)
        self.rotary_emb = Rotary(head)
        self.fused_attn_ff_proj = nn.Linear(dim, sum(self.parts), bias=False)
        self.attn_out = nn.Linear(heads * head, dim, bias=False)
        self.ff_out = nn.Sequential(Gate(), nn.Linear(inner, dim, bias=False))

    def forward(self, tokens: torch.Tensor) -> torch.Tensor:
        query, key, value, gated = self.fused_attn_ff_proj(self.norm(tokens)).split(self.parts, -1)
        query = self.rotary_emb(query.unflatten(-1, (self.heads, -1)).transpose(1, 2))
        key = self.rotary_emb(key).unsqueeze(1).expand_as(query)
        value = value.unsqueeze(1).expand_as(query)
        seen = F.scaled_dot_product_attention(query, key, value)
        return self.attn_out(seen.transpose(1, 2).flatten(2)) + self.ff_out(gated)


class CrossModel(nn.Module):
    """Layers of both, each with a residual."""

    def __init__(self, dim: int, layers: int, heads: int, head: int, inner: int) -> None:
        super().__init__()
        self.layers = nn.ModuleList(
            nn.ModuleList([Residual(kind(dim, heads, head, inner)) for kind in (CrossAttention, SelfAttention)])
            for _ in range(layers)
        )

    def forward(self, tokens: torch.Tensor, context: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
        for layer in self.layers:
            look, think = layer  # type: ignore[misc]
            tokens = think(look(tokens, context, mask))
        return tokens


def cross_from_state(state: Mapping[str, torch.Tensor]) -> CrossModel:
    """The block that fits a state dict (`layers.*`), filled; sizes are read from the shapes.

    Raises:
        ModelLoadError: names that are missing, surplus or of another shape.
    """

    def read() -> CrossModel:
        first = "layers.0.0.fn."
        dim, head = state[first + "norm.weight"].shape[0], state[first + "to_kv.weight"].shape[0] // 2
        heads = state[first + "to_q.weight"].shape[0] // max(head, 1)
        inner = state[first + "ff.2.weight"].shape[1]
        return CrossModel(dim, len({key.split(".")[1] for key in state}), heads, head, inner)

    model = infer("MPS", read)
    wanted = model.state_dict()
    wrong = [key for key in wanted.keys() & state.keys() if wanted[key].shape != state[key].shape]
    check_keys("the cross-attention of MPS", wanted.keys() - state.keys(), state.keys() - wanted.keys(), wrong)
    refuse_other_numbers("the cross-attention of MPS", other_numbers(state.items()))
    model.load_state_dict(dict(state))
    check_values(model, "the cross-attention of MPS")
    return model.eval().requires_grad_(False)
