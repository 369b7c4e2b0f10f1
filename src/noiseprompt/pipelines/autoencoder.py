"""From pictures to the latents that the denoiser was trained on: one arrow for every family.

It is what each pipeline does before its own image-to-image loop, with the mean of the autoencoder's distribution in
place of a sample of it, and the inverse of what it does to latents before it decodes them.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

import numpy as np
import torch

from noiseprompt.core.errors import InputError, ShapeError
from noiseprompt.pipelines.calls import Loaded
from noiseprompt.pipelines.computing import computing


@torch.no_grad()
def encode_images(loaded: Loaded, images: np.ndarray) -> torch.Tensor:
    """(B, C, H, W) float32 latents of pictures in the scale of x_0, on the pipeline's device.

    Args:
        images: uint8 (B, height, width, 3), of a size the pipeline draws.

    Raises:
        ShapeError: other pictures.
        InputError: a pipeline without an autoencoder that encodes, or one whose latents are not the denoiser's.
    """
    if images.ndim != 4 or images.shape[-1] != 3 or images.dtype != np.uint8 or not len(images):
        raise ShapeError(f"pictures {images.dtype} of shape {images.shape}", "uint8 (B, height, width, 3), B from 1 on")
    pipe, family = loaded.pipe, loaded.family
    shape = family.latent_shape(pipe, *images.shape[1:3])
    vae: Any = getattr(pipe, "vae", None)
    if not hasattr(vae, "encode") or getattr(pipe, "image_processor", None) is None:
        raise InputError(f"a {type(pipe).__name__} without an autoencoder for pictures", "a pipeline with a `vae`")
    pixels = pipe.image_processor.preprocess(images.astype(np.float32) / 255)
    with _precise(vae), computing(pipe, "encodes a picture"):
        pixels = pixels.to(loaded.device, vae.dtype)
        latents = _mean(vae.encode(pixels[:, :, None] if family.frames else pixels)).float()
    latents = scaled(vae, latents[:, :, 0] if family.frames else latents)
    if tuple(latents.shape[1:]) != shape:
        came = f"latents of shape {tuple(latents.shape[1:])} of the autoencoder {type(vae).__name__}"
        raise InputError(came, f"{shape}, which the denoiser takes", "use the autoencoder it was trained with")
    return latents


def _mean(encoded: Any) -> torch.Tensor:
    """Of the distribution that an autoencoder gives; deterministic ones give latents as they are."""
    if hasattr(encoded, "latent_dist"):
        return encoded.latent_dist.mode()
    return encoded.latents if hasattr(encoded, "latents") else encoded.latent


def scaled(vae: Any, latents: torch.Tensor) -> torch.Tensor:
    """The autoencoder's latents (B, C, H, W) in the scale of x_0: less mean or shift, times the factor, by std."""
    config = vae.config
    factor = config.get("scaling_factor") or 1.0
    if config.get("latents_mean") is not None and config.get("latents_std") is not None:
        mean, std = (torch.tensor(config[key]).view(1, -1, 1, 1).to(latents) for key in ("latents_mean", "latents_std"))
        return (latents - mean) * factor / std
    return (latents - (config.get("shift_factor") or 0.0)) * factor


@contextmanager
def _precise(vae: Any) -> Iterator[None]:
    """While it lasts, an autoencoder that overflows in float16 and says so (SDXL's) computes in float32."""
    raised = vae.dtype == torch.float16 and bool(vae.config.get("force_upcast"))
    if raised:
        vae.to(torch.float32)
    try:
        yield
    finally:
        if raised:
            vae.to(torch.float16)
