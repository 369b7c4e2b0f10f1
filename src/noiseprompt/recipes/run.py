"""`noiseprompt run RECIPE.yaml`: the whole story, stage after stage, resumable at every one.

A recipe is a YAML mapping: `out`, then any of `collect`, `train`, `evaluate`, each holding the options of the command
of that name. Folders follow from `out`: OUT/npd, OUT/npnet, OUT/evaluation. In `evaluate: methods:` the word {npnet}
stands for the network just trained.

A recipe with `rows` makes one table of the paper instead (`recipes/plan.py` says what it may hold).
"""

from __future__ import annotations

import time
from collections.abc import Mapping
from pathlib import Path
from typing import Any

from noiseprompt.cli.net import account
from noiseprompt.cli.options import refuse
from noiseprompt.cli.progress import conducted
from noiseprompt.cli.table import COMMANDS, Command, resolve
from noiseprompt.cli.together import refuse_several
from noiseprompt.core.errors import ConfigError, NoisepromptError
from noiseprompt.core.places import as_told
from noiseprompt.core.ranges import shown
from noiseprompt.core.texts import spelt
from noiseprompt.recipes.ahead import late_mistakes
from noiseprompt.recipes.calls import (
    as_call,
    by_reward,
    filter_mistake,
    folder_mistakes,
    needed_mistakes,
    objective_mistake,
    place_mistakes,
    prompt_mistakes,
    read_stage,
    text_mistakes,
)
from noiseprompt.recipes.checking import STAGES
from noiseprompt.recipes.plan import Plan, Stage, has_rows, make_plan, read_recipe, recipes_in
from noiseprompt.shapes import world


def run(recipe: Path, out: Path | None = None, on: str = "", smoke: bool = False) -> None:
    """Run a recipe; a stage that is complete is quickly passed over, an interrupted one continues.

    Args:
        recipe: the YAML file, or a folder of recipes with rows, all of which are run.
        out: folder for everything; the recipe's own `out`, or runs/tables, unless given.
        on: for recipes with rows: the model to run on, a name of the folder `on` beside the recipe; "shapes" unless
            given.
        smoke: for recipes with rows: a few prompts and steps, to see that everything works.

    Raises:
        ConfigError: a stage or setting the recipe may not have.
        ModelLoadError: weights or prompts that are not at hand; nothing was run.
        NoisepromptError: one of several recipes failed; the others were run.
        InputError: torchrun started several processes.
    """
    refuse_several("a recipe", "start its training alone by torchrun (noiseprompt train --config), the rest without")
    with conducted():
        _run(Path(recipe), out, on, smoke)


def _run(recipe: Path, out: Path | None, on: str, smoke: bool) -> None:
    if recipe.is_dir():
        _run_all(recipes_in(recipe), out, on, smoke)
        return
    data = read_recipe(recipe)
    if has_rows(data):
        _run_table(recipe, out, on or world.NAME, smoke)
    elif on or smoke:
        raise ConfigError(f"{recipe} with --on or --smoke", "a recipe with rows", "run it without")
    else:
        _run_story(recipe, data, out)


def _run_all(recipes: list[Path], out: Path | None, on: str, smoke: bool) -> None:
    failed: list[str] = []
    for recipe in recipes:
        try:
            run(recipe, out, on, smoke)
        except NoisepromptError as error:
            failed.append(recipe.stem)
            print(f"== {recipe.stem} failed: {error}\n", flush=True)
        except Exception as error:  # the other tables need not wait for a bug in one
            failed.append(recipe.stem)
            if isinstance(error, OSError) and (told := as_told(error)):
                print(f"== {recipe.stem} failed: {told}\n", flush=True)
                continue
            print(f"== {account(error, f'{recipe.stem} failed', out)}\n", flush=True)
    print(f"{len(recipes) - len(failed)} of {len(recipes)} recipes made their table")
    if failed:
        raise NoisepromptError(f"failed: {', '.join(failed)}", "", "their messages stand above; run again to continue")


def _run_table(recipe: Path, out: Path | None, on: str, smoke: bool) -> None:
    from noiseprompt.recipes.analysis import check_analyses
    from noiseprompt.recipes.document import one_table
    from noiseprompt.recipes.gather import gather
    from noiseprompt.recipes.needs import check_needs
    from noiseprompt.recipes.steps import run_stages

    plan = make_plan(recipe, on, smoke=smoke, out=Path(out) if out else None)
    check_analyses(plan)
    check_needs(plan)
    refuse(recipe, late_mistakes([(stage.name, _of_table(plan, stage)) for stage in plan.stages.values()]))
    run_stages(plan)
    made = gather(plan)
    print(one_table(recipe, on, plan.root / "tables"))
    print(f"figures in {made}\n", flush=True)


