"""Stage I: prompts -> a noise prompt data set (algorithm 1 of the paper, without its filter: every candidate is kept).

Shard k holds fixed pairs of the plan and batches end where a shard ends, so that its bytes do not depend on who makes
it: any number of processes that share a folder, stopped at any moment and continued, give the files of one that ran
undisturbed.
"""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Protocol

from noiseprompt.core.arguments import held
from noiseprompt.core.errors import InputError, StoreError
from noiseprompt.core.part import WHOLE, Part
from noiseprompt.core.ranges import check_value
from noiseprompt.core.types import Prompt, Sampling, ScoredPair, check_pipeline
from noiseprompt.noise.guard import Guard
from noiseprompt.noise.seeds import prompt_seed
from noiseprompt.npd.sharing import SharedWriter
from noiseprompt.prompts.captions import Captioned
from noiseprompt.scorers.base import Scorer
from noiseprompt.stages.collect.failures import MANY, Held
from noiseprompt.stages.collect.pairs import Item, PairMaker, Teacher, pair_id
from noiseprompt.stages.collect.settings import CollectConfig, check_judges, method_of, run_settings
from noiseprompt.stages.collect.sources import Listed, file_seed, rows_of

if TYPE_CHECKING:
    from noiseprompt.pipelines import Pipeline
    from noiseprompt.prompts.load import PromptList

COMMIT_SECONDS = 120.0
"""A short shard is committed when so much time has passed since the last commit, so that a slow model loses little."""


WAIT_SECONDS = 0.5
"""Between two looks at the shards that others make, once there is nothing else to do."""


@dataclass(frozen=True)
class CollectProgress:
    """State of a collection after a batch.

    Fields:
        done, total: pairs in the folder that belong to this run (or its part), and pairs it will have.
        kept_by_scorer: scorer -> pairs in the folder whose target scores higher (margin 0).
        scored: pairs in the folder that have scores.
        rejected: pairs in the folder without a usable target.
        pairs_per_second: of this process; 0 before its first batch.
        eta_seconds: at that rate; None before the first batch.
        made: pairs that this process has made.
        unsaved: of these, those that are not committed.
    """

    done: int
    total: int
    kept_by_scorer: dict[str, int]
    rejected: int
    pairs_per_second: float
    eta_seconds: float | None
    made: int = 0
    unsaved: int = 0
    scored: int = 0


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
    part: Part = WHOLE,
) -> Iterator[CollectProgress]:
    """Make every pair that `out` does not hold yet, draw and score it; yields after each batch.

    Other processes may do the same at the same time: each makes shards that no other has in work, and ends when all are
    made (or all of its part), those of processes that were killed meanwhile too.

    Args:
        scorers: judge both images; none with `config.scored_share` 0, where nothing is drawn.
        part: makes only the shards of this part.
        should_stop: asked after each batch; when true, what was made is committed and the generator ends.
        guard: watches the target noise and keeps its figures.

    A prompt that fails, or noise that is not finite, becomes a rejected pair with the reason; the run goes on. What
    fails for a reason outside the pair, or with all of its batch, is raised and not recorded: it is tried again.

    Raises:
        NoisepromptError: a scorer or file fails, memory is full, four pairs in a row fail and so does one that was made
            before, or none is usable.
        InputError: no prompts, settings out of range, no guidance gap between the two steps, or a method
            that does not fit.
        ConfigError: `out` was made with other settings, no scorers where pairs are scored, or some where none is.
        StoreLockedError: another process collects other pairs into `out`.
        StoreError: the disk is full or a shard is damaged.
    """
    check_pipeline(pipeline)
    check_value("scorers", list[Scorer], scorers)
    check_value("config", CollectConfig, config)
    check_judges(scorers, config)
    check_value("out", str | Path, out)
    items = plan(prompts, config)
    teacher = find_teacher(pipeline, config)
    settings = run_settings(pipeline, scorers, config, teacher)
    maker = PairMaker(pipeline, scorers, teacher, Sampling.of(config), guard, settings)
    shape = pipeline.latent_shape(config.height, config.width)
    stored = SharedWriter(
        out,
        settings,
        shape,
        [pair_id(item) for item in items],
        store_source=config.store_source,
        shard_size=config.shard_size,
        recorded=config.recorded,
        part=part,
    )
    with stored as writer:
        yield from fill(writer, items, maker, config, should_stop)


def fill(
    writer: SharedWriter,
    items: Sequence[Item],
    maker: Maker,
    config: CollectConfig,
    should_stop: Callable[[], bool] | None = None,
) -> Iterator[CollectProgress]:
    """Make what an open data set lacks and nobody else makes, shard by shard; yields after each batch.

    Raises:
        NoisepromptError: as `collect`.
    """
    work = _Work(writer, items, maker, config)
    yield work.progress()
    while True:
        ids = writer.take()
        if not ids and work.held.pairs:
            work.record(work.held.settle())
            yield work.progress()
        elif not ids and not writer.lacking():
            break
        elif not ids:  # others make what is left; what they leave is made here
            time.sleep(WAIT_SECONDS)
            if should_stop is not None and should_stop():
                return
        for start in range(0, len(ids), config.batch_size):
            if not writer.makes(ids[-1]):
                break
            work.make(ids[start : start + config.batch_size])
            yield work.progress()
            if should_stop is not None and should_stop():
                return
    _check_usable(writer)


class _Work:
    """What one process does for a data set.

    Attributes:
        held: pairs that wait.
    """

    def __init__(self, writer: SharedWriter, items: Sequence[Item], maker: Maker, config: CollectConfig) -> None:
        self.held = Held(self._works)
        self._writer, self._maker = writer, maker
        self._items = {pair_id(item): item for item in items}
        self._begun = self._committed = time.perf_counter()

    def make(self, ids: Sequence[str]) -> None:
        """A batch, recorded once something shows that the model works.

        Raises:
            NoisepromptError: as `collect`.
        """
        try:
            ready = self.held.take(self._maker.make([self._items[one] for one in ids]))
        except StoreError:
            self._writer.flush()  # a file of a scorer or model: after one of its own the writer commits nothing
            raise
        self.record(ready)
        now = time.perf_counter()
        if now - self._committed > COMMIT_SECONDS:
            self._writer.flush()
            self._committed = now

    def record(self, pairs: Sequence[ScoredPair]) -> None:
        """Add pairs to the data set."""
        for pair in pairs:
            self._writer.add(pair)

    def progress(self) -> CollectProgress:
        """As of now."""
        (done, total), home = self._writer.progress(), self._writer.home
        made, seconds = self._writer.added, time.perf_counter() - self._begun
        rate = made / seconds if made else 0.0
        eta = (total - done) / rate if rate else None
        kept, unsaved = dict(home.kept), self._writer.unsaved
        return CollectProgress(done, total, kept, home.rejected, rate, eta, made, unsaved, home.scored)

    def _works(self) -> bool:
        """Whether one of the latest pairs can be made again."""
        made = [self._items[one] for one in [*self._writer.home.homes] if one in self._items]
        return any(not self._maker.make([item])[0].rejected for item in reversed(made[-MANY:]))


def _check_usable(writer: SharedWriter) -> None:
    if writer.home.homes and writer.home.rejected == len(writer.home.homes):
        came = f"all {writer.home.rejected} pairs in {writer.home.folder} were rejected"
        raise StoreError(came, "one that is usable", "look at the reasons with noiseprompt npd info")


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
