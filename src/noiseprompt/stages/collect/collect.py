"""Stage I: prompts -> a noise prompt data set (algorithm 1 of the paper, without its filter: every candidate is kept).

Pairs are made in one fixed order and in batches that end where a shard ends, so that a run that was stopped at any
moment and continued gives the same bytes as one that was not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from noiseprompt.core.config import to_dict
from noiseprompt.core.errors import InputError
from noiseprompt.core.files import public_name
from noiseprompt.core.types import InvertAt, Prompt, Sampling
from noiseprompt.methods.base import MethodSpec
from noiseprompt.noise.guard import Guard
from noiseprompt.noise.seeds import PAPER_SEEDS, prompt_seed
from noiseprompt.npd import NpdWriter
from noiseprompt.pipelines.loading import weights_digest
from noiseprompt.stages.collect.pairs import Item, PairMaker, Teacher, pair_id

if TYPE_CHECKING:
    from noiseprompt.pipelines import Pipeline
    from noiseprompt.prompts.load import PromptList
    from noiseprompt.scorers.base import Scorer

COMMIT_SECONDS = 120.0
"""A short shard is committed when so much time has passed since the last commit, so that a slow model loses little."""

_FAMILY_DEFAULTS = {
    "num_inference_steps": "collection_steps",
    "denoise_guidance_scale": "denoise_guidance_scale",
    "invert_guidance_scale": "invert_guidance_scale",
    "sampling_steps": "num_inference_steps",
    "guidance_scale": "guidance_scale",
}
"""Setting left None -> attribute of the pipeline's family."""

REDENOISE = "redenoise"
_OF_REDENOISE = ("num_inference_steps", "denoise_guidance_scale", "invert_guidance_scale", "invert_at")


@dataclass(frozen=True)
class CollectConfig:
    """Settings of a collection. None means the default of the model's family.

    Args:
        method: what makes the target noise: "redenoise", as in the paper, or another noise method with its options, as
            in "nlg:rounds=10". The four settings after it are re-denoise's alone.
        num_inference_steps: of the grid on which re-denoise makes its one step down and up.
        denoise_guidance_scale: of that step down.
        invert_guidance_scale: of that step up.
        invert_at: timestep of the inverting prediction, "paper" or "published".
        sampling_steps: for drawing the image of the source and the image of the target.
        guidance_scale: for drawing these two.
        seed: of the run; assigns each prompt without a seed of its own one in `seed_range`.
        seed_range: of the seeds that are assigned, both ends included.
        seeds_per_prompt: pairs a prompt, with different seeds.
        batch_size: pairs at a time; changes speed and memory alone (apart from float rounding).
        shard_size: pairs a file.
        store_source: keep the source noise too; doubles the size on disk.
        height: of the images in pixels.
        width: of the images in pixels.
    """

    method: str = REDENOISE
    num_inference_steps: int | None = None
    denoise_guidance_scale: float | None = None
    invert_guidance_scale: float | None = None
    invert_at: InvertAt = "paper"
    sampling_steps: int | None = None
    guidance_scale: float | None = None
    seed: int = 0
    seed_range: tuple[int, int] = PAPER_SEEDS
    seeds_per_prompt: int = 1
    batch_size: int = 32
    shard_size: int = 64
    store_source: bool = False
    height: int | None = None
    width: int | None = None


@dataclass(frozen=True)
class CollectProgress:
    """State of a collection after a batch.

    Fields:
        done, total: pairs in the folder that belong to this run, and pairs it will have.
        kept_by_scorer: scorer -> pairs in the folder whose target scores higher (margin 0).
        rejected: pairs in the folder without a usable target.
        pairs_per_second: of this run; 0 before its first batch.
        eta_seconds: at that rate; None before the first batch.
    """

    done: int
    total: int
    kept_by_scorer: dict[str, int]
    rejected: int
    pairs_per_second: float
    eta_seconds: float | None


