"""CLIP as PickScore, CLIPScore, HPSv2 and MPS use it: transformers' `CLIPModel`, built from whatever was published."""

from __future__ import annotations

import os
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from noiseprompt.core.errors import ModelLoadError
from noiseprompt.core.model_files import AGAIN, check_end
from noiseprompt.core.places import expanded, no_file
from noiseprompt.scorers.loading import build, infer, load_tokenizer
from noiseprompt.scorers.model import ModelScorer

VIT_H = "laion/CLIP-ViT-H-14-laion2B-s32B-b79K"
"""Hub id of the CLIP that PickScore, HPSv2 and MPS started from; its tokenizer is theirs."""

VISION_HEAD, TEXT_HEAD = 80, 64
"""Widths of an attention head in ViT-H/14, which the shapes of a state dict do not tell."""


class ClipScorer(ModelScorer):
    """A `CLIPModel` with its tokenizer; subclasses say how images are prepared and what becomes of the cosine."""

    model: Any
    tokenizer: Any

    @property
    def size(self) -> int:
        """Edge in pixels of what the image tower takes."""
        return self.model.config.vision_config.image_size

    def tokens(self, texts: Sequence[str]) -> torch.Tensor:
        """Token ids (N, 77), cut or padded, on the device."""
        return encode(self.tokenizer, texts, self.model.config.text_config.max_position_embeddings).to(self.device)

    def cosine(self, pixels: torch.Tensor, texts: Sequence[str]) -> torch.Tensor:
        """Cosine of image and text embedding, (N,) float32; a text that occurs twice is read once."""
        distinct = list(dict.fromkeys(texts))
        output = self.model(input_ids=self.tokens(distinct), pixel_values=pixels)
        rows = torch.tensor([distinct.index(text) for text in texts], device=self.device)
        return (output.image_embeds.float() * output.text_embeds.float()[rows]).sum(1)


def encode(tokenizer: Any, texts: Sequence[str], length: int) -> torch.Tensor:
    """Token ids (N, length): cut to `length` with the end token kept, padded to it."""
    options = {"padding": "max_length", "truncation": True, "max_length": length, "return_tensors": "pt"}
    return tokenizer(list(texts), **options).input_ids


def clip_tokenizer(scorer: str, tokenizer: str | None, folder: str | Path, fallback: str, model: Any) -> Any:
    """CLIP's tokenizer: the one named, else one lying in `folder`, else that of `fallback`.

    Raises:
        ModelLoadError: none there, one that is no file, or not that of the model, whose prompts end otherwise.
    """
    from transformers import CLIPTokenizer

    folder = expanded(folder)
    beside = [folder / name for name in ("tokenizer.json", "vocab.json") if os.path.lexists(folder / name)]
    if tokenizer is None and beside and not beside[0].is_file():
        fix = f'put it there, or name its folder: "{scorer}:tokenizer=FOLDER"'
        raise ModelLoadError(f"the scorer {scorer!r}: {no_file(beside[0])}", "the words of the network", fix)
    source = tokenizer or (str(folder) if beside else fallback)
    found = load_tokenizer(scorer, CLIPTokenizer, source, model.config.text_config.vocab_size)
    fix = f'{AGAIN}, or name the folder of its tokenizer: "{scorer}:tokenizer=FOLDER"'
    check_end(found, model.config.text_config, f"the network of the scorer {scorer!r}", fix)
    return found


def clip_from_state(state: Mapping[str, torch.Tensor], dtype: torch.dtype) -> Any:
    """A ViT-H-like `CLIPModel` from its state dict alone (transformers' names); sizes are read from the shapes.

    Raises:
        ModelLoadError: names that are missing, surplus or of another shape.
    """
    state = {name: value for name, value in state.items() if not name.endswith("position_ids")}
    return build(_clip_class(), infer("CLIP ViT-H/14", lambda: _config(state)), state, dtype)


def _clip_class() -> Any:
    from transformers import CLIPModel

    return CLIPModel


