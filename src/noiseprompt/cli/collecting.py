"""`noiseprompt collect`, in this process or as a worker of an engine."""

from __future__ import annotations

import shlex
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from noiseprompt.cli import common
from noiseprompt.cli.progress import Bar, say, say_next, stopping
from noiseprompt.cli.sharing import run_shared, typed
from noiseprompt.core.errors import InputError
from noiseprompt.core.part import Part
from noiseprompt.core.places import Address
from noiseprompt.core.stores import store_of
from noiseprompt.core.texts import visible
from noiseprompt.shapes import world

if TYPE_CHECKING:
    from noiseprompt.engines.job import Report
    from noiseprompt.engines.options import Sharing
    from noiseprompt.noise.guard import Guard
    from noiseprompt.pipelines.options import ModelOptions
    from noiseprompt.prompts.load import PromptList
    from noiseprompt.stages.collect.settings import CollectConfig
    from noiseprompt.stages.collect.work import CollectProgress

Run = Callable[[Callable[[], bool]], "Iterator[CollectProgress]"]
"""Collects until it is asked to stop."""


def collect(
    out: Address | Path,
    prompts: str | None = None,
    model: str = world.NAME,
    settings: Any = None,
    scorers: list[str] | None = None,
    column: str | None = None,
    n: int | None = None,
    verbose: bool = False,
    loading: ModelOptions | None = None,
    sharing: Sharing | None = None,
) -> None:
    """Collect a noise prompt data set (stage I): pairs of source and target noise with the scores of both images; or
    pictures to aim at (--pictures).

    Args:
        out: folder of the data set, or s3://BUCKET/FOLDER; the same command continues an interrupted one, and helps one
            at work.
        prompts: a txt, csv, json, jsonl or parquet file, or "shapes:train"; pictures with captions bring their own.
        model: folder or hub id of a diffusers pipeline, or "shapes".
        scorers: names; "shapes-preference" for the shapes world unless given. Pictures that are not the model's own
            need none, and with `--scored_share 0` nothing is drawn and none is taken.
        column: of a csv, json or parquet file.
        n: take the first n prompts.
    """
    from noiseprompt.engines.options import Sharing
    from noiseprompt.noise.guard import Guard
    from noiseprompt.npd.state import state
    from noiseprompt.stages.collect.settings import CollectConfig

    store_of(out).check()
    config, guard, shared = settings or CollectConfig(), Guard(), sharing or Sharing()
    judges = _judges(scorers, model, config)
    given: dict[str, Any] = {"out": out, "prompts": prompts, "model": model, "settings": config, "scorers": judges}
    given |= {"column": column, "n": n, "loading": loading if shared.engine else common.placed(loading, shared)}
    run, plan = (None, "") if shared.engine else prepared(**given, part=shared.chosen, guard=guard)
    with stopping() as should_stop, Bar("collect", unit_of(config), plan) as bar:
        if run is None:
            reports = run_shared(shared, "noiseprompt.cli.collecting:work", out, given, should_stop)
        else:
            reports = (as_report(progress, bool(config.pictures)) for progress in run(should_stop))
        rejected = 0
        for report in reports:
            bar.show(report["done"], report["total"], **report["notes"])
            rejected = report["notes"].get("rejected", rejected)
        tell_noise(out)  # also of what was made until it was stopped
    common.tell_noise_of(guard, verbose)
    if rejected:
        look = f"noiseprompt npd info {shlex.quote(str(out))}"
        say(f"rejected: {rejected:,} of the {unit_of(config)}s; `{look}` tells why")
    if not state(out).committed:
        print(visible(f"no {unit_of(config)} in {out} yet: this part has none to make, or others still make theirs"))
        return
    print(visible(f"noise prompt data set in {out}"))
    objective = " --objective picture --architecture tokens" if config.pictures else ""
    say_next(f"noiseprompt train --npd {shlex.quote(str(out))} --out npnet{objective}")


