"""Images -> what the image towers take, as each published scorer did it, and the same with gradients.

Representations:
    images   uint8 (N, H, W, 3), or float (N, 3, H, W) in [0, 1] where gradients are wanted
    pixels   float32 (N, 3, size, size), less CLIP's mean, over CLIP's deviation
"""

from __future__ import annotations

import numpy as np
import torch
import torch.nn.functional as F

MEAN = (0.48145466, 0.4578275, 0.40821073)
STD = (0.26862954, 0.26130258, 0.27577711)


def normalise(images: torch.Tensor) -> torch.Tensor:
    """(N, 3, H, W) in [0, 1] -> pixels."""
    mean, std = (torch.tensor(v, dtype=images.dtype, device=images.device).view(1, 3, 1, 1) for v in (MEAN, STD))
    return (images - mean) / std


def to_tensor(images: np.ndarray) -> torch.Tensor:
    """uint8 (N, H, W, 3) -> float32 (N, 3, H, W) in [0, 1]."""
    return torch.from_numpy(np.ascontiguousarray(images)).permute(0, 3, 1, 2).contiguous().float() / 255


def clip_pixels(images: np.ndarray, size: int) -> torch.Tensor:
    """As OpenAI's CLIP: Pillow's bicubic to the shorter edge, centre crop, both rounded as torchvision rounds."""
    from PIL import Image

    width, height = scaled(images.shape[2], images.shape[1], size)
    left, top = (round((edge - size) / 2) for edge in (width, height))
    cropped = [
        np.asarray(Image.fromarray(image).resize((width, height), Image.Resampling.BICUBIC))[
            top : top + size, left : left + size
        ]
        for image in images
    ]
    return normalise(to_tensor(np.stack(cropped)))


def transformers_pixels(images: np.ndarray, size: int) -> torch.Tensor:
    """As transformers' CLIP processor without torchvision, `CLIPImageProcessorPil`."""
    from transformers import CLIPImageProcessorPil

    edge = {"height": size, "width": size}
    processor = CLIPImageProcessorPil(size={"shortest_edge": size}, crop_size=edge)
    return processor(list(images), return_tensors="pt", input_data_format="channels_last")["pixel_values"]


def crop_tensor(images: torch.Tensor, size: int, *, floor: bool) -> torch.Tensor:
    """`clip_pixels` (floor False) or `transformers_pixels` (floor True) of float images, with gradients."""
    width, height = scaled(images.shape[3], images.shape[2], size)
    if (height, width) != tuple(images.shape[2:]):
        images = F.interpolate(images, (height, width), mode="bicubic", antialias=True).clamp(0, 1)
    left, top = ((edge - size) // 2 if floor else round((edge - size) / 2) for edge in (width, height))
    return normalise(images[:, :, top : top + size, left : left + size])


def pad_tensor(images: torch.Tensor, size: int) -> torch.Tensor:
    """As HPSv2: bicubic on the tensor to the longer edge, the rest filled with black before normalising."""
    height, width = images.shape[2:]
    scale = size / max(height, width)
    new = (round(height * scale), round(width * scale))
    if new != (height, width):
        images = F.interpolate(images, new, mode="bicubic", antialias=True)
    across, down = size - new[1], size - new[0]
    return normalise(F.pad(images, (across // 2, across - across // 2, down // 2, down - down // 2)))


def scaled(width: int, height: int, size: int) -> tuple[int, int]:
    """(width, height) with the shorter edge at `size`, the longer one rounded down."""
    if width <= height:
        return size, int(size * height / width)
    return int(size * width / height), size
