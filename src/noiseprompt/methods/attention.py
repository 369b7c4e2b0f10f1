"""The attention of a U-Net: recorded during a forward pass, and InitNO's two losses on it (arXiv 2404.04650).

Shapes: h x w the places of one resolution, N = h w, L tokens, B images.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from itertools import combinations
from typing import Any

import torch
import torch.nn.functional as F

from noiseprompt.core.errors import InputError
from noiseprompt.methods.subjects import Subject

PLACES = 256
"""The published resolution, 16 x 16; of a network's resolutions the one nearest to it is taken."""

SHARPNESS = 100.0
"""Factor of the attention before the softmax over tokens (published code, as in Attend-and-Excite)."""


class Attention:
    """What was recorded: the mean over layers and heads of one resolution.

    Fields:
        size: (h, w).
        cross, own: attention to the tokens, (B, heads, N, L) a layer, and to the other places, (B, heads, N, N).
    """

    def __init__(self, size: tuple[int, int]) -> None:
        self.size = size
        self.cross: list[torch.Tensor] = []
        self.own: list[torch.Tensor] = []

    def means(self) -> tuple[torch.Tensor, torch.Tensor]:
        """(B, N, L) and (B, N, N), and forget what was recorded.

        Raises:
            InputError: layers without self-attention.
        """
        if not self.cross or not self.own:
            raise InputError("a U-Net without self-attention", "one that attends to the prompt and to itself")
        cross, own = torch.cat(self.cross, 1).mean(1), torch.cat(self.own, 1).mean(1)
        self.cross, self.own = [], []
        return cross, own


class _Recorder:
    """An attention processor that lets another one work and records the probabilities."""

    def __init__(self, processor: Any, attention: Attention) -> None:
        self.processor, self.attention = processor, attention

    def __call__(
        self, attn: Any, hidden_states: torch.Tensor, encoder_hidden_states: Any = None, *args: Any, **named: Any
    ) -> torch.Tensor:
        context = hidden_states if encoder_hidden_states is None else encoder_hidden_states
        if encoder_hidden_states is not None and attn.norm_cross:
            context = attn.norm_encoder_hidden_states(encoder_hidden_states)
        query, key = (attn.head_to_batch_dim(x) for x in (attn.to_q(hidden_states), attn.to_k(context)))
        mask = named.get("attention_mask")
        if mask is not None:
            mask = attn.prepare_attention_mask(mask, key.shape[1], len(hidden_states))
        shares = attn.get_attention_scores(query, key, mask).unflatten(0, (len(hidden_states), -1)).float()
        (self.attention.own if encoder_hidden_states is None else self.attention.cross).append(shares)
        return self.processor(attn, hidden_states, encoder_hidden_states, *args, **named)


@contextmanager
def recorded_attention(unet: Any, latent_size: tuple[int, int]) -> Iterator[Attention]:
    """Record the attention of the resolution nearest to 16 x 16; the processors are put back, also on error.

    Args:
        unet: a UNet2DConditionModel.
        latent_size: (H, W) of the latents.

    Raises:
        InputError: a U-Net without cross-attention.
    """
    processors = dict(unet.attn_processors)
    sizes = {name: _size(unet, name, latent_size) for name in processors}
    usable = {size for name, size in sizes.items() if ".attn2." in name}
    if not usable:
        raise InputError(f"a {type(unet).__name__} without cross-attention", "one that attends to the prompt")
    best = min(usable, key=lambda size: (abs(math.log(size[0] * size[1] / PLACES)), -size[0]))
    attention = Attention(best)
    watched = {n: _Recorder(p, attention) if sizes[n] == best else p for n, p in processors.items()}
    unet.set_attn_processor(watched)
    try:
        yield attention
    finally:
        unet.set_attn_processor(dict(processors))


def _size(unet: Any, name: str, latent_size: tuple[int, int]) -> tuple[int, int]:
    """(h, w) at which a layer works: every down block but the last halves its sides, rounding up."""
    parts = name.split(".")
    last = len(unet.config.down_block_types) - 1
    level = {"down_blocks": lambda: int(parts[1]), "up_blocks": lambda: last - int(parts[1])}.get(
        parts[0], lambda: last
    )()
    height, width = latent_size
    for _ in range(level):
        height, width = -(-height // 2), -(-width // 2)
    return height, width


def attention_losses(
    cross: torch.Tensor, own: torch.Tensor, size: tuple[int, int], subjects: Sequence[Sequence[Subject]]
) -> tuple[torch.Tensor, torch.Tensor]:
    """InitNO's losses, for each image.

    Cross-attention response: 1 minus the largest attention anywhere to the least attended subject, in [0, 1]; the
    attention to a subject is the sum over its tokens.
    Self-attention conflict: for two subjects the overlap sum(min(p, q)) / sum(p + q) of the attention of the places
    where they are attended most, the mean over all pairs, in [0, 0.5]; 0 for a single subject.

    Args:
        cross: (B, N, L).
        own: (B, N, N).
        size: (h, w).
        subjects: of each image, at least one.

    Returns:
        (B,) and (B,).
    """
    responses, conflicts = [], []
    for row, named in enumerate(subjects):
        tokens = torch.softmax(SHARPNESS * cross[row, :, 1:-1], -1)  # without the start and the last token
        maps = torch.stack([tokens[:, [p - 1 for p in subject]].sum(-1) for subject in named])
        peaks, places = _smooth(maps, size).max(-1)
        responses.append(1 - peaks.min())
        seen = _smooth(own[row, places], size)
        pairs = [torch.minimum(p, q).sum() / (p + q).sum() for p, q in combinations(seen, 2)]
        conflicts.append(torch.stack(pairs).mean() if pairs else seen.sum() * 0)
    return torch.stack(responses), torch.stack(conflicts)


def _smooth(maps: torch.Tensor, size: tuple[int, int]) -> torch.Tensor:
    """(K, N) under a 3 x 3 Gaussian of deviation 0.5, reflected at the border (published code)."""
    line = torch.exp(-2 * torch.tensor([-1.0, 0.0, 1.0], device=maps.device, dtype=maps.dtype) ** 2)
    kernel = line[:, None] * line
    images = F.pad(maps.reshape(-1, 1, *size), (1, 1, 1, 1), mode="reflect")
    return F.conv2d(images, (kernel / kernel.sum())[None, None]).flatten(1)
