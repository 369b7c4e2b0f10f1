"""From the settings of a stage in a recipe to the keyword arguments of its command, read as on the command line."""

from __future__ import annotations

import functools
import os
import re
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any

from noiseprompt.cli.options import option_types, read_options, refuse
from noiseprompt.cli.sharing import grouped
from noiseprompt.core.errors import ConfigError, InputError, NoisepromptError
from noiseprompt.core.places import check_folder, expanded
from noiseprompt.core.ranges import misfit, shown
from noiseprompt.core.specs import split_specs
from noiseprompt.methods.base import MethodSpec
from noiseprompt.methods.table import METHODS
from noiseprompt.prompts.load import load_prompts, read_seeds, source_kind
from noiseprompt.scorers.base import check_scorers
from noiseprompt.shapes import world
from noiseprompt.stages.collect.settings import DRAWN, OF_PROMPTS
from noiseprompt.stages.evaluate.plan import check_labels
from noiseprompt.stages.train.settings import check_sizes

_OWN_NET = re.compile(r"\{npnet\}")
_NET = re.compile(r"\{npnet(:[^}]+)?\}")
_WHERE = "folders come from the recipe's `out` or from --out: leave it out"
FOLDERS = {"collect": {"out": _WHERE}, "train": {"npd": _WHERE, "out": _WHERE}, "evaluate": {"out": _WHERE}}
"""Stage -> options that a recipe may not have, and why."""


def read_stage(
    stage: str, options: Any, where: str = "", reserved: Mapping[str, str] | None = None
) -> tuple[dict[str, Any], list[str]]:
    """The typed options of a stage, and what is wrong with the others.

    Args:
        stage: "collect", "train" or "evaluate".
        options: a mapping as on the command line, or None.
        where: written before each mistake.
        reserved: as of `read_options`; `FOLDERS` of the stage are added.
    """
    options = {} if options is None else options
    if not isinstance(options, Mapping):
        return {}, [f"{where}{stage}: {shown(options)} (expected a mapping of options)"]
    place, apart = f"{where}{stage}: ", {**FOLDERS[stage], **(reserved or {})}
    given, mistakes = read_options(_parser(stage), options, place, apart)
    mistakes += method_mistakes(given.get("methods"), f"{place}methods: ", compared=True)
    for option in ("scorers", "reward", "validation_scorers"):
        mistakes += _complaint(f"{place}{option}: ", functools.partial(check_scorers, given.get(option) or ()))
    mistakes += _complaint(place, functools.partial(check_sizes, given.get("sizes") or {}))
    return given, mistakes


def method_mistakes(methods: str | None, where: str, compared: bool = False) -> list[str]:
    """What is wrong with a list of methods; {npnet} stands for any folder.

    Args:
        compared: they are those of one evaluation: each once, the baseline among them, and no network but {npnet}.
    """

    def parse() -> None:
        known = _OWN_NET if compared else _NET
        labels = [MethodSpec.parse(text).label for text in split_specs(known.sub("npnet", methods or ""), METHODS)]
        if strange := [text for text in re.findall(r"\$?\{+[^{},]*\}*", methods or "") if not known.fullmatch(text)]:
            raise InputError(strange[0], "{npnet}" if compared else "{npnet} or {npnet:ROW}")
        if further := re.search(rf"{_NET.pattern}[^,+\s\]][^,+]*", methods or ""):
            raise InputError(further[0], "{npnet} alone: it stands for the folder of the network")
        if compared:
            check_labels(labels)

    return [] if methods is None or methods.strip() == "all" else _complaint(where, parse)


def text_mistakes(key: str, value: Any, where: str = "") -> list[str]:
    """What is wrong with a setting that is the name of a model or a folder."""
    expected = misfit(str, value) or ("" if value.strip() else "a name")
    return [f"{where}{key}: {shown(value)} (expected {expected})"] if expected else []


def folder_mistakes(folder: str | Path, where: str) -> list[str]:
    """What is wrong with a folder that stages are to write below: an address, or what cannot be made."""
    return _complaint(where, lambda: check_folder(folder))


def _complaint(where: str, check: Callable[[], object]) -> list[str]:
    try:
        check()
    except NoisepromptError as error:
        return [f"{where}{str(error).rstrip('.')}"]
    return []


def known_options(stage: str) -> dict[str, Any]:
    """Options of a stage's command: name -> annotation."""
    return option_types(_parser(stage))


def needed_mistakes(stage: str, given: Mapping[str, Any], where: str = "") -> list[str]:
    """Options that the command requires and that neither a recipe nor its folders give."""
    parser = _parser(stage)
    needed = [a.dest for a in parser._actions if a.required and a.dest not in FOLDERS[stage]]
    missing = [name for name in needed if given.get(name) is None]
    if stage == "collect" and given.get("prompts") is None and given.get("pictures") in (None, "", *OF_PROMPTS):
        missing.append("prompts")
    mistakes = []
    if stage == "train" and by_reward(given) and given.get("prompts") is None:
        missing.append("prompts")
    elif stage == "train" and not by_reward(given):
        without = [name for name in ("prompts", "column", "n") if given.get(name) is not None]
        mistakes = [f"{where}train: {name} without objective: reward" for name in without]
    return [f"{where}{stage}: {name} is missing" for name in missing] + mistakes


