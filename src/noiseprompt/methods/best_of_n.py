"""The best of n noises by a scorer that looks at the finished images. n whole drawings an image."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from noiseprompt.core.ranges import TRIES, setting
from noiseprompt.methods.chooser import Chooser, best_rows

if TYPE_CHECKING:
    import torch

    from noiseprompt.pipelines import Pipeline, TextEmbeds


@dataclass
class BestOfN(Chooser):
    """Draw the source noise and n - 1 fresh ones as the run draws its images; keep the one whose image scores highest.

    Not a perturbation of the source: the honest price of choosing, and a bound for what choosing a noise can give.

    Fields:
        n: noises an image, the source among them, 1 or more.
        scorer, noise: see `Chooser`.
    """

    name = "best_of_n"

    n: int = setting(4, TRIES)

    def perturb(self, pipeline: Pipeline, embeds: TextEmbeds, noise: torch.Tensor) -> torch.Tensor:
        """Row by row the best of the candidates; at equal scores the earlier one, the source first.

        Raises:
            InputError: `prepare` was not called, or the prompts' texts are not known.
            NoiseError: a score that is not finite.
        """
        prompts = self.prompts(embeds)
        candidates = self.candidates(pipeline, embeds, noise, self.n)
        scores = [self.scores(pipeline, embeds, candidate, prompts) for candidate in candidates]
        return best_rows(candidates, np.stack(scores))
