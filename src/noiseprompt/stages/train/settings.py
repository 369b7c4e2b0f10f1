"""Settings of a training, checked when they are made, and what follows from them: network and learning rate."""

from __future__ import annotations

import math
from collections.abc import Callable
from dataclasses import dataclass, field, replace
from typing import Any

from noiseprompt.core.config import to_dict
from noiseprompt.core.errors import ConfigError
from noiseprompt.core.schedules import warm_cosine
from noiseprompt.npd import PairFilter
from noiseprompt.npnet import NPNetConfig, small_config, tokens_config
from noiseprompt.npnet.base import ARCHITECTURES


@dataclass(frozen=True)
class TrainConfig:
    """Settings of one training.

    Args:
        architecture: "paper" (section 3.2) or "tokens" (our transformer over noise patches and prompt tokens).
        sizes: overrides of the architecture's sizes, e.g. {"depth": 6}.
        filter_scorers: keep pairs that these scorers find better, s_0 + margin < s'_0 (section 3.1); none keeps all.
        margin: of the filter, in the scorer's units.
        combine: "all", "any" or "mean" of the filter's scorers.
        epochs: over the kept pairs; 30 in the paper.
        batch_size: pairs a step; 64 in the paper.
        lr: peak of AdamW's learning rate, after `warmup_steps` and before a half cosine to 1 %.
        weight_decay: of AdamW.
        warmup_steps: over which the learning rate rises from 0.
        grad_clip: largest norm of the gradient.
        ema_decay: of the averaged weights, which are the ones saved; 0 switches averaging off.
        validation_share: share of prompts (by hash of their id) held out for validation, in (0, 1).
        checkpoint_every: steps between checkpoints.
        validate_every: steps between validations.
        mixed_precision: "no" or "bf16".
        max_pairs: train on the first n kept pairs only (table 12); 0 for all.
        seed: of the weights and the order of pairs, below 2**32.
        init: folder or hub id of an NPNet to fine-tune from, of this model or of another, or "". Its architecture and
            sizes are kept, except for what `sizes` overrides; layers of other shapes start fresh and are listed.
        tensorboard: also write TensorBoard files.

    Raises:
        ConfigError: numbers or words out of range, all of them at once.
    """

    architecture: str = "paper"
    sizes: dict[str, bool | int | float | list[int] | list[str]] = field(default_factory=dict)
    filter_scorers: tuple[str, ...] = ()
    margin: float = 0.0
    combine: str = "all"
    epochs: int = 30
    batch_size: int = 64
    lr: float = 1e-3
    weight_decay: float = 0.01
    warmup_steps: int = 50
    grad_clip: float = 1.0
    ema_decay: float = 0.995
    validation_share: float = 0.05
    checkpoint_every: int = 200
    validate_every: int = 200
    mixed_precision: str = "no"
    max_pairs: int = 0
    seed: int = 0
    init: str = ""
    tensorboard: bool = False

    def __post_init__(self) -> None:
        check_settings(self)

    @property
    def pair_filter(self) -> PairFilter:
        """Which pairs are kept."""
        return PairFilter(tuple(self.filter_scorers), self.margin, self.combine)  # type: ignore[arg-type]


@dataclass(frozen=True)
class TrainProgress:
    """One step of training.

    Args:
        step, steps: this one (from 1) and all.
        epoch: from 0.
        loss: MSE relative to the unchanged source, of the batch.
        lr: learning rate of the step.
        explained: share of the validation perturbation explained by the averaged weights, or None between validations.
        best: the highest `explained` so far, minus infinity before the first.
    """

    step: int
    steps: int
    epoch: int
    loss: float
    lr: float
    explained: float | None
    best: float


SMALL_SIDE = 64
"""Latents up to this side get the paper's network at their own resolution; larger ones the sizes of the paper."""


def network_config(config: TrainConfig, **facts: Any) -> NPNetConfig:
    """The configuration of the network to train: the architecture's defaults, what it is for, then `config.sizes`.

    Args:
        facts: latent_shape, text_length, text_width, family, denoiser.

    Raises:
        ConfigError: an unknown architecture or size.
    """
    if config.architecture == "tokens":
        base = tokens_config(**facts)
    elif config.architecture == "paper" and max(facts["latent_shape"][1:]) <= SMALL_SIDE:
        base = small_config(**facts)
    else:
        base = NPNetConfig(architecture=config.architecture, **facts)
    sizes = {name: tuple(value) if isinstance(value, list) else value for name, value in config.sizes.items()}
    try:
        return replace(base, **sizes)
    except TypeError as error:
        raise ConfigError(f"sizes {sizes}", f"some of {', '.join(to_dict(base))}") from error


def learning_rate(config: TrainConfig, step: int, steps: int) -> float:
    """Linear warm-up, then a half cosine to 1 % of the peak."""
    return config.lr * warm_cosine(step, steps, config.warmup_steps)


_LEAST = {
    "epochs": 1,
    "batch_size": 1,
    "checkpoint_every": 1,
    "validate_every": 1,
    "warmup_steps": 0,
    "max_pairs": 0,
    "seed": 0,
}
"""Whole numbers and the least of each."""

_RANGES: dict[str, tuple[str, Callable[[float], bool]]] = {
    "lr": ("above 0", lambda x: x > 0),
    "weight_decay": ("0 or more", lambda x: x >= 0),
    "grad_clip": ("above 0", lambda x: x > 0),
    "ema_decay": ("from 0 to below 1", lambda x: 0 <= x < 1),
    "validation_share": ("between 0 and 1", lambda x: 0 < x < 1),
}
_WORDS = {"architecture": ARCHITECTURES, "mixed_precision": ("no", "bf16")}


def check_settings(config: TrainConfig) -> None:
    """Refuse settings with which no training can go well; all mistakes are told at once.

    Raises:
        ConfigError: one or more are out of range.
        InputError: a filter that `PairFilter` refuses.
    """
    wrong: dict[str, str] = {}
    for name, least in _LEAST.items():
        value = getattr(config, name)
        if type(value) is not int or value < least:
            wrong[name] = f"a whole number, {least} or more"
    if "seed" not in wrong and config.seed >= 2**32:  # numpy's global generator takes no more
        wrong["seed"] = "a whole number below 2**32"
    for name, (words, fits) in _RANGES.items():
        value = getattr(config, name)
        if not _is_number(value) or not fits(value):
            wrong[name] = f"a number {words}"
    for name, known in _WORDS.items():
        if getattr(config, name) not in known:
            wrong[name] = f"one of {', '.join(known)}"
    if wrong:
        came = ", ".join(f"{name} {getattr(config, name)!r}" for name in wrong)
        raise ConfigError(came, ", ".join(f"{name}: {expected}" for name, expected in wrong.items()))
    _ = config.pair_filter


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)
