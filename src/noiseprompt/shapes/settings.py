"""Settings of the world's trainings, checked; no torch, for the command line lists them."""

from __future__ import annotations

from dataclasses import dataclass

from noiseprompt.core.config import from_dict
from noiseprompt.core.errors import ConfigError
from noiseprompt.core.ranges import (
    COUNT,
    DECAY,
    NOT_NEGATIVE,
    RATE,
    SEED,
    SHARE,
    TRAINING_STEPS,
    WEIGHT,
    Limits,
    check,
    setting,
)
from noiseprompt.core.schedules import warm_cosine
from noiseprompt.shapes.captions import CaptionNoise


def check_shares(where: str = "", **shares: float) -> None:
    """Refuse shares of captions that are more than all of them together.

    Args:
        where: for the message, as in " of phase 2".

    Raises:
        ConfigError: with the shares.
    """
    if sum(shares.values()) > 1 + 1e-9:
        came = ", ".join(f"{name} {share:g}" for name, share in shares.items())
        raise ConfigError(f"{came}{where}", "shares of captions that are at most 1 together")


@dataclass(frozen=True)
class Phase:
    """A number of steps with a warm-up and a half cosine of their own.

    Args:
        steps: of the optimizer.
        lr: peak learning rate.
        warmup: steps of linear warm-up.
        clean_share: share of the steps, from the first on, with true captions, in [0, 1].
        unrelated, altered: shares of captions after those, see `CaptionNoise`.
        snr_floor: see `loss_weights`.
        decay_steps: of the half cosine where it is longer than the phase, else 0.
        layout_weight: of the text encoder's second loss, see `Layout`.
        layout_only: of the steps, the first with that loss alone.

    Raises:
        ConfigError: numbers out of range, all of them at once.
    """

    steps: int = setting(limits=TRAINING_STEPS)
    lr: float = setting(limits=RATE)
    warmup: int = setting(limits=NOT_NEGATIVE)
    clean_share: float = setting(limits=SHARE)
    unrelated: float = setting(limits=SHARE)
    altered: float = setting(limits=SHARE)
    snr_floor: float = setting(0.0, WEIGHT)
    decay_steps: int = setting(0, NOT_NEGATIVE)
    layout_weight: float = setting(0.0, WEIGHT)
    layout_only: int = setting(0, NOT_NEGATIVE)

    def __post_init__(self) -> None:
        check(self)
        check_shares(unrelated=self.unrelated, altered=self.altered)
        if self.layout_only and not self.layout_weight:
            raise ConfigError(f"layout_only {self.layout_only} with layout_weight 0", "a weight of that loss above 0")

    def rate(self, step: int) -> float:
        """Learning rate at a step of this phase."""
        return self.lr * warm_cosine(step, max(self.steps, self.decay_steps), self.warmup)

    def captions(self, step: int, empty: float) -> CaptionNoise:
        """The noise on captions at a step of this phase."""
        if step < self.clean_share * self.steps:
            return CaptionNoise(0.0, 0.0, empty)
        return CaptionNoise(self.unrelated, self.altered, empty)


PHASES = (
    Phase(steps=3_600, lr=1e-3, warmup=200, clean_share=0.55, unrelated=0.35, altered=0.10),
    Phase(steps=700, lr=4e-4, warmup=50, clean_share=0.0, unrelated=0.15, altered=0.05),
    Phase(
        steps=1_108,
        decay_steps=3_000,
        lr=8e-4,
        warmup=100,
        clean_share=1.0,
        unrelated=0.40,
        altered=0.05,
        snr_floor=0.25,
    ),
    Phase(
        steps=2_900,
        lr=8e-4,
        warmup=50,
        clean_share=0.5,
        unrelated=0.40,
        altered=0.05,
        snr_floor=0.5,
        layout_weight=0.1,
        layout_only=300,
    ),
)
"""As the shipped world was trained. After the third phase the text encoder still told nothing of "left of" from "right
of" (embeddings apart by 0.1 %); `Layout` broke that tie within 300 steps, and the fourth phase went on from there."""


@dataclass(frozen=True)
class WorldConfig:
    """Settings of one training of the world.

    Args:
        seed: of everything random.
        num_scenes: training pictures, rendered once and kept as latents.
        vae_steps: of the autoencoder's training.
        vae_batch_size: of it.
        vae_lr: its learning rate.
        batch_size: of text encoder and U-Net.
        phases: of their training, one after the other.
        empty: share of empty captions throughout, in [0, 1].
        ema_decay: of the weights that are shipped.
        checkpoint_seconds: between checkpoints.

    Raises:
        ConfigError: settings out of range, all of them at once.
    """

    seed: int = setting(0, SEED)
    num_scenes: int = setting(80_000, Limits(least=1, most=1_000_000))
    vae_steps: int = setting(1_000, TRAINING_STEPS)
    vae_batch_size: int = setting(32, COUNT)
    vae_lr: float = setting(2e-3, RATE)
    batch_size: int = setting(64, COUNT)
    phases: tuple[Phase, ...] = setting(PHASES, Limits(some=True))
    empty: float = setting(0.10, SHARE)
    ema_decay: float = setting(0.999, DECAY)
    checkpoint_seconds: float = setting(120.0, NOT_NEGATIVE)

    def __post_init__(self) -> None:
        if isinstance(self.phases, list | tuple):  # of dicts: from a file of settings
            phases = tuple(from_dict(Phase, p) if isinstance(p, dict) else p for p in self.phases)
            object.__setattr__(self, "phases", phases)
        check(self)
        for number, phase in enumerate(self.phases, 1):
            shares = {"unrelated": phase.unrelated, "altered": phase.altered}
            check_shares(f" of phase {number}", empty=self.empty, **shares)


@dataclass(frozen=True)
class PreferenceConfig:
    """Settings of one training of the preference scorer.

    Args:
        seed: of everything random.
        steps: of optimisation.
        batch_size: entries a step, each five pictures and three texts.
        lr: learning rate.
        width: of the text tower, a multiple of 8.
        blocks: of the text tower.
        ema_decay: of the weights that are shipped.
        checkpoint_seconds: between checkpoints.

    Raises:
        ConfigError: settings out of range, all of them at once.
    """

    seed: int = setting(0, SEED)
    steps: int = setting(1_400, TRAINING_STEPS)
    batch_size: int = setting(32, COUNT)
    lr: float = setting(1.5e-3, RATE)
    width: int = setting(96, Limits(least=8, most=4096))
    blocks: int = setting(3, Limits(least=1, most=64))
    ema_decay: float = setting(0.998, DECAY)
    checkpoint_seconds: float = setting(60.0, NOT_NEGATIVE)

    def __post_init__(self) -> None:
        check(self)
        if self.width % 8:
            raise ConfigError(f"width {self.width}", "a multiple of 8, the groups of its norms")


@dataclass(frozen=True)
class FeatureConfig:
    """Settings of one training of the feature network.

    Args:
        seed: of everything random.
        steps: of optimisation.
        batch_size: pictures a step.
        lr: learning rate.
        ema_decay: of the weights that are shipped.
        checkpoint_seconds: between checkpoints.

    Raises:
        ConfigError: settings out of range, all of them at once.
    """

    seed: int = setting(0, SEED)
    steps: int = setting(2_000, TRAINING_STEPS)
    batch_size: int = setting(48, COUNT)
    lr: float = setting(2e-3, RATE)
    ema_decay: float = setting(0.998, DECAY)
    checkpoint_seconds: float = setting(60.0, NOT_NEGATIVE)

    def __post_init__(self) -> None:
        check(self)
