"""CONDITIONING, a list of [tensor (B, tokens, width), options], as an NPNet sees it: (rows, L, D).

The tensor is what the denoiser's cross-attention reads; for SDXL both encoders side by side, 77 x 2048. Prompts longer
than the encoder reads come as several chunks one after the other, each with its own start and end.
"""

from __future__ import annotations

from typing import Any

import torch

from noiseprompt import NoisepromptError, NPNet

LONG_PROMPTS = ("truncate", "average")
"""What an NPNet sees of a prompt of several chunks: the first, or their mean."""


def prompt_embeds(conditioning: Any, npnet: NPNet, rows: int, long_prompts: str = "truncate") -> torch.Tensor:
    """(rows, L, D) token embeddings, one row an image; several prompts take turns, as in the sampler.

    Raises:
        NoisepromptError: not one conditioning (areas, schedules and combinations are several), or more prompts than
            images.
    """
    if not isinstance(npnet, NPNet):
        raise NoisepromptError(f"an NPNet that is {type(npnet).__name__}", "the output of Load NPNet")
    if not isinstance(conditioning, list):
        raise NoisepromptError(f"a CONDITIONING that is {type(conditioning).__name__}", "the text encoder's output")
    if len(conditioning) != 1:
        came = f"a CONDITIONING of {len(conditioning)} parts (areas, a schedule, or prompts combined)"
        raise NoisepromptError(came, "one prompt: an NPNet reads one", "connect the text encoder's output here")
    embeds = conditioning[0][0] if conditioning[0] else None
    if not isinstance(embeds, torch.Tensor) or embeds.ndim != 3 or not len(embeds):
        shape = tuple(embeds.shape) if isinstance(embeds, torch.Tensor) else type(embeds).__name__
        raise NoisepromptError(f"a CONDITIONING of {shape}", "embeddings (prompts, tokens, width)")
    if len(embeds) > rows:
        raise NoisepromptError(f"{len(embeds)} prompts for {rows} latents", "at least one latent a prompt")
    embeds = _one_chunk(embeds, npnet.config.text_length, long_prompts)
    return embeds[[row % len(embeds) for row in range(rows)]]


def _one_chunk(embeds: torch.Tensor, length: int, long_prompts: str) -> torch.Tensor:
    """(B, L, D) of several chunks of L tokens; what is not made of whole chunks is left for the network to refuse."""
    tokens = embeds.shape[1]
    if tokens <= length or tokens % length:
        return embeds
    chunks = embeds.unflatten(1, (tokens // length, length))
    return chunks.mean(1) if long_prompts == "average" else chunks[:, 0]
