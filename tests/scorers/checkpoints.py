"""Tiny checkpoints in the published formats, with random weights, and the published forward passes written out.

The forward passes are float64, read the published names, and share no code with the package.
"""

from __future__ import annotations

import string
from pathlib import Path
from typing import Any

import numpy as np
import torch
import torch.nn.functional as F
from safetensors.torch import save_file

State = dict[str, torch.Tensor]

CONTEXT = 20
TEXTS = ("a red fox", "two of an old oak", "a red fox", "blue lamps on a street at night, oil on canvas, large")
MEAN = np.array([0.48145466, 0.4578275, 0.40821073])
STD = np.array([0.26862954, 0.26130258, 0.27577711])


def pictures(count: int = 4, height: int = 71, width: int = 90, seed: int = 0) -> np.ndarray:
    """uint8 (N, H, W, 3): smooth random pictures, so that resizing matters but rounding does not."""
    rng = np.random.default_rng(seed)
    coarse = torch.from_numpy(rng.uniform(0, 255, (count, 3, 6, 7)))
    fine = F.interpolate(coarse, (height, width), mode="bilinear", align_corners=False)
    return fine.permute(0, 2, 3, 1).round().to(torch.uint8).numpy()


def clip_tokenizer() -> Any:
    """CLIPTokenizer over single letters; the end token has the largest id, as in CLIP."""
    from transformers import CLIPTokenizer

    letters = [*string.ascii_lowercase, *string.digits, ","]
    merges = [("r", "e"), ("re", "d</w>"), ("o", "f</w>"), ("a", "n")]
    tokens = [*letters, *(f"{c}</w>" for c in letters), *("".join(m) for m in merges)]
    vocab = {token: i for i, token in enumerate([*tokens, "<|startoftext|>", "<|endoftext|>"])}
    return CLIPTokenizer(vocab=vocab, merges=merges, model_max_length=CONTEXT)


def bert_tokenizer() -> Any:
    """BertTokenizer over letters and a few words."""
    from transformers import BertTokenizer

    words = ["[PAD]", "[UNK]", "[CLS]", "[SEP]", "[MASK]", "red", "fox", "two", "of"]
    letters = [*string.ascii_lowercase, ","]
    return BertTokenizer(vocab={w: i for i, w in enumerate([*words, *letters, *(f"##{c}" for c in letters)])})


def random_state(shapes: dict[str, tuple[int, ...]], seed: int = 0) -> State:
    """Normal weights; gains of norms near 1, everything else small enough for deep layers to stay tame."""
    generator = torch.Generator().manual_seed(seed)
    state = {}
    for name, shape in shapes.items():
        noise = torch.randn(shape, generator=generator)
        gain = "norm" in name.lower() or ".ln_" in name or name.startswith("ln_")
        scale = 0.1 if len(shape) < 2 else 1.5 * shape[-1] ** -0.5
        state[name] = (1 + 0.1 * noise) if gain and name.endswith("weight") else scale * noise
    return state


# ------------------------------------------------------------------------------------------------------------ pieces


def norm(x: torch.Tensor, state: State, name: str, eps: float) -> torch.Tensor:
    centred = x - x.mean(-1, keepdim=True)
    scaled = centred / (centred.square().mean(-1, keepdim=True) + eps).sqrt()
    return scaled * state[f"{name}.weight"] + state[f"{name}.bias"]


def linear(x: torch.Tensor, state: State, name: str) -> torch.Tensor:
    y = x @ state[f"{name}.weight"].T
    return y + state[f"{name}.bias"] if f"{name}.bias" in state else y


def gelu(x: torch.Tensor) -> torch.Tensor:
    return x * 0.5 * (1 + torch.erf(x / 2**0.5))


def attend(q: torch.Tensor, k: torch.Tensor, v: torch.Tensor, heads: int, mask: Any = 0.0) -> torch.Tensor:
    """(B, N, D), (B, M, D), (B, M, D) -> (B, N, D)."""
    split = [t.unflatten(-1, (heads, -1)).transpose(1, 2) for t in (q, k, v)]
    weight = torch.softmax(split[0] @ split[1].transpose(2, 3) / split[0].shape[-1] ** 0.5 + mask, -1)
    return (weight @ split[2]).transpose(1, 2).flatten(2)


