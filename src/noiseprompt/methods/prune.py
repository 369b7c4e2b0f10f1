"""Many noises, the weak ones dropped when a quarter of their picture is drawn; the rest are drawn to the end."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from noiseprompt.core.errors import InputError
from noiseprompt.core.ranges import COUNT, TRIES, Limits, setting
from noiseprompt.methods.chooser import Chooser, best_rows, same_generators
from noiseprompt.pipelines.early import early_images

if TYPE_CHECKING:
    from noiseprompt.pipelines import Pipeline, TextEmbeds


@dataclass
class Prune(Chooser):
    """Judge n noises by early estimates of their pictures (x_0 as the denoiser sees it); finish the best `keep`.

    After PSP (arXiv 2607.21591), which prunes seeds so, and not before a quarter of the steps: earlier estimates say
    little of the picture. Of those that are kept the finished pictures are judged, unless it is one.

    Cost an image, in guided steps of an N-step sampler: n times ceil(share N), then keep times N, the latter only for
    two or more: 8 x 3 + 2 x 10 = 44 of ten steps (88 denoiser calls), where best of 4 takes 40. A finished picture
    begins anew, so its first steps are counted twice.

    Fields:
        n: noises an image, the source among them, 1 or more.
        keep: of them that are drawn to the end, from 1 to n.
        share: of the steps after which they are judged, from 0.25 to 1.
        scorer, noise: see `Chooser`.
    """

    name = "prune"

    n: int = setting(8, TRIES)
    keep: int = setting(2, COUNT)
    share: float = setting(0.25, Limits(least=0.25, most=1))

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.keep > self.n:
            raise InputError(f"prune:keep={self.keep} of n={self.n}", f"1 to {self.n}")

    def perturb(self, pipeline: Pipeline, embeds: TextEmbeds, noise: torch.Tensor) -> torch.Tensor:
        """Row by row the best of the candidates; at equal scores the earlier one, the source first.

        Raises:
            InputError: `prepare` was not called, the prompts' texts are not known, or a scheduler whose levels are not.
            NoiseError: a score that is not finite.
        """
        prompts = self.prompts(embeds)
        candidates = self.candidates(pipeline, embeds, noise, self.n)
        how: dict[str, Any] = {**vars(self.sampling), "share": self.share}
        early = []
        for candidate in candidates:
            images = early_images(pipeline, embeds, candidate, generator=same_generators(len(noise)), **how)
            early.append(self.judged(images, prompts))
        kept = np.argsort(-np.stack(early), axis=0, kind="stable")[: self.keep]
        kept.sort(axis=0)  # the source first where scores are equal
        places, rows = torch.as_tensor(kept, device=noise.device), torch.arange(len(noise), device=noise.device)
        stacked = torch.stack(candidates)
        finalists = [stacked[place, rows] for place in places]
        if self.keep == 1:
            return finalists[0]
        return best_rows(finalists, np.stack([self.scores(pipeline, embeds, x, prompts) for x in finalists]))
