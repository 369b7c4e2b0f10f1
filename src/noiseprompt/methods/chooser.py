"""What methods that choose share: a scorer that judges pictures, and how a source noise becomes a candidate."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from noiseprompt.core.errors import InputError, NoiseError
from noiseprompt.core.specs import split_specs
from noiseprompt.core.types import Sampling
from noiseprompt.methods.base import MethodSpec, NoiseMethod, check_options, make_noise
from noiseprompt.methods.judging import described, load_judge, prompts_of
from noiseprompt.methods.table import METHODS
from noiseprompt.noise.fresh import fresh_noise
from noiseprompt.scorers.base import judge

if TYPE_CHECKING:
    from noiseprompt.core.types import Prompt
    from noiseprompt.pipelines import Pipeline, TextEmbeds


@dataclass
class Chooser(NoiseMethod):
    """Draws candidates and keeps the one whose picture a scorer likes best: no perturbation of the source.

    The scorer that chooses is no judge of the result; `describe` names it. Every drawing is counted as denoiser calls.

    Fields:
        scorer: name (or "name:key=value") of the one that chooses; "shapes-preference" where None and the pipeline is
            the embedded world.
        noise: the method that makes each candidate of its source noise, "standard" for the source itself. Its options
            are joined by "+": "noise=npnet:path=FOLDER+strength=1.5" is network and choice together.
    """

    teaches = False

    scorer: str | None = None
    noise: str = "standard"
    judge: Any = field(default=None, init=False, repr=False)
    sampling: Sampling = field(default=Sampling(), init=False)
    maker: NoiseMethod = field(init=False, repr=False)
    made_by: MethodSpec = field(init=False, repr=False)

    def __post_init__(self) -> None:
        check_options(self)
        self.made_by = candidate_spec(self.name, self.noise)
        self.maker = self.made_by.build()

    def prepare(self, pipeline: Pipeline, sampling: Sampling) -> None:
        """Load the scorer, and what makes the candidates.

        Raises:
            InputError: no scorer named, and none shipped for this pipeline; or candidates made by another scorer.
            UnknownNameError, ModelLoadError: as `load_scorers`.
            NoisepromptError: the method that makes the candidates cannot work with this pipeline.
        """
        self.judge, self.sampling = load_judge(self.name, self.scorer, pipeline), sampling
        self.maker.prepare(pipeline, sampling)
        other = self.maker.describe().get("scorer", self.judge.name)
        if other != self.judge.name:
            came = f"{self.name} by {self.judge.name!r} of noises made by {other!r}"
            raise InputError(came, "one scorer for both: neither would be a judge", f"write scorer={other}")

    def describe(self) -> dict[str, Any]:
        """The scorer that chooses: where it also judges, its gain is not evidence; and what `noise` depends on."""
        made = self.maker.describe()
        return described(self.judge) | ({"noise": made} if made else {})

    def prompts(self, embeds: TextEmbeds) -> list[Prompt]:
        """The prompts to judge by, one a row.

        Raises:
            InputError: `prepare` was not called, or the prompts' texts are not known.
        """
        if self.judge is None:
            raise InputError(f"{self.name} without its scorer", "a scorer", "call prepare(pipeline, sampling) first")
        return prompts_of(self.name, embeds)

    def candidates(self, pipeline: Pipeline, embeds: TextEmbeds, noise: torch.Tensor, count: int) -> list[torch.Tensor]:
        """Those of so many sources, (B, C, H, W) each: the noise itself, then fresh ones that follow from it."""
        sources = [noise] + [fresh_noise(noise, self.name, index) for index in range(1, count)]
        return [self.candidate(pipeline, embeds, source) for source in sources]

    def candidate(self, pipeline: Pipeline, embeds: TextEmbeds, source: torch.Tensor) -> torch.Tensor:
        """The noise that `noise` makes of a source, (B, C, H, W)."""
        return make_noise(self.made_by, self.maker, pipeline, embeds, None, source)

    def scores(
        self, pipeline: Pipeline, embeds: TextEmbeds, latents: torch.Tensor, prompts: Sequence[Prompt]
    ) -> np.ndarray:
        """(B,) of the pictures that the run draws from `latents`."""
        how: dict[str, Any] = {**vars(self.sampling), "generator": same_generators(len(latents))}
        return self.judged(pipeline.sample(embeds, latents, **how), prompts)

    def judged(self, images: np.ndarray, prompts: Sequence[Prompt]) -> np.ndarray:
        """(B,) scores of pictures uint8 (B, H, W, 3).

        Raises:
            NoiseError: one that is not finite.
        """
        scores = judge(self.judge, images, prompts)
        if not np.isfinite(scores).all():
            raise NoiseError(f"scorer {self.judge.name!r} gave a score that is not finite", "finite numbers")
        return scores


def candidate_spec(chooser: str, text: str) -> MethodSpec:
    """The method that makes a chooser's candidates, its options joined by "+".

    Raises:
        UnknownNameError: no such method.
        InputError: one that chooses itself, a control (it belongs to the whole), or options that it does not take.
    """
    came = f"{chooser}:noise={text}"
    specs = split_specs(text.replace("+", ","), METHODS) if text.strip(" +") else [text]
    if len(specs) > 1:
        raise InputError(f"{came} names {len(specs)} methods", "one, its options after a colon and joined by +")
    spec = MethodSpec.parse(specs[0])
    if issubclass(METHODS.get(spec.name), Chooser):
        raise InputError(f"{came} chooses among choices", "a method that makes one noise, such as npnet")
    if spec.swap or spec.shuffle:
        control = "swap" if spec.swap else "shuffle"
        fix = f'write "{chooser}:{control},noise={spec.name}"'
        raise InputError(f"{came} has a control inside", "a control of the whole method", fix)
    return spec


def same_generators(count: int) -> list[torch.Generator]:
    """One an image: where a sampler adds noise on the way, every candidate gets the same, alone and in a batch."""
    return [torch.Generator("cpu").manual_seed(0) for _ in range(count)]


def best_rows(candidates: Sequence[torch.Tensor], scores: np.ndarray) -> torch.Tensor:
    """(B, C, H, W): row by row the candidate with the highest score, the earlier one where they are equal.

    Args:
        candidates: n times (B, C, H, W).
        scores: (n, B).
    """
    best = torch.as_tensor(scores.argmax(0), device=candidates[0].device)
    return torch.stack(list(candidates))[best, torch.arange(scores.shape[1], device=best.device)]