def crop_oracle(image: np.ndarray, size: int, rounding: Any) -> torch.Tensor:
    """Shorter edge to `size` by Pillow, centre crop, CLIP's mean and deviation, in float64: (3, size, size)."""
    from PIL import Image

    height, width = image.shape[:2]
    new = (size, int(size * height / width)) if width <= height else (int(size * width / height), size)
    resized = np.asarray(Image.fromarray(image).resize(new, Image.Resampling.BICUBIC), np.float64)
    top, left = rounding((new[1] - size) / 2), rounding((new[0] - size) / 2)
    return torch.from_numpy((resized[top : top + size, left : left + size] / 255 - MEAN) / STD).permute(2, 0, 1)


# --------------------------------------------------------------------------------------------- CLIP as open_clip has it

VISION, TEXT, PROJECTION, PATCH, GRID, LAYERS = 160, 128, 48, 14, 4, 2
SIZE = PATCH * GRID


def open_clip_state(seed: int = 0) -> State:
    """A two-layer ViT-H/14: two heads of 80 and of 64."""
    shapes: dict[str, tuple[int, ...]] = {
        "positional_embedding": (CONTEXT, TEXT),
        "text_projection": (TEXT, PROJECTION),
        "logit_scale": (),
        "visual.class_embedding": (VISION,),
        "visual.positional_embedding": (GRID * GRID + 1, VISION),
        "visual.proj": (VISION, PROJECTION),
        "visual.conv1.weight": (VISION, 3, PATCH, PATCH),
        "token_embedding.weight": (len(clip_tokenizer()), TEXT),
    }
    for name, width in (("visual.ln_pre", VISION), ("visual.ln_post", VISION), ("ln_final", TEXT)):
        shapes |= {f"{name}.weight": (width,), f"{name}.bias": (width,)}
    for tower, d in (("visual.transformer", VISION), ("transformer", TEXT)):
        for i in range(LAYERS):
            block = f"{tower}.resblocks.{i}."
            shapes |= {block + "attn.in_proj_weight": (3 * d, d), block + "attn.in_proj_bias": (3 * d,)}
            parts = (("ln_1", d, 0), ("attn.out_proj", d, d), ("ln_2", d, 0), ("mlp.c_fc", 3 * d, d))
            for name, rows, columns in (*parts, ("mlp.c_proj", d, 3 * d)):
                shapes |= {f"{block}{name}.weight": (rows, columns) if columns else (rows,)}
                shapes |= {f"{block}{name}.bias": (rows,)}
    return random_state(shapes, seed) | {"logit_scale": torch.tensor(2.6)}


