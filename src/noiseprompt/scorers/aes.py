"""AES, the LAION aesthetic predictor: a linear reading of CLIP ViT-L/14's image embedding, about 1 to 10.

It does not look at the prompt. Source: `simple_inference.py` of christophschuhmann/improved-aesthetic-predictor.
"""

from __future__ import annotations

from collections.abc import Sequence
from itertools import pairwise

import numpy as np
import torch
from torch import nn

from noiseprompt.core.tensors import check_values, other_numbers, refuse_other_numbers
from noiseprompt.core.weights import read_state
from noiseprompt.scorers.loading import check_keys, find_file, pretrained
from noiseprompt.scorers.model import ModelScorer
from noiseprompt.scorers.preprocess import clip_pixels, crop_tensor

REPO, FILENAME = "trl-lib/ddpo-aesthetic-predictor", "aesthetic-model.pth"
WIDTHS = (1024, 128, 64, 16, 1)
PLACES = (0, 2, 4, 6, 7)
"""Of the linear layers in the published `layers`; dropout lies between."""


class AES(ModelScorer):
    """Five linear layers on the normalised image embedding, without anything between them.

    Args:
        path: file of the five layers (sac+logos+ava1-l14-linearMSE.pth), or a folder that holds it.
        clip: folder in transformers' layout or hub id of CLIP ViT-L/14.
        device, dtype, batch_size: see `ModelScorer`; the five layers are float32 always.

    Raises:
        ModelLoadError: no weights there, or not of these networks.
    """

    name = "aes"

    def __init__(
        self,
        path: str | None = None,
        clip: str = "openai/clip-vit-large-patch14",
        device: str = "auto",
        dtype: str = "float32",
        batch_size: int = 64,
    ) -> None:
        from transformers import CLIPVisionModelWithProjection

        super().__init__(device, dtype, batch_size)
        self.layers = linear_head(read_state(find_file(self.name, path, REPO, FILENAME)), "layers.").to(self.device)
        self.model = pretrained(self.name, CLIPVisionModelWithProjection, clip, "clip", dtype=self.dtype)
        self.model.to(self.device)
        check_width(self.layers, self.model.config.projection_dim, "the image embedding")

    @property
    def size(self) -> int:
        """Edge in pixels of what the image tower takes."""
        return self.model.config.image_size

    def pixels(self, images: np.ndarray) -> torch.Tensor:
        """Shorter edge to 224, centre crop, as OpenAI's `clip.load` prepares it."""
        return clip_pixels(images, self.size)

    def pixels_of_tensor(self, images: torch.Tensor) -> torch.Tensor:
        """The same with gradients."""
        return crop_tensor(images, self.size, floor=False)

    def judge(self, pixels: torch.Tensor, texts: Sequence[str]) -> torch.Tensor:
        """(N,); the texts do not matter."""
        embeds = self.model(pixel_values=pixels).image_embeds.float()
        return self.layers(nn.functional.normalize(embeds, dim=-1)).squeeze(1)


def linear_head(state: dict[str, torch.Tensor], prefix: str) -> nn.Sequential:
    """The linear layers at `prefix`0, 2, 4, 6, 7 in float32: width of the embedding-1024-128-64-16-1.

    Raises:
        ModelLoadError: layers missing, surplus or of another shape, or weights that are no floating point numbers, or
            zeros alone.
    """
    wanted = [f"{prefix}{place}.{kind}" for place in PLACES for kind in ("weight", "bias")]
    check_keys("the linear layers", set(wanted) - state.keys(), state.keys() - set(wanted))
    widths = (state[wanted[0]].shape[-1], *WIDTHS)
    refuse_other_numbers("the linear layers", other_numbers((name, state[name]) for name in wanted))
    layers = [nn.Linear(a, b) for a, b in pairwise(widths)]
    tensors = [(layer.weight, layer.bias) for layer in layers]
    for index, (weight, bias) in enumerate(tensors):
        for mine, name in zip((weight, bias), wanted[2 * index : 2 * index + 2], strict=True):
            if mine.shape != state[name].shape:
                check_keys("the linear layers", (), (), [name])
            mine.data.copy_(state[name])
    head = nn.Sequential(*layers)
    check_values(head, "the linear layers")
    return head.eval().requires_grad_(False)


def check_width(layers: nn.Sequential, width: int, noun: str) -> None:
    """Refuse layers that read another number of features than there are.

    Raises:
        ModelLoadError: the widths differ.
    """
    mine = layers[0].in_features
    if mine != width:
        check_keys(f"{noun} of width {width}", (), (), [f"the first layer, which reads {mine}"])
