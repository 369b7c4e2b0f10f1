"""PickScore (arXiv:2305.01569): CLIP ViT-H/14 fine-tuned on choices of people; its logit, about 16 to 25."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch

from noiseprompt.scorers.clip import VIT_H, ClipScorer, clip_tokenizer
from noiseprompt.scorers.loading import pretrained
from noiseprompt.scorers.preprocess import crop_tensor, transformers_pixels


class PickScore(ClipScorer):
    """exp(logit scale) times the cosine of image and text, as in the published example.

    Args:
        path: folder in transformers' layout, or a hub id.
        tokenizer: folder or hub id; the folder of the model where it holds one, else that of CLIP ViT-H/14.
        device, dtype, batch_size: see `ModelScorer`.

    Raises:
        ModelLoadError: no weights there, or not of this network.
    """

    name = "pickscore"

    def __init__(
        self,
        path: str = "yuvalkirstain/PickScore_v1",
        tokenizer: str | None = None,
        device: str = "auto",
        dtype: str = "float32",
        batch_size: int = 32,
    ) -> None:
        from transformers import CLIPModel

        super().__init__(device, dtype, batch_size)
        self.model = pretrained(self.name, CLIPModel, path, dtype=self.dtype).to(self.device)
        self.tokenizer = clip_tokenizer(self.name, tokenizer, path, VIT_H, self.model)

    def pixels(self, images: np.ndarray) -> torch.Tensor:
        """Shorter edge to 224, centre crop, by transformers' processor."""
        return transformers_pixels(images, self.size)

    def pixels_of_tensor(self, images: torch.Tensor) -> torch.Tensor:
        """The same with gradients."""
        return crop_tensor(images, self.size, floor=True)

    def judge(self, pixels: torch.Tensor, texts: Sequence[str]) -> torch.Tensor:
        """(N,) logits."""
        return self.model.logit_scale.float().exp() * self.cosine(pixels, texts)
