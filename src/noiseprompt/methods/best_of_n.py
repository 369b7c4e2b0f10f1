"""The best of n noises by a scorer that looks at the finished images. n whole drawings an image."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from noiseprompt.core.errors import InputError, NoiseError
from noiseprompt.core.ranges import COUNT, setting
from noiseprompt.core.types import Sampling
from noiseprompt.methods.base import NoiseMethod, check_options
from noiseprompt.methods.judging import described, load_judge, prompts_of
from noiseprompt.noise.fresh import fresh_noise
from noiseprompt.scorers.base import judge

if TYPE_CHECKING:
    from noiseprompt.pipelines import Pipeline, TextEmbeds


@dataclass
class BestOfN(NoiseMethod):
    """Draw the source noise and n - 1 fresh ones as the run draws its images; keep the one whose image scores highest.

    Not a perturbation of the source: the honest price of choosing, and a bound for what choosing a noise can give. The
    scorer that chooses is no judge of the result; `describe` names it.

    Fields:
        n: noises an image, the source among them, 1 or more.
        scorer: name (or "name:key=value") of the one that chooses; "shapes-preference" where None and the pipeline is
            the embedded world.
    """

    name = "best_of_n"
    teaches = False

    n: int = setting(4, COUNT)
    scorer: str | None = None
    judge: Any = field(default=None, init=False, repr=False)
    sampling: Sampling = field(default=Sampling(), init=False)

    def __post_init__(self) -> None:
        check_options(self)

    def prepare(self, pipeline: Pipeline, sampling: Sampling) -> None:
        """Load the scorer.

        Raises:
            InputError: no scorer named, and none shipped for this pipeline.
            UnknownNameError, ModelLoadError: as `load_scorers`.
        """
        self.judge, self.sampling = load_judge(self.name, self.scorer, pipeline), sampling

    def describe(self) -> dict[str, Any]:
        """The scorer that chooses: where it also judges, its gain is not evidence."""
        return described(self.judge)

    def perturb(self, pipeline: Pipeline, embeds: TextEmbeds, noise: torch.Tensor) -> torch.Tensor:
        """Row by row the best of the candidates; at equal scores the earlier one, the source first.

        Raises:
            InputError: `prepare` was not called, or the prompts' texts are not known.
            NoiseError: a score that is not finite.
        """
        if self.judge is None:
            raise InputError("best_of_n without its scorer", "a scorer", "call prepare(pipeline, sampling) first")
        prompts = prompts_of(self.name, embeds)
        candidates = [noise] + [fresh_noise(noise, "best_of_n", index) for index in range(1, self.n)]
        scores = []
        for candidate in candidates:
            images = pipeline.sample(embeds, candidate, **vars(self.sampling))
            scores.append(judge(self.judge, images, prompts))
        table = np.stack(scores)
        if not np.isfinite(table).all():
            raise NoiseError(f"scorer {self.judge.name!r} gave a score that is not finite", "finite numbers")
        best = torch.as_tensor(table.argmax(0), device=noise.device)
        return torch.stack(candidates)[best, torch.arange(len(noise), device=noise.device)]
