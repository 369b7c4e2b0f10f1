"""The scorers of a training by reward: those that steer, each with a weight, those that judge, and their scales."""

from __future__ import annotations

import json
import math
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from noiseprompt.core.errors import ConfigError, InputError
from noiseprompt.core.files import replace
from noiseprompt.core.json_files import read_json
from noiseprompt.core.ranges import RATE, check_value
from noiseprompt.core.specs import convert, split_spec
from noiseprompt.scorers.base import Scorer, check_scorers, judge, load_scorers
from noiseprompt.shapes import world
from noiseprompt.stages.train.settings import TrainConfig, check_not_trained_on

if TYPE_CHECKING:
    from noiseprompt.core.types import Prompt


def weighted(spec: str) -> tuple[str, float]:
    """ "hpsv2:path=FILE,weight=2" -> ("hpsv2:path=FILE", 2.0); the weight is 1 unless written.

    Raises:
        InputError: a weight that is no number above 0, or two.
    """
    name, options = split_spec(spec)
    weights = [value for _, key, value in options if key == "weight"]
    if len(weights) > 1:
        raise InputError(f"option 'weight' twice in {spec!r}", "each option once")
    weight = convert(f"{name}:weight", weights[0] or "", float) if weights else 1.0
    check_value(f"{name}:weight", float, weight, RATE)
    kept = ",".join(part for part, key, _ in options if key != "weight")
    return f"{name}:{kept}" if kept else name, weight


@dataclass(frozen=True)
class Judges:
    """The loaded scorers of a training by reward.

    Fields:
        steering: with `score_tensor`.
        weights: of these, their sum is 1.
        validating: that nothing is trained on.
    """

    steering: tuple[Any, ...]
    weights: tuple[float, ...]
    validating: tuple[Scorer, ...]

    @property
    def all(self) -> tuple[Any, ...]:
        return (*self.steering, *self.validating)

    def scores(self, images: np.ndarray, prompts: Sequence[Prompt]) -> dict[str, np.ndarray]:
        """Scorer -> (N,) of uint8 (N, H, W, 3).

        Raises:
            ScorerError: a scorer that fails.
            InputError: scores that are not finite.
        """
        found = {scorer.name: judge(scorer, images, prompts) for scorer in self.all}
        for name, scores in found.items():
            if not np.isfinite(scores).all():
                raise InputError(f"scores of {name} that are not finite", "numbers")
        return found


def load_judges(config: TrainConfig, model: str) -> Judges:
    """The scorers that the settings name; on the world its own where they name none.

    Raises:
        InputError: none named elsewhere, a weight that is none, a scorer without gradient, or two of one name.
        UnknownNameError, ModelLoadError: as `load_scorers`.
    """
    on_world = world.is_world(model)
    for given, option in ((config.reward, "reward"), (config.validation_scorers, "validation_scorers")):
        if not given and not on_world:
            raise InputError(f"objective reward without {option}", "names of scorers", f"pass --{option} NAME")
    specs = [weighted(spec) for spec in config.reward or (world.PREFERENCE,)]
    validating = config.validation_scorers or (world.CHECKER,)
    check_not_trained_on([spec for spec, _ in specs], validating)
    check_scorers([*(spec for spec, _ in specs), *validating])
    steering, total = load_scorers([spec for spec, _ in specs]), sum(weight for _, weight in specs)
    for scorer in steering:
        if not hasattr(scorer, "score_tensor"):
            raise InputError(f"scorer {scorer.name!r} gives no gradient", "a scorer with `score_tensor`")
    return Judges(tuple(steering), tuple(weight / total for _, weight in specs), tuple(load_scorers(validating)))


@dataclass(frozen=True)
class Reference:
    """What scores are compared with: images of the validation prompts, by the whole sampler.

    Fields:
        means, deviations: scorer -> mean and standard deviation over images of standard noise.
        start: scorer -> mean over images of the network that the training starts from.
    """

    means: dict[str, float]
    deviations: dict[str, float]
    start: dict[str, float]

    @classmethod
    def of(cls, standard: Mapping[str, np.ndarray], start: Mapping[str, np.ndarray]) -> Reference:
        """Of the scores of both.

        Raises:
            InputError: a scorer that says the same of every image of standard noise.
        """
        for name, scores in standard.items():
            if scores.std() == 0:
                came = f"{name}, which gives all {len(scores)} images of standard noise {scores[0]:g}"
                fix = "validate on more images (--validation_images), or choose another scorer"
                raise InputError(came, "scores that differ", fix)
        means = {name: float(scores.mean()) for name, scores in standard.items()}
        deviations = {name: float(scores.std()) for name, scores in standard.items()}
        return cls(means, deviations, {name: float(scores.mean()) for name, scores in start.items()})

    def write(self, path: Path) -> None:
        """As JSON, at once."""
        replace(path, json.dumps(vars(self), indent=1) + "\n")

    @classmethod
    def read(cls, path: Path, names: Sequence[str]) -> Reference:
        """What `write` wrote, of scorers of these names.

        Raises:
            ConfigError: damaged, or of other scorers.
        """
        fix = "delete it and run again"
        data = read_json(path, fix=fix)
        kinds = ("means", "deviations", "start")
        sound = set(data) == set(kinds) and all(
            isinstance(data[kind], dict) and set(data[kind]) == set(names) and all(map(_finite, data[kind].values()))
            for kind in kinds
        )
        if not sound or min(data["deviations"].values()) <= 0:
            raise ConfigError(f"{path} holds no figures of {', '.join(names)}", "what a training wrote", fix)
        return cls(**data)

    def gain(self, scores: Mapping[str, float], names: Sequence[str]) -> float:
        """Mean over the named scorers of (score - mean) / standard deviation."""
        return sum((scores[name] - self.means[name]) / self.deviations[name] for name in names) / len(names)


def _finite(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool) and math.isfinite(value)


def reward_loss(
    judges: Judges, reference: Reference, images: torch.Tensor, prompts: Sequence[Prompt], hinge: float
) -> torch.Tensor:
    """(B,): sum over scorers of weight * softplus(hinge - z), with z = (score - mean) / deviation of standard noise.

    Far below the hinge each standard deviation counts as one, far above as nothing: a score that is good enough is not
    driven further, where scorers are easiest to deceive.

    Args:
        images: (B, 3, H, W) in [0, 1], with a graph.
    """
    losses = torch.zeros(len(images), device=images.device)
    for scorer, weight in zip(judges.steering, judges.weights, strict=True):
        mean, deviation = reference.means[scorer.name], reference.deviations[scorer.name]
        z = (scorer.score_tensor(images, prompts).to(losses) - mean) / deviation
        losses = losses + weight * torch.nn.functional.softplus(hinge - z)
    return losses
