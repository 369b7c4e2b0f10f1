"""What every NPNet shares: the shapes it takes, and how it is saved, loaded and shared.

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
from pathlib import Path
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import interpolate

from noiseprompt.core.arguments import held, told
from noiseprompt.core.config import from_dict, to_dict
from noiseprompt.core.devices import resolve_device
from noiseprompt.core.errors import ConfigError, InputError, ModelLoadError, ModelMismatchError, ShapeError
from noiseprompt.core.files import public_name
from noiseprompt.core.network_files import load_network
from noiseprompt.core.ranges import NAMED, check_value
from noiseprompt.core.tensors import check_tensors
from noiseprompt.core.texts import some
from noiseprompt.core.types import StartLevel, check_tensor
from noiseprompt.npnet import disk, share
from noiseprompt.npnet.card import Facts, model_card
from noiseprompt.npnet.config import NPNetConfig
from noiseprompt.npnet.table import NETWORKS

FORMATS = (torch.float32, torch.float16, torch.bfloat16, torch.float64)
"""Of weights."""
MOST_EMPTY = 0.9
"""Share of a network's weights that may lie in matrices of one value: a fresh one begins with some of zeros."""

SWIN = "residual.swin."
"""Where the tensors of a Swin transformer are, in the networks that have one."""


@told
class NPNet(nn.Module):
    """Base of the networks; a subclass adds layers and `predict`.

    Args:
        config: kept as `.config`.

    Raises:
        InputError: this class itself, which has no layers, or a configuration that is none.
    """

    mean_picture: Tensor
    """(C, H, W) of a network that is centred."""

    def __init__(self, config: NPNetConfig) -> None:
        super().__init__()
        if type(self) is NPNet:
            raise InputError("NPNet(...)", "NPNet.from_pretrained(FOLDER), or noiseprompt.npnet.build(config)")
        check_value("config", NPNetConfig, config)
        self.config = config
        if config.centred:
            self.register_buffer("mean_picture", torch.zeros(config.latent_shape))

    def forward(self, noise: Tensor, prompt_embeds: Tensor, level: StartLevel | None = None) -> Tensor:
        """(B, C, H, W) predicted target noise, of noise's dtype and computed at least at float32 outside the layers.

        Args:
            level: where the sampler that will run begins, from `Pipeline.start_level`; a network that predicts a
                picture gives level.noise x_T + level.signal h and needs it, one that predicts noise takes no notice.

        Raises:
            ShapeError: shapes the network was not made for.
            InputError: no tensors of floating point numbers, or a network that predicts a picture, without a level.
        """
        check_value("level", StartLevel | None, level)
        self._check_batch(noise, prompt_embeds)
        if self.config.predicts == "picture":
            if level is None:
                came = "an NPNet that predicts a picture, without the level at which the sampler begins"
                raise InputError(came, "a StartLevel", "pass level=pipeline.start_level(num_inference_steps)")
            carried = level.noise * noise.float() + level.signal * self._picture(noise, prompt_embeds).float()
            return carried.to(noise.dtype)
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
        return self._picture(noise, prompt_embeds)

    def deviation(self, picture: Tensor) -> Tensor:
        """(B, C, H, W) what differs from the mean picture, which is 0 for a network that is not centred.

        At another size the mean is resized: unlike noise it is smooth.

        Raises:
            InputError, ShapeError: no latents of this network's channels.
        """
        check_tensor(picture, "a picture", "(B, C, H, W)")
        channels = self.config.latent_shape[0]
        if picture.ndim != 4 or picture.shape[1] != channels:
            raise ShapeError(f"a picture of shape {tuple(picture.shape)}", f"(B, {channels}, H, W)")
        if not self.config.centred:
            return picture
        mean = self.mean_picture.to(picture)[None]
        if mean.shape[2:] != picture.shape[2:]:
            mean = interpolate(mean, picture.shape[2:], mode="bilinear", align_corners=False)
        return picture - mean

    def _picture(self, noise: Tensor, prompt_embeds: Tensor) -> Tensor:
        """`picture` of tensors that were checked."""
        picture = self.predict(noise.float(), prompt_embeds.to(self.dtype))
        scale = self.config.picture_scale
        scaled = picture + (scale - 1) * self.deviation(picture) if self.config.centred else scale * picture
        return scaled.to(noise.dtype)

    def _check_batch(self, noise: Tensor, prompt_embeds: Tensor) -> None:
        check_tensor(noise, "noise", "(B, C, H, W)")
        check_tensor(prompt_embeds, "prompt embeddings", "(B, L, D)")
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
        check_value("latent_shape", Sequence[int], latent_shape)
        check_value("embeds_shape", Sequence[int], embeds_shape)
        check_value("family", str | None, family)
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
    def save_pretrained(self, folder: str | Path, facts: Facts | None = None) -> Path:
        """Write config.json, model.safetensors and a model card README.md; each file is replaced at once.

        Args:
            facts: for the card: licence, origin, figures.

        Raises:
            StoreError: the folder cannot be written, or the disk is full.
            InputError: no folder named, or one of something else, or weights that are not finite: they would not load.
        """
        check_value("folder", str | Path, folder, NAMED)
        _check_weights(self)
        settings = {**to_dict(self.config), "denoiser": public_name(self.config.denoiser)}
        card = model_card(settings, sum(p.numel() for p in self.parameters()), facts=facts)
        disk.write(Path(folder), settings, self.state_dict(), card)
        return Path(folder)

    @classmethod
    @held
    def from_pretrained(
        cls,
        source: str | Path,
        *,
        revision: str | None = None,
        device: str | torch.device = "cpu",
        dtype: torch.dtype | None = None,
        swin_dtype: torch.dtype | None = None,
    ) -> NPNet:
        """A saved network, in evaluation mode.

        Args:
            source: a folder, or the file of a published checkpoint; else a repository on the Hugging Face hub that
                holds either, "owner/name" or, where it has several checkpoints, "owner/name:FILE".
            revision: of the repository.
            dtype: of the weights; as saved unless given.
            swin_dtype: of those of its Swin transformer alone, `dtype` unless given: bfloat16 takes less than two
                thirds of the time of float32 on a CPU that has it, and changes the noise by some 0.005 at most.

        Raises:
            ModelLoadError: nothing there, or not a saved NPNet.
            InputError: `swin_dtype` of a network that has no Swin transformer, or one of the two that is no format of
                floating point numbers that networks compute in.
        """
        check_value("source", str | Path, source, NAMED)
        for name, kind in (("dtype", dtype), ("swin_dtype", swin_dtype)):
            if kind not in (None, *FORMATS):
                raise InputError(f"{name} {kind}", f"one of {', '.join(map(str, FORMATS))}")
        found = share.find(source, revision)
        with torch.device("cpu"):  # whatever the process has set: "meta" would leave it without values
            net = _load_checkpoint(found, dtype, swin_dtype) if found.is_file() else _load(found, dtype, swin_dtype)
        if not isinstance(net, cls):
            raise ModelLoadError(
                f"{found} holds a {type(net).__name__}", f"a {cls.__name__}", "use NPNet.from_pretrained"
            )
        return net.to(resolve_device(str(device))).eval()

    @held
    def push_to_hub(
        self,
        repo_id: str,
        *,
        private: bool | None = None,
        revision: str | None = None,
        commit_message: str = "Upload NPNet",
        facts: Facts | None = None,
    ) -> str:
        """Upload what `save_pretrained` writes, its card made for the repository, which is created if needed.

        Args:
            facts: for the card: licence, data set, figures.

        Returns:
            the address of the commit.

        Raises:
            HubError: the hub refuses, or cannot be reached.
        """
        with tempfile.TemporaryDirectory() as folder:
            self.save_pretrained(folder, facts)
            how: dict[str, Any] = {"private": private, "revision": revision, "message": commit_message}
            return share.push(Path(folder), repo_id, facts, **how)


