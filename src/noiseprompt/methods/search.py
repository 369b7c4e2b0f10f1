"""Zero-order search: neighbours of the best noise so far are drawn and judged, round after round."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np
import torch

from noiseprompt.core.ranges import TRIES, Limits, setting
from noiseprompt.methods.chooser import Chooser, best_rows
from noiseprompt.noise.fresh import fresh_noise

if TYPE_CHECKING:
    from noiseprompt.pipelines import Pipeline, TextEmbeds


@dataclass
class Search(Chooser):
    """The best of n neighbours at a given distance becomes the next pivot, unless the pivot itself is better.

    After the zero-order search of Ma et al. (2025, arXiv 2501.09732, section 3.2). Its neighbours lie on a sphere
    around the pivot; ours lie where that sphere meets the pivot's own norm, so that a search of many rounds does not
    leave the shell on which Gaussian noise lies. The first pivot is the source noise.

    Cost an image: 1 + rounds x n whole drawings: nine by default.

    Fields:
        n: neighbours a round, 1 or more.
        rounds: 1 or more.
        radius: distance of a neighbour in norms of the pivot, in (0, 2): 0.3 leaves a correlation of 0.955, 1.41 none.
        scorer, noise: see `Chooser`; the search goes among the sources.
    """

    name = "search"

    n: int = setting(4, TRIES)
    rounds: int = setting(2, TRIES)
    radius: float = setting(0.3, Limits(above=0, below=2))

    def perturb(self, pipeline: Pipeline, embeds: TextEmbeds, noise: torch.Tensor) -> torch.Tensor:
        """Row by row the best noise of all rounds; at equal scores the earlier one, the source first.

        Raises:
            InputError: `prepare` was not called, or the prompts' texts are not known.
            NoiseError: a score that is not finite.
        """
        prompts = self.prompts(embeds)
        pivot = noise
        best = self.candidate(pipeline, embeds, pivot)
        highest = self.scores(pipeline, embeds, best, prompts)
        for turn in range(self.rounds):
            sources, candidates, scores = [pivot], [best], [highest]
            for index in range(self.n):
                # of the first source: the pivot's values differ by rounding between a batch and a row alone
                direction = fresh_noise(noise, self.name, turn * self.n + index)
                source = neighbour(pivot, direction, self.radius)
                candidate = self.candidate(pipeline, embeds, source)
                sources.append(source)
                candidates.append(candidate)
                scores.append(self.scores(pipeline, embeds, candidate, prompts))
            table = np.stack(scores)
            pivot, best, highest = best_rows(sources, table), best_rows(candidates, table), table.max(0)
        return best


def neighbour(pivot: torch.Tensor, direction: torch.Tensor, radius: float) -> torch.Tensor:
    """A noise of the pivot's norm at a distance of `radius` norms: cos(a) pivot + sin(a) z, 2 sin(a / 2) = radius.

    Args:
        pivot: (B, C, H, W).
        direction: of the same shape; z is what of it is orthogonal to the pivot, at the pivot's norm.
        radius: in (0, 2).

    Returns:
        Shape, dtype and device of `pivot`; computed in float32.
    """
    x, z = (t.to(torch.promote_types(t.dtype, torch.float32)).flatten(1) for t in (pivot, direction))
    norms = x.norm(dim=1, keepdim=True)
    z = z - x * ((x * z).sum(1, keepdim=True) / norms**2)
    z = z * (norms / z.norm(dim=1, keepdim=True))
    angle = 2 * math.asin(radius / 2)
    return (math.cos(angle) * x + math.sin(angle) * z).reshape(pivot.shape).to(pivot.dtype)
