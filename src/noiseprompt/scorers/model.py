"""What scorers made of a network share: batches, device, number format, gradients."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch

from noiseprompt.core.arguments import told
from noiseprompt.core.devices import resolve_device, resolve_dtype
from noiseprompt.core.errors import InputError, ShapeError
from noiseprompt.core.ranges import COUNT, check_value, kind_of
from noiseprompt.core.types import Prompt
from noiseprompt.scorers.base import check_images

ROUNDED = 0.01
"""By which an image may leave [0, 1]: what resizing and half precision round."""


@told
class ModelScorer(ABC):
    """A scorer made of a network; an image's score does not depend on the rest of the batch, up to rounding.

    Args:
        device: "auto" (an accelerator where there is one), "cpu", "cuda", "cuda:1", "mps".
        dtype: of the network: "float32", "float16" or "bfloat16".
        batch_size: images looked at together.

    Raises:
        InputError: no such device or number format, or a batch size below 1.
    """

    name: ClassVar[str]

    def __init__(self, device: str, dtype: str, batch_size: int) -> None:
        check_value("batch_size", int, batch_size, COUNT)
        self.device, self.dtype, self.batch_size = resolve_device(device), resolve_dtype(dtype), batch_size

    @abstractmethod
    def pixels(self, images: np.ndarray) -> torch.Tensor:
        """uint8 (N, H, W, 3) -> float32 (N, 3, size, size), as the published scorer prepares its images."""

    @abstractmethod
    def pixels_of_tensor(self, images: torch.Tensor) -> torch.Tensor:
        """Float (N, 3, H, W) in [0, 1] -> (N, 3, size, size), with gradients; `pixels` up to rounding to uint8."""

    @abstractmethod
    def judge(self, pixels: torch.Tensor, texts: Sequence[str]) -> torch.Tensor:
        """Pixels on the device in the network's format, a text each -> scores (N,) float32."""

    @torch.no_grad()
    def score(self, images: np.ndarray, prompts: Sequence[Prompt]) -> np.ndarray:
        """Images uint8 (N, H, W, 3), one prompt each -> float64 (N,).

        Raises:
            ShapeError: images of another shape, or not one prompt each.
            InputError: images that are not uint8.
        """
        check_images(images, prompts)
        scores = np.empty(len(images), np.float64)
        for start in range(0, len(images), self.batch_size):
            part = slice(start, start + self.batch_size)
            pixels = self.pixels(images[part]).to(self.device, self.dtype)
            judged = self.judge(pixels, [p.text for p in prompts[part]])
            scores[part] = judged.cpu().double().numpy()  # MPS has no float64
        return scores

    def score_tensor(self, images: torch.Tensor, prompts: Sequence[Prompt]) -> torch.Tensor:
        """Images float (N, 3, H, W) in [0, 1] -> scores (N,) on the images' device, with gradients to the images.

        Raises:
            ShapeError: images of another shape, or not one prompt each.
        """
        check_tensor(images, prompts)
        pixels = self.pixels_of_tensor(images.float()).to(self.device, self.dtype)
        return self.judge(pixels, [p.text for p in prompts]).to(images.device)


def check_tensor(images: torch.Tensor, prompts: Sequence[Prompt], size: int | None = None) -> None:
    """Refuse what is not float (N, 3, H, W) with one prompt an image.

    Raises:
        ShapeError: the shape, the number of prompts, or the edge (where `size` pixels are needed) is wrong.
        InputError: no tensor, or values that are not floating point, or not in [0, 1].
        ConfigError: prompts that are none.
    """
    if not isinstance(images, torch.Tensor):
        raise InputError(f"images: {kind_of(images)}", "a torch tensor (N, 3, H, W)")
    check_value("prompts", list[Prompt], prompts)
    edge = ("H", "W") if size is None else (size, size)
    if images.ndim != 4 or images.shape[1] != 3 or (size is not None and images.shape[2:] != (size, size)):
        raise ShapeError(f"images of shape {tuple(images.shape)}", f"(N, 3, {edge[0]}, {edge[1]})")
    if not images.is_floating_point():
        raise InputError(f"images of type {images.dtype}", "floating point in [0, 1]")
    if len(images) != len(prompts):
        raise ShapeError(f"{len(images)} images with {len(prompts)} prompts", "one prompt an image")
    if images.numel():
        least, most = (float(end) for end in torch.aminmax(images.detach()))
        if least < -ROUNDED or most > 1 + ROUNDED:  # NaN is the caller's to see, in the score
            fix = "divide those in [0, 255] by 255, and clamp what a decoder gives"
            raise InputError(f"images with values from {least:g} to {most:g}", "values in [0, 1]", fix)
