"""One batch of candidates: source noise, target noise, an image of each, every score (the body of algorithm 1)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from noiseprompt.core.errors import MissingDependencyError, NoisepromptError
from noiseprompt.core.types import Prompt, ScoredPair
from noiseprompt.methods.base import MethodSpec, NoiseMethod, make_noise
from noiseprompt.noise.guard import Guard
from noiseprompt.noise.seeds import batch_noise, sampler_generators

if TYPE_CHECKING:
    from noiseprompt.pipelines import Pipeline
    from noiseprompt.pipelines.families import TextEmbeds
    from noiseprompt.scorers.base import Scorer

Item = tuple[Prompt, int]
"""A prompt and the seed of its source noise."""


@dataclass(frozen=True)
class Teacher:
    """A prepared noise method that makes the target noise in place of re-denoise."""

    spec: MethodSpec
    method: NoiseMethod


def pair_id(item: Item) -> str:
    """Id of a pair: "{prompt id}-{seed}"."""
    return f"{item[0].id}-{item[1]}"


class PairMaker:
    """Makes batches of pairs: noise, target noise, both images, all scores.

    Args:
        down, up: keyword arguments of `Pipeline.denoise_step` and `Pipeline.invert_step`.
        sampling: guidance_scale and num_inference_steps of the two images.
        height, width: of the images in pixels; the model's own if None.
        guard: watches the target noise.
        teacher: makes the target noise; re-denoise with `down` and `up` where None.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        scorers: Sequence[Scorer],
        *,
        down: dict[str, Any],
        up: dict[str, Any],
        sampling: dict[str, Any],
        height: int | None = None,
        width: int | None = None,
        guard: Guard | None = None,
        teacher: Teacher | None = None,
    ) -> None:
        self.guard, self.teacher = guard or Guard(), teacher
        self.pipeline, self.scorers, self.down, self.up = pipeline, scorers, down, up
        self.sampling = {**sampling, "height": height, "width": width}
        self.shape = pipeline.latent_shape(height, width)
        self.shares_first_step = teacher is None and down == sampling and pipeline.can_share_first_step
        """Whether the first sampling step of the source is also the step down of re-denoise."""

    def make(self, items: Sequence[Item], *, first: bool = False) -> list[ScoredPair]:
        """The pairs of a batch, in order. What fails together is tried one by one; what fails alone is rejected.

        Raises:
            NoisepromptError: the accelerator's memory is full, or `first` (nothing was ever made here) and four pairs
                or more all fail.
        """
        try:
            return self._make(items)
        except (MissingDependencyError, MemoryError):
            raise
        except torch.cuda.OutOfMemoryError as error:
            message = f"{len(items)} pairs at a time do not fit the memory of {self.pipeline.device}"
            raise NoisepromptError(message, "", "lower batch_size and run the same command again") from error
        except Exception as error:
            if len(items) == 1:
                return [self._rejected(items[0], f"{type(error).__name__}: {error}")]
            pairs = [pair for item in items for pair in self.make([item])]
            if first and len(items) >= 4 and all(pair.rejected for pair in pairs):
                raise NoisepromptError(
                    f"all of the first {len(items)} pairs fail, the first with {pairs[0].rejected}",
                    "prompts and settings that the model can draw",
                    "nothing was recorded",
                ) from error
            return pairs

    def _make(self, items: Sequence[Item]) -> list[ScoredPair]:
        embeds = self.pipeline.encode([prompt.text for prompt, _ in items])
        source = batch_noise([seed for _, seed in items], self.shape)
        target, start = self._target(embeds, source)
        target = target.float().cpu().half().float()  # the images are those of the noise that is stored
        finite = torch.isfinite(target).flatten(1).all(dim=1).tolist()
        good = [i for i, ok in enumerate(finite) if ok]
        if not good:
            return [self._rejected(item, "target noise is not finite") for item in items]
        self.guard.watch("target noise", target[good], source[good])
        kept = embeds if len(good) == len(items) else embeds.select(good)
        scores = self._scores([items[i] for i in good], kept, start[good], target[good])
        scored = dict(zip(good, scores, strict=True))
        return [self._pair(item, source[i], target[i], scored.get(i)) for i, item in enumerate(items)]

    def _target(self, embeds: TextEmbeds, source: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """The target noise, and where drawing the source's image goes on: after its first step where that is shared."""
        if self.teacher is not None:
            return make_noise(self.teacher.spec, self.teacher.method, self.pipeline, embeds, None, source), source
        lower = self.pipeline.denoise_step(embeds, source, **self.down)
        target = self.pipeline.invert_step(embeds, lower, **self.up)
        return target, lower if self.shares_first_step else source

    def _scores(
        self, items: Sequence[Item], embeds: TextEmbeds, start: torch.Tensor, target: torch.Tensor
    ) -> list[dict]:
        prompts = [prompt for prompt, _ in items]
        before = self._draw(items, embeds, start, after_first_step=self.shares_first_step)
        after = self._draw(items, embeds, target, after_first_step=False)
        table = {s.name: (s.score(before, prompts), s.score(after, prompts)) for s in self.scorers}
        return [{name: (float(a[i]), float(b[i])) for name, (a, b) in table.items()} for i in range(len(items))]

    def _draw(
        self, items: Sequence[Item], embeds: TextEmbeds, start: torch.Tensor, *, after_first_step: bool
    ) -> np.ndarray:
        # samplers that add noise take the same for both images of a pair, whatever the batch
        generators = sampler_generators([seed for _, seed in items])
        return self.pipeline.sample(
            embeds, start, **self.sampling, after_first_step=after_first_step, generator=generators
        )

    def _pair(self, item: Item, source: torch.Tensor, target: torch.Tensor, scores: dict | None) -> ScoredPair:
        if scores is None:
            return self._rejected(item, "target noise is not finite")
        bad = [name for name, both in scores.items() if not np.isfinite(both).all()]
        if bad:
            return self._rejected(item, f"score of {', '.join(bad)} is not finite")
        prompt, seed = item
        return ScoredPair(pair_id(item), prompt, seed, source.numpy(), target.numpy(), scores)

    def _rejected(self, item: Item, reason: str) -> ScoredPair:
        prompt, seed = item
        source = batch_noise([seed], self.shape)[0].numpy()
        return ScoredPair(pair_id(item), prompt, seed, source, None, {}, " ".join(reason.split())[:500])
