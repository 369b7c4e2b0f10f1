"""LATENT as the sampler hands it to a NOISE, and as an NPNet takes it."""

from __future__ import annotations

from typing import Any

import torch

from noiseprompt import NoisepromptError


def check_plain(noise: Any, node: str) -> None:
    """Refuse nested latents (a film and its sound, for example), of which no method here is defined.

    Raises:
        NoisepromptError: not one tensor.
    """
    if not isinstance(noise, torch.Tensor) or noise.is_nested:
        came = f"{node}: nested latents, more than one tensor in one"
        raise NoisepromptError(came, "the latents of a picture", "connect the source NOISE to the sampler directly")


def as_picture(noise: torch.Tensor) -> torch.Tensor:
    """(B, C, H, W) of a picture's latents, also where the model keeps it as a film of one frame (B, C, 1, H, W).

    Raises:
        NoisepromptError: a film, or no picture at all.
    """
    if noise.ndim == 5 and noise.shape[2] == 1:
        return noise.squeeze(2)
    if noise.ndim != 4:
        what = f"a film of {noise.shape[2]} frames" if noise.ndim == 5 else f"latents of shape {tuple(noise.shape)}"
        raise NoisepromptError(
            f"NPNet noise for {what}", "a picture: NPNets are made for pictures", "use a length of 1"
        )
    return noise
