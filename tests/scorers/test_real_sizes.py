"""The published sizes, on tensors without memory: sizes are read from the shapes, and every name finds its place."""

from __future__ import annotations

import torch

from noiseprompt.scorers.clip import _config, from_open_clip
from noiseprompt.scorers.imagereward import _text_config, _vision_config, _without_pooler, split_state
from noiseprompt.scorers.mps import split_state as split_mps
from noiseprompt.scorers.mps_attention import CrossModel

Shapes = dict[str, tuple[int, ...]]


def meta(shapes: Shapes) -> dict[str, torch.Tensor]:
    return {name: torch.empty(shape, device="meta") for name, shape in shapes.items()}


def shapes_of(module: torch.nn.Module) -> Shapes:
    return {name: tuple(value.shape) for name, value in module.state_dict().items()}


def pair(name: str, rows: int, columns: int = 0) -> Shapes:
    return {f"{name}.weight": (rows, columns) if columns else (rows,), f"{name}.bias": (rows,)}


def open_clip_vit_h() -> Shapes:
    """`open_clip.create_model("ViT-H-14").state_dict()`: 32 + 24 layers, 1280 and 1024 wide."""
    shapes: Shapes = {
        "positional_embedding": (77, 1024),
        "text_projection": (1024, 1024),
        "logit_scale": (),
        "visual.class_embedding": (1280,),
        "visual.positional_embedding": (257, 1280),
        "visual.proj": (1280, 1024),
        "visual.conv1.weight": (1280, 3, 14, 14),
        "token_embedding.weight": (49408, 1024),
        **pair("visual.ln_pre", 1280),
        **pair("visual.ln_post", 1280),
        **pair("ln_final", 1024),
    }
    for tower, d, layers in (("visual.transformer", 1280, 32), ("transformer", 1024, 24)):
        for i in range(layers):
            b = f"{tower}.resblocks.{i}."
            shapes |= {b + "attn.in_proj_weight": (3 * d, d), b + "attn.in_proj_bias": (3 * d,)}
            shapes |= pair(b + "attn.out_proj", d, d) | pair(b + "ln_1", d) | pair(b + "ln_2", d)
            shapes |= pair(b + "mlp.c_fc", 4 * d, d) | pair(b + "mlp.c_proj", d, 4 * d)
    return shapes


def test_hpsv2_is_vit_h() -> None:
    from transformers import CLIPModel

    state = from_open_clip(meta(open_clip_vit_h()))
    config = _config(state)
    with torch.device("meta"):
        model = CLIPModel(config)
    assert shapes_of(model) == {name: tuple(value.shape) for name, value in state.items()}
    assert sum(value.numel() for value in state.values()) == 986_109_441  # as open_clip counts ViT-H-14
    vision, text = config.vision_config, config.text_config
    assert (vision.num_attention_heads, text.num_attention_heads) == (16, 16)
    assert (vision.image_size, vision.patch_size, vision.num_hidden_layers) == (224, 14, 32)
    assert (vision.hidden_act, text.hidden_act, text.num_hidden_layers) == ("gelu", "gelu", 24)


def test_mps_is_vit_h_and_four_layers() -> None:
    from transformers import CLIPModel

    clip = from_open_clip(meta(open_clip_vit_h()))
    with torch.device("meta"):
        cross = CrossModel(dim=1024, layers=4, heads=16, head=64, inner=4096)
        module = {f"mps.model.{k}": v for k, v in CLIPModel(_config(clip)).state_dict().items()}
    module |= {f"mps.cross_model.{k}": v for k, v in cross.state_dict().items()}
    found, block = split_mps(module)
    assert found.keys() == clip.keys() and block.keys() == cross.state_dict().keys()
    size = 4 * sum(value.numel() for value in module.values())
    assert round(size / 1e9, 2) == 4.42  # gigabytes of the file on the hub


def test_imagereward_is_blip_large() -> None:
    from transformers import BlipTextModel, BlipVisionModel

    v, t = "blip.visual_encoder.", "blip.text_encoder."
    shapes: Shapes = {
        v + "cls_token": (1, 1, 1024),
        v + "pos_embed": (1, 197, 1024),
        **{v + "patch_embed.proj.weight": (1024, 3, 16, 16), v + "patch_embed.proj.bias": (1024,)},
        **pair(v + "norm", 1024),
        t + "embeddings.word_embeddings.weight": (30524, 768),
        t + "embeddings.position_embeddings.weight": (512, 768),
        t + "embeddings.position_ids": (1, 512),
        **pair(t + "embeddings.LayerNorm", 768),
        **pair("blip.vision_proj", 256, 1024),
        **pair("blip.text_proj", 256, 768),
    }
    for i in range(24):
        b = f"{v}blocks.{i}."
        shapes |= pair(b + "norm1", 1024) | pair(b + "norm2", 1024) | pair(b + "attn.qkv", 3072, 1024)
        shapes |= pair(b + "attn.proj", 1024, 1024) | pair(b + "mlp.fc1", 4096, 1024) | pair(b + "mlp.fc2", 1024, 4096)
    for i in range(12):
        b = f"{t}encoder.layer.{i}."
        for name, source in (("attention", 768), ("crossattention", 1024)):
            shapes |= pair(f"{b}{name}.self.query", 768, 768) | pair(f"{b}{name}.self.key", 768, source)
            shapes |= pair(f"{b}{name}.self.value", 768, source) | pair(f"{b}{name}.output.dense", 768, 768)
            shapes |= pair(f"{b}{name}.output.LayerNorm", 768)
        shapes |= pair(b + "intermediate.dense", 3072, 768) | pair(b + "output.dense", 768, 3072)
        shapes |= pair(b + "output.LayerNorm", 768)
    vision, text, head = split_state(meta(shapes))
    assert not head
    configs = _vision_config(vision), _text_config(text)
    with torch.device("meta"):
        models = BlipVisionModel(configs[0]), _without_pooler(BlipTextModel)(configs[1])
    for model, state in zip(models, (vision, text), strict=True):
        assert shapes_of(model) == {name: tuple(value.shape) for name, value in state.items()}
    assert (configs[0].num_attention_heads, configs[1].num_attention_heads) == (16, 12)
    assert (configs[0].image_size, configs[0].layer_norm_eps, configs[1].layer_norm_eps) == (224, 1e-6, 1e-12)
