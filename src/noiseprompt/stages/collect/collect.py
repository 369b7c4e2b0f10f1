"""Stage I: prompts -> a noise prompt data set (algorithm 1 of the paper, without its filter: every candidate is kept).

Pairs are made in one fixed order and in batches that end where a shard ends, so that a run that was stopped at any
moment and continued gives the same bytes as one that was not.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Collection, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from noiseprompt.core.arguments import held
from noiseprompt.core.errors import InputError, StoreError
from noiseprompt.core.ranges import Limits, check_value
from noiseprompt.core.types import Prompt, Sampling, ScoredPair, check_pipeline
from noiseprompt.noise.guard import Guard
from noiseprompt.noise.seeds import prompt_seed
from noiseprompt.npd import NpdWriter
from noiseprompt.prompts.captions import Captioned
from noiseprompt.scorers.base import Scorer
from noiseprompt.stages.collect.failures import MANY, Held
from noiseprompt.stages.collect.pairs import Item, PairMaker, Teacher, pair_id
from noiseprompt.stages.collect.settings import CollectConfig, method_of, run_settings
from noiseprompt.stages.collect.sources import Listed, file_seed, rows_of

if TYPE_CHECKING:
    from noiseprompt.pipelines import Pipeline
    from noiseprompt.prompts.load import PromptList

COMMIT_SECONDS = 120.0
"""A short shard is committed when so much time has passed since the last commit, so that a slow model loses little."""


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


class Maker(Protocol):
    """Makes pairs (or pictures) of a data set."""

    def make(self, items: Sequence[Item]) -> list[ScoredPair]:
        """Those of a batch, in order; one that cannot be made is rejected."""
        ...


@held
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

    A prompt that fails, or noise that is not finite, becomes a rejected pair with the reason; the run goes on. What
    fails for a reason outside the pair, or with all of its batch, is raised and not recorded: it is tried again.

    Raises:
        NoisepromptError: a scorer or file fails, memory is full, four pairs in a row fail, or none is usable.
        InputError: no prompts, no scorers, settings out of range, no guidance gap between the two steps, or a method
            that does not fit.
        ConfigError: `out` was made with other settings.
        StoreLockedError: another process collects into `out`.
        StoreError: the disk is full or a shard is damaged.
    """
    check_pipeline(pipeline)
    check_value("scorers", list[Scorer], scorers, Limits(some=True))
    check_value("config", CollectConfig, config)
    check_value("out", str | Path, out)
    items = plan(prompts, config)
    teacher = find_teacher(pipeline, config)
    maker = PairMaker(pipeline, scorers, teacher, Sampling.of(config), guard)
    settings = run_settings(pipeline, scorers, config, teacher)
    shape = pipeline.latent_shape(config.height, config.width)
    stored = NpdWriter(
        out,
        settings,
        shape,
        store_source=config.store_source,
        shard_size=config.shard_size,
        recorded=config.recorded,
    )
    with stored as writer:
        yield from fill(writer, items, maker, config, should_stop)


def fill(
    writer: NpdWriter,
    items: Sequence[Item],
    maker: Maker,
    config: CollectConfig,
    should_stop: Callable[[], bool] | None = None,
) -> Iterator[CollectProgress]:
    """Make what an open data set lacks, in order, and commit it shard by shard; yields after each batch.

    Raises:
        NoisepromptError: as `collect`.
    """
    todo = [item for item in items if pair_id(item) not in writer.done]
    before, begun = len(items) - len(todo), time.perf_counter()
    committed, position = begun, 0
    held = Held()
    yield _progress(writer, before, len(items), 0, 0.0)
    while position < len(todo):
        room = (writer.room - len(held.pairs) - 1) % config.shard_size + 1
        batch = todo[position : position + min(config.batch_size, room)]
        position += len(batch)
        try:
            ready = held.take(maker.make(batch))
            if position == len(todo) and held.pairs and _works(maker, items, writer.done):
                ready = held.rest()
        except StoreError:
            writer.flush()  # a file of a scorer or model: after one of its own the writer commits nothing
            raise
        for pair in ready:
            writer.add(pair)
        now = time.perf_counter()
        if now - committed > COMMIT_SECONDS:
            writer.flush()
            committed = now
        yield _progress(writer, before + position - len(held.pairs), len(items), position, now - begun)
        if should_stop is not None and should_stop():
            return
    _check_usable(writer, held)


def _works(maker: Maker, items: Sequence[Item], done: Collection[str]) -> bool:
    """Whether one of the latest pairs can be made again: the last ones failed, and no later pair tells why."""
    made = [item for item in items if pair_id(item) in done]
    return any(not maker.make([item])[0].rejected for item in reversed(made[-MANY:]))


def _check_usable(writer: NpdWriter, held: Held) -> None:
    if held.pairs:
        raise held.error()
    if writer.rejected == len(writer.done):
        came = f"all {writer.rejected} pairs in {writer.folder} were rejected"
        raise StoreError(came, "one that is usable", "look at the reasons with noiseprompt npd info")


def _progress(writer: NpdWriter, done: int, total: int, made: int, seconds: float) -> CollectProgress:
    rate = made / seconds if made else 0.0
    eta = (total - done) / rate if rate else None
    return CollectProgress(done, total, dict(writer.kept), writer.rejected, rate, eta)


def plan(listed: Listed, config: CollectConfig) -> list[Item]:
    """Every pair (or picture) of a run, in order, none twice.

    Raises:
        InputError: no prompts, or fewer seeds in the range than wanted per prompt.
    """
    rows = rows_of(listed)
    check_value("prompts", list[Prompt | Captioned], rows)
    if not rows:
        raise InputError("no prompts", "at least one")
    items: dict[str, Item] = {}
    for one in rows:
        named = isinstance(one, Captioned)
        prompt, seeds = (one.prompt, [file_seed(one.name)]) if named else (one, pair_seeds(one, config))
        for seed in seeds:
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


def find_teacher(pipeline: Pipeline, config: CollectConfig) -> Teacher:
    """The method that makes the targets, ready to work.

    Raises:
        InputError: as `method_of`, or a method that teaches nothing or does not fit.
    """
    spec = method_of(config)
    method = spec.build()
    if spec.swap or spec.shuffle or not method.teaches:
        raise InputError(f"method {config.method!r}", "one whose targets an NPNet can learn from, such as nlg")
    method.prepare(pipeline, Sampling.of(config))
    return Teacher(spec, method)