def _config(state: Mapping[str, torch.Tensor]) -> Any:
    from transformers import CLIPConfig

    words, places = (state[f"text_model.embeddings.{n}_embedding.weight"] for n in ("token", "position"))
    patches, grid = (state[f"vision_model.embeddings.{n}_embedding.weight"] for n in ("patch", "position"))
    patch, edge = patches.shape[-1], round((len(grid) - 1) ** 0.5)
    shared = {"hidden_act": "gelu", "projection_dim": len(state["text_projection.weight"])}

    def tower(name: str, width: int, head: int) -> dict[str, Any]:
        prefix = f"{name}.encoder.layers."
        layers = {int(key.removeprefix(prefix).split(".")[0]) for key in state if key.startswith(prefix)}
        return {
            **shared,
            "hidden_size": width,
            "intermediate_size": len(state[prefix + "0.mlp.fc1.weight"]),
            "num_hidden_layers": len(layers),
            "num_attention_heads": max(width // head, 1),
        }

    text = tower("text_model", words.shape[1], TEXT_HEAD) | {
        "vocab_size": len(words),
        "max_position_embeddings": len(places),
        "eos_token_id": 2,  # transformers' word for "the largest id of the row", as open_clip finds the end of a text
    }
    vision = tower("vision_model", len(patches), VISION_HEAD) | {"patch_size": patch, "image_size": edge * patch}
    return CLIPConfig(text_config=text, vision_config=vision, projection_dim=shared["projection_dim"])


# ------------------------------------------------------------------------------------------------- open_clip's names

_TOP = {
    "logit_scale": "logit_scale",
    "token_embedding.weight": "text_model.embeddings.token_embedding.weight",
    "positional_embedding": "text_model.embeddings.position_embedding.weight",
    "ln_final.weight": "text_model.final_layer_norm.weight",
    "ln_final.bias": "text_model.final_layer_norm.bias",
    "text_projection": "text_projection.weight",
    "visual.class_embedding": "vision_model.embeddings.class_embedding",
    "visual.positional_embedding": "vision_model.embeddings.position_embedding.weight",
    "visual.conv1.weight": "vision_model.embeddings.patch_embedding.weight",
    "visual.ln_pre.weight": "vision_model.pre_layrnorm.weight",
    "visual.ln_pre.bias": "vision_model.pre_layrnorm.bias",
    "visual.ln_post.weight": "vision_model.post_layernorm.weight",
    "visual.ln_post.bias": "vision_model.post_layernorm.bias",
    "visual.proj": "visual_projection.weight",
}
_BLOCK = {
    "ln_1": "layer_norm1",
    "ln_2": "layer_norm2",
    "mlp.c_fc": "mlp.fc1",
    "mlp.c_proj": "mlp.fc2",
    "attn.out_proj": "self_attn.out_proj",
}


def from_open_clip(state: Mapping[str, torch.Tensor]) -> dict[str, torch.Tensor]:
    """open_clip's names -> transformers'; a name that is in no ViT passes as it is, and is refused later.

    Raises:
        ModelLoadError: transformers' names already, as other scorers have them.
    """
    if any(name.startswith(("text_model.", "vision_model.")) for name in state):
        came = "the weights are of a CLIP under transformers' names, as other scorers have them"
        raise ModelLoadError(came, "the published checkpoint, under open_clip's names")
    renamed: dict[str, torch.Tensor] = {}
    for key, value in state.items():
        if key in _TOP:
            renamed[_TOP[key]] = value.T.contiguous() if key in ("text_projection", "visual.proj") else value
            continue
        tower, found, rest = key.rpartition("transformer.resblocks.")
        if not found:
            if key != "attn_mask":  # the causal mask, in files of old versions
                renamed[key] = value
            continue
        number, _, name = rest.partition(".")
        prefix = f"{'vision_model' if tower else 'text_model'}.encoder.layers.{number}."
        layer, _, kind = name.rpartition(".")
        if name in ("attn.in_proj_weight", "attn.in_proj_bias"):
            for part, piece in zip("qkv", value.chunk(3), strict=True):
                renamed[f"{prefix}self_attn.{part}_proj.{name.rpartition('_')[2]}"] = piece.contiguous()
        else:
            renamed[prefix + _BLOCK.get(layer, layer) + "." + kind] = value
    return renamed
