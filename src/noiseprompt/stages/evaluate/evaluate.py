"""Methods x prompts x seeds -> scored images, paired and resumable.

A folder of results:
    settings.json      what the results depend on and its fingerprint; another setting is refused
    results.jsonl      one line an image (`EvalResult`), appended a batch at a time; a further process has its own,
                       results-2.jsonl and so on, in object storage each batch (`results/book.py`)
    diagnostics.jsonl  what each method did to the noise
    images/            PNG, one folder a method
    features/          of the saved images, for the set metrics
    results.json, .md  `summarize` of the lines, written at the end, as data and in words

The prompt x seed list is cut into fixed batches, and each batch goes through every method in turn. A batch that was cut
short is made again as a whole, so an interrupted run ends with the results of an uninterrupted one.
"""

from __future__ import annotations

import json
import os
import time
from collections.abc import Collection, Iterator, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from noiseprompt.core.arguments import held
from noiseprompt.core.config import to_dict
from noiseprompt.core.errors import NoiseError, NoisepromptError, StoreError
from noiseprompt.core.part import WHOLE, Part
from noiseprompt.core.pictures import find_pictures
from noiseprompt.core.places import expanded
from noiseprompt.core.ranges import check_value
from noiseprompt.core.store import Store
from noiseprompt.core.stores import store_of, store_to_read
from noiseprompt.core.types import EvalResult, Prompt, Sampling, check_pipeline
from noiseprompt.methods.base import MethodSpec, NoiseMethod, make_noise
from noiseprompt.noise import figures as diagnostics
from noiseprompt.noise.guard import Guard, carried
from noiseprompt.noise.seeds import batch_noise, check_seed, sampler_generators
from noiseprompt.pipelines.samplers import drawn_shape
from noiseprompt.results.books import book_of
from noiseprompt.results.counts import check_counts, refuse_none
from noiseprompt.results.folder import (
    PATHS,
    SETTINGS,
    iter_told,
    note_refused,
    read_judging,
    read_marks,
    read_settings,
    settle,
)
from noiseprompt.results.pictures import save_pictures
from noiseprompt.results.sets import measure
from noiseprompt.results.summarize import summarize
from noiseprompt.results.summary import Summary, summary_dict
from noiseprompt.results.words import markdown
from noiseprompt.scorers.base import judge
from noiseprompt.shapes.world import is_world
from noiseprompt.stages.evaluate.plan import (
    JUDGING,
    EvalProgress,
    EvaluateConfig,
    Item,
    check,
    extractor_name,
    plan,
    run_settings,
)
from noiseprompt.stages.evaluate.shares import free_batches, sum_up

if TYPE_CHECKING:
    from noiseprompt.pipelines import Pipeline
    from noiseprompt.scorers.base import Scorer


@dataclass(frozen=True)
class _Run:
    """What every batch needs."""

    pipeline: Pipeline
    scorers: Sequence[Scorer]
    methods: dict[str, NoiseMethod]
    optional: Collection[str]
    refused: dict[str, str]
    config: EvaluateConfig
    out: Store
    guard: Guard
    marks: dict[str, str] = field(default_factory=dict)


@held
def evaluate(
    pipeline: Pipeline,
    prompts: Sequence[Prompt],
    scorers: Sequence[Scorer],
    methods: Sequence[MethodSpec],
    config: EvaluateConfig,
    out: str | Path,
    *,
    optional: Collection[str] = (),
    guard: Guard | None = None,
    part: Part = WHOLE,
) -> Iterator[EvalProgress]:
    """Draw and score every image that `out` does not hold yet; at the end write results.json and results.md.

    The same call in other processes at the same time shares the work; whoever ends last sums up. More methods may be
    given for a folder later on; everything that an image or a score depends on must be as it was.

    Args:
        out: a folder, or an address s3://BUCKET/FOLDER (extra `[s3]`).
        methods: among them "standard", which the others are compared with.
        optional: labels of methods that may refuse this pipeline or these prompts: they are left out from there on, the
            reason is noted, and what they drew until then counts nowhere.
        guard: watches every noise and keeps its figures; warns about noise that is not like unit Gaussian noise.
        part: of the batches, which alone are drawn here; summed up when every part is there.

    Yields:
        one record a batch and method, after its results are committed.

    Raises:
        InputError: nothing to evaluate, a method twice, a control without a second prompt, or a seed out of range.
        ShapeError: a size that the pipeline cannot draw.
        ConfigError: `out` was made with other settings.
        StoreLockedError: another run of this process evaluates into `out`.
        NoiseError: a method gave noise, or a scorer a score, that is not finite.
    """
    check_pipeline(pipeline)
    check_value("out", str | Path, out)
    store = store_of(out)
    run = _Run(pipeline, scorers, {}, optional, {}, config, store, guard or Guard())
    methods, items, extractor = _begun(run, prompts, methods)
    with store.withdrawn(("results*.jsonl", "diagnostics*.jsonl")) as written:
        judging = {name: to_dict(config)[name] for name in JUDGING}
        judging["features"] = extractor
        if config.reference:  # `report` may be called from another folder
            judging["reference"] = os.path.abspath(expanded(config.reference))
        judging |= {"world": True} if is_world(pipeline.name) else {}
        described = {label: method.describe() for label, method in run.methods.items()}
        settle(store, run_settings(pipeline, prompts, scorers, config), described, judging, run.refused)
        written += [SETTINGS, PATHS]
        yield from _draw(run, items, methods, part)


