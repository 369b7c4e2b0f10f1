"""Pictures as targets: captioned ones, scenes of the embedded world, or the model's own -> a data set of latents.

No pair of noises is made, and only the model's own pictures ask the denoiser. Every picture is kept with its scores;
which of them are worth aiming at is chosen when the data set is read.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from noiseprompt.core.arguments import held
from noiseprompt.core.config import to_dict
from noiseprompt.core.digests import weights_digest
from noiseprompt.core.part import WHOLE, Part
from noiseprompt.core.ranges import check_value
from noiseprompt.core.types import Sampling, ScoredPair, check_pipeline
from noiseprompt.npd.known import PICTURES
from noiseprompt.npd.sharing import SharedWriter
from noiseprompt.scorers.base import Scorer, judge
from noiseprompt.stages.collect.collect import plan
from noiseprompt.stages.collect.failures import attempt
from noiseprompt.stages.collect.pairs import Drawn, Item, pair_id
from noiseprompt.stages.collect.scoring import is_apart
from noiseprompt.stages.collect.settings import DRAWN, CollectConfig, model_settings
from noiseprompt.stages.collect.sources import Listed, Pictures, find_pictures
from noiseprompt.stages.collect.work import CollectProgress, fill

if TYPE_CHECKING:
    from noiseprompt.pipelines import Pipeline


@held
def collect_pictures(
    pipeline: Pipeline,
    listed: Listed,
    scorers: Sequence[Scorer],
    config: CollectConfig,
    out: str | Path,
    *,
    should_stop: Callable[[], bool] | None = None,
    part: Part = WHOLE,
    apart: bool | None = None,
) -> Iterator[CollectProgress]:
    """Find, encode and score every picture that `out` does not hold yet; yields after each batch.

    A picture that cannot be read, or is of another size where it must have the model's, becomes a rejected row with the
    reason; the run goes on.

    Args:
        listed: as `read_source` gives it: prompts, or pictures with captions where `config.pictures` names files.
        scorers: judge each picture; none at all will do.
        should_stop, part, apart: as of `collect`.

    Raises:
        NoisepromptError: as `collect`; all of the first pictures, or four in a row, cannot be used.
        InputError: nothing to collect, prompts that the source has no pictures of, or an autoencoder whose latents the
            denoiser does not take.
    """
    check_pipeline(pipeline)
    check_value("scorers", list[Scorer], scorers)
    check_value("config", CollectConfig, config)
    check_value("out", str | Path, out)
    items = plan(listed, config)
    size = pipeline.default_size
    size = (config.height or size[0], config.width or size[1])
    pipeline.latent_shape(*size)
    source = find_pictures(pipeline, listed, config, size)
    shape = tuple(pipeline.encode_images(np.zeros((1, *size, 3), np.uint8)).shape[1:])  # refuses what cannot fit
    maker = PictureMaker(pipeline, scorers, source)
    stored = SharedWriter(
        out,
        picture_settings(pipeline, scorers, config, size),
        shape,
        [pair_id(item) for item in items],
        shard_size=config.shard_size,
        recorded=config.recorded,
        part=part,
    )
    apart = is_apart(pipeline, scorers) if apart is None else apart
    with stored as writer:
        yield from fill(writer, items, maker, config, should_stop, apart=apart)


class PictureMaker:
    """Makes batches of rows: a picture of each item, its latents, all scores."""

    def __init__(self, pipeline: Pipeline, scorers: Sequence[Scorer], pictures: Pictures) -> None:
        self.pipeline, self.scorers, self.pictures = pipeline, scorers, pictures

    def make(self, items: Sequence[Item], drawn: Drawn | None = None) -> list[ScoredPair]:
        """The rows of a batch, in order; as `PairMaker.make`.

        Raises:
            NoisepromptError: a failure that is not of a picture alone.
        """
        return attempt(items, lambda some: self.draw(some)(), _rejected, pair_id, str(self.pipeline.device), drawn)

    def draw(self, items: Sequence[Item]) -> Drawn:
        """Pictures and latents of a batch; its scores are still to come."""
        found = self.pictures(items)
        rejected = {i: _rejected(items[i], why) for i, why in enumerate(found) if isinstance(why, str)}
        good = [(i, picture) for i, picture in enumerate(found) if not isinstance(picture, str)]
        if not good:
            return lambda: [rejected[i] for i in range(len(items))]
        images = np.stack([picture for _, picture in good])
        latents = self.pipeline.encode_images(images).cpu().half().float()

        def scored() -> list[ScoredPair]:
            judged = self._scored([items[i] for i, _ in good], images, latents)
            rows = rejected | dict(zip((i for i, _ in good), judged, strict=True))
            return [rows[i] for i in range(len(items))]

        return scored

    def _scored(self, items: Sequence[Item], images: np.ndarray, latents: torch.Tensor) -> list[ScoredPair]:
        prompts = [prompt for prompt, _ in items]
        scores = {scorer.name: judge(scorer, images, prompts) for scorer in self.scorers}
        return [
            _row(item, latents[i], {name: float(values[i]) for name, values in scores.items()})
            for i, item in enumerate(items)
        ]


def _row(item: Item, latents: torch.Tensor, scores: dict[str, float]) -> ScoredPair:
    bad = [name for name, score in scores.items() if not np.isfinite(score)]
    if bad:
        return _rejected(item, f"score of {', '.join(bad)} is not finite")
    if not bool(latents.isfinite().all()):
        return _rejected(item, "its latents are not finite")
    both = {name: (float("nan"), score) for name, score in scores.items()}
    return ScoredPair(pair_id(item), *item, None, latents.numpy(), both)


def _rejected(item: Item, why: str) -> ScoredPair:
    return ScoredPair(pair_id(item), *item, None, None, {}, " ".join(why.split())[:500])


def picture_settings(
    pipeline: Pipeline, scorers: Sequence[Scorer], config: CollectConfig, size: tuple[int, int]
) -> dict[str, Any]:
    """Everything that decides what the rows are, as recorded in each shard: of files neither names nor folders.

    The denoiser's weights count only where it drew the pictures.

    Raises:
        InputError: the same scorer twice.
    """
    drawn = config.pictures == DRAWN
    seeds = () if config.of_files else ("seed", "seed_range", "seeds_per_prompt")
    plain = to_dict(config)
    own = {key: plain[key] for key in ("shard_size", *seeds, *(() if drawn else ("fit",)))}
    if drawn:
        how = Sampling.of(config).resolve(pipeline.family, size)
        own |= {"guidance_scale": how.guidance_scale, "sampling_steps": how.num_inference_steps}
    return {
        "targets": PICTURES,
        "pictures": "files" if config.of_files else config.pictures,
        **own,
        "height": size[0],
        "width": size[1],
        **model_settings(pipeline, scorers, weights=drawn),
        "autoencoder": weights_digest(pipeline.pipe.vae),
    }
