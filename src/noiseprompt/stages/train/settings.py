"""Settings of a training, checked when they are made, and what follows from them: network and learning rate."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import MISSING, dataclass, field, fields, replace
from typing import Any, ClassVar, get_type_hints

from noiseprompt.core.arguments import told
from noiseprompt.core.errors import ConfigError
from noiseprompt.core.ranges import (
    COUNT,
    DECAY,
    GUIDANCE,
    NOT_NEGATIVE,
    PASSES,
    PIXELS,
    POSITIVE,
    RATE,
    WEIGHT,
    Limits,
    check,
    limits_of,
    misfit,
    setting,
    shown,
)
from noiseprompt.core.schedules import warm_cosine
from noiseprompt.core.texts import spelt
from noiseprompt.npd import PairFilter
from noiseprompt.npd.filter import BEST_SHARE
from noiseprompt.npnet.config import ARCHITECTURES, NPNetConfig, check_own
from noiseprompt.stages.train.table import COUPLINGS, OBJECTIVES


@told
@dataclass(frozen=True)
class TrainConfig:
    """Settings of one training.

    Args:
        architecture: "paper" (section 3.2) or "tokens" (our transformer over noise patches and prompt tokens).
        sizes: overrides of the architecture's own sizes, e.g. {"depth": 6} of "tokens".
        filter_scorers: keep pairs that these scorers find better, s_0 + margin < s'_0 (section 3.1); none keeps all.
        margin: of the filter, in the scorer's units.
        combine: "all", "any" or "mean" of the filter's scorers.
        epochs: over the kept pairs; 30 in the paper.
        batch_size: pairs a step, in all processes together; 64 in the paper.
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
        objective: "noise" (the target noise of each pair, as in the paper), "picture" (the latents of a picture of the
            prompt, of a data set of pictures; the architecture is then "tokens") or "reward" (scores of the images that
            a short chain draws; made of prompts and scorers, without a data set).
        coupling: which of a prompt's pictures a noise aims at: "correlation" (a mean of them, weighted by how well the
            low-pass latents of each go with those of the noise), "any" (for comparison) or "nearest" (of several noises
            the one whose prediction is nearest to the picture).
        coupling_sharpness: of the coupling "correlation": 0 is the plain mean, the larger the nearer to the one picture
            that goes best.
        low_pass: of the coupling "correlation": side of the squares of latents whose means are compared.
        nearest_noises: of the coupling "nearest": how many noises a picture is offered.
        pictures_per_prompt: the first n kept pictures of each prompt; 0 for all.
        best_share: in place of a margin, the filter keeps this share of each prompt's pairs, the best by its scorers.
        least_score: in place of a margin, the filter keeps pairs whose target scores at least this.
        accumulate: parts in which a step's batch is computed, by each process its share, one after the other, for want
            of memory; at most `batch_size`.
        patience: the training ends after so many validations without improvement; 0 for never.
        reward: of the objective "reward": scorers with gradients, each with a weight of its own where it names one, as
            in "hpsv2:weight=2,aes"; the world's preference scorer on the world.
        reward_hinge: where a score begins to be good enough, in standard deviations above the mean of standard noise.
        reward_clip: largest norm of the gradient of one image's loss at its latents, for 16,384 latent values; it grows
            with the norm of the noise.
        anchor_weight: of the penalty weight |x' - x|^2 / 2, a sum over an image's latents; x is the source noise, for a
            network that predicts a picture the noise of the network that the training starts from.
        validation_scorers: scorers that judge and are not trained on; the world's checker on the world.
        validation_images: how many held-out prompts are drawn at each validation, one image each.
        chain_steps: of the sampler's levels that a training image is drawn with; all where it has fewer.
        num_inference_steps: of the sampler that the network is for; the family's unless given.
        guidance_scale: of that sampler; the family's unless given.
        height: of its images in pixels; the model's own unless given.
        width: of its images in pixels; the model's own unless given.
        checkpoint_seconds: a checkpoint that would follow the last one sooner is left out; 0 for none.
        keep_text: whether the prompts' text is encoded once and kept on disk; unless given, where there are at most
            20,000 distinct prompts. It is otherwise encoded a batch at a time.

    Raises:
        ConfigError: numbers or words out of range, all of them at once; settings of another objective.
    """

    architecture: str = setting("paper", Limits(words=ARCHITECTURES))
    sizes: dict[str, bool | int | float | list[int] | list[str]] = field(default_factory=dict)
    filter_scorers: tuple[str, ...] = ()
    margin: float = 0.0
    combine: str = setting("all", Limits(words=("all", "any", "mean")))
    epochs: int = setting(30, PASSES)
    batch_size: int = setting(64, COUNT)
    lr: float = setting(1e-3, RATE)
    weight_decay: float = setting(0.01, Limits(least=0, most=1000))
    warmup_steps: int = setting(50, NOT_NEGATIVE)
    grad_clip: float = setting(1.0, POSITIVE)
    ema_decay: float = setting(0.995, DECAY)
    validation_share: float = setting(0.05, Limits(above=0, below=1))
    checkpoint_every: int = setting(200, COUNT)
    validate_every: int = setting(200, COUNT)
    mixed_precision: str = setting("no", Limits(words=("no", "bf16")))
    max_pairs: int = setting(0, NOT_NEGATIVE)
    seed: int = setting(0, Limits(least=0, most=2**32 - 1))
    init: str = ""
    tensorboard: bool = False
    objective: str = setting("noise", Limits(words=tuple(OBJECTIVES)))
    coupling: str = setting("correlation", Limits(words=COUPLINGS))
    coupling_sharpness: float = setting(1.0, WEIGHT)
    low_pass: int = setting(2, COUNT)
    nearest_noises: int = setting(4, Limits(least=2, most=1000))
    pictures_per_prompt: int = setting(0, NOT_NEGATIVE)
    best_share: float | None = setting(None, BEST_SHARE)
    least_score: float | None = None
    accumulate: int = setting(1, COUNT)
    patience: int = setting(0, NOT_NEGATIVE)
    reward: tuple[str, ...] = ()
    reward_hinge: float = setting(1.0, Limits(least=-1_000_000, most=1_000_000))
    reward_clip: float = setting(1.0, POSITIVE)
    anchor_weight: float = setting(0.01, WEIGHT)
    validation_scorers: tuple[str, ...] = ()
    validation_images: int = setting(64, Limits(least=2))
    chain_steps: int = setting(6, COUNT)
    num_inference_steps: int | None = setting(None, COUNT)
    guidance_scale: float | None = setting(None, GUIDANCE)
    height: int | None = setting(None, PIXELS)
    width: int | None = setting(None, PIXELS)
    checkpoint_seconds: float = setting(60.0, NOT_NEGATIVE)
    keep_text: bool | None = None

    later: ClassVar[tuple[str, ...]] = (
        "objective", "coupling", "coupling_sharpness", "low_pass", "nearest_noises", "pictures_per_prompt",
        "best_share", "least_score", "accumulate", "patience", "reward", "reward_hinge", "reward_clip", "anchor_weight",
        "validation_scorers", "validation_images", "chain_steps", "num_inference_steps", "guidance_scale", "height",
        "width", "checkpoint_seconds", "keep_text",
    )  # fmt: skip
    """Settings that came later: at their defaults they are no part of records, nor of the names of folders."""

    def __post_init__(self) -> None:
        check(self)
        check_sizes(self.sizes)
        if not self.init:  # which keeps its own architecture
            check_own(self.architecture, self.sizes)
        if self.accumulate > self.batch_size:
            came = f"accumulate {self.accumulate} with batch_size {self.batch_size}"
            raise ConfigError(came, "at most as many parts as a batch has pairs")
        _check_objective(self)
        _ = self.pair_filter  # refuses rules that contradict each other

    @property
    def pair_filter(self) -> PairFilter:
        """Which pairs are kept."""
        rules = {"best_share": self.best_share, "least_score": self.least_score}
        return PairFilter(tuple(self.filter_scorers), self.margin, self.combine, **rules)  # type: ignore[arg-type]


_OF_OBJECTIVES: dict[str, tuple[str, ...]] = {
    "picture": ("coupling", "coupling_sharpness", "low_pass", "nearest_noises", "pictures_per_prompt"),
    "reward": (
        "reward", "reward_hinge", "reward_clip", "anchor_weight", "validation_scorers", "validation_images",
        "chain_steps", "num_inference_steps", "guidance_scale", "height", "width",
    ),
}  # fmt: skip
"""Objective -> settings that no other has."""

_OF_COUPLINGS = {"correlation": ("coupling_sharpness", "low_pass"), "nearest": ("nearest_noises",)}
"""Coupling -> settings that no other has."""

_OF_DATA_SETS = ("filter_scorers", "margin", "combine", "max_pairs", "best_share", "least_score", "keep_text")
"""Settings that a training without a data set does not have."""


_OF_DATA = ("architecture", "family", "denoiser", "predicts", "latent_shape", "text_length", "text_width")
"""Fields of a network that follow from the data set, the model and the other settings."""


def check_sizes(sizes: Mapping[str, Any]) -> None:
    """Refuse sizes that no network has, and what is no size: a recipe tells of it before it collects.

    Raises:
        ConfigError: with the first of them.
    """
    hints, limits = get_type_hints(NPNetConfig), limits_of(NPNetConfig)
    known = [name for name in hints if name in limits and name not in _OF_DATA]
    for name, value in sizes.items():
        if name in _OF_DATA:
            raise ConfigError(f"sizes: {name}", "sizes alone: this follows from the data set, the model and settings")
        if name not in known:
            raise ConfigError(f"sizes: {spelt(name)}", f"some of {', '.join(known)}")
        if expected := misfit(hints[name], value, limits[name]):
            raise ConfigError(f"sizes: {name} {shown(value)}", expected)


def _check_objective(config: TrainConfig) -> None:
    """Refuse an architecture that cannot predict pictures, settings of another objective, and a scorer that judges what
    it trains.

    Raises:
        ConfigError: there are.
    """
    if config.objective == "picture" and config.architecture != "tokens" and not config.init:
        came = f"objective picture with architecture {config.architecture!r}"
        raise ConfigError(came, 'architecture "tokens"', "pass --architecture tokens")
    for coupling, names in _OF_COUPLINGS.items() if config.objective == "picture" else ():
        given = _given(config, names) if coupling != config.coupling else []
        if given:
            raise ConfigError(
                f"{', '.join(given)} with coupling {config.coupling!r}", f"settings of coupling {coupling}"
            )
    for objective, names in _OF_OBJECTIVES.items():
        given = _given(config, names) if objective != config.objective else []
        if given:
            came = f"{', '.join(given)} with objective {config.objective!r}"
            raise ConfigError(came, f"settings of objective {objective}")
    if config.objective == "reward" and (given := _given(config, _OF_DATA_SETS)):
        raise ConfigError(f"{', '.join(given)} with objective 'reward'", "settings of trainings on a data set")
    check_not_trained_on(config.reward, config.validation_scorers)


def check_not_trained_on(reward: Sequence[str], validation: Sequence[str]) -> None:
    """Refuse a scorer that judges what it trains, whatever its options.

    Raises:
        ConfigError: there is one.
    """
    trained = {spec.strip().partition(":")[0] for spec in reward}
    both = [spec for spec in validation if spec.strip().partition(":")[0] in trained]
    if both:
        came = f"{both[0]} as reward and as validation scorer"
        raise ConfigError(came, "a scorer that is not trained on", "what steers a training is no judge of its result")


def _given(config: TrainConfig, names: Sequence[str]) -> list[str]:
    """Those of some settings that are not at their defaults."""
    usual = {one.name: one.default for one in fields(TrainConfig) if one.default is not MISSING}
    return [name for name in names if getattr(config, name) != usual[name]]


@dataclass(frozen=True)
class TrainProgress:
    """One step of training.

    Args:
        step, steps: this one (from 1) and all.
        epoch: from 0.
        loss: MSE of the batch relative to that of nothing learned (the unchanged source, or no picture); of a training
            by reward the loss of its images and the penalty.
        lr: learning rate of the step.
        explained: by the averaged weights, or None between validations: the share of the validation perturbation (or of
            the pictures' power); with rewards the mean gain of the validation scorers over standard noise, in standard
            deviations of its scores.
        best: the highest `explained` so far, minus infinity before the first.
        scores: at a validation, with rewards: scorer -> mean score of the images; with pictures of several sizes:
            "explained H x W" -> `explained` of those latents alone.
    """

    step: int
    steps: int
    epoch: int
    loss: float
    lr: float
    explained: float | None
    best: float
    scores: dict[str, float] = field(default_factory=dict)


SMALL_SIDE = 64
"""Latents up to this side get the paper's network at their own resolution; larger ones the sizes of the paper."""


def network_config(config: TrainConfig, **facts: Any) -> NPNetConfig:
    """The configuration of the network to train: the architecture's defaults, what it is for, then `config.sizes`.

    Args:
        facts: latent_shape, text_length, text_width, family, denoiser.

    Raises:
        ConfigError: sizes that do not fit together.
    """
    from noiseprompt.npnet import small_config, tokens_config

    if config.architecture == "tokens":
        pictures = config.objective == "picture"
        base = replace(tokens_config(**facts, predicts="picture" if pictures else "noise"), centred=pictures)
    elif config.architecture == "paper" and max(facts["latent_shape"][1:]) <= SMALL_SIDE:
        base = small_config(**facts)
    else:
        base = NPNetConfig(architecture=config.architecture, **facts)
    sizes = {name: tuple(value) if isinstance(value, list) else value for name, value in config.sizes.items()}
    return replace(base, **sizes)


def learning_rate(config: TrainConfig, step: int, steps: int) -> float:
    """Linear warm-up, then a half cosine to 1 % of the peak."""
    return config.lr * warm_cosine(step, steps, config.warmup_steps)
