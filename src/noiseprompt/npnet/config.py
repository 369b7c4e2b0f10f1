"""What a network is built from and what it was made for, checked; no torch, for settings are read by it."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass

from noiseprompt.core.arguments import told
from noiseprompt.core.errors import ConfigError
from noiseprompt.core.ranges import DECAY, Limits, check, setting

ARCHITECTURES = ("paper", "published", "tokens")
BRANCHES = ("singular", "residual", "text")
PREDICTS = ("noise", "picture")
POSITIONS = ("top_left", "both_corners")

DEEPEST, STAGES, WIDEST, LARGEST = 128, 8, 65_536, 10_000
"""Bounds of a configuration: blocks in a row, stages of Swin, every other size, and numbers that are no sizes. The
networks of the paper have 12, 4, 3,072 and 2."""

LONGEST_SIDE = 2_048
"""Of the picture that a Swin transformer sees: no weight tells it, and its masks grow with its square."""

_OF_TOKENS = ("any_size", "positions", "width", "depth", "heads", "mlp_ratio", "patch", "gain")
_OF_BRANCHES = (
    "without", "svd_hidden", "svd_wide", "svd_heads", "swin_image", "swin_channels", "swin_patch", "swin_window",
    "swin_width", "swin_depths", "swin_heads", "swin_drop_path", "alpha_init", "beta_init",
)  # fmt: skip
_SIZE = Limits(least=1, most=WIDEST)
_PLAIN = Limits(least=-LARGEST, most=LARGEST)


def check_own(architecture: str, sizes: Iterable[str]) -> None:
    """Refuse sizes that networks of another architecture alone have: they would change nothing.

    Raises:
        ConfigError: with those of them.
    """
    tokens = architecture == "tokens"
    if foreign := [name for name in sizes if name in (_OF_BRANCHES if tokens else _OF_TOKENS)]:
        own = ", ".join(_OF_TOKENS if tokens else _OF_BRANCHES)
        raise ConfigError(f"sizes: {', '.join(foreign)} of architecture {architecture!r}", f"some of {own}")


@told
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
        centred: the factor acts on what differs from the mean picture of the training, which is kept with the weights
            ("mean_picture"): that one is predicted as it is, and is no less powerful.
        latent_shape: (C, H, W) of the noise.
        text_length, text_width: L and D of the prompt embedding.
        any_size: other H and W are allowed too ("tokens" only).
        positions: of "tokens": how a patch is told where it is, by its distance to the top left corner, or to the
            bottom right one too, so that it knows the size.
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
    centred: bool = False
    latent_shape: tuple[int, int, int] = setting((4, 128, 128), _SIZE)
    text_length: int = setting(77, _SIZE)
    text_width: int = setting(2048, _SIZE)
    any_size: bool = False
    without: tuple[str, ...] = setting((), Limits(words=BRANCHES))
    svd_hidden: int = setting(64, _SIZE)
    svd_wide: int = setting(1024, _SIZE)
    svd_heads: int = setting(8, _SIZE)
    swin_image: int = setting(224, Limits(least=0, most=LONGEST_SIDE))
    swin_channels: int = setting(3, _SIZE)
    swin_patch: int = setting(4, _SIZE)
    swin_window: int = setting(7, _SIZE)
    swin_width: int = setting(96, _SIZE)
    swin_depths: tuple[int, ...] = setting((2, 2, 6, 2), Limits(least=1, most=DEEPEST, some=True, longest=STAGES))
    swin_heads: tuple[int, ...] = setting((3, 6, 12, 24), Limits(least=1, most=WIDEST, some=True, longest=STAGES))
    swin_drop_path: float = setting(0.1, DECAY)
    alpha_init: float = setting(0.0, _PLAIN)
    beta_init: float = setting(0.0, _PLAIN)
    width: int = setting(160, _SIZE)
    depth: int = setting(5, Limits(least=1, most=DEEPEST))
    heads: int = setting(5, _SIZE)
    mlp_ratio: float = setting(2.0, Limits(above=0, most=LARGEST))
    patch: int = setting(2, _SIZE)
    positions: str = setting("top_left", Limits(words=POSITIONS))
    gain: float = setting(0.1, _PLAIN)

    def __post_init__(self) -> None:
        check(self)
        if len(self.swin_depths) != len(self.swin_heads):
            raise ConfigError(f"swin_depths {self.swin_depths} and swin_heads {self.swin_heads}", "lists of one length")
        if self.architecture == "tokens" and self.without:
            raise ConfigError(f"without {', '.join(self.without)} of architecture 'tokens'", "none: it has no branches")
        if self.predicts == "picture" and self.architecture != "tokens":
            raise ConfigError(f"architecture {self.architecture!r} that predicts a picture", 'architecture "tokens"')
        if self.centred and self.predicts != "picture":
            raise ConfigError(f"centred, of a network that predicts {self.predicts}", 'predicts "picture"')

    @property
    def has_swin(self) -> bool:
        """Whether a Swin transformer is part of the network."""
        return self.architecture != "tokens" and "residual" not in self.without