def filter_mistake(collect: Mapping[str, Any], train: Mapping[str, Any], model: str = "") -> str:
    """That a training filters pairs by scores that the collection before it does not make, or "".

    Args:
        collect, train: options of the two, as given.
        model: that collects, "" where nothing is collected: the embedded world has a scorer that need not be named.
    """
    share, scorers, made = collect.get("scored_share"), train.get("filter_scorers"), collect.get("scorers")
    if not scorers:
        return ""
    if share is not None and share < 1:
        return f"train: filter_scorers with collect: scored_share {shown(share)} (expected 1, every pair scored)"
    names = [name.partition(":")[0] for name in (split_specs(made) if isinstance(made, str) else made or ())]
    if made is None and world.is_world(model) and collect.get("pictures") in (None, "", DRAWN):
        names = [world.PREFERENCE]
    lacking = [name for name in scorers if names and name not in names]
    return f"train: filter_scorers {', '.join(lacking)} (expected some of collect: {', '.join(names)})" * bool(lacking)


def prompt_mistakes(stage: str, call: Mapping[str, Any]) -> list[str]:
    """What is wrong with the prompts of a stage, which may begin after hours of others; published sets are not fetched.

    Args:
        call: keyword arguments of its command.
    """
    source, model = str(call.get("prompts") or ""), str(call.get("model") or "")
    if not source or source_kind(source, model) == "set":
        return []
    seeds = call.get("seed_file")
    if seeds and (wrong := _complaint(f"{stage}: seed_file: ", lambda: read_seeds(expanded(seeds)))):
        return wrong
    wanted = {"column": call.get("column"), "limit": call.get("n"), "seeds": seeds}
    return _complaint(f"{stage}: prompts: ", functools.partial(load_prompts, source, model=model, **wanted))


_PLACES = ("model", "unet", "controlnet", "control_image", "init", "reference", "pictures")
"""Options that may name a place on disk, where others name a repository of the hub."""


def place_mistakes(stage: str, given: Mapping[str, Any], folder: Path) -> list[str]:
    """Places that a stage names and that are not there; what may be an id of the hub is not asked for.

    Args:
        given: options of the stage, as given.
        folder: of the recipe's results; what lies there an earlier stage may make.
    """
    made = folder.absolute()
    named = [(key, _bare(key, str(given[key]))) for key in _PLACES if given.get(key)]
    for key in ("scorers", "methods", "reward", "validation_scorers"):
        named += [(key, place) for place in re.findall(r"\bpath=([^,{}'\]]+)(?=[,'\]]|$)", str(given.get(key) or ""))]
    told = [(key, _absent(place, made)) for key, place in named if _is_place(key, place)]
    return [f"{stage}: {key}: {why}" for key, why in told if why]


def _absent(place: str, made: Path) -> str:
    """Why there is nothing in a place, "" where there is something or an earlier stage may make it."""
    if not place.strip():
        return f"{place!r} (expected a name)"
    try:
        path = expanded(place)
    except NoisepromptError as error:
        return str(error).rstrip(".")
    if os.path.lexists(path) or Path(os.path.abspath(path)).is_relative_to(made):
        return ""
    return f"there is no {place}"


def _bare(key: str, place: str) -> str:
    """Without the file, subfolder or weight that some take after a colon."""
    return place if key in ("control_image", "reference") or "://" in place else place.partition(":")[0]


def _is_place(key: str, place: str) -> bool:
    """Whether it can be no id of the hub, which has two names, nor a network of the world."""
    bare = key in ("init", "methods") and not {"/", "{"} & {*place} and not world.is_world(place.partition(":")[0])
    return bare or key in ("control_image", "reference") or place.startswith(("/", "./", "../"))


def objective_mistake(collect: Mapping[str, Any], train: Mapping[str, Any]) -> str:
    """That a training learns from another kind of data set than the collection before it makes, or ""."""
    objective, pictures = train.get("objective") or "noise", bool(collect.get("pictures"))
    if objective == "reward" or pictures == (objective == "picture"):
        return ""
    kind, other = ("pictures", "picture") if pictures else ("pairs of noises", "noise")
    return f"train: objective {objective} after a collect of {kind} (expected {other}, or a collect of the other kind)"


def by_reward(given: Mapping[str, Any]) -> bool:
    """Whether the options of a training are of one from prompts and scorers, without a data set."""
    return getattr(given.get("settings"), "objective", given.get("objective")) == "reward"


def stage_call(stage: str, options: Any, model: str, name: str = "recipe") -> dict[str, Any]:
    """Keyword arguments of the command of that name, its settings as a dataclass. Folders are the caller's.

    Args:
        stage: "collect", "train" or "evaluate".
        options: as on the command line.
        model: unless `options` has another.
        name: of the recipe, for messages.

    Raises:
        ConfigError: everything that is wrong with the options.
    """
    given, mistakes = read_stage(stage, options)
    refuse(name, mistakes + needed_mistakes(stage, given))
    return as_call(stage, given, model)


def as_call(stage: str, given: Mapping[str, Any], model: str) -> dict[str, Any]:
    """Keyword arguments of a stage's command from its typed options.

    Raises:
        ConfigError: options that do not go together, with the stage.
    """
    try:
        return {"model": model, **grouped(_command(stage), given)}
    except InputError as error:
        raise ConfigError(f"{stage}: {error.came}", error.expected, error.fix) from error


def _command(stage: str) -> Any:
    from noiseprompt.cli.table import COMMANDS

    return COMMANDS[stage]


def _parser(stage: str) -> Any:
    from noiseprompt.cli.entry import option_parser

    if stage not in FOLDERS:
        raise InputError(f"stage {stage!r}", f"one of {', '.join(FOLDERS)}")
    return option_parser(_command(stage))