def check_begin(
    pipeline: Pipeline,
    prompts: Sequence[Prompt],
    scorers: Sequence[Scorer],
    methods: Sequence[MethodSpec],
    config: EvaluateConfig,
    out: str | Path,
    optional: Collection[str] = (),
) -> None:
    """Refuse an evaluation that could not begin; nothing is drawn, nothing written. Arguments as of `evaluate`.

    Raises:
        NoisepromptError: as `evaluate`.
    """
    _begun(_Run(pipeline, scorers, {}, optional, {}, config, store_of(out), Guard()), prompts, methods)


def _begun(
    run: _Run, prompts: Sequence[Prompt], methods: Sequence[MethodSpec]
) -> tuple[list[MethodSpec], list[Item], str]:
    """The methods, ready to work, less those that refuse, every image of one method, and the extractor of features."""
    pipeline, config = run.pipeline, run.config
    check(prompts, run.scorers, methods, config)
    alone = len({p.text for p in prompts}) < 2
    run.refused.update(
        {m.label: "Its control needs a second prompt." for m in methods if m.swap and alone and m.label in run.optional}
    )
    methods = [spec for spec in methods if spec.label not in run.refused]
    items = plan(prompts, config, pipeline, any(spec.swap for spec in methods))
    drawn_shape(pipeline, Sampling.of(config))  # what cannot be drawn, and
    for item in items:
        check_seed(item.seed)  # a wrong seed, are told before anything is written
    _prepare(run, methods)
    extractor = extractor_name(config, pipeline.name)
    if extractor:
        from noiseprompt.scorers.sets.extractors import load_features

        load_features(extractor)  # a wrong name or missing weights are told before anything is drawn, as is
        if config.reference:
            find_pictures(expanded(config.reference), below=True)  # a folder without pictures
    return methods, items, extractor


def _prepare(run: _Run, specs: Sequence[MethodSpec]) -> None:
    sampling = Sampling.of(run.config)
    for spec in specs:
        try:
            method = spec.build()
            method.prepare(run.pipeline, sampling)
            run.methods[spec.label] = method
        except NoisepromptError as error:
            _refuse(run, spec, error)


def _refuse(run: _Run, spec: MethodSpec, error: NoisepromptError) -> None:
    """Note why an optional method is left out.

    Raises:
        NoisepromptError: the method is not optional.
    """
    if spec.label not in run.optional:
        raise error
    run.refused[spec.label] = str(error)


def _draw(run: _Run, items: Sequence[Item], methods: Sequence[MethodSpec], part: Part) -> Iterator[EvalProgress]:
    size = run.config.batch_size
    batches = [items[i : i + size] for i in range(0, len(items), size)]
    own = part.take(range(len(batches)))

    def counted() -> list[str]:
        return [spec.label for spec in methods if spec.label not in run.refused]

    run.marks.update(read_marks(run.out))
    keys = [[(item.prompt.id, item.seed) for item in batch] for batch in batches]
    with book_of(run.out, keys, run.marks) as book:
        for index, lease in free_batches(book, own, lambda number: book.missing(number, counted())):
            todo = [spec for spec in methods if spec.label in book.missing(index, counted())]
            for spec, results, figures, seconds in _batch(run, batches[index], todo):
                if not results:
                    note_refused(run.out, run.refused)  # at once: a run that is killed later tells it too
                elif not book.add(lease, index, spec.label, results, diagnostics.record(spec.label, index, figures)):
                    break  # this process was suspended for so long that another took the batch over
                done = sum(book.count(number, label) for number in own for label in counted())
                total = sum(len(batches[number]) for number in own) * len(counted())
                yield EvalProgress(spec.label, tuple(results), done, total, seconds)
        book.refresh()  # of parts that end at the same moment one sees that all are there
        complete = not any(book.missing(number, counted()) for number in range(len(batches)))
    if "settings.json" not in run.out.names():
        came = f"{run.out} was emptied or moved while it was evaluated: its settings.json is gone"
        raise StoreError(came, "a folder at rest", "run the same command into a new folder")
    if complete:
        sum_up(run.out, _sum_up)


