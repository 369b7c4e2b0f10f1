"""Run the stages of a plan: each continues where it was, and what another recipe has done is passed over."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Any

from noiseprompt import commands
from noiseprompt.collect import plan as planned_pairs
from noiseprompt.errors import ConfigError, NoisepromptError, StoreError
from noiseprompt.prompts import load_prompts
from noiseprompt.recipes.plan import Plan, Stage
from noiseprompt.store import Npd


def run_stages(plan: Plan) -> None:
    """Every stage in order.

    Raises:
        NoisepromptError: a stage fails, or the collection was stopped before its end.
    """
    elsewhere: dict[Path, Path] = {}
    for number, stage in enumerate(plan.stages.values(), 1):
        started = time.time()
        print(f"== {plan.name}: {stage.name} {stage.folder.name} ({number} of {len(plan.stages)})", flush=True)
        if stage.name == "collect":
            elsewhere[stage.folder] = _collect(stage, plan.reuse)
        elif stage.name == "train":
            npd = stage.options["npd"]
            commands.train(**{**stage.options, "npd": elsewhere.get(npd, npd)})
        else:
            methods = ",".join(plan.methods(stage.folder))
            commands.evaluate(**stage.options, methods=methods, report=False)
        print(f"== {time.time() - started:.0f} s", flush=True)


def npd_folder(plan: Plan, folder: Path) -> Path:
    """Where the pairs of a collection are: its own folder or one that was taken over."""
    stage = plan.stages[folder]
    for candidate in () if folder.exists() else plan.reuse:
        if _holds(candidate, stage):
            return candidate
    return folder


def _collect(stage: Stage, reuse: tuple[Path, ...]) -> Path:
    for candidate in () if stage.folder.exists() else reuse:
        if _holds(candidate, stage):
            try:
                commands.collect(**{**stage.options, "out": candidate})
            except ConfigError:  # made with other settings: a set of our own
                continue
            return candidate
    commands.collect(**stage.options)
    if not _holds(stage.folder, stage):
        raise NoisepromptError(
            f"the collection in {stage.folder} was stopped", "all its pairs", "run the same command to continue"
        )
    return stage.folder


def _holds(folder: Path, stage: Stage) -> bool:
    """Whether a folder holds exactly as many pairs as a collection asks for."""
    try:
        have = len(Npd(folder))
    except StoreError:
        return False
    return have == pairs_wanted(stage.options)


def pairs_wanted(options: dict[str, Any]) -> int:
    """How many pairs a collection will have."""
    source, column = options["prompts"], options.get("column")
    listed = load_prompts(source, column=column, limit=options.get("n"), model=options["model"])
    return len(planned_pairs(listed.prompts, options["settings"]))
