"""`noiseprompt collect`, in this process or as a worker of an engine."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any, cast

from noiseprompt.cli.sharing import typed
from noiseprompt.core.part import Part
from noiseprompt.shapes import world

if TYPE_CHECKING:
    from noiseprompt.engines.job import Report
    from noiseprompt.noise.guard import Guard
    from noiseprompt.prompts.load import PromptList
    from noiseprompt.stages.collect.collect import CollectProgress

Run = Callable[[Callable[[], bool]], "Iterator[CollectProgress]"]
"""Collects until it is asked to stop."""

Load = Callable[[str, Any], Any]
"""A model's name and `ModelOptions` -> its pipeline."""


def prepared(
    load: Load,
    out: Path,
    settings: Any,
    scorers: list[str] | None,
    part: Part,
    guard: Guard,
    prompts: str | None = None,
    model: str = world.NAME,
    column: str | None = None,
    n: int | None = None,
    loading: Any = None,
) -> Run:
    """Everything read and loaded; arguments as of the command.

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
    pipeline = load(model, loading)
    warn_cut(pipeline.text_limits, texts_of(listed))

    def run(should_stop: Callable[[], bool]) -> Iterator[CollectProgress]:
        how: dict[str, Any] = {"should_stop": should_stop, "part": part}
        if settings.pictures:
            return collect_pictures(pipeline, listed, judges, settings, out, **how)
        return collect_pairs(pipeline, cast("PromptList", listed), judges, settings, out, guard=guard, **how)

    return run


def as_report(progress: CollectProgress, pictures: bool) -> Report:
    """What a bar shows, and what a worker reports."""
    share = {name: f"{kept / max(progress.done, 1):.0%}" for name, kept in progress.kept_by_scorer.items()}
    notes = {**({} if pictures else {"kept": share}), "rejected": progress.rejected}
    same = {name: getattr(progress, name) for name in ("done", "total", "made", "unsaved")}
    return {**same, "notes": notes}


def work(
    load: Load, judges: Callable[..., list[str] | None], options: dict[str, Any], should_stop: Callable[[], bool]
) -> Iterator[Report]:
    """The command as a worker of an engine runs it.

    Args:
        judges: scorers that were given, the model and the settings -> scorers to use.
        options: as of the command's file of options.
    """
    from noiseprompt.noise.guard import Guard

    call = typed("collect", options)
    part, settings = call.pop("sharing").chosen, call["settings"]
    call["scorers"] = judges(call.get("scorers"), call.get("model", world.NAME), settings)
    for progress in prepared(load, **call, part=part, guard=Guard())(should_stop):
        yield as_report(progress, bool(settings.pictures))


def tell_noise(out: Path) -> None:
    """Write noise.json, unless others are still at work: the last of them does."""
    from noiseprompt.npd.info import write_noise_figures
    from noiseprompt.npd.state import state

    now = state(out)
    if now.committed and not now.writers:
        write_noise_figures(out)


def placed(loading: Any, sharing: Any) -> Any:
    """The options of a model with the GPU of this process, where torchrun started several that number themselves."""
    from noiseprompt.core.part import AUTO
    from noiseprompt.pipelines.options import ModelOptions

    said, options = os.environ.get("LOCAL_RANK", ""), loading or ModelOptions()
    if sharing.part is None or sharing.part.strip() != AUTO or not said.isdecimal() or options.device != "auto":
        return loading
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return dataclasses.replace(options, device=f"cuda:{int(said) % count}") if count else loading
