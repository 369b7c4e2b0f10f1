"""`noiseprompt evaluate`, in this process or as a worker of an engine."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from noiseprompt.cli import common
from noiseprompt.cli.progress import Bar, say, say_next
from noiseprompt.cli.sharing import run_shared, typed
from noiseprompt.core.errors import InputError
from noiseprompt.core.part import Part
from noiseprompt.core.places import Address
from noiseprompt.core.specs import split_specs
from noiseprompt.core.stores import store_of
from noiseprompt.core.texts import visible
from noiseprompt.shapes import world

if TYPE_CHECKING:
    from noiseprompt.core.types import Prompt
    from noiseprompt.engines.job import Report
    from noiseprompt.engines.options import Sharing
    from noiseprompt.methods.base import MethodSpec
    from noiseprompt.noise.guard import Guard
    from noiseprompt.pipelines.options import ModelOptions
    from noiseprompt.scorers.base import Scorer
    from noiseprompt.stages.evaluate.plan import EvalProgress

Run = Callable[[], "Iterator[EvalProgress]"]
"""Draws what is left."""


def evaluate(
    out: Address | Path = Path("evaluation"),
    prompts: str = world.TEST_PROMPTS,
    model: str = world.NAME,
    methods: str = "standard,redenoise,npnet",
    scorers: list[str] | None = None,
    settings: Any = None,
    n: int | None = None,
    column: str | None = None,
    seed_file: Path | None = None,
    report: bool = True,
    no_text: bool = False,
    verbose: bool = False,
    loading: ModelOptions | None = None,
    sharing: Sharing | None = None,
) -> None:
    """Compare methods on the same prompts and seeds, with paired statistics and a report.

    Args:
        out: folder of the run, or s3://BUCKET/FOLDER; the same command continues an interrupted one, and beside another
            that runs it shares the work.
        prompts: a file of prompts, a published set such as "drawbench:FILE" or "hpdv2:FOLDER", or "shapes:test" ("test"
            will do where the model is the shapes world).
        model: folder or hub id of a diffusers pipeline, or "shapes".
        methods: names with options; "redenoise:swap" is the control made for a wrong prompt; "all" is every method
            there is, less those that refuse this model.
        scorers: names; checker and preference scorer for the shapes world unless given.
        n: take the first n prompts.
        column: of a csv, json or parquet file.
        seed_file: a seed for each prompt, one a line, or a table with a column `seed`.
        report: print the table and write report.html.
        no_text: leave out the text term of every NPNet (table 6), as for one of another family.
    """
    from noiseprompt.engines.options import Sharing
    from noiseprompt.noise.guard import Guard
    from noiseprompt.stages.evaluate.plan import EvaluateConfig
    from noiseprompt.stages.evaluate.shares import summed_up
    from noiseprompt.stages.report.report import report as write_report

    store = store_of(out)
    store.check()
    config, guard, shared = settings or EvaluateConfig(), Guard(), sharing or Sharing()
    given: dict[str, Any] = {"out": out, "prompts": prompts, "model": model, "methods": methods, "scorers": scorers}
    given |= {"settings": config, "n": n, "column": column, "seed_file": seed_file, "no_text": no_text}
    given |= {"loading": loading if shared.engine else common.placed(loading, shared)}
    run, plan = (None, "") if shared.engine else prepared(**given, part=shared.chosen, guard=guard)
    with Bar("evaluate", "image", plan) as bar:
        if run is None:
            reports = run_shared(shared, "noiseprompt.cli.evaluating:work", out, given, lambda: False)
        else:
            reports = as_reports(run())
        for told in reports:
            bar.show(told["done"], told["total"], **told["notes"])
    common.tell_noise_of(guard, verbose)
    if not summed_up(store):
        say("this part is there; whoever draws the last of the others sums up")
        return
    page = write_report(out) if report else None
    if report:
        print(store.read("results.md").decode())
        print(visible(f"report: {page}"))
    say_next(f"open {page} in a browser" if report else f"noiseprompt report {shlex.quote(str(out))}")


def work(options: dict[str, Any], should_stop: Callable[[], bool]) -> Iterator[Report]:
    """`evaluate` as a worker of an engine runs it, from plain options."""
    from noiseprompt.noise.guard import Guard

    call = typed("evaluate", options)
    part = call.pop("sharing").chosen
    run, _ = prepared(**call, part=part, guard=Guard())
    for told in as_reports(run()):
        yield told
        if should_stop():
            return


def prepared(
    settings: Any,
    part: Part,
    guard: Guard,
    out: Address | Path = Path("evaluation"),
    model: str = world.NAME,
    loading: ModelOptions | None = None,
    **chosen: Any,
) -> tuple[Run, str]:
    """Everything read and loaded, and a line of what will be done; arguments as of the command.

    Args:
        chosen: what `asked` takes beside settings and model.

    Raises:
        NoisepromptError: what does not read or load.
    """
    from noiseprompt.pipelines.long_prompts import warn_cut
    from noiseprompt.stages.evaluate.evaluate import evaluate as run

    prompted, judges, specs, optional = asked(settings, model=model, **chosen)
    pipeline = common.load_model(model, loading)
    warn_cut(pipeline.text_limits, [prompt.text for prompt in prompted])
    how: dict[str, Any] = {"optional": optional, "guard": guard, "part": part}
    drawn = f"{len(prompted):,} prompts by each of {common.some_of([spec.label for spec in specs])}"
    plan = f"{drawn}, judged by {common.names_of(judges)}, into {out}"
    return lambda: run(pipeline, prompted, judges, specs, settings, out, **how), plan


def asked(
    settings: Any,
    prompts: str = world.TEST_PROMPTS,
    model: str = world.NAME,
    methods: str = "standard,redenoise,npnet",
    scorers: list[str] | None = None,
    n: int | None = None,
    column: str | None = None,
    seed_file: Path | None = None,
    no_text: bool = False,
    load: Callable[[Sequence[str]], list[Scorer]] | None = None,
) -> tuple[Sequence[Prompt], list[Scorer], list[MethodSpec], list[str]]:
    """The prompts, loaded scorers, methods and labels of those that may refuse; arguments as of the command.

    Args:
        load: loads the scorers in the place of `load_scorers`.

    Raises:
        NoisepromptError: as `prepared`, before the model is loaded.
    """
    from noiseprompt.methods.base import MethodSpec
    from noiseprompt.methods.table import METHODS
    from noiseprompt.prompts import load_prompts
    from noiseprompt.scorers.base import check_scorers, load_scorers
    from noiseprompt.stages.evaluate.plan import all_methods, check

    if seed_file is not None and settings.seeds:
        raise InputError(
            f"seeds with a file of seeds, {seed_file}", "one of the two", "leave --seeds or --seed_file out"
        )
    check_scorers(settings.filter_scorers)
    every = methods.strip() == "all"
    specs = all_methods() if every else [MethodSpec.parse(text) for text in split_specs(methods, METHODS)]
    specs = common.with_options(specs, no_text=no_text)
    optional = [spec.label for spec in specs if every and spec.name != "standard"]
    listed = load_prompts(prompts, column=column, limit=n, model=model, seeds=seed_file)
    own_size = world.own_size(getattr(settings, "height", None), getattr(settings, "width", None))
    of_the_world = (world.PREFERENCE, world.CHECKER) if own_size else (world.CHECKER,)
    judges = (load or load_scorers)(common.scorers_of(scorers, model, *of_the_world))
    check(listed.prompts, judges, specs, settings)
    return listed.prompts, judges, specs, optional


def as_reports(progress: Iterator[EvalProgress]) -> Iterator[Report]:
    """What a bar shows, and what a worker reports; all of it is on disk."""
    made = 0
    for now in progress:
        made += len(now.results)
        yield {"done": now.done, "total": now.total, "made": made, "unsaved": 0, "notes": {"method": now.method}}
