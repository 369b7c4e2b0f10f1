"""Sizes and channels as loaded pipelines tell them: functions that families share."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

from noiseprompt.core.errors import ModelLoadError
from noiseprompt.core.ranges import shown

LARGEST = 16_384
"""Latents along a side that a configuration may ask for."""


def scale_factor(pipe: Any) -> int:
    """Pixels a latent along each side: the pipeline's own `vae_scale_factor`."""
    return int(pipe.vae_scale_factor)


def at_least_eight(pipe: Any) -> int:
    """The autoencoder's factor, or 8: most pipelines ask for multiples of 8 whatever the autoencoder."""
    return max(8, scale_factor(pipe))


def patches(pipe: Any) -> int:
    """Two latents: pipelines whose transformer reads patches of 2 x 2."""
    return 2 * scale_factor(pipe)


def unet_channels(pipe: Any) -> int:
    """Latent channels of a pipeline with a `unet`."""
    return int(pipe.unet.config.in_channels)


def transformer_channels(pipe: Any) -> int:
    """Latent channels of a pipeline with a `transformer` whose `in_channels` are those of the latents."""
    return int(pipe.transformer.config.in_channels)


def unet_size(pipe: Any) -> tuple[int, int]:
    """Height and width in pixels a U-Net was made for."""
    return _pixels(pipe, pipe.unet.config.sample_size)


def transformer_size(pipe: Any) -> tuple[int, int]:
    """Height and width in pixels a transformer was made for."""
    return _pixels(pipe, pipe.transformer.config.sample_size)


def _pixels(pipe: Any, size: int | Sequence[int]) -> tuple[int, int]:
    both = [size, size] if isinstance(size, int) else size
    plain = isinstance(both, Sequence) and [type(edge) for edge in both] == [int, int]
    if not plain or not all(0 < edge <= LARGEST for edge in both):
        came = f"the configuration of a {type(pipe).__name__}: sample_size {shown(size)}"
        raise ModelLoadError(
            came, f"one or two whole numbers from 1 to {LARGEST:,}", "load another copy, or set height and width"
        )
    return both[0] * scale_factor(pipe), both[1] * scale_factor(pipe)