def _of_table(plan: Plan, stage: Stage) -> dict[str, Any]:
    """The keyword arguments of a stage's command."""
    if stage.name != "evaluate":
        return stage.options
    return {**stage.options, "methods": ",".join(plan.methods(stage.folder))}


def _run_story(recipe: Path, data: dict[str, Any], out: Path | None) -> None:
    calls = story_calls(recipe, data, out)
    refuse(recipe, [text for name, options in calls for text in prompt_mistakes(name, options)])
    refuse(recipe, late_mistakes(calls))
    for name, options in calls:
        started = time.time()
        print(f"== {name}")
        command = COMMANDS[name]
        assert isinstance(command, Command)
        resolve(command.function)(**options)
        print(f"== {name}: {time.time() - started:.0f} s\n")


def story_calls(recipe: Path, data: dict[str, Any], out: Path | None) -> list[tuple[str, dict[str, Any]]]:
    """Each stage with the keyword arguments of its command.

    Args:
        recipe: its file, for messages.
        data: its content.
        out: folder of everything; the recipe's own, or runs/NAME, unless given.

    Raises:
        ConfigError: everything that is wrong with the recipe.
    """
    known = {*STAGES, "out", "model", "about"}
    unknown = [spelt(key) if key.strip() else shown(key) for key in data if key not in known]
    mistakes = [f"no setting {', '.join(unknown)} (expected some of {', '.join(sorted(known))})"] * bool(unknown)
    mistakes += [text for key in ("out", "model") if key in data for text in text_mistakes(key, data[key])]
    mistakes += text_mistakes("about", data.get("about") or "none")
    if not any(name in data for name in STAGES):
        mistakes.append(f"no stage (expected some of {', '.join(STAGES)})")
    written = out or str(data.get("out") or Path("runs") / recipe.stem)
    mistakes += folder_mistakes(written, "out: ") if not mistakes and str(written).strip() else []
    folder = Path(written)
    stages: dict[str, dict[str, Any]] = {}
    for name in STAGES:
        if name in data:
            stages[name], wrong = read_stage(name, data[name])
            mistakes += (wrong or needed_mistakes(name, stages[name])) + place_mistakes(name, stages[name], folder)
    model = str(data.get("model", world.NAME))
    mistakes += _between(stages, model)
    mistakes += _network_mistakes(stages, folder / "npnet" / "best")
    refuse(recipe, mistakes)
    return [(name, _in_folders(name, as_call(name, given, model), folder)) for name, given in stages.items()]


def _between(stages: Mapping[str, Mapping[str, Any]], model: str) -> list[str]:
    """Where a training wants another data set than the collection before it makes."""
    collect, train = stages.get("collect"), stages.get("train", {})
    told = [filter_mistake(collect or {}, train, model if collect is not None else "")]
    if collect is not None and "train" in stages:
        told.append(objective_mistake(collect, train))
    return [text for text in told if text]


def _network_mistakes(stages: Mapping[str, Mapping[str, Any]], best: Path) -> list[str]:
    """What is wrong with the names of the network in a recipe.

    Args:
        stages: their options, as given.
        best: where the recipe's training puts its network.
    """
    mistakes, init = [], str(stages.get("train", {}).get("init") or "")
    if "{" in init:
        mistakes.append(f"train: init: {init} (expected a folder or hub id: a training begins from another's network)")
    if "{npnet}" in str(stages.get("evaluate", {}).get("methods")) and "train" not in stages and not best.is_dir():
        mistakes.append(f"evaluate: methods: {{npnet}} without train (expected such a stage, or a network in {best})")
    return mistakes


def _in_folders(stage: str, call: dict[str, Any], folder: Path) -> dict[str, Any]:
    """The call with the folders of its stage; {npnet} becomes the network just trained."""
    pairs = {} if by_reward(call) else {"npd": [folder / "npd"]}
    folders = {"collect": {"out": folder / "npd"}, "train": {**pairs, "out": folder / "npnet"}}
    if "methods" in call:
        call = {**call, "methods": call["methods"].replace("{npnet}", str(folder / "npnet" / "best"))}
    return {**call, **folders.get(stage, {"out": folder / "evaluation"})}
