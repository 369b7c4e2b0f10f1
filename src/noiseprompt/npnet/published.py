"""The network exactly as its authors published it, and the import of their checkpoints.

It differs from the paper on purpose, because published weights depend on it:
    - alpha enters as 2 * sigmoid(alpha) - 1, beta as it is;
    - Swin's features, channels last (B, 7, 7, 768), are read as channels first: 7 channels of 7 x 768, made 128 x 128;
    - resizing takes the nearest value;
    - the signs of the singular vectors are left to the linear algebra library, so devices may differ slightly;
    - only latents of (4, 128, 128) are taken.
Their inference never left training mode, so its stochastic depth made two calls differ. Here evaluation mode has none.

A published file holds 30.47 M parameters, of which a classification head (0.77 M) and a batch norm are never used; they
are left out on import: 29.70 M remain (for SDXL).
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from noiseprompt.core.arguments import held
from noiseprompt.core.cards import CARD_FILE
from noiseprompt.core.errors import ConfigError, ModelLoadError
from noiseprompt.core.network_files import SHA256
from noiseprompt.core.places import no_file
from noiseprompt.core.ranges import shown
from noiseprompt.core.tensors import (
    check_finite,
    check_values,
    differences,
    other_numbers,
    refuse_other_numbers,
    shapes_of,
)
from noiseprompt.core.weights import read_checkpoint, read_metadata
from noiseprompt.npnet.base import NPNet
from noiseprompt.npnet.card import Facts
from noiseprompt.npnet.config import NPNetConfig
from noiseprompt.npnet.disk import CONFIG_FILE, WEIGHTS_FILE, is_saved
from noiseprompt.npnet.paper import TextModulation, build_swin, run_swin
from noiseprompt.npnet.svd import SingularBranch
from noiseprompt.npnet.swin import from_timm

LATENT_SHAPE = (4, 128, 128)
TEXT_LENGTH = 77
SWIN_SIDE = 7

_SDXL = ("stable-diffusion-xl", "stabilityai/stable-diffusion-xl-base-1.0")
_DREAMSHAPER = ("stable-diffusion-xl", "Lykon/dreamshaper-xl-v2-turbo")
_HUNYUAN = ("hunyuan-dit", "Tencent-Hunyuan/HunyuanDiT-v1.2-Diffusers")


class PublishedResidual(nn.Module):
    """Nearest resize to 224, mix to 3 channels, Swin, then rows of patches taken for channels (see above)."""

    def __init__(self, config: NPNetConfig) -> None:
        super().__init__()
        self.down = nn.Conv2d(config.latent_shape[0], config.swin_channels, 1)
        self.swin = build_swin(config, config.swin_image)
        self.up = nn.Conv2d(SWIN_SIDE, config.latent_shape[0], 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, 4, 128, 128) float32 -> the same."""
        height, width = x.shape[-2:]
        # A 1 x 1 convolution commutes with repeating values: mixed where there are fewer, the values are the same.
        x = F.interpolate(self.down(x.to(self.down.weight.dtype)), (self.swin.image, self.swin.image))
        features = F.interpolate(run_swin(self.swin, x), (SWIN_SIDE, width))
        return F.interpolate(self.up(features).float(), (height, width))


class PublishedNPNet(NPNet):
    """x'_T = singular(x_T) + (2 sigmoid(alpha) - 1) e + beta residual(x_T + e).

    Without the text branch e is left out (table 6).

    Raises:
        ConfigError: latents or Swin sizes other than the published ones.
    """

    def __init__(self, config: NPNetConfig) -> None:
        super().__init__(config)
        fixed = published_config(config.text_width)
        kept = {name: getattr(fixed, name) for name in _FIXED}
        if config != dataclasses.replace(config, **kept) or config.without not in ((), ("text",)):
            wanted = ", ".join(f"{name} {shown(value)}" for name, value in kept.items() if name != "architecture")
            fix = 'use the architecture "paper" or "tokens" for others'
            raise ConfigError("the architecture published with other sizes", wanted, fix)
        sizes = (config.latent_shape, config.svd_hidden, config.svd_wide, config.svd_heads)
        self.singular = SingularBranch(*sizes, fix_signs=False)
        self.residual = PublishedResidual(config)
        self.text = None
        if not config.without:
            self.text = TextModulation(config.text_length * config.text_width, config.latent_shape[0])
            self.alpha = nn.Parameter(torch.tensor(float(config.alpha_init)))
        self.beta = nn.Parameter(torch.tensor(float(config.beta_init)))

    @classmethod
    def from_checkpoint(cls, path: str | Path) -> PublishedNPNet:
        """The network of a published file, as it is: `load_published`."""
        return load_published(path)

    def predict(self, noise: Tensor, prompt_embeds: Tensor) -> Tensor:
        if self.text is None:
            return self.singular(noise) + self.beta.float() * self.residual(noise)
        e = self.text(noise, prompt_embeds)
        weight = 2 * torch.sigmoid(self.alpha.float()) - 1
        return self.singular(noise) + weight * e + self.beta.float() * self.residual(noise + e)


