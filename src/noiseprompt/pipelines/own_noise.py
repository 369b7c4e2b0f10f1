"""The noise that a pipeline would have drawn itself."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING

import torch

from noiseprompt.core.errors import InputError

if TYPE_CHECKING:
    from noiseprompt.pipelines.pipeline import Pipeline


def own_noise(
    pipeline: Pipeline, shape: tuple[int, ...], generator: torch.Generator | Sequence[torch.Generator] | None
) -> torch.Tensor:
    """(B, C, H, W) as the pipeline draws it: on the generator's device, in the pipeline's dtype.

    Args:
        generator: one for the whole batch, or one an image; the global one of torch if None.

    Raises:
        InputError: another number of generators than images, or generators that cannot draw for this pipeline.

    Source: `randn_tensor` of diffusers.utils.torch_utils, which every pipeline calls.
    """
    from diffusers.utils.torch_utils import randn_tensor

    given = list(generator) if isinstance(generator, Sequence) else generator
    if isinstance(given, list) and len(given) != shape[0]:
        raise InputError(f"{len(given)} generators for {shape[0]} images", "one, or one an image")
    _check_devices(given if isinstance(given, list) else [given], pipeline.device)
    dtype = torch.float32 if pipeline.family.float32_latents else pipeline.dtype
    return randn_tensor(shape, generator=given, device=pipeline.device, dtype=dtype)


def _check_devices(generators: Sequence[torch.Generator | None], device: torch.device) -> None:
    """Refuse generators that cannot draw for the pipeline: all of the CPU, or all of its own device."""
    found = sorted({each.device.type for each in generators if each is not None})
    if len(found) > 1 or not set(found) <= {"cpu", device.type}:
        own = "" if device.type == "cpu" else f' or torch.Generator("{device.type}")'
        raise InputError(
            f"generators of {' and '.join(found)} for a pipeline on {device.type}",
            f'generators of one device: torch.Generator("cpu"){own}',
        )