@held
def summarize_run(out: str | Path) -> Summary:
    """Write results.json and results.md from the lines and images in `out`, complete or not; returns the summary.

    Raises:
        InputError: no evaluation there.
        StoreError: a damaged line.
    """
    check_value("out", str | Path, out)
    return _sum_up(store_to_read(out))


def _sum_up(store: Store) -> Summary:
    data = read_settings(store)
    config: dict[str, Any] = data["settings"]["config"]
    judging: dict[str, Any] = read_judging(store)
    name = judging.get("features", "")
    refuse_none(store)
    world = judging.get("world") or is_world(data["settings"]["pipeline"]["name"])  # as earlier versions told it
    summary = summarize(
        iter_told(store),
        filter_scorers=judging.get("filter_scorers", ()),
        sets=measure(store, name, judging.get("reference", ""), world=world) if name else None,
        refused=data["refused"],
        steered={label: told["scorer"] for label, told in data["methods"].items() if "scorer" in told},
        seed=config["seed"],
    )
    check_counts(store, data["settings"], summary)
    store.put("results.json", f"{json.dumps(summary_dict(summary), indent=1)}\n".encode())
    store.put("results.md", markdown(summary).encode())
    return summary


# ------------------------------------------------------------------------------------------------------------ drawing


def _batch(
    run: _Run, batch: Sequence[Item], specs: Sequence[MethodSpec]
) -> Iterator[tuple[MethodSpec, list[EvalResult], dict[str, list[float]], float]]:
    """Results and noise figures of one batch for each method in turn, none of one that refuses; texts are encoded once
    for all of them."""
    if not specs:
        return
    pipeline, config = run.pipeline, run.config
    shape = pipeline.latent_shape(config.height, config.width)
    noise = batch_noise([item.seed for item in batch], shape, device=str(pipeline.device))
    embeds = pipeline.encode([item.prompt.text for item in batch])
    swapped = pipeline.encode([item.wrong for item in batch]) if any(spec.swap for spec in specs) else None
    for spec in specs:
        start, calls = _now(pipeline), pipeline.denoiser_calls
        try:
            latents = make_noise(spec, run.methods[spec.label], pipeline, embeds, swapped, noise)
        except NoisepromptError as error:
            _refuse(run, spec, error)
            yield spec, [], {}, _now(pipeline) - start
            continue
        middle = _now(pipeline)
        generators = sampler_generators([item.seed for item in batch])
        images = pipeline.sample(embeds, latents, **vars(Sampling.of(config)), generator=generators)
        end = _now(pipeline)
        run.guard.watch(spec.label, latents, noise, carried(spec.strength, run.methods[spec.label].signal(pipeline)))
        n = len(batch)
        spent = ((pipeline.denoiser_calls - calls) / n, (middle - start) / n, (end - middle) / n)
        results = _judge(run, spec.label, batch, images, spent)
        yield spec, results, diagnostics.measure(latents, noise), _now(pipeline) - start


def _judge(
    run: _Run, label: str, batch: Sequence[Item], images: np.ndarray, costs: tuple[float, float, float]
) -> list[EvalResult]:
    """Score the images and save those to keep."""
    scores = {scorer.name: _score(scorer, images, batch) for scorer in run.scorers}
    names = [f"{item.prompt.id}-{item.seed}" if item.save else "" for item in batch]
    saved, results = save_pictures(run.out, label, names, [*images]), []
    mark = run.marks.get(label, "")
    for i, item in enumerate(batch):
        prompt, own = item.prompt, {scorer: values[i] for scorer, values in scores.items()}
        results.append(EvalResult(label, prompt.id, prompt.text, prompt.kind, item.seed, own, *costs, saved[i], mark))
    return results


def _score(scorer: Scorer, images: np.ndarray, batch: Sequence[Item]) -> list[float]:
    scores = judge(scorer, images, [item.prompt for item in batch]).tolist()
    if not np.isfinite(scores).all():
        raise NoiseError(f"scorer {scorer.name!r} gave {scores}", f"{len(batch)} finite numbers")
    return scores


def _now(pipeline: Pipeline) -> float:
    device = torch.device(str(pipeline.device))
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()
