"""What every NPNet shares: its configuration, the shapes it takes, and how it is saved, loaded and shared.

On disk: config.json, model.safetensors and README.md in one folder. Tensor names are those of this package's modules.

Shapes:
    noise           (B, C, H, W) unit Gaussian x_T
    prompt_embeds   (B, L, D) of the denoiser's own text encoder
    picture         (B, C, H, W) predicted latents of a picture h, in the scale of x_0
    result          (B, C, H, W) predicted target noise x'_T
"""

from __future__ import annotations

import tempfile
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

import torch
from torch import Tensor, nn

from noiseprompt.core.arguments import held
from noiseprompt.core.config import from_dict, to_dict
from noiseprompt.core.devices import resolve_device
from noiseprompt.core.errors import ConfigError, InputError, ModelLoadError, ModelMismatchError, ShapeError
from noiseprompt.core.files import public_name
from noiseprompt.core.ranges import Limits, check, check_value, kind_of, setting
from noiseprompt.core.types import StartLevel
from noiseprompt.core.weights import load_network
from noiseprompt.npnet import disk
from noiseprompt.npnet.card import model_card
from noiseprompt.npnet.table import NETWORKS

ARCHITECTURES = ("paper", "published", "tokens")
BRANCHES = ("singular", "residual", "text")
PREDICTS = ("noise", "picture")

DEEPEST, STAGES, WIDEST, LARGEST = 128, 8, 65_536, 10_000
"""Bounds of a configuration: blocks in a row, stages of Swin, every other size, and numbers that are no sizes. The
networks of the paper have 12, 4, 3,072 and 2."""

_SIZE = Limits(least=1, most=WIDEST)
_PLAIN = Limits(least=-LARGEST, most=LARGEST)


@dataclass(frozen=True)
class NPNetConfig:
    """Everything needed to build a network, plus what it was made for.

    Fields:
        architecture: "paper", "published" or "tokens".
        family: of the pipelines it fits, e.g. "stable-diffusion-xl"; "" fits any.
        denoiser: hub id or name of the model whose noise it learned, for the record; no path, for it is published.
        predicts: "noise", the target noise itself, or "picture" ("tokens" only): the latents of a picture of the
            prompt, which the noise then carries at the level where the sampler begins, whichever sampler that is.
        picture_scale: factor of a predicted picture, above 0: a prediction is blurred, so it has less power than a
            picture.
        latent_shape: (C, H, W) of the noise.
        text_length, text_width: L and D of the prompt embedding.
        any_size: other H and W are allowed too ("tokens" only).
        without: branches left out, of "singular", "residual", "text" (tables 4 and 11; "published": "text" only). A
            network without its text branch takes prompt embeddings of any shape.
        svd_hidden, svd_wide, svd_heads: widths of the singular value branch and its attention heads.
        swin_image, swin_channels, swin_patch, swin_window, swin_width, swin_depths, swin_heads, swin_drop_path: of the
            Swin transformer. swin_image is the side its input is resized to; 0 keeps the latents' own size.
        alpha_init, beta_init: of eq. 9.
        width, depth, heads, mlp_ratio, patch, gain: of "tokens"; gain is the initial scale of the perturbation (of the
            picture).

    Raises:
        ConfigError: unknown architecture, or values of another type or out of bounds.
    """

    architecture: str = setting("paper", Limits(words=ARCHITECTURES))
    family: str = ""
    denoiser: str = ""
    predicts: str = setting("noise", Limits(words=PREDICTS))
    picture_scale: float = setting(1.0, Limits(above=0, most=LARGEST))
    latent_shape: tuple[int, int, int] = setting((4, 128, 128), _SIZE)
    text_length: int = setting(77, _SIZE)
    text_width: int = setting(2048, _SIZE)
    any_size: bool = False
    without: tuple[str, ...] = setting((), Limits(words=BRANCHES))
    svd_hidden: int = setting(64, _SIZE)
    svd_wide: int = setting(1024, _SIZE)
    svd_heads: int = setting(8, _SIZE)
    swin_image: int = setting(224, Limits(least=0, most=WIDEST))
    swin_channels: int = setting(3, _SIZE)
    swin_patch: int = setting(4, _SIZE)
    swin_window: int = setting(7, _SIZE)
    swin_width: int = setting(96, _SIZE)
    swin_depths: tuple[int, ...] = setting((2, 2, 6, 2), Limits(least=1, most=DEEPEST, some=True, longest=STAGES))
    swin_heads: tuple[int, ...] = setting((3, 6, 12, 24), Limits(least=1, most=WIDEST, some=True, longest=STAGES))
    swin_drop_path: float = setting(0.1, _PLAIN)
    alpha_init: float = setting(0.0, _PLAIN)
    beta_init: float = setting(0.0, _PLAIN)
    width: int = setting(160, _SIZE)
    depth: int = setting(5, Limits(least=1, most=DEEPEST))
    heads: int = setting(5, _SIZE)
    mlp_ratio: float = setting(2.0, _PLAIN)
    patch: int = setting(2, _SIZE)
    gain: float = setting(0.1, _PLAIN)

    def __post_init__(self) -> None:
        check(self)
        if len(self.swin_depths) != len(self.swin_heads):
            raise ConfigError(f"swin_depths {self.swin_depths} and swin_heads {self.swin_heads}", "lists of one length")
        if self.predicts == "picture" and self.architecture != "tokens":
            raise ConfigError(f"architecture {self.architecture!r} that predicts a picture", 'architecture "tokens"')


