"""ImageReward (arXiv:2304.05977): BLIP reads the prompt against the image; a reward of mean 0 and deviation 1.

Source: `ImageReward/ImageReward.py` and `models/BLIP` of THUDM/ImageReward.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np
import torch

from noiseprompt.core.weights import read_state
from noiseprompt.scorers.aes import check_width, linear_head
from noiseprompt.scorers.loading import build, check_keys, find_file, infer, load_tokenizer
from noiseprompt.scorers.model import ModelScorer
from noiseprompt.scorers.preprocess import clip_pixels, crop_tensor

REPO, FILENAME = "zai-org/ImageReward", "ImageReward.pt"
MEAN, STD = 0.16717362830052426, 1.0333394966054072
"""Of the raw reward on the authors' data; (r - MEAN) / STD is what they report."""

LENGTH = 35
"""Tokens a prompt is cut or padded to."""

HEAD = 64
"""Width of an attention head, in both towers."""

SPARE = 2
"""Words of BLIP's decoder and encoder that BERT's tokenizer lacks; ImageReward feeds neither."""

UNUSED = ("blip.vision_proj.", "blip.text_proj.")
"""Heads of BLIP's contrastive training that the checkpoint may carry."""

_VISION = {
    "cls_token": "embeddings.class_embedding",
    "pos_embed": "embeddings.position_embedding",
    "patch_embed.proj.weight": "embeddings.patch_embedding.weight",
    "patch_embed.proj.bias": "embeddings.patch_embedding.bias",
    "norm.weight": "post_layernorm.weight",
    "norm.bias": "post_layernorm.bias",
}
_BLOCK = {
    "norm1": "layer_norm1",
    "norm2": "layer_norm2",
    "attn.qkv": "self_attn.qkv",
    "attn.proj": "self_attn.projection",
}


class ImageReward(ModelScorer):
    """(r - 0.16717) / 1.03334, with r read off the first text token by five linear layers.

    Args:
        path: ImageReward.pt (or its state dict as safetensors), or a folder that holds it; the hub's unless given.
        tokenizer: folder or hub id of BERT's uncased tokenizer.
        device, dtype, batch_size: see `ModelScorer`; the five layers are float32 always.

    Raises:
        ModelLoadError: no weights there, or not of this network.
    """

    name = "imagereward"

    def __init__(
        self,
        path: str | None = None,
        tokenizer: str = "google-bert/bert-base-uncased",
        device: str = "auto",
        dtype: str = "float32",
        batch_size: int = 32,
    ) -> None:
        from transformers import BertTokenizer, BlipTextModel, BlipVisionModel

        super().__init__(device, dtype, batch_size)
        vision, text, head = split_state(read_state(find_file(self.name, path, REPO, FILENAME)))
        self.layers = linear_head(head, "mlp.layers.").to(self.device)
        configs = infer("ImageReward", lambda: (_vision_config(vision), _text_config(text)))
        self.vision = build(BlipVisionModel, configs[0], vision, self.dtype).to(self.device)
        self.text = build(_without_pooler(BlipTextModel), configs[1], text, self.dtype).to(self.device)
        check_width(self.layers, configs[1].hidden_size, "the text tower")
        self.tokenizer = load_tokenizer(self.name, BertTokenizer, tokenizer, configs[1].vocab_size, SPARE)

    @property
    def size(self) -> int:
        """Edge in pixels of what the image tower takes."""
        return self.vision.config.image_size

    def pixels(self, images: np.ndarray) -> torch.Tensor:
        """Shorter edge to 224 by Pillow's bicubic, centre crop."""
        return clip_pixels(images, self.size)

    def pixels_of_tensor(self, images: torch.Tensor) -> torch.Tensor:
        """The same with gradients."""
        return crop_tensor(images, self.size, floor=False)

    def judge(self, pixels: torch.Tensor, texts: Sequence[str]) -> torch.Tensor:
        """(N,) rewards."""
        options: dict[str, Any] = {"padding": "max_length", "truncation": True, "max_length": LENGTH}
        words = self.tokenizer(list(texts), return_tensors="pt", **options).to(self.device)
        seen = self.vision(pixel_values=pixels).last_hidden_state
        read = self.text(
            input_ids=words.input_ids,
            attention_mask=words.attention_mask,
            encoder_hidden_states=seen,
            encoder_attention_mask=torch.ones(seen.shape[:2], dtype=torch.long, device=self.device),
        )
        return (self.layers(read.last_hidden_state[:, 0].float()).squeeze(1) - MEAN) / STD


def split_state(
    state: Mapping[str, torch.Tensor],
) -> tuple[dict[str, torch.Tensor], dict[str, torch.Tensor], dict[str, torch.Tensor]]:
    """The checkpoint's tensors under transformers' names: image tower, text tower; and the linear layers as they are.

    Raises:
        ModelLoadError: a name that belongs to none of them.
    """
    vision, text, head, other = {}, {}, {}, []
    for key, value in state.items():
        if key.endswith("position_ids") or key.startswith(UNUSED):
            continue
        if key.startswith("blip.visual_encoder."):
            vision[_vision_name(key.removeprefix("blip.visual_encoder."))] = value
        elif key.startswith("blip.text_encoder."):
            text[key.removeprefix("blip.text_encoder.")] = value
        elif key.startswith("mlp."):
            head[key] = value
        else:
            other.append(key)
    check_keys("ImageReward", (), other)
    return vision, text, head


def _vision_name(name: str) -> str:
    if not name.startswith("blocks."):
        return _VISION.get(name, name)
    number, _, rest = name.removeprefix("blocks.").partition(".")
    layer, _, kind = rest.rpartition(".")
    return f"encoder.layers.{number}.{_BLOCK.get(layer, layer)}.{kind}"


def _vision_config(state: Mapping[str, torch.Tensor]) -> Any:
    from transformers import BlipVisionConfig

    patches = state["embeddings.patch_embedding.weight"]
    edge = round((state["embeddings.position_embedding"].shape[1] - 1) ** 0.5)
    return BlipVisionConfig(
        hidden_size=len(patches),
        intermediate_size=len(state["encoder.layers.0.mlp.fc1.weight"]),
        num_hidden_layers=_count(state, "encoder.layers."),
        num_attention_heads=max(len(patches) // HEAD, 1),
        image_size=edge * patches.shape[-1],
        patch_size=patches.shape[-1],
        layer_norm_eps=1e-6,
    )


def _text_config(state: Mapping[str, torch.Tensor]) -> Any:
    from transformers import BlipTextConfig

    words = state["embeddings.word_embeddings.weight"]
    return BlipTextConfig(
        vocab_size=len(words),
        hidden_size=words.shape[1],
        encoder_hidden_size=state["encoder.layer.0.crossattention.self.key.weight"].shape[1],
        intermediate_size=len(state["encoder.layer.0.intermediate.dense.weight"]),
        num_hidden_layers=_count(state, "encoder.layer."),
        num_attention_heads=max(words.shape[1] // HEAD, 1),
        max_position_embeddings=len(state["embeddings.position_embeddings.weight"]),
        is_decoder=True,  # or it has no cross-attention; the mask is that of an encoder all the same
    )


def _count(state: Mapping[str, torch.Tensor], prefix: str) -> int:
    return len({key.removeprefix(prefix).split(".")[0] for key in state if key.startswith(prefix)})


def _without_pooler(cls: Any) -> Any:
    class BlipTextWithoutPooler(cls):
        def __init__(self, config: Any) -> None:
            super().__init__(config, add_pooling_layer=False)

    return BlipTextWithoutPooler
