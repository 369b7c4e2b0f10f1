"""CLIPScore (arXiv:2104.08718): 2.5 max(cosine, 0) of CLIP ViT-B/32, in [0, 2.5]; no prefix before the prompt."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from noiseprompt.scorers.clip import ClipScorer, clip_tokenizer
from noiseprompt.scorers.loading import pretrained
from noiseprompt.scorers.preprocess import clip_pixels, crop_tensor

WEIGHT = 2.5
"""Section 3 of the paper."""


class CLIPScore(ClipScorer):
    """The reference-free CLIPScore.

    Args:
        path: folder in transformers' layout, or a hub id.
        tokenizer: folder or hub id; that of the model unless given.
        device, dtype, batch_size: see `ModelScorer`.

    Raises:
        ModelLoadError: no weights there, or not of this network.
    """

    name = "clipscore"

    def __init__(
        self,
        path: str = "openai/clip-vit-base-patch32",
        tokenizer: str | None = None,
        device: str = "auto",
        dtype: str = "float32",
        batch_size: int = 64,
    ) -> None:
        from transformers import CLIPModel

        super().__init__(device, dtype, batch_size)
        self.model = pretrained(self.name, CLIPModel, path, dtype=self.dtype).to(self.device)
        self.tokenizer = clip_tokenizer(self.name, tokenizer, path, path, self.model)

    def pixels(self, images: np.ndarray) -> torch.Tensor:
        """Shorter edge to 224, centre crop, as OpenAI's `clip.load` prepares it."""
        return clip_pixels(images, self.size)

    def pixels_of_tensor(self, images: torch.Tensor) -> torch.Tensor:
        """The same with gradients."""
        return crop_tensor(images, self.size, floor=False)

    def judge(self, pixels: torch.Tensor, texts: Sequence[str]) -> torch.Tensor:
        """(N,) in [0, 2.5]; no gradient where the cosine is negative."""
        return WEIGHT * self.cosine(pixels, texts).clamp(min=0)
