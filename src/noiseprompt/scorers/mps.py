"""MPS (CVPR 2024, Zhang et al.): which of two images people prefer, from token features of CLIP ViT-H/14.

Source: `trainer/models/clip_model.py` and the README of Kwai-Kolors/MPS. The image's tokens look at those tokens of the
prompt that a list of criteria finds relevant; the score is the logit of the first token against the prompt.
"""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import torch
import torch.nn.functional as F

from noiseprompt.core.errors import ShapeError
from noiseprompt.core.ranges import Limits, check_value
from noiseprompt.core.types import Prompt
from noiseprompt.core.weights import read_state
from noiseprompt.scorers.clip import VIT_H, ClipScorer, clip_from_state, clip_tokenizer, encode
from noiseprompt.scorers.loading import check_keys, find_file
from noiseprompt.scorers.mps_attention import cross_from_state
from noiseprompt.scorers.preprocess import crop_tensor, transformers_pixels

REPO, FILENAME = "RE-N-Y/mpsv1", "model.safetensors"
OVERALL = (
    "light, color, clarity, tone, style, ambiance, artistry, shape, face, hair, hands, limbs, structure, instance, "
    "texture, quantity, attributes, position, number, location, word, things."
)
"""The criteria of the overall score."""

THRESHOLD = Limits(least=0, below=1)


class MPS(ClipScorer):
    """exp(logit scale) times the cosine of prompt and image; softmax over two images is the chance of each.

    Args:
        path: state dict of the published module as safetensors or torch checkpoint, or a folder that holds it.
        tokenizer: folder or hub id of CLIP's tokenizer; beside the weights where it lies there, else that of CLIP
            ViT-H/14.
        threshold: share of the largest relevance from which a token of the prompt is looked at; the published
            `forward`, which the README calls, has 0.01, its two benchmark scripts 0.3.
        device, dtype, batch_size: see `ModelScorer`.

    Raises:
        ModelLoadError: no weights there, or not of this network.
        ConfigError: a threshold that is not from 0 to below 1: no token would be looked at, or every one.
    """

    name = "mps"

    def __init__(
        self,
        path: str | None = None,
        tokenizer: str | None = None,
        threshold: float = 0.01,
        device: str = "auto",
        dtype: str = "float32",
        batch_size: int = 32,
    ) -> None:
        super().__init__(device, dtype, batch_size)
        check_value("threshold", float, threshold, THRESHOLD)
        file = find_file(self.name, path, REPO, FILENAME)
        clip, cross = split_state(read_state(file))
        self.cross = cross_from_state(cross).to(self.device, self.dtype)
        self.model = clip_from_state(clip, self.dtype).to(self.device)
        self.tokenizer = clip_tokenizer(self.name, tokenizer, file.parent, VIT_H, self.model)
        self.threshold = threshold

    def pixels(self, images: np.ndarray) -> torch.Tensor:
        """Shorter edge to 224, centre crop, by transformers' processor."""
        return transformers_pixels(images, self.size)

    def pixels_of_tensor(self, images: torch.Tensor) -> torch.Tensor:
        """The same with gradients."""
        return crop_tensor(images, self.size, floor=True)

    def judge(self, pixels: torch.Tensor, texts: Sequence[str]) -> torch.Tensor:
        """(N,) logits."""
        limit = self.model.config.text_config.max_position_embeddings
        output = self.model(
            input_ids=encode(self.tokenizer, [*texts, OVERALL], limit).to(self.device), pixel_values=pixels
        )
        words = self.model.text_projection(output.text_model_output.last_hidden_state)
        words, criteria = words[:-1], words[-1]
        tokens = self.model.visual_projection(output.vision_model_output.last_hidden_state)
        relevance = (words.float() @ criteria.float().T).amax(-1)
        mask = relevance / relevance.amax(-1, keepdim=True) > self.threshold  # a row each, not over the batch
        seen = self.cross(tokens, words, mask)[:, 0].float()
        cosine = (F.normalize(seen, dim=-1) * output.text_embeds[:-1].float()).sum(-1)
        return self.model.logit_scale.float().exp() * cosine

    def compare(self, images_a: np.ndarray, images_b: np.ndarray, prompts: Sequence[Prompt]) -> np.ndarray:
        """Chance that each of two images is the better one for its prompt; float64 (N, 2), rows sum to 1.

        Raises:
            ShapeError: different numbers of images, or images that `score` refuses.
        """
        if len(images_a) != len(images_b):
            raise ShapeError(f"{len(images_a)} and {len(images_b)} images", "as many of one as of the other")
        logits = np.stack([self.score(images_a, prompts), self.score(images_b, prompts)], 1)
        chance = np.exp(logits - logits.max(1, keepdims=True))
        return chance / chance.sum(1, keepdims=True)


def split_state(state: dict[str, torch.Tensor]) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """CLIP's tensors and those of the cross-attention; a module wrapped around the published one may add a prefix.

    Raises:
        ModelLoadError: a name that belongs to neither.
    """
    prefix = next((key.partition("cross_model.")[0] for key in state if "cross_model." in key), "")
    clip, cross, other = {}, {}, []
    for key, value in state.items():
        part, _, name = key.removeprefix(prefix).partition(".")
        if key.startswith(prefix) and part in ("model", "cross_model"):
            (clip if part == "model" else cross)[name] = value
        else:
            other.append(key)
    check_keys("MPS", (), other)
    return clip, cross