def collect(
    pipeline: Pipeline,
    prompts: Sequence[Prompt] | PromptList,
    scorers: Sequence[Scorer],
    config: CollectConfig,
    out: str | Path,
    *,
    should_stop: Callable[[], bool] | None = None,
    guard: Guard | None = None,
) -> Iterator[CollectProgress]:
    """Make, draw and score every pair that `out` does not hold yet; yields after each batch.

    Args:
        should_stop: asked after each batch; when true, what was made is committed and the generator ends.
        guard: watches the target noise and keeps its figures.

    A prompt that fails, or noise that is not finite, becomes a rejected pair with the reason; the run goes on. If
    everything fails from the start the first error is raised instead and nothing is recorded.

    Raises:
        InputError: no prompts, settings out of range, no guidance gap between the two steps, or a method that does
            not fit.
        ConfigError: `out` was made with other settings.
        StoreLockedError: another process collects into `out`.
        StoreError: the disk is full or a shard is damaged.
    """
    items = plan(prompts, config)
    maker = pair_maker(pipeline, scorers, config, guard)
    settings = run_settings(pipeline, scorers, config, maker.teacher)
    shape = pipeline.latent_shape(config.height, config.width)
    with NpdWriter(out, settings, shape, store_source=config.store_source, shard_size=config.shard_size) as writer:
        todo = [item for item in items if pair_id(item) not in writer.done]
        before, begun = len(items) - len(todo), time.perf_counter()
        committed, position = begun, 0
        yield _progress(writer, before, len(items), 0, 0.0)
        while position < len(todo):
            batch = todo[position : position + min(config.batch_size, writer.room)]
            for pair in maker.make(batch, first=not writer.done):
                writer.add(pair)
            position += len(batch)
            now = time.perf_counter()
            if now - committed > COMMIT_SECONDS:
                writer.flush()
                committed = now
            yield _progress(writer, before + position, len(items), position, now - begun)
            if should_stop is not None and should_stop():
                return


def _progress(writer: NpdWriter, done: int, total: int, made: int, seconds: float) -> CollectProgress:
    rate = made / seconds if made else 0.0
    eta = (total - done) / rate if rate else None
    return CollectProgress(done, total, dict(writer.kept), writer.rejected, rate, eta)


def plan(prompts: Sequence[Prompt] | PromptList, config: CollectConfig) -> list[Item]:
    """Every pair of a run, in order, none twice.

    Raises:
        InputError: no prompts, a batch or count below 1, or fewer seeds in the range than wanted per prompt.
    """
    texts: Sequence[Prompt] = getattr(prompts, "prompts", prompts)  # type: ignore[assignment]
    if not texts:
        raise InputError("no prompts", "at least one")
    if config.batch_size < 1:
        raise InputError(f"batch_size {config.batch_size}", "at least 1")
    items: dict[str, Item] = {}
    for prompt in texts:
        for seed in pair_seeds(prompt, config):
            items.setdefault(pair_id((prompt, seed)), (prompt, seed))
    return list(items.values())


def pair_seeds(prompt: Prompt, config: CollectConfig) -> list[int]:
    """The distinct seeds of a prompt: its own or the run's, then hashes of (prompt, index).

    Raises:
        InputError: the range holds fewer seeds than wanted, or the prompt's own seed is out of range.
    """
    low, high = config.seed_range
    wanted = config.seeds_per_prompt
    if not 1 <= wanted <= high - low + 1:
        raise InputError(f"{wanted} seeds per prompt", f"1 to {high - low + 1}, the number of seeds in {low}-{high}")
    own = prompt_seed(config.seed, prompt.id, config.seed_range)
    seeds = [own if prompt.seed is None else prompt.seed]
    if not 0 <= seeds[0] < 2**63:
        raise InputError(f"seed {seeds[0]} of prompt {prompt.text!r}", "an integer from 0 to 2**63 - 1")
    index = 0
    while len(seeds) < wanted:
        index += 1
        seed = prompt_seed(config.seed, f"{prompt.id}/{index}", config.seed_range)
        if seed not in seeds:
            seeds.append(seed)
    return seeds


