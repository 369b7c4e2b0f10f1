"""Run the stages of a plan: each continues where it was, and what another recipe has done is passed over."""

from __future__ import annotations

import json
import time
from pathlib import Path
from typing import Any

from noiseprompt.cli import collecting, commands, evaluating
from noiseprompt.core.config import fingerprint
from noiseprompt.core.errors import ConfigError, NoisepromptError, StoreError, StoreLockedError
from noiseprompt.core.files import make_folder, remove, replace
from noiseprompt.core.json_files import read_json
from noiseprompt.npd import Npd
from noiseprompt.recipes.plan import Plan, Stage
from noiseprompt.stages.collect.collect import plan as planned_pairs
from noiseprompt.stages.collect.pairs import pair_id
from noiseprompt.stages.collect.sources import read_source


def run_stages(plan: Plan) -> None:
    """Every stage in order.

    Raises:
        NoisepromptError: a stage fails, or the collection was stopped before its end.
    """
    for number, stage in enumerate(plan.stages.values(), 1):
        started = time.time()
        print(f"== {plan.name}: {stage.name} {stage.folder.name} ({number} of {len(plan.stages)})", flush=True)
        if stage.name == "collect":
            _collect(plan, stage)
        elif stage.name == "train":
            npd = stage.options.get("npd")
            commands.train(**{**stage.options, **({"npd": [npd_folder(plan, npd)]} if npd else {})})
        else:
            methods = ",".join(plan.methods(stage.folder))
            evaluating.evaluate(**stage.options, methods=methods, report=False)
        print(f"== {time.time() - started:.0f} s", flush=True)


def _collect(plan: Plan, stage: Stage) -> None:
    """Make the pairs, or take over a data set of `reuse` that is exactly the one asked for; which, is recorded."""
    record, wanted = _record(plan, stage.folder), planned_ids(stage.options)
    before = [_taken_over(record)[0]] if record.is_file() else []
    for candidate in () if stage.folder.exists() else dict.fromkeys([*before, *plan.reuse]):
        if _ids(candidate) == wanted and _takes(candidate, stage):
            taken = {"folder": str(candidate), **_facts(Npd(candidate))}
            make_folder(record.parent)
            replace(record, json.dumps(taken, indent=1) + "\n")
            return
    remove(record)
    collecting.collect(**stage.options)
    have = _ids(stage.folder)
    if wanted - have:
        raise NoisepromptError(
            f"the collection in {stage.folder} was stopped", "all its pairs", "run the same command to continue"
        )
    if have - wanted:
        came = f"{stage.folder} holds {len(have - wanted)} pairs of other prompts or seeds"
        raise StoreError(came, f"the {len(wanted)} pairs of this recipe alone", "delete the folder and run again")


def _takes(candidate: Path, stage: Stage) -> bool:
    """Whether the command that makes the pairs finds nothing to do there: settings and weights are compared by it."""
    try:
        collecting.collect(**{**stage.options, "out": candidate})
    except StoreLockedError:  # in use by another recipe: no reason to make the pairs again
        raise
    except (ConfigError, StoreError) as error:
        print(f"{candidate} does not serve: {error}", flush=True)
        return False
    return True


def npd_folder(plan: Plan, folder: Path) -> Path:
    """Where the pairs of a collection are, as the run decided: its own folder, or one that was taken over.

    Raises:
        StoreError: what was taken over has changed since.
    """
    record = _record(plan, folder)
    if not record.is_file():
        return folder
    there, taken = _taken_over(record)
    if _facts(Npd(there)) != taken:
        raise StoreError(f"{there} has changed since {folder.name} took it over", "the same pairs", "run it again")
    return there


def _record(plan: Plan, folder: Path) -> Path:
    """The file that says which data set a collection took over; there is none where it made its own."""
    return plan.root / "reused" / f"{folder.name}.json"


def _taken_over(record: Path) -> tuple[Path, dict[str, Any]]:
    """The folder that a record names, and what it held then.

    Raises:
        StoreError: damaged.
    """
    expected, fix = "a record of the data set taken over", "delete it and run the recipe again"
    taken = read_json(record, StoreError, expected, fix)
    folder = taken.pop("folder", None)
    if not isinstance(folder, str):
        raise StoreError(f"{record} names no folder", expected, fix)
    return Path(folder), taken


def _facts(npd: Npd) -> dict[str, str]:
    return {"settings": fingerprint(npd.settings), "pairs": fingerprint({"ids": npd.table().column("id").to_pylist()})}


def _ids(folder: Path) -> set[str]:
    """Of the pairs in a folder; none where there is no data set."""
    try:
        return set(Npd(folder).table().column("id").to_pylist())
    except StoreError:
        return set()


def planned_ids(options: dict[str, Any]) -> set[str]:
    """Of the pairs that a collection will have."""
    asked = {name: options.get(name) for name in ("column", "n")}
    listed = read_source(options.get("prompts"), options["settings"], model=options["model"], **asked)
    return {pair_id(item) for item in planned_pairs(listed, options["settings"])}