_FIXED = tuple(
    field.name
    for field in dataclasses.fields(NPNetConfig)
    if field.name in ("architecture", "latent_shape", "text_length", "any_size")
    or (field.name.startswith(("svd_", "swin_")) and field.name != "swin_drop_path")
)


@held
def published_config(text_width: int = 2048, family: str = "", denoiser: str = "") -> NPNetConfig:
    """The published sizes.

    Args:
        text_width: 2048 for SDXL and DreamShaper, 1024 for Hunyuan-DiT.
    """
    return NPNetConfig(
        architecture="published",
        family=family,
        denoiser=denoiser,
        latent_shape=LATENT_SHAPE,
        text_length=TEXT_LENGTH,
        text_width=text_width,
    )


@held
def import_published(
    path: str | Path,
    out: str | Path,
    *,
    text_width: int | None = None,
    family: str | None = None,
    denoiser: str | None = None,
    facts: Facts | None = None,
) -> PublishedNPNet:
    """Convert a published checkpoint to a folder that `NPNet.from_pretrained` loads.

    Args:
        path: a .pth file (read without executing what it may contain) or its flattened .safetensors copy.
        out: folder to write.
        text_width, family, denoiser: as of `load_published`.
        facts: for its card: licence and origin.

    Raises:
        ModelLoadError: as `load_published`.
    """
    net = load_published(path, text_width=text_width, family=family, denoiser=denoiser)
    net.save_pretrained(out, facts)
    return net


@held
def load_published(
    path: str | Path, *, text_width: int | None = None, family: str | None = None, denoiser: str | None = None
) -> PublishedNPNet:
    """The network of a published checkpoint, in evaluation mode.

    Args:
        path: as of `import_published`.
        text_width, family, denoiser: found from the width of the text branch, 2048 (SDXL; DreamShaper where the file's
            name says so) or 1024 (Hunyuan-DiT), unless given.

    Raises:
        ModelLoadError: unreadable, of zeros alone, or not in the published layout; some missing or unexpected names
            are listed.
    """
    path = Path(path)
    state = translate(_read(path), path)
    width = _text_width(state, path)
    if text_width not in (None, width):
        raise ModelLoadError(f"{path} has a text branch for width {width}", f"{text_width}", "leave text_width out")
    guess = made_for(width, path.name)
    config = published_config(width, guess[0] if family is None else family, guess[1] if denoiser is None else denoiser)
    with torch.device("meta"):
        problems = differences(shapes_of(state), shapes_of(PublishedNPNet(config).state_dict()))
    if problems:
        raise ModelLoadError(f"{path} is not in the published layout: {problems}", _EXPECTED, _FIX)
    refuse_other_numbers(str(path), other_numbers((name, value) for name, value in state.items() if value.ndim))
    check_finite(path, state)
    net = PublishedNPNet(config)
    net.load_state_dict({name: value.float() for name, value in state.items()})
    check_values(net, str(path))
    return net.eval()


def made_for(text_width: int, filename: str) -> tuple[str, str]:
    """(family, denoiser) of a published file, empty where unknown."""
    xl = _DREAMSHAPER if "dreamshaper" in filename.lower() else _SDXL
    return {2048: xl, 1024: _HUNYUAN}.get(text_width, ("", ""))