class NPNet(nn.Module):
    """Base of the networks; a subclass adds layers and `predict`.

    Args:
        config: kept as `.config`.
    """

    def __init__(self, config: NPNetConfig) -> None:
        super().__init__()
        self.config = config

    def forward(self, noise: Tensor, prompt_embeds: Tensor, level: StartLevel | None = None) -> Tensor:
        """(B, C, H, W) predicted target noise, of noise's dtype and computed at least at float32 outside the layers.

        Args:
            level: where the sampler that will run begins, from `Pipeline.start_level`; a network that predicts a
                picture gives level.noise x_T + level.signal h and needs it, one that predicts noise takes no notice.

        Raises:
            ShapeError: shapes the network was not made for.
            InputError: no tensors of floating point numbers, or a network that predicts a picture, without a level.
        """
        if self.config.predicts == "picture":
            if level is None:
                came = "an NPNet that predicts a picture, without the level at which the sampler begins"
                raise InputError(came, "a StartLevel", "pass level=pipeline.start_level(num_inference_steps)")
            carried = level.noise * noise.float() + level.signal * self.picture(noise, prompt_embeds).float()
            return carried.to(noise.dtype)
        self._check_batch(noise, prompt_embeds)
        return self.predict(noise.float(), prompt_embeds.to(self.dtype)).to(noise.dtype)

    def picture(self, noise: Tensor, prompt_embeds: Tensor) -> Tensor:
        """(B, C, H, W) predicted latents h of a picture of the prompt, in the scale of x_0 and of noise's dtype.

        Raises:
            InputError: no tensors of floating point numbers.
            ShapeError: shapes the network was not made for.
            ModelMismatchError: a network that predicts noise.
        """
        if self.config.predicts != "picture":
            fix = "call it for its target noise"
            raise ModelMismatchError("the picture of an NPNet that predicts noise", 'predicts "picture"', fix)
        self._check_batch(noise, prompt_embeds)
        predicted = self.predict(noise.float(), prompt_embeds.to(self.dtype))
        return (self.config.picture_scale * predicted).to(noise.dtype)

    def _check_batch(self, noise: Tensor, prompt_embeds: Tensor) -> None:
        for name, value in (("noise", noise), ("prompt embeddings", prompt_embeds)):
            if not isinstance(value, Tensor) or not value.is_floating_point():
                raise InputError(f"{name}: {kind_of(value)}", "a tensor of floating point numbers")
        if noise.ndim != 4 or prompt_embeds.ndim != 3 or len(noise) != len(prompt_embeds):
            raise ShapeError(
                f"noise of shape {tuple(noise.shape)} with prompt embeddings of shape {tuple(prompt_embeds.shape)}",
                "(B, C, H, W) with (B, L, D), the same B",
            )
        self.check(noise.shape[1:], prompt_embeds.shape[1:])

    def predict(self, noise: Tensor, prompt_embeds: Tensor) -> Tensor:
        """What the configuration `predicts` from float32 noise and embeddings of the weights' dtype, shapes checked.

        float32: the target noise x'_T, or a picture's latents.
        """
        raise NotImplementedError

    @property
    def dtype(self) -> torch.dtype:
        """Of the weights."""
        return next(self.parameters()).dtype

    def check(self, latent_shape: Sequence[int], embeds_shape: Sequence[int], family: str | None = None) -> None:
        """Refuse what the network was not made for.

        Args:
            latent_shape: (C, H, W).
            embeds_shape: (L, D) of the prompt embedding.
            family: name of the pipeline's family, if known.

        Raises:
            ShapeError: other latents or embeddings.
            ModelMismatchError: a pipeline of another family.
        """
        config = self.config
        if family and config.family and family != config.family:
            raise ModelMismatchError(
                f"a pipeline of the family {family!r}",
                f"{config.family!r}: this NPNet was made for {config.denoiser or config.family}",
                "use re-denoise, an NPNet trained for this family, this one fine-tuned on its pairs (train --init), or"
                " without its text term (no_text)",
            )
        came, made = tuple(latent_shape), tuple(config.latent_shape)
        if came != made and not self._takes_size(came):
            free = f", or other sides that are multiples of {config.patch}" if config.any_size else ""
            raise ShapeError(
                f"latents of shape {came}",
                f"{made}, the shape this NPNet was made for{free}",
                "ask for images of that size, use re-denoise, or an NPNet trained for this one; noise is never resized",
            )
        if "text" not in config.without and tuple(embeds_shape) != (config.text_length, config.text_width):
            raise ShapeError(
                f"prompt embeddings of shape {tuple(embeds_shape)}",
                f"{(config.text_length, config.text_width)}, the shape this NPNet was made for",
                "use the text encoder and prompt length it was trained with",
            )

    def _takes_size(self, latent_shape: tuple[int, ...]) -> bool:
        return False

    @held
    def save_pretrained(self, folder: str | Path) -> Path:
        """Write config.json, model.safetensors and a model card README.md; each file is replaced at once.

        Raises:
            StoreError: the folder cannot be written, or the disk is full.
        """
        settings = {**to_dict(self.config), "denoiser": public_name(self.config.denoiser)}
        card = model_card(settings, sum(p.numel() for p in self.parameters()))
        disk.write(Path(folder), settings, self.state_dict(), card)
        return Path(folder)

    @classmethod
    def from_pretrained(
        cls, source: str | Path, *, revision: str | None = None, device: str = "cpu", dtype: torch.dtype | None = None
    ) -> NPNet:
        """A saved network, in evaluation mode.

        Args:
            source: a folder, else the id of a repository on the Hugging Face hub.
            revision: of the repository.
            dtype: of the weights; as saved unless given.

        Raises:
            ModelLoadError: nothing there, or not a saved NPNet.
        """
        check_value("an NPNet", str | Path, source)
        folder = Path(source) if Path(source).exists() else disk.download(str(source), revision)
        try:
            config = from_dict(NPNetConfig, disk.read_settings(folder))
            net = load_network(folder / disk.WEIGHTS_FILE, lambda: build(config), disk.FIX)
        except (ConfigError, TypeError) as error:
            path = folder / disk.CONFIG_FILE
            raise ModelLoadError(f"{path} describes no NPNet: {error}", disk.LAYOUT, disk.FIX) from error
        if not isinstance(net, cls):
            raise ModelLoadError(
                f"{folder} holds a {type(net).__name__}", f"a {cls.__name__}", "use NPNet.from_pretrained"
            )
        return net.to(device=resolve_device(str(device)), dtype=dtype).eval()

    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool | None = None,
        revision: str | None = None,
        commit_message: str = "Upload NPNet",
    ) -> str:
        """Upload what `save_pretrained` writes; the repository is created if needed.

        Returns:
            the address of the commit.

        Raises:
            InputError: the hub refuses, or cannot be reached.
        """
        from huggingface_hub import create_repo, upload_folder
        from huggingface_hub.errors import HfHubHTTPError, HFValidationError

        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder)
            try:
                create_repo(repo_id, private=private, exist_ok=True)
                commit = upload_folder(
                    repo_id=repo_id, folder_path=folder, revision=revision, commit_message=commit_message
                )
            except (HfHubHTTPError, HFValidationError, OSError) as error:
                fix = "log in with `hf auth login`"
                raise InputError(
                    f"cannot upload to {repo_id!r}: {error}", "a repository you may write to", fix
                ) from error
        return str(commit)


@held
def build(config: NPNetConfig) -> NPNet:
    """A freshly initialised network.

    Raises:
        ConfigError: sizes that do not fit together.
    """
    return NETWORKS.get(config.architecture)(config)