def _check_weights(net: NPNet) -> None:
    """Refuse to save what would not load: weights that are not finite, or that have no values."""
    weights = net.state_dict()
    if any(value.is_meta for value in weights.values()):
        raise InputError("an NPNet without values (meta)", "one that was loaded or trained")
    bad = [name for name, value in weights.items() if not (name.endswith("mask") or bool(value.isfinite().all()))]
    if bad:
        raise InputError(f"an NPNet whose weights are not finite: {some('of them', bad)}", "numbers")


def _load(folder: Path, dtype: torch.dtype | None, swin_dtype: torch.dtype | None) -> NPNet:
    """The network that was saved in a folder."""
    try:
        settings = disk.read_settings(folder)
        config = from_dict(NPNetConfig, settings)
        _check_swin(config, swin_dtype, folder)
        dtypes = {True: swin_dtype or dtype, False: dtype}
        of = lambda name: dtypes[name.startswith(SWIN)]  # noqa: E731
        net = load_network(folder / disk.WEIGHTS_FILE, lambda: build(config), disk.FIX, of)
        disk.check_together(folder, settings)
        check_tensors(net.named_parameters(), f"the NPNet in {folder}", MOST_EMPTY)
        return net
    except (ConfigError, TypeError) as error:
        came, expected = (error.came, error.expected) if isinstance(error, ConfigError) else (error, disk.LAYOUT)
        came = f"{folder / disk.CONFIG_FILE} describes no NPNet: {came}"
        raise ModelLoadError(came, expected, "copy the whole folder again, or name another") from error


def _load_checkpoint(file: Path, dtype: torch.dtype | None, swin_dtype: torch.dtype | None) -> NPNet:
    """The network of a published checkpoint."""
    net = NETWORKS.get("published").from_checkpoint(file).to(dtype=dtype)
    _check_swin(net.config, swin_dtype, file)
    if swin_dtype is not None:
        net.get_submodule(SWIN.rstrip(".")).to(swin_dtype)
    return net


def _check_swin(config: NPNetConfig, swin_dtype: torch.dtype | None, source: Path) -> None:
    if swin_dtype is not None and not config.has_swin:
        came = f"swin_dtype {swin_dtype} of {source}, which has no Swin transformer"
        raise InputError(came, "a network that has one", "leave it out")


@held
def build(config: NPNetConfig) -> NPNet:
    """A freshly initialised network.

    Raises:
        ConfigError: sizes that do not fit together.
    """
    return NETWORKS.get(config.architecture)(config)