def work(options: dict[str, Any], should_stop: Callable[[], bool]) -> Iterator[Report]:
    """`collect` as a worker of an engine runs it, from plain options."""
    from noiseprompt.noise.guard import Guard

    call = typed("collect", options)
    part, settings = call.pop("sharing").chosen, call["settings"]
    call["scorers"] = _judges(call.get("scorers"), call.get("model", world.NAME), settings)
    run, _ = prepared(**call, part=part, guard=Guard())
    for progress in run(should_stop):
        yield as_report(progress, bool(settings.pictures))


def _judges(given: list[str] | None, model: str, config: CollectConfig) -> list[str] | None:
    """As `scorers_of`; None where nothing is drawn, or pictures, which are not the model's own, need none."""
    from noiseprompt.stages.collect.settings import DRAWN, check_judges

    bare = (config.pictures not in ("", DRAWN) or not config.scored_share) and not given
    if not bare and not config.scored_share:
        check_judges(given or (), config)
    if bare:
        return None
    try:
        return common.scorers_of(given, model, world.PREFERENCE)
    except InputError as error:
        fix = f"{error.fix}, or --scored_share 0: then nothing is drawn, and no filter can choose among the pairs"
        raise InputError(error.came, error.expected, fix if error.fix else "") from error


def unit_of(settings: CollectConfig) -> str:
    """What is counted."""
    return "picture" if settings.pictures else "pair"


def prepared(
    out: Address | Path,
    settings: Any,
    scorers: list[str] | None,
    part: Part,
    guard: Guard,
    prompts: str | None = None,
    model: str = world.NAME,
    column: str | None = None,
    n: int | None = None,
    loading: Any = None,
) -> tuple[Run, str]:
    """Everything read and loaded, and a line of what will be done; arguments as of the command.

    Args:
        scorers: those to use, none of them where None.

    Raises:
        NoisepromptError: what does not read or load.
    """
    from noiseprompt.pipelines.long_prompts import warn_cut
    from noiseprompt.scorers.base import load_scorers
    from noiseprompt.stages.collect.collect import collect as collect_pairs
    from noiseprompt.stages.collect.pictures import collect_pictures
    from noiseprompt.stages.collect.sources import read_source, texts_of

    listed = read_source(prompts, settings, column=column, n=n, model=model)
    if duplicates := getattr(listed, "duplicates", 0):
        print(f"{duplicates} duplicate prompts left out")
    judges = [] if scorers is None else load_scorers(scorers)
    pipeline = common.load_model(model, loading)
    warn_cut(pipeline.text_limits, texts_of(listed))

    def run(should_stop: Callable[[], bool]) -> Iterator[CollectProgress]:
        how: dict[str, Any] = {"should_stop": should_stop, "part": part}
        if settings.pictures:
            return collect_pictures(pipeline, listed, judges, settings, out, **how)
        return collect_pairs(pipeline, cast("PromptList", listed), judges, settings, out, guard=guard, **how)

    texts, unit = len(texts_of(listed)), unit_of(settings)
    share = f"{settings.scored_share:.3g} of them " if 0 < settings.scored_share < 1 else ""
    return run, f"{unit}s for {texts:,} texts, {share}scored by {common.names_of(judges)}, into {out}"


def as_report(progress: CollectProgress, pictures: bool) -> Report:
    """What a bar shows, and what a worker reports."""
    share = {name: f"{kept / max(progress.scored, 1):.0%}" for name, kept in progress.kept_by_scorer.items()}
    notes = {**({} if pictures or not share else {"kept": share}), "rejected": progress.rejected}
    same = {name: getattr(progress, name) for name in ("done", "total", "made", "unsaved")}
    return {**same, "notes": notes}


def tell_noise(out: str | Path) -> None:
    """Write noise.json, unless others are still at work: the last of them does."""
    from noiseprompt.npd.info import write_noise_figures
    from noiseprompt.npd.state import state

    now = state(out)
    if now.committed and not now.writers:
        write_noise_figures(out)
