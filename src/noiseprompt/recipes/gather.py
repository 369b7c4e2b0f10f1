"""From the folders of a plan to the figures of its table, as plain JSON data in ROOT/tables/NAME.json."""

from __future__ import annotations

import json
import warnings
from dataclasses import asdict
from dataclasses import replace as replaced
from pathlib import Path
from typing import Any

from noiseprompt.core.errors import NoisepromptWarning, StoreError
from noiseprompt.core.files import make_folder, replace
from noiseprompt.core.json_lines import read_lines
from noiseprompt.npd import Npd, PairFilter
from noiseprompt.recipes.plan import Cell, Plan
from noiseprompt.recipes.steps import npd_folder
from noiseprompt.results.folder import read_settings
from noiseprompt.results.lines import iter_results
from noiseprompt.results.summarize import COSTS, summarize
from noiseprompt.results.summary import BASELINE, Summary, row_dict

Made = dict[str, Any]


def gather(plan: Plan) -> Path:
    """Write the table's figures; p is corrected (Holm) over the rows and metrics of the table.

    Returns:
        ROOT/tables/NAME.json: {"recipe", "on", "smoke", "metrics", "cells": [{"group", "row", "group_title",
        "row_title", "method", "prompts", "guidance_scale", "num_inference_steps", "denoiser_calls", "noise_seconds",
        "sample_seconds", "metrics": {metric: as in results.json}, "training": {...} or None}], "analyses",
        "environment"}.

    Raises:
        StoreError: a stage has no results.
    """
    from noiseprompt.recipes.analysis import analyse

    summaries = {folder: _summary(plan, folder) for folder in dict.fromkeys(cell.evaluation for cell in plan.cells)}
    cells = [_cell(plan, cell, *summaries[cell.evaluation]) for cell in plan.cells]
    for cell, made_cell in zip(plan.cells, cells, strict=True):
        made_cell["against"] = _against(plan, cell)
    metrics = list(dict.fromkeys(metric for cell in cells for metric in cell["metrics"]))
    if lacking := [metric for metric in plan.show if metric not in metrics]:
        shown = [metric for metric in plan.show if metric in metrics] or metrics
        told = f"of the metrics to show not measured: {', '.join(lacking)}. Shown: {', '.join(shown)}"
        warnings.warn(told, NoisepromptWarning, stacklevel=2)
    environment = read_settings(plan.cells[0].evaluation)["environment"] if plan.cells else {}
    made: Made = {
        "recipe": plan.name,
        "on": plan.on,
        "smoke": plan.smoke,
        "metrics": [m for m in plan.show if m in metrics] or metrics,
        "cells": cells,
        "analyses": {name: analyse(name, plan) for name in plan.recipe.get("analyse") or ()},
        "environment": environment,
    }
    path = plan.root / "tables" / f"{plan.name}.json"
    make_folder(path.parent)
    replace(path, json.dumps(made, indent=1) + "\n")
    return path


def _summary(plan: Plan, folder: Path) -> tuple[Summary, dict[str, Any]]:
    """The figures of the table's methods in a folder, and how its images were drawn."""
    labels = plan.methods(folder)
    lines = [result for result in iter_results(folder) if result.method in labels]
    if {result.method for result in lines} != set(labels):
        raise StoreError(f"{folder} lacks images of the table's methods", "a complete evaluation", "run it again")
    config = read_settings(folder)["settings"]["config"]
    return summarize(lines, seed=config["seed"]), config


def _against(plan: Plan, cell: Cell) -> dict[str, Any]:
    """Gains over the row named in `paper: against:`, metric -> interval; empty without one or for that row itself.

    The other row may have been sampled otherwise: images are paired by prompt and seed all the same.
    """
    row = (plan.recipe.get("paper") or {}).get("against")
    other = next((c for c in plan.cells if (c.group, c.row) == (cell.group, row)), None)
    if other is None or (other.evaluation, other.method) == (cell.evaluation, cell.method):
        return {}
    both = [(other, BASELINE), (cell, "row")]
    lines = [
        replaced(result, method=name)
        for place, name in both
        for result in iter_results(place.evaluation)
        if result.method == place.method
    ]
    metrics = summarize(lines).methods["row"].metrics
    return {metric: asdict(row.against.gain) for metric, row in metrics.items() if row.against}


def _cell(plan: Plan, cell: Cell, summary: Summary, config: dict[str, Any]) -> dict[str, Any]:
    method = summary.methods[cell.method]
    return {
        "group": cell.group,
        "row": cell.row,
        "group_title": cell.group_title,
        "row_title": cell.row_title,
        "method": cell.method,
        "prompts": summary.prompts,
        **{key: config[key] for key in ("guidance_scale", "num_inference_steps")},
        **{key: getattr(method, key) for key in COSTS},
        "metrics": {metric: row_dict(replaced(row, kinds=None)) for metric, row in method.metrics.items()},
        "training": training(plan, cell),
    }


def training(plan: Plan, cell: Cell) -> dict[str, Any] | None:
    """What the row's NPNet was trained on: pairs, kept pairs, share dropped by the filter, steps, share explained."""
    if cell.npd is None or cell.npnet is None:
        return None
    settings = plan.stages[cell.npnet].options["settings"]
    npd = Npd(npd_folder(plan, cell.npd))
    chosen = PairFilter(tuple(settings.filter_scorers), settings.margin, settings.combine)
    usable, kept = int(npd.usable().sum()), len(npd.select(chosen))
    metrics, fix = cell.npnet / "metrics.jsonl", "delete the folder and run the recipe again"
    rows = [row for _, row in read_lines(metrics, dict, fix)]
    last: dict[str, Any] = rows[-1] if rows else {}
    lacks = [name for name in ("step", "best") if type(last.get(name)) not in (int, float)]
    if lacks:
        raise StoreError(f"the last line of {metrics} tells no {', '.join(lacks)}", "a finished training", fix)
    return {
        "filter_scorers": list(settings.filter_scorers),
        "margin": settings.margin,
        "pairs": usable,
        "kept": kept,
        "dropped": 1 - kept / usable,
        "limit": settings.max_pairs,
        "steps": last["step"],
        "explained": last["best"],
    }
