"""HPSv2 and HPSv2.1 (arXiv:2306.09341): open_clip's ViT-H/14 fine-tuned on rankings; the cosine, about 0.2 to 0.35."""

from __future__ import annotations

from collections.abc import Sequence
from typing import ClassVar

import numpy as np
import torch

from noiseprompt.core.weights import read_state
from noiseprompt.scorers.clip import VIT_H, ClipScorer, clip_from_state, clip_tokenizer, from_open_clip
from noiseprompt.scorers.loading import find_file
from noiseprompt.scorers.preprocess import pad_tensor, to_tensor

REPO = "xswu/HPSv2"


class HPSv2(ClipScorer):
    """Cosine of image and text without the logit scale, as `hpsv2.score` returns it.

    Args:
        path: the published checkpoint (or its state dict as safetensors), or a folder that holds it; the hub's unless
            given.
        tokenizer: folder or hub id of CLIP's tokenizer; beside the checkpoint where it lies there, else that of CLIP
            ViT-H/14. Unlike open_clip's it does not mend broken Unicode or HTML entities in a prompt.
        device, dtype, batch_size: see `ModelScorer`.

    Raises:
        ModelLoadError: no weights there, or not of this network.
    """

    name = "hpsv2"
    filename: ClassVar[str] = "HPS_v2_compressed.pt"

    def __init__(
        self,
        path: str | None = None,
        tokenizer: str | None = None,
        device: str = "auto",
        dtype: str = "float32",
        batch_size: int = 32,
    ) -> None:
        super().__init__(device, dtype, batch_size)
        file = find_file(self.name, path, REPO, self.filename)
        self.model = clip_from_state(from_open_clip(read_state(file)), self.dtype).to(self.device)
        self.tokenizer = clip_tokenizer(self.name, tokenizer, file.parent, VIT_H, self.model)

    def pixels(self, images: np.ndarray) -> torch.Tensor:
        """Longer edge to 224 on the tensor, the rest black (`image_transform` of hpsv2's open_clip)."""
        return pad_tensor(to_tensor(images), self.size)

    def pixels_of_tensor(self, images: torch.Tensor) -> torch.Tensor:
        """The same: it is a computation on tensors anyway."""
        return pad_tensor(images, self.size)

    def judge(self, pixels: torch.Tensor, texts: Sequence[str]) -> torch.Tensor:
        """(N,) in [-1, 1]."""
        return self.cosine(pixels, texts)


class HPSv21(HPSv2):
    """The weights of version 2.1; everything else is as in version 2."""

    name = "hpsv2.1"
    filename = "HPS_v2.1_compressed.pt"
