"""What is wrong with a recipe with rows, layer by layer, found before a plan is made of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from noiseprompt.cli.options import refuse
from noiseprompt.core.ranges import ANY, NOT_NEGATIVE, misfit, shown
from noiseprompt.core.texts import spelt
from noiseprompt.recipes.calls import known_options, method_mistakes, read_stage, text_mistakes
from noiseprompt.recipes.paper import paper_mistakes

STAGES = ("collect", "train", "evaluate")
SETTINGS = {*STAGES, "model"}
_RECIPE = SETTINGS | {"about", "note", "minutes", "paper", "rows", "groups", "analyse", "smoke", "on"}
_GROUP = SETTINGS | {"title", "only", "note", "on"}
_ROW = _GROUP | {"method", "hidden"}
_DEFAULTS = SETTINGS | {"about", "smoke", "reuse", "show"}

_KINDS: dict[str, Any] = {
    **dict.fromkeys(("paper", "rows", "groups", "smoke", "on"), dict[str, Any]),
    **dict.fromkeys(("analyse", "only", "reuse", "show"), list[str]),
    **dict.fromkeys(("model", "method", "about", "note"), str),
    "title": str | float,
    "hidden": bool,
    "minutes": float,
}
_OF_TABLES = {
    "evaluate": {
        "methods": "the methods of a table are those of its rows: leave it out",
        "report": "a table is its own report: leave it out",
    }
}


def check_table(data: Mapping[str, Any], defaults: Mapping[str, Any], recipe: Path, path: Path) -> None:
    """Refuse a recipe, and the file of a model beside it, with everything that is wrong with either.

    Args:
        data, defaults: content of the two files.
        recipe, path: the files, for the message.

    Raises:
        ConfigError: unknown keys, options that do not fit, methods that do not parse.
    """
    own, shared = _mistakes(data, _RECIPE), _mistakes(defaults, _DEFAULTS)
    refuse(*((recipe, [*own, *(f"{path}: {text}" for text in shared)]) if own else (path, shared)))


def _mistakes(layer: Any, known: set[str], where: str = "") -> list[str]:
    if layer is None:
        return []
    if not isinstance(layer, Mapping):
        return [f"{where}{shown(layer)} (expected a mapping of settings)"]
    unknown = ", ".join(spelt(key) for key in layer if key not in known)
    found = [f"{where}no setting {unknown} (expected some of {', '.join(sorted(known))})"] * bool(unknown)
    for key, value in layer.items():
        if key not in known or (value is None and key != "rows"):
            continue
        if value is None:
            found.append(f"{where}rows: nothing (expected at least one row)")
        elif expected := misfit(_KINDS.get(key, Any), value, NOT_NEGATIVE if key == "minutes" else ANY):
            found.append(f"{where}{key}: {shown(value)} (expected {expected})")
        else:
            found += _inside(key, value, known, where)
    return found


def _inside(key: str, value: Any, known: set[str], where: str) -> list[str]:
    """What is wrong with one setting that is of the right kind."""
    if key in STAGES:
        return _stage(key, value, where)
    if key == "model":
        return text_mistakes(key, value, where)
    if key == "paper":
        return paper_mistakes(value, f"{where}paper: ")
    if key == "method":
        return method_mistakes(value, f"{where}method: ")
    if key == "smoke":
        return _mistakes(value, _RECIPE if "rows" in known else set(STAGES), f"{where}smoke: ")
    layers = {"on": known, "groups": _GROUP, "rows": _ROW}
    if key not in layers:
        return []
    if key == "rows" and not value:
        return [f"{where}rows: none (expected at least one row)"]
    bare = [name for name, layer in value.items() if layer is None] if key == "rows" else []
    if bare:
        return [f"{where}rows: {name}: nothing (expected a mapping, or {{}} for all as it is)" for name in bare]
    return [text for name, layer in value.items() for text in _mistakes(layer, layers[key], f"{where}{key}: {name}: ")]


def _stage(name: str, options: Any, where: str) -> list[str]:
    if isinstance(options, Mapping):  # a null takes back what an earlier layer says
        known = known_options(name)
        options = {key: value for key, value in options.items() if value is not None or key not in known}
    return read_stage(name, options, where, _OF_TABLES.get(name))[1]
