"""Options as a user writes them -> typed values: one reading for the command line, `--config` files and recipes.

jsonargparse converts and checks by annotation. Here stands what all three roads share beside it: a list of names or
seeds may be written as one text ("a,b:x=1", "0-7"), what does not fit is told in words, every mistake of a file at
once, and no value names code: jsonargparse would import the module of a `class_path`.
"""

from __future__ import annotations

import argparse
import contextlib
import dataclasses
import difflib
import functools
import json
import types
import typing
from collections.abc import Container, Mapping, Sequence
from pathlib import Path
from typing import Any

from jsonargparse import ArgumentParser
from jsonargparse.typing import register_type

from noiseprompt.cli.annotations import element, settle
from noiseprompt.cli.code import refuse_code
from noiseprompt.core.config import parse_value, parse_yaml, plain_number
from noiseprompt.core.errors import ConfigError, InputError
from noiseprompt.core.places import Address, check_path
from noiseprompt.core.ranges import ANY, limits_of, misfit, shown
from noiseprompt.core.specs import split_specs
from noiseprompt.core.texts import in_yaml, spelt, unwritable

_RENAMED = {
    "sampling_steps": "num_inference_steps (what had that name, the grid of re-denoise, is redenoise_steps)",
}
"""Former name of an option -> what to write now."""
_NO_OPTIONS = ("help", "config", "print_config")
_WORDS = {
    str: "a text",
    int: "a whole number",
    float: "a number",
    bool: "true or false",
    Path: "a path",
    Address: "s3://BUCKET/FOLDER",
    bool | int | float | list[int] | list[str]: "a number, true or false, or a list of numbers or of names",
}
_LISTS = {
    str: 'names such as "a,b:x=1" or [a, b]',
    int: 'whole numbers such as "0-7" or [1, 5]',
    Address | Path: 'paths such as "a,b" or [a, b]',
}


register_type(Address, str, Address)


def option_types(parser: Any) -> dict[str, Any]:
    """The options of a parser: name -> annotation."""
    return {action.dest: _annotation(action) for action in parser._actions if action.dest not in _NO_OPTIONS}


def _annotation(action: Any) -> Any:
    return getattr(action, "_typehint", {0: bool, "+": list[str]}.get(action.nargs, str))


def read_options(
    parser: Any, data: Mapping[str, Any], where: str = "", reserved: Mapping[str, str] | None = None
) -> tuple[dict[str, Any], list[str]]:
    """Options given as plain data, each converted as on the command line.

    Args:
        parser: of one command; its required options may be missing here.
        data: as read from YAML; a null is a value where the option may be null, and nothing for a required one.
        where: written before each mistake, such as "train: ".
        reserved: options that may not be given here -> why.

    Returns:
        the typed values, and a text for each mistake.
    """
    known, given, mistakes = option_types(parser), {}, []
    limits = {action.dest: getattr(action, "limits", ANY) for action in parser._actions}
    for key, value in data.items():
        if key in (reserved or {}):
            mistakes.append(f"{where}{key}: {reserved[key]}")  # type: ignore[index]
        elif now := renamed(str(key), known):
            mistakes.append(f"{where}{key} is {now} now")
        elif key not in known:
            close = difflib.get_close_matches(str(key), known, n=1)
            named = spelt(key) if isinstance(key, str) and key.strip() else shown(key)
            mistakes.append(f"{where}no option {named}" + (f" (did you mean {close[0]}?)" if close else ""))
        elif value is not None or type(None) in typing.get_args(known[key]):
            try:
                given[key] = _held(parser, key, known[key], value, limits[key])
            except InputError as error:
                mistakes.append(f"{where}{key}: {error.came} (expected {error.expected})")
        elif parser.get_default(key) is not None:
            mistakes.append(f"{where}{key}: nothing (expected {wanted(known[key])})")
    return given, mistakes


def _held(parser: Any, key: str, annotation: Any, value: Any, limits: Any) -> Any:
    if isinstance(value, str) and (bad := unwritable(value)):
        raise InputError(_shown(value), f"a text without {bad}")
    each = element(annotation)
    kinds = (annotation, *typing.get_args(annotation), each, *typing.get_args(each))
    if Path in kinds and isinstance(value, str):
        for part in [value] if each is None else value.split(","):
            check_path(part.strip(), Address in kinds)
    if typing.get_origin(annotation) is dict and isinstance(entries := _structure(annotation, value), Mapping):
        _check_entries(entries, typing.get_args(annotation)[1])
    typed = _typed(parser, key, annotation, value)
    if typed is None and isinstance(value, str) and value.strip() != "null":  # "~" or "# x", which YAML has as null
        raise InputError(_shown(value), wanted(annotation))
    if typed == [] and parser.get_default(key) is None:  # nothing named, where none is no choice
        raise InputError("[]", "at least one")
    if expected := misfit(annotation, typed, limits):
        raise InputError(
            _shown(value), f"{wanted(annotation)}, at least one" if dataclasses.is_dataclass(each) else expected
        )
    return typed