_EXPECTED = "the parts unet_svd, unet_embedding, embeeding (or text_embedding), alpha and beta"
_FIX = "name the file of a published NPNet, or download it again; a folder written by save_pretrained needs no import"
_PARTS = ("unet_svd", "unet_embedding", "embeeding", "embedding", "text_embedding")
_OURS = {
    "unet_svd.mlp1.": "singular.embed_left.",
    "unet_svd.mlp2.": "singular.embed_right.",
    "unet_svd.mlp3.0.": "singular.embed_values.",
    "unet_svd.mlp4.": "singular.head.",
    "unet_svd.attention.qkv.": "singular.attention.qkv.",
    "unet_svd.attention.proj.": "singular.attention.out.",
    "unet_embedding.downconv.": "residual.down.",
    "unet_embedding.upconv.": "residual.up.",
    "embeeding.linear.": "text.project.",
    "embedding.linear.": "text.project.",
    "text_embedding.linear.": "text.project.",
}
_SWIN = "unet_embedding.swin."
_UNUSED = ("unet_svd.bn.",)
_BESIDE = (WEIGHTS_FILE, CARD_FILE, "state.pt", "settings.json", "metrics.jsonl", "embeds.npy", "embeds.json")
"""Files of a saved network and of its training."""


def _read(path: Path) -> dict[str, Any]:
    if not path.is_file():
        raise ModelLoadError(no_file(path), "a published .pth or .safetensors file", "download it first")
    if path.suffix == ".safetensors" and SHA256 in read_metadata(path):
        came = f"{path} is the file of weights in the folder of a saved network"
        raise ModelLoadError(came, "that folder, with config.json in it", f"name {path.parent}")
    if path.name == CONFIG_FILE:
        came = f"{path} is the configuration of a model or a saved network"
        raise ModelLoadError(came, "the folder it lies in", f"name {path.parent}")
    for folder in (path.parent, path.parent / "best"):
        if path.name in _BESIDE and is_saved(folder):
            raise ModelLoadError(
                f"{path} is a file beside a saved network", "the folder of a network", f"name {folder}"
            )
    data = read_checkpoint(path)
    if not isinstance(data, Mapping):
        raise ModelLoadError(f"{path} holds a {type(data).__name__}", f"a mapping with {_EXPECTED}", _FIX)
    return dict(data)


def translate(data: Mapping[str, Any], path: Path | str) -> dict[str, Tensor]:
    """The tensors of a published checkpoint, nested or flat, under `PublishedNPNet`'s names; unknown names are kept.

    Raises:
        ModelLoadError: an entry that is not a tensor.
    """
    flat: dict[str, Any] = {}
    for name, value in data.items():
        nested = isinstance(value, Mapping) and name in _PARTS
        flat.update({f"{name}.{inner}": tensor for inner, tensor in value.items()} if nested else {str(name): value})
    strange = [name for name, value in flat.items() if not isinstance(value, Tensor) and not _is_number(value)]
    if strange:
        raise ModelLoadError(f"{path} holds no tensor under {', '.join(strange[:4])}", _EXPECTED, _FIX)
    state: dict[str, Tensor] = {}
    swin = {name.removeprefix(_SWIN): torch.as_tensor(v) for name, v in flat.items() if name.startswith(_SWIN)}
    state.update({f"residual.swin.{name}": value for name, value in from_timm(swin).items()})
    for name, value in flat.items():
        if name.startswith((_SWIN, *_UNUSED)):
            continue
        tensor = torch.as_tensor(value).detach()
        if name.lstrip("_") in ("alpha", "beta"):
            state[name.lstrip("_")] = tensor.reshape(()) if tensor.numel() == 1 else tensor
            continue
        prefix = next((p for p in _OURS if name.startswith(p)), "")
        state[_OURS[prefix] + name.removeprefix(prefix) if prefix else name] = tensor
    return state


def _is_number(value: Any) -> bool:
    """Of those that a tensor holds."""
    return isinstance(value, float | int) and abs(value) < 2**63


def _text_width(state: Mapping[str, Tensor], path: Path) -> int:
    weight = state.get("text.project.weight")
    if weight is None:
        names = ", ".join(sorted(state)[:4]) or "it has none"
        raise ModelLoadError(f"{path} has no text branch (its first names: {names})", _EXPECTED, _FIX)
    if weight.ndim != 2 or weight.shape[1] % TEXT_LENGTH:
        came = f"{path} has a text branch of shape {tuple(weight.shape)}"
        raise ModelLoadError(came, f"(8, {TEXT_LENGTH} * width)", _FIX)
    return weight.shape[1] // TEXT_LENGTH
