"""LATENT as the sampler hands it to a NOISE, and as an NPNet takes it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch

from noiseprompt import NoisepromptError


def check_plain(noise: Any, node: str) -> None:
    """Refuse nested latents (a film and its sound, for example), of which no method here is defined.

    Raises:
        NoisepromptError: not one tensor.
    """
    if not (isinstance(noise, torch.Tensor) or getattr(noise, "is_nested", False)):
        raise NoisepromptError(f"{node}: a NOISE that gives {type(noise).__name__}", "one that gives a tensor")
    if not isinstance(noise, torch.Tensor) or noise.is_nested:
        came = f"{node}: nested latents, more than one tensor in one"
        raise NoisepromptError(came, "the latents of a picture", "connect the source NOISE to the sampler directly")


def check_word(name: str, word: Any, words: Sequence[str]) -> None:
    """Refuse what a list of choices does not offer, as a workflow that was edited by hand may hold.

    Raises:
        NoisepromptError: none of the words.
    """
    if word not in words:
        raise NoisepromptError(f"{name} {word!r:.60}", f"one of {', '.join(words)}")


def as_picture(noise: torch.Tensor, node: str) -> torch.Tensor:
    """(B, C, H, W) of a picture's latents, also where the model keeps it as a film of one frame (B, C, 1, H, W).

    Raises:
        NoisepromptError: a film, or no picture at all.
    """
    if noise.ndim == 5 and noise.shape[2] == 1:
        return noise.squeeze(2)
    if noise.ndim != 4:
        what = f"a film of {noise.shape[2]} frames" if noise.ndim == 5 else f"latents of shape {tuple(noise.shape)}"
        raise NoisepromptError(f"{node} for {what}", "the latents of a picture", "use a length of 1")
    return noise