def _check_entries(value: Mapping[Any, Any], kind: Any) -> None:
    """Name the first entry of a mapping that does not fit: shown whole, it would be lost in it.

    Raises:
        InputError: with its key.
    """
    refuse_code(value)
    for name, one in value.items():
        if not isinstance(name, str) or misfit(kind, one):
            raise InputError(f"{name}: {_shown(one)}", wanted(kind))


def read_option(parser: Any, key: str, word: str) -> Any:
    """The value of one option as a word of the command line.

    Raises:
        InputError: with the value and what was expected.
    """
    annotation = option_types(parser)[key]
    limits = next(getattr(action, "limits", ANY) for action in parser._actions if action.dest == key)
    known = {"true": True, "false": False, **({"null": None} if type(None) in typing.get_args(annotation) else {})}
    value = known.get(word.lower(), word) if _kinds(annotation) == {bool} else word
    return _held(parser, key, annotation, value, limits)


def renamed(key: str, known: Container[str]) -> str:
    """What to write for an option that is called by a former name, or ""."""
    now = _RENAMED.get(key, "")
    return now if now.partition(" ")[0] in known and key not in known else ""


def refuse(name: Path | str, mistakes: Sequence[str]) -> None:
    """Raise one error with all mistakes of a file, if there are any.

    Raises:
        ConfigError: there are.
    """
    if mistakes:
        raise ConfigError(f"{name}: {'; '.join(mistakes)}", "", "nothing was run")


def wanted(annotation: Any) -> str:
    """What an option takes, in words; null is not mentioned."""
    origin, inner = typing.get_origin(annotation), typing.get_args(annotation)
    if dataclasses.is_dataclass(element(annotation)):
        return f"a list of mappings of {', '.join(f.name for f in dataclasses.fields(element(annotation)))}"
    if origin in (typing.Union, types.UnionType):
        return _WORDS.get(annotation) or " or ".join(wanted(kind) for kind in inner if kind is not type(None))
    if origin is typing.Literal:
        return " or ".join(map(str, inner))
    if origin is tuple and Ellipsis not in inner:
        return f"a list of {len(inner)}, each {wanted(inner[0])}, such as 0,5 or [0, 5]"
    if origin is dict:
        return f"a mapping of names, each to {wanted(inner[1])}"
    return _LISTS.get(element(annotation), _WORDS.get(annotation, "another value"))  # type: ignore[arg-type]


def spelled(annotation: Any, value: Any) -> Any:
    """A list of names or seeds that is written as one text, as a list; a number that is written as a text, as a number;
    anything else as it is.

    Raises:
        InputError: no names, no seeds, no number, records that are wrong, or a value that names code.
    """
    kind = element(annotation)
    if isinstance(value, str) and value.strip() != "null" and _kinds(annotation) <= {int, float}:
        return _number(annotation, value)
    if _is_structure(annotation):
        value = _structure(annotation, value)
        refuse_code(value)
        return _records(kind, value) if dataclasses.is_dataclass(kind) else value
    if isinstance(value, str) and value.strip()[:1] == "[" and kind is not None:
        return _list(value)
    if isinstance(value, bool) or (isinstance(value, str) and value.strip() == "null"):
        return value
    if _is_pair(annotation) and isinstance(value, str) and "," in value and "[" not in value:
        return [_number(annotation, part.strip(), value) for part in value.split(",")]
    if kind is str and isinstance(value, str):
        return split_specs(value)
    if kind == Address | Path and isinstance(value, str | Path):
        return [part.strip() for part in str(value).split(",")]
    if kind is int and isinstance(value, str | int):
        from noiseprompt.stages.generate.settings import parse_seeds

        return list(parse_seeds(str(value)))
    return value


def _kinds(annotation: Any) -> set[Any]:
    """The types of a value, less that of null."""
    is_union = typing.get_origin(annotation) in (typing.Union, types.UnionType)
    return {*(typing.get_args(annotation) if is_union else (annotation,))} - {type(None)}


def _is_pair(annotation: Any) -> bool:
    """Whether a value is so many whole numbers and no more."""
    return typing.get_origin(annotation) is tuple and set(typing.get_args(annotation)) == {int}


def _number(annotation: Any, word: str, whole: str = "") -> int | float:
    try:
        number = plain_number(word.strip())
    except ValueError:  # thousands of digits
        number = None
    if number is None:
        raise InputError(_shown(whole or word), wanted(annotation))
    return number


