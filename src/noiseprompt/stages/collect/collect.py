"""Stage I: prompts -> a noise prompt data set (algorithm 1 of the paper, without its filter: every candidate is kept).

Shard k holds fixed pairs of the plan and batches end where a shard ends, so that its bytes do not depend on who makes
it: any number of processes that share a folder, stopped at any moment and continued, give the files of one that ran
undisturbed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from noiseprompt.core.arguments import held
from noiseprompt.core.errors import InputError
from noiseprompt.core.kinds import DATA_SET, refuse_other
from noiseprompt.core.part import WHOLE, Part
from noiseprompt.core.places import is_address
from noiseprompt.core.ranges import check_value
from noiseprompt.core.types import Prompt, Sampling, check_pipeline
from noiseprompt.methods.gap import check_grid
from noiseprompt.noise.guard import Guard
from noiseprompt.noise.seeds import prompt_seed
from noiseprompt.npd.sharing import SharedWriter
from noiseprompt.pipelines.samplers import check_sampling
from noiseprompt.prompts.captions import Captioned
from noiseprompt.scorers.base import Scorer
from noiseprompt.stages.collect.pairs import Item, PairMaker, Teacher, pair_id
from noiseprompt.stages.collect.scoring import is_apart
from noiseprompt.stages.collect.settings import CollectConfig, check_judges, method_of, run_settings
from noiseprompt.stages.collect.sources import Listed, file_seed, rows_of
from noiseprompt.stages.collect.work import CollectProgress, fill

if TYPE_CHECKING:
    from noiseprompt.pipelines import Pipeline
    from noiseprompt.prompts.load import PromptList


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
    apart: bool | None = None,
) -> Iterator[CollectProgress]:
    """Make every pair that `out` does not hold yet, draw and score it; yields after each batch.

    Other processes may do the same at the same time: each makes shards that no other has in work, and ends when all are
    made (or all of its part), those of processes that were killed meanwhile too.

    Args:
        scorers: judge both images; none with `config.scored_share` 0, where nothing is drawn.
        part: makes only the shards of this part.
        should_stop: asked after each batch; when true, what was made is committed and the generator ends.
        guard: watches the target noise and keeps its figures.
        apart: scores each batch in a thread of its own while the next is drawn, for the same bytes and the memory of
            one more batch of images; where the model is on a GPU (CUDA or XPU) unless given.

    A prompt that fails, or noise that is not finite, becomes a rejected pair with the reason; the run goes on. What
    fails for a reason outside the pair, or with all of its batch, is raised and not recorded: it is tried again.

    Raises:
        NoisepromptError: a scorer or file fails, memory is full, four pairs in a row fail and so does one that was made
            before, or none is usable.
        InputError: no prompts, settings out of range, no guidance gap between the two steps, or a method
            that does not fit, or `out` holds another kind of work.
        ConfigError: `out` was made with other settings, no scorers where pairs are scored, or some where none is.
        StoreLockedError: another process collects other pairs into `out`.
        StoreError: the disk is full or a shard is damaged.
    """
    check_pipeline(pipeline)
    check_value("scorers", list[Scorer], scorers)
    check_value("config", CollectConfig, config)
    check_judges(scorers, config)
    check_value("out", str | Path, out)
    if not is_address(out):
        refuse_other(Path(out), DATA_SET)
    items = plan(prompts, config)
    teacher = find_teacher(pipeline, config)
    if config.scored_share:  # else nothing is drawn
        check_sampling(pipeline, Sampling.of(config))
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
    apart = is_apart(pipeline, scorers) if apart is None else apart
    with stored as writer:
        yield from fill(writer, items, maker, config, should_stop, apart=apart)


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
    first = own if prompt.seed is None else prompt.seed
    if not 0 <= first < 2**63:
        raise InputError(f"seed {first} of prompt {prompt.text!r}", "an integer from 0 to 2**63 - 1")
    seeds = {first: None}
    index = 0
    while len(seeds) < wanted:
        index += 1
        seeds[prompt_seed(config.seed, f"{prompt.id}/{index}", config.seed_range)] = None
    return list(seeds)


def find_teacher(pipeline: Pipeline, config: CollectConfig) -> Teacher:
    """The method that makes the targets, ready to work.

    Raises:
        InputError: as `method_of`, a method that teaches nothing or does not fit, or a grid finer than the model's.
    """
    spec = method_of(config)
    method = spec.build()
    if spec.swap or spec.shuffle or not spec.strength or not method.teaches:
        raise InputError(f"method {config.method!r}", "one whose targets an NPNet can learn from, such as nlg")
    check_grid(pipeline, "redenoise_steps", config.redenoise_steps)
    method.prepare(pipeline, Sampling.of(config))
    return Teacher(spec, method)