def resolve(config: CollectConfig, family: Any) -> dict[str, Any]:
    """The five settings that a family has defaults for, with its values where None."""
    given = {name: getattr(config, name) for name in _FAMILY_DEFAULTS}
    return {name: getattr(family, _FAMILY_DEFAULTS[name]) if value is None else value for name, value in given.items()}


def find_teacher(pipeline: Pipeline, config: CollectConfig) -> Teacher | None:
    """The method that makes the targets, ready to work; None for re-denoise as in algorithm 1.

    Raises:
        InputError: no guidance gap between the two steps of re-denoise, settings of re-denoise with another method, or
            a method that teaches nothing or does not fit.
    """
    values = resolve(config, pipeline.family)
    if config.method == REDENOISE:
        pipeline.check_gap(values["denoise_guidance_scale"], values["invert_guidance_scale"])
        return None
    spec = MethodSpec.parse(config.method)
    method = spec.build()
    given = [name for name in _OF_REDENOISE if getattr(config, name) != getattr(CollectConfig, name)]
    if given:
        came = f"{', '.join(given)} with method {config.method!r}"
        raise InputError(came, "settings of re-denoise alone", 'give a method its own, as in "nlg:rounds=10"')
    if spec.swap or spec.shuffle or not method.teaches:
        raise InputError(f"method {config.method!r}", "one whose targets an NPNet can learn from, such as nlg")
    method.prepare(pipeline, Sampling(values["guidance_scale"], values["sampling_steps"], config.height, config.width))
    return Teacher(spec, method)


def pair_maker(
    pipeline: Pipeline, scorers: Sequence[Scorer], config: CollectConfig, guard: Guard | None = None
) -> PairMaker:
    """What makes the pairs of a run.

    Raises:
        InputError: as `find_teacher`.
    """
    values = resolve(config, pipeline.family)
    steps = values["num_inference_steps"]
    up = {"guidance_scale": values["invert_guidance_scale"], "num_inference_steps": steps}
    return PairMaker(
        pipeline,
        scorers,
        down={"guidance_scale": values["denoise_guidance_scale"], "num_inference_steps": steps},
        up={**up, "invert_at": config.invert_at},
        sampling={"guidance_scale": values["guidance_scale"], "num_inference_steps": values["sampling_steps"]},
        height=config.height,
        width=config.width,
        guard=guard,
        teacher=find_teacher(pipeline, config),
    )


def run_settings(
    pipeline: Pipeline, scorers: Sequence[Scorer], config: CollectConfig, teacher: Teacher | None
) -> dict[str, Any]:
    """Everything that decides what the pairs are, as recorded in each shard; no paths, no batch size, no device.

    Raises:
        InputError: the same scorer twice.
    """
    names = [scorer.name for scorer in scorers]
    if len(set(names)) != len(names):
        raise InputError(f"scorers {', '.join(names)}", "each scorer once")
    height, width = pipeline.default_size
    name = public_name(pipeline.name)
    settings = {**to_dict(config), **resolve(config, pipeline.family)}
    # a data set of re-denoise names no method: those made before there was a choice stay valid
    unsaid = ("method",) if teacher is None else _OF_REDENOISE
    made = {} if teacher is None else {"method": teacher.spec.label, "method_details": teacher.method.describe()}
    return {
        **{key: value for key, value in settings.items() if key not in ("batch_size", *unsaid)},
        **made,
        "height": height if config.height is None else config.height,
        "width": width if config.width is None else config.width,
        "pipeline": Path(pipeline.name).name,
        "family": pipeline.family.name,
        "dtype": str(pipeline.dtype).removeprefix("torch."),
        "weights": weights_digest(pipeline.denoiser),
        "text_embeds": list(pipeline.encode([""]).prompt_embeds.shape[1:]),
        "scorers": names,
        **({"model": name} if "/" in name else {}),  # a hub id, by which `train` finds the model again
        **({"changes": pipeline.changes} if pipeline.changes else {}),
    }