def _list(word: str) -> Any:
    """A list written as YAML; the text itself where it is none, which the parser refuses."""
    with contextlib.suppress(InputError):
        return parse_value(word, "a list")
    return word


def spelled_words(words: Sequence[str], known: Mapping[str, Any]) -> list[str]:
    """Words of a command line whose "--scorers a,b" and "--seeds=0-7" are lists as the parser reads them.

    Raises:
        InputError: as `spelled`, or an option that has another name now.
    """
    made: list[str] = []
    for word in words:
        name, equals, value = word.partition("=")
        if word.startswith("--") and (now := renamed(name[2:], known)):
            raise InputError(f"option {name}", f"its new name --{now}")
        if word.startswith("--"):
            refuse_code(dict.fromkeys(name[2:].split(".")))  # "--sizes.a.class_path=" is a mapping too
        before = made[-1] if made else ""
        if word.startswith("--"):
            made.append(f"{name}={_spelled_word(name, known.get(name[2:]), value)}" if equals else word)
        else:
            made.append(_spelled_word(before, known.get(before[2:]) if before.startswith("--") else None, word))
    return made


def _spelled_word(option: str, annotation: Any, word: str) -> str:
    if annotation is None:
        return word
    try:
        value = spelled(annotation, word)
    except InputError as error:
        raise InputError(f"{option} {error.came}", error.expected, error.fix) from error
    return value if isinstance(value, str) else in_yaml(value)


def _is_structure(annotation: Any) -> bool:
    """Whether its values are mappings, or lists of records."""
    return typing.get_origin(annotation) is dict or dataclasses.is_dataclass(element(annotation))


def _structure(annotation: Any, value: Any) -> Any:
    """A mapping or list of mappings, from its YAML where it is a text."""
    return parse_yaml(f"value: {value}", "a value")["value"] if isinstance(value, str) else value


def _records(kind: Any, value: Any) -> Any:
    """Plain records, checked.

    Raises:
        InputError: everything that is wrong with them.
    """
    if not isinstance(value, list) or not all(isinstance(one, Mapping) for one in value):
        raise InputError(_shown(value), wanted(tuple[kind, ...]))
    mistakes = [text for i, one in enumerate(value, 1) for text in _record(kind, one, f"number {i}: ")[1]]
    if mistakes:
        raise InputError("; ".join(mistakes), wanted(tuple[kind, ...]))
    return value


def _record(kind: Any, data: Mapping[str, Any], where: str = "") -> tuple[Any, list[str]]:
    """The dataclass of plain data, None where something is wrong; and what."""
    parser = record_parser(kind)
    given, mistakes = read_options(parser, data, where)
    mistakes += [f"{where}{a.dest} is missing" for a in parser._actions if a.required and a.dest not in data]
    return (None if mistakes else kind(**given)), mistakes


@functools.cache
def record_parser(kind: Any) -> ArgumentParser:
    """A parser of the fields of a dataclass."""
    parser = ArgumentParser(exit_on_error=False)
    add_record(parser, kind)
    return parser


def add_record(parser: Any, cls: Any) -> None:
    """The fields of a settings record as options, each with its limits."""
    parser.add_class_arguments(settle(cls), None)
    limits = limits_of(cls)
    for action in parser._actions:
        if action.dest in limits:
            action.limits = limits[action.dest]


def register_records(cls: Any) -> None:
    """Make jsonargparse read dataclasses in lists of `cls` as values; as classes they could be named by import path."""

    def read(kind: Any, data: Any) -> Any:
        if not isinstance(data, Mapping):
            raise ValueError(wanted(kind))
        record, mistakes = _record(kind, data)
        if mistakes:
            raise ValueError("; ".join(mistakes))
        return record

    for annotation in typing.get_type_hints(cls).values():
        kind = element(annotation)
        if dataclasses.is_dataclass(kind):
            register_type(kind, dataclasses.asdict, functools.partial(read, kind))  # type: ignore[arg-type]


def _typed(parser: Any, key: str, annotation: Any, value: Any) -> Any:
    problem = InputError(_shown(value), wanted(annotation))
    if _kinds(annotation) == {bool} and not isinstance(value, bool | None):  # "yes" passes the parser for a flag
        raise problem
    try:
        found = parser.parse_object({key: spelled(annotation, value)}, defaults=False, _skip_required=True)
    except (argparse.ArgumentError, OverflowError) as error:  # a whole number that is no float
        raise problem from error
    return found[key]


def _shown(value: Any) -> str:
    text = json.dumps(value, ensure_ascii=False, default=str)
    return text if len(text) <= 80 else text[:77] + "..."
