"""One batch of candidates: source noise, target noise, an image of each, every score (the body of algorithm 1).

Of pairs outside the sample to score (`scored_share`) nothing is drawn: their noises are all there is.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from noiseprompt.core.types import Prompt, Sampling, ScoredPair
from noiseprompt.methods.base import MethodSpec, NoiseMethod, at_strength
from noiseprompt.noise.guard import Guard
from noiseprompt.noise.seeds import batch_noise, sampler_generators
from noiseprompt.npd.sample import is_scored
from noiseprompt.pipelines.samplers import drawn_shape
from noiseprompt.scorers.base import judge
from noiseprompt.stages.collect.failures import NotEncodedError, attempt

if TYPE_CHECKING:
    from noiseprompt.pipelines import Pipeline, TextEmbeds
    from noiseprompt.scorers.base import Scorer

Item = tuple[Prompt, int]
"""A prompt and the seed of its source noise."""

Drawn = Callable[[], list[ScoredPair]]
"""A batch that was drawn: scores it and gives its pairs, in order; raises what drawing or scoring raised."""


@dataclass(frozen=True)
class Teacher:
    """A prepared noise method that makes the target noise."""

    spec: MethodSpec
    method: NoiseMethod


def pair_id(item: Item) -> str:
    """Id of a pair: "{prompt id}-{seed}"."""
    return f"{item[0].id}-{item[1]}"


class PairMaker:
    """Makes batches of pairs: noise, target noise, both images, all scores.

    Args:
        teacher: makes the target noise.
        sampling: how the two images are drawn.
        guard: watches the target noise.
        settings: of the data set, which say what is scored; every pair unless they do.
    """

    def __init__(
        self,
        pipeline: Pipeline,
        scorers: Sequence[Scorer],
        teacher: Teacher,
        sampling: Sampling,
        guard: Guard | None = None,
        settings: Mapping[str, Any] | None = None,
    ) -> None:
        self.pipeline, self.scorers, self.teacher = pipeline, scorers, teacher
        self.sampling, self.guard = sampling.resolve(pipeline.family), guard or Guard()
        self.settings = settings or {}
        self.shape = drawn_shape(pipeline, sampling)

    def make(self, items: Sequence[Item], drawn: Drawn | None = None) -> list[ScoredPair]:
        """The pairs of a batch, in order. What fails together is tried one by one; a pair that fails alone, for a
        reason of its own, is rejected.

        Args:
            drawn: the batch, where it was drawn already.

        Raises:
            NoisepromptError: a failure for any other reason: a scorer, a file, memory, an option.
        """
        device, whole = str(self.pipeline.device), lambda some: self.draw(some)()
        return attempt(items, whole, self._rejected, pair_id, device, drawn)

    def draw(self, items: Sequence[Item]) -> Drawn:
        """Noises and images of a batch; its scores are still to come."""
        embeds = self._encode(items)
        source = batch_noise([seed for _, seed in items], self.shape)
        target, lower = self._target(embeds, source)
        target = target.float().cpu().half().float()  # the images are those of the noise that is stored
        finite = torch.isfinite(target).flatten(1).all(dim=1).tolist()
        good = [i for i, ok in enumerate(finite) if ok]
        if not good:
            return lambda: [self._rejected(item, "target noise is not finite") for item in items]
        self.guard.watch("target noise", target[good], source[good])
        drawn = [i for i in good if is_scored(pair_id(items[i]), self.settings)]
        images: tuple[np.ndarray, ...] = ()
        if drawn:
            kept = embeds if len(drawn) == len(items) else embeds.select(drawn)
            start, shared = source if lower is None else lower, lower is not None
            images = self._draw([items[i] for i in drawn], kept, start[drawn], target[drawn], shared)

        def scored() -> list[ScoredPair]:
            scores: dict[int, dict] = {i: {} for i in good}
            scores |= zip(drawn, self._scores([items[i] for i in drawn], images), strict=True)
            return [self._pair(item, source[i], target[i], scores.get(i)) for i, item in enumerate(items)]

        return scored

    def _encode(self, items: Sequence[Item]) -> TextEmbeds:
        try:
            return self.pipeline.encode([prompt.text for prompt, _ in items])
        except Exception as error:
            raise NotEncodedError from error

    def _target(self, embeds: TextEmbeds, source: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor | None]:
        """The target noise, and the source after the first step of its drawing where the method made that too."""
        spec, method = self.teacher.spec, self.teacher.method
        target, lower = method.perturb_and_lower(self.pipeline, embeds, source, self.sampling)
        return at_strength(spec, target, source), lower

    def _draw(
        self, items: Sequence[Item], embeds: TextEmbeds, start: torch.Tensor, target: torch.Tensor, shared: bool
    ) -> tuple[np.ndarray, np.ndarray]:
        """Both images of each pair; with `shared`, `start` is the source after its first step."""
        before = self._images(items, embeds, start, after_first_step=shared)
        return before, self._images(items, embeds, target, after_first_step=False)

    def _images(
        self, items: Sequence[Item], embeds: TextEmbeds, start: torch.Tensor, *, after_first_step: bool
    ) -> np.ndarray:
        # samplers that add noise take the same for both images of a pair, whatever the batch
        generators = sampler_generators([seed for _, seed in items])
        return self.pipeline.sample(
            embeds, start, **vars(self.sampling), after_first_step=after_first_step, generator=generators
        )

    def _scores(self, items: Sequence[Item], images: Sequence[np.ndarray]) -> list[dict]:
        """Both scores of each pair by each scorer."""
        prompts = [prompt for prompt, _ in items]
        table = {s.name: [judge(s, side, prompts) for side in images] for s in self.scorers if prompts}
        return [{name: (float(a[i]), float(b[i])) for name, (a, b) in table.items()} for i in range(len(items))]

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
