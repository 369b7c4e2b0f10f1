"""The network of the paper: x'_T = alpha e + singular(x_T) + beta residual(x_T + e)   (eq. 9).

e is the source noise, normalised and given one scale and one shift a channel by the prompt embedding.
"""

from __future__ import annotations

import torch
from torch import Tensor, nn
from torch.nn import functional as F

from noiseprompt.core.arguments import held
from noiseprompt.npnet.base import NPNet
from noiseprompt.npnet.config import NPNetConfig
from noiseprompt.npnet.svd import SingularBranch
from noiseprompt.npnet.swin import Swin

EPS = 1e-6


class TextModulation(nn.Module):
    """AdaGroupNorm over the whole prompt embedding: e = sigma(x_T, E(c)), one group.

    Args:
        embed_size: L * D.
        channels: C.
    """

    def __init__(self, embed_size: int, channels: int) -> None:
        super().__init__()
        self.project = nn.Linear(embed_size, 2 * channels)

    def forward(self, noise: Tensor, prompt_embeds: Tensor) -> Tensor:
        """(B, C, H, W) float32 and (B, L, D) -> (B, C, H, W) float32."""
        scale, shift = self.project(prompt_embeds.flatten(1)).float()[:, :, None, None].chunk(2, 1)
        return F.group_norm(noise, 1, eps=EPS) * (1 + scale) + shift


class ResidualBranch(nn.Module):
    """Resize and mix to an image -> Swin -> mix its features to C channels and resize back.

    Args:
        config: its latent_shape and swin_ fields; swin_image 0 runs at the latents' own size, without resizing.
    """

    def __init__(self, config: NPNetConfig) -> None:
        super().__init__()
        channels, height, width = config.latent_shape
        self.image = config.swin_image or max(height, width)
        self.down = nn.Conv2d(channels, config.swin_channels, 1)
        self.swin = build_swin(config, self.image)
        self.up = nn.Conv2d(self.swin.out_width, channels, 1)

    def forward(self, x: Tensor) -> Tensor:
        """(B, C, H, W) float32 -> the same."""
        size = x.shape[-2:]
        x = resize(x, (self.image, self.image)).to(self.down.weight.dtype)
        features = run_swin(self.swin, self.down(x)).permute(0, 3, 1, 2)
        # A 1 x 1 convolution commutes with interpolation: mixing the small map first is the same and cheaper.
        return resize(self.up(features).float(), size)


def build_swin(config: NPNetConfig, image: int) -> Swin:
    """The Swin transformer a configuration describes.

    Raises:
        ConfigError: sizes that do not divide each other.
    """
    return Swin(
        image=image,
        channels=config.swin_channels,
        patch=config.swin_patch,
        window=config.swin_window,
        width=config.swin_width,
        depths=config.swin_depths,
        heads=config.swin_heads,
        drop_path=config.swin_drop_path,
    )


def run_swin(swin: Swin, x: Tensor) -> Tensor:
    """Its features in x's dtype, whatever its own (`NPNet.from_pretrained(swin_dtype=...)`)."""
    return swin(x.to(swin.embed.weight.dtype)).to(x.dtype)


def resize(x: Tensor, size: tuple[int, int] | torch.Size) -> Tensor:
    """Bilinear; the tensor itself where it has that size."""
    return x if x.shape[-2:] == tuple(size) else F.interpolate(x, tuple(size), mode="bilinear", align_corners=False)


class PaperNPNet(NPNet):
    """Equation 9 with trainable alpha and beta.

    The features of the residual branch are read channels first, unlike in the published code. `config.without` leaves
    terms out: "singular" and "residual" drop theirs, "text" drops alpha e and leaves x_T alone as the residual's input.
    """

    def __init__(self, config: NPNetConfig) -> None:
        super().__init__(config)
        keep = {name for name in ("singular", "residual", "text") if name not in config.without}
        channels = config.latent_shape[0]
        sizes = (config.latent_shape, config.svd_hidden, config.svd_wide, config.svd_heads)
        self.singular = SingularBranch(*sizes) if "singular" in keep else None
        self.residual = ResidualBranch(config) if "residual" in keep else None
        self.text = TextModulation(config.text_length * config.text_width, channels) if "text" in keep else None
        if self.text is not None:
            self.alpha = nn.Parameter(torch.tensor(float(config.alpha_init)))
        if self.residual is not None:
            self.beta = nn.Parameter(torch.tensor(float(config.beta_init)))

    def predict(self, noise: Tensor, prompt_embeds: Tensor) -> Tensor:
        target, conditioned = torch.zeros_like(noise), noise
        if self.text is not None:
            e = self.text(noise, prompt_embeds)
            conditioned = noise + e
            target = target + self.alpha.float() * e
        if self.singular is not None:
            target = target + self.singular(noise)
        if self.residual is not None:
            target = target + self.beta.float() * self.residual(conditioned)
        return target


@held
def sdxl_config(denoiser: str = "stabilityai/stable-diffusion-xl-base-1.0") -> NPNetConfig:
    """The sizes of the paper, for Stable Diffusion XL at 1024 x 1024 pixels: 29.7 M parameters."""
    return NPNetConfig(architecture="paper", family="stable-diffusion-xl", denoiser=denoiser)


@held
def small_config(
    latent_shape: tuple[int, int, int], text_length: int, text_width: int, family: str = "", denoiser: str = ""
) -> NPNetConfig:
    """The same network for small latents (sides that are multiples of 8), about half a million parameters.

    Swin runs at the latents' own resolution: no features smaller than a pixel of the latents are invented.
    """
    return NPNetConfig(
        architecture="paper",
        family=family,
        denoiser=denoiser,
        latent_shape=latent_shape,
        text_length=text_length,
        text_width=text_width,
        svd_wide=256,
        swin_image=0,
        swin_channels=latent_shape[0],
        swin_patch=1,
        swin_window=4,
        swin_width=64,
        swin_depths=(2, 2),
        swin_heads=(4, 8),
        swin_drop_path=0.0,
    )
