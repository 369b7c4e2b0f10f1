"""What is wrong with a recipe with rows, layer by layer, found before a plan is made of it."""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import Any

from noiseprompt.cli.options import refuse
from noiseprompt.recipes.calls import known_options, method_mistakes, read_stage

STAGES = ("collect", "train", "evaluate")
SETTINGS = {*STAGES, "model"}
_RECIPE = SETTINGS | {"about", "note", "minutes", "paper", "rows", "groups", "analyse", "smoke", "on"}
_GROUP = SETTINGS | {"title", "only", "note", "on"}
_ROW = _GROUP | {"method", "hidden"}
_DEFAULTS = SETTINGS | {"about", "smoke", "reuse", "show"}

_KINDS: dict[Any, tuple[str, ...]] = {
    dict: ("paper", "rows", "groups", "smoke", "on"),
    list: ("analyse", "only", "reuse", "show"),
    str: ("model", "method"),
    bool: ("hidden",),
}
_WORDS = {dict: "a mapping", list: "a list", str: "a text", bool: "true or false"}
_KIND_OF = {key: kind for kind, keys in _KINDS.items() for key in keys}
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
        return [f"{where}{layer!r} (expected a mapping of settings)"]
    unknown = [f"{key} (expected some of {', '.join(sorted(known))})" for key in layer if key not in known]
    found = [f"{where}no setting {text}" for text in unknown]
    for key, value in layer.items():
        kind = _KIND_OF.get(key)
        if key not in known or value is None:
            continue
        if kind is not None and not isinstance(value, kind):
            found.append(f"{where}{key}: {value!r} (expected {_WORDS[kind]})")
        else:
            found += _inside(key, value, known, where)
    return found


def _inside(key: str, value: Any, known: set[str], where: str) -> list[str]:
    """What is wrong with one setting that is of the right kind."""
    if key in STAGES:
        return _stage(key, value, where)
    if key == "method":
        return method_mistakes(value, f"{where}method: ")
    if key == "smoke":
        return _mistakes(value, _RECIPE if "rows" in known else set(STAGES), f"{where}smoke: ")
    layers = {"on": known, "groups": _GROUP, "rows": _ROW}
    if key not in layers:
        return []
    return [text for name, layer in value.items() for text in _mistakes(layer, layers[key], f"{where}{key}: {name}: ")]


def _stage(name: str, options: Any, where: str) -> list[str]:
    if isinstance(options, Mapping):  # a null takes back what an earlier layer says
        known = known_options(name)
        options = {key: value for key, value in options.items() if value is not None or key not in known}
    return read_stage(name, options, where, _OF_TABLES.get(name))[1]