def open_clip_embeds(state: State, pixels: torch.Tensor, ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """Normalised image and text embeddings, as open_clip's `CLIP.forward` makes them."""
    state = {k: v.double() for k, v in state.items()}

    def tower(x: torch.Tensor, prefix: str, heads: int, mask: Any) -> torch.Tensor:
        for i in range(LAYERS):
            b = f"{prefix}.resblocks.{i}."
            y = norm(x, state, b + "ln_1", 1e-5)
            q, k, v = (y @ state[b + "attn.in_proj_weight"].T + state[b + "attn.in_proj_bias"]).chunk(3, -1)
            x = x + linear(attend(q, k, v, heads, mask), state, b + "attn.out_proj")
            x = x + linear(
                gelu(linear(norm(x, state, b + "ln_2", 1e-5), state, b + "mlp.c_fc")), state, b + "mlp.c_proj"
            )
        return x

    x = F.conv2d(pixels.double(), state["visual.conv1.weight"], stride=PATCH).flatten(2).transpose(1, 2)
    x = torch.cat([state["visual.class_embedding"].expand(len(x), 1, -1), x], 1) + state["visual.positional_embedding"]
    x = tower(norm(x, state, "visual.ln_pre", 1e-5), "visual.transformer", 2, 0.0)
    image = norm(x[:, 0], state, "visual.ln_post", 1e-5) @ state["visual.proj"]
    causal = torch.full((CONTEXT, CONTEXT), -torch.inf).triu(1).double()
    y = tower(state["token_embedding.weight"][ids] + state["positional_embedding"], "transformer", 2, causal)
    ends = norm(y, state, "ln_final", 1e-5)[torch.arange(len(y)), ids.argmax(-1)]
    text = ends @ state["text_projection"]
    return F.normalize(image, dim=-1), F.normalize(text, dim=-1)


# ------------------------------------------------------------------------------------------ CLIP as transformers has it


def clip_config(**options: Any) -> Any:
    """A CLIPConfig of the sizes above; openai's models have the activation "quick_gelu"."""
    from transformers import CLIPConfig

    shared = {"num_hidden_layers": LAYERS, "num_attention_heads": 2, "projection_dim": PROJECTION, **options}
    words = len(clip_tokenizer())
    text = {"vocab_size": words, "hidden_size": TEXT, "intermediate_size": 3 * TEXT, "max_position_embeddings": CONTEXT}
    ids = {"eos_token_id": words - 1, "bos_token_id": words - 2, "pad_token_id": words - 1}
    vision = {"hidden_size": VISION, "intermediate_size": 3 * VISION, "patch_size": PATCH, "image_size": SIZE}
    return CLIPConfig(text_config=text | ids | shared, vision_config=vision | shared, projection_dim=PROJECTION)


def clip_folder(folder: Path, tokenizer: bool = True, **options: Any) -> Any:
    """A CLIPModel saved as transformers saves it, with lively weights; returns the model."""
    from transformers import CLIPModel

    model = CLIPModel(clip_config(**options)).eval()
    shapes = {name: tuple(value.shape) for name, value in model.state_dict().items()}
    model.load_state_dict(random_state(shapes, 1) | {"logit_scale": torch.tensor(2.6)})
    model.save_pretrained(folder)
    if tokenizer:
        clip_tokenizer().save_pretrained(folder)
    return model


# --------------------------------------------------------------------------------------------------------------- MPS

CROSS_LAYERS, CROSS_HEADS, CROSS_HEAD = 2, 3, 16


def mps_state(clip: Any, seed: int = 2) -> State:
    """As the published module's `state_dict()`: `model.*` of transformers' CLIP and `cross_model.*`."""
    d, inner, width = PROJECTION, CROSS_HEADS * CROSS_HEAD, 4 * PROJECTION
    shapes: dict[str, tuple[int, ...]] = {}
    for i in range(CROSS_LAYERS):
        look, think = f"cross_model.layers.{i}.0.fn.", f"cross_model.layers.{i}.1.fn."
        shapes |= {look + "norm.weight": (d,), look + "to_q.weight": (inner, d), look + "to_out.weight": (d, inner)}
        shapes |= {look + "to_kv.weight": (2 * CROSS_HEAD, d), look + "ff.0.weight": (2 * width, d)}
        shapes |= {look + "ff.2.weight": (d, width), think + "norm.weight": (d,), think + "attn_out.weight": (d, inner)}
        shapes |= {think + "fused_attn_ff_proj.weight": (inner + 2 * CROSS_HEAD + 2 * width, d)}
        shapes |= {think + "ff_out.1.weight": (d, width)}
    state = random_state(shapes, seed)
    for i in range(CROSS_LAYERS):
        for part in (0, 1):
            state[f"cross_model.layers.{i}.{part}.fn.norm.bias"] = torch.zeros(d)
        frequencies = 1.0 / (10000 ** (torch.arange(0, CROSS_HEAD, 2).float() / CROSS_HEAD))
        state[f"cross_model.layers.{i}.1.fn.rotary_emb.inv_freq"] = frequencies
    return state | {f"model.{name}": value for name, value in clip.state_dict().items()}


def mps_cross(state: State, tokens: torch.Tensor, words: torch.Tensor, mask: torch.Tensor) -> torch.Tensor:
    """The published cross model; mask is added to the similarities: 0 or -inf, (B, 1, L)."""
    state = {k.removeprefix("cross_model."): v.double() for k, v in state.items()}
    x = tokens
    for i in range(CROSS_LAYERS):
        p = f"layers.{i}.0.fn."
        y = norm(x, state, p + "norm", 1e-5)
        q = linear(y, state, p + "to_q").unflatten(-1, (CROSS_HEADS, CROSS_HEAD))
        k, v = linear(words, state, p + "to_kv").chunk(2, -1)
        similar = torch.einsum("bnhd,bmd->bhnm", q, k) * CROSS_HEAD**-0.5 + mask[:, None]
        seen = torch.einsum("bhnm,bmd->bnhd", similar.softmax(-1), v).flatten(2)
        value, gate = linear(y, state, p + "ff.0").chunk(2, -1)
        x = x + linear(seen, state, p + "to_out") + linear(gate * torch.sigmoid(gate) * value, state, p + "ff.2")
        p = f"layers.{i}.1.fn."
        inner, width = CROSS_HEADS * CROSS_HEAD, 4 * PROJECTION
        fused = linear(norm(x, state, p + "norm", 1e-5), state, p + "fused_attn_ff_proj")
        q, k, v, ff = fused.split((inner, CROSS_HEAD, CROSS_HEAD, 2 * width), -1)
        q = rotate(q.unflatten(-1, (CROSS_HEADS, CROSS_HEAD)).transpose(1, 2)) * CROSS_HEAD**-0.5
        similar = torch.einsum("bhnd,bmd->bhnm", q, rotate(k))
        seen = torch.einsum("bhnm,bmd->bnhd", similar.softmax(-1), v).flatten(2)
        value, gate = ff.chunk(2, -1)
        x = x + linear(seen, state, p + "attn_out") + linear(gate * torch.sigmoid(gate) * value, state, p + "ff_out.1")
    return x


def rotate(x: torch.Tensor) -> torch.Tensor:
    """Rotary positions as a complex product: the first half of a head is the real part, the second the imaginary."""
    half = x.shape[-1] // 2
    angle = torch.arange(x.shape[-2]).double()[:, None] * 10000.0 ** (-torch.arange(half).double() / half)
    turned = torch.complex(x[..., :half], x[..., half:]) * torch.polar(torch.ones_like(angle), angle)
    return torch.cat([turned.real, turned.imag], -1)


# --------------------------------------------------------------------------------------------------------- ImageReward

BLIP_VISION, BLIP_TEXT, BLIP_PATCH = 128, 64, 16


def head_state(width: int, prefix: str, seed: int = 3) -> State:
    """The five linear layers of AES and ImageReward."""
    shapes: dict[str, tuple[int, ...]] = {}
    for place, (a, b) in zip((0, 2, 4, 6, 7), ((width, 1024), (1024, 128), (128, 64), (64, 16), (16, 1)), strict=True):
        shapes |= {f"{prefix}{place}.weight": (b, a), f"{prefix}{place}.bias": (b,)}
    return random_state(shapes, seed)


def read_head(state: State, x: torch.Tensor, prefix: str) -> torch.Tensor:
    state = {k: v.double() for k, v in state.items()}
    for place in (0, 2, 4, 6, 7):
        x = linear(x.double(), state, f"{prefix}{place}")
    return x[:, 0]


def imagereward_state(seed: int = 4) -> State:
    """A two-layer ImageReward.pt: a ViT under timm's names, BLIP's BERT, the linear layers."""
    d, e, words = BLIP_VISION, BLIP_TEXT, len(bert_tokenizer())
    shapes: dict[str, tuple[int, ...]] = {
        "blip.visual_encoder.cls_token": (1, 1, d),
        "blip.visual_encoder.pos_embed": (1, 10, d),
        "blip.visual_encoder.patch_embed.proj.weight": (d, 3, BLIP_PATCH, BLIP_PATCH),
        "blip.visual_encoder.patch_embed.proj.bias": (d,),
        "blip.text_encoder.embeddings.word_embeddings.weight": (words, e),
        "blip.text_encoder.embeddings.position_embeddings.weight": (40, e),
    }
    layers = {"blip.visual_encoder.norm": (d,), "blip.text_encoder.embeddings.LayerNorm": (e,)}
    for i in range(LAYERS):
        v, t = f"blip.visual_encoder.blocks.{i}.", f"blip.text_encoder.encoder.layer.{i}."
        layers |= {v + "norm1": (d,), v + "norm2": (d,), v + "attn.qkv": (3 * d, d), v + "attn.proj": (d, d)}
        layers |= {v + "mlp.fc1": (2 * d, d), v + "mlp.fc2": (d, 2 * d)}
        for name, source in (("attention", e), ("crossattention", d)):
            layers |= {t + f"{name}.self.query": (e, e), t + f"{name}.self.key": (e, source)}
            layers |= {t + f"{name}.self.value": (e, source), t + f"{name}.output.dense": (e, e)}
            layers |= {t + f"{name}.output.LayerNorm": (e,)}
        layers |= {t + "intermediate.dense": (2 * e, e), t + "output.dense": (e, 2 * e), t + "output.LayerNorm": (e,)}
    for name, shape in layers.items():
        shapes |= {f"{name}.weight": shape, f"{name}.bias": shape[:1]}
    return random_state(shapes, seed) | head_state(e, "mlp.layers.")


def imagereward_oracle(state: State, pixels: torch.Tensor, ids: torch.Tensor, attention_mask: torch.Tensor) -> Any:
    """(r - 0.16717) / 1.03334 by the published forward pass."""
    state = {k: v.double() for k, v in state.items()}
    p = "blip.visual_encoder."
    x = F.conv2d(
        pixels.double(), state[p + "patch_embed.proj.weight"], state[p + "patch_embed.proj.bias"], stride=BLIP_PATCH
    )
    x = torch.cat([state[p + "cls_token"].expand(len(x), -1, -1), x.flatten(2).transpose(1, 2)], 1)
    x = x + state[p + "pos_embed"]
    for i in range(LAYERS):
        b = f"{p}blocks.{i}."
        q, k, v = linear(norm(x, state, b + "norm1", 1e-6), state, b + "attn.qkv").chunk(3, -1)
        x = x + linear(attend(q, k, v, BLIP_VISION // 64), state, b + "attn.proj")
        x = x + linear(gelu(linear(norm(x, state, b + "norm2", 1e-6), state, b + "mlp.fc1")), state, b + "mlp.fc2")
    seen = norm(x, state, p + "norm", 1e-6)
    p = "blip.text_encoder."
    y = state[p + "embeddings.word_embeddings.weight"][ids]
    y = norm(
        y + state[p + "embeddings.position_embeddings.weight"][: ids.shape[1]], state, p + "embeddings.LayerNorm", 1e-12
    )
    mask = (1.0 - attention_mask.double())[:, None, None] * -10000.0
    for i in range(LAYERS):
        b = f"{p}encoder.layer.{i}."
        for name, source, m in (("attention", None, mask), ("crossattention", seen, 0.0)):
            other = y if source is None else source
            q, k, v = (
                linear(t, state, f"{b}{name}.self.{n}") for t, n in ((y, "query"), (other, "key"), (other, "value"))
            )
            out = linear(attend(q, k, v, BLIP_TEXT // 64, m), state, f"{b}{name}.output.dense")
            y = norm(out + y, state, f"{b}{name}.output.LayerNorm", 1e-12)
        out = linear(gelu(linear(y, state, b + "intermediate.dense")), state, b + "output.dense")
        y = norm(out + y, state, b + "output.LayerNorm", 1e-12)
    return (read_head(state, y[:, 0], "mlp.layers.") - 0.16717362830052426) / 1.0333394966054072


def save(state: State, path: Path, wrap: bool = False) -> Path:
    """As .safetensors or as a torch checkpoint, by the suffix; `wrap` puts it under "state_dict"."""
    if path.suffix == ".safetensors":
        save_file({k: v.clone().contiguous() for k, v in state.items()}, path)
    else:
        torch.save({"state_dict": state} if wrap else state, path)
    return path
