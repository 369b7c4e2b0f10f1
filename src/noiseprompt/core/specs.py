""" "name:key=value,key=value": how methods, scorers, feature extractors and schedulers are named with their options.

Values are converted by the annotations of whatever takes them; a message lists the options there are.
"""

from __future__ import annotations

import contextlib
import inspect
import sys
import types
import typing
from collections.abc import Container, Mapping
from typing import Any

from noiseprompt.core.config import parse_value, plain_number
from noiseprompt.core.errors import ConfigError, InputError
from noiseprompt.core.registry import Registry


def make(registry: Registry, spec: str) -> Any:
    """Build what `spec` names; options are those of its constructor.

    Raises:
        UnknownNameError: no such name.
        ConfigError: an option out of its range.
        InputError: as `spec_options`, or an option that it cannot do without is not there.
    """
    name = split_spec(spec)[0]
    target = registry.get(name)
    given = spec_options(registry.noun, spec, option_types(target))
    check_needed(registry.noun, name, target, given)
    try:
        return target(**given)
    except ConfigError as error:
        if error.came.partition(" ")[0] in given:  # an option that a command has too, such as batch_size
            raise ConfigError(f"{name}:{error.came}", error.expected, error.fix) from error
        raise


def check_needed(noun: str, name: str, target: Any, given: Container[str]) -> None:
    """Refuse to build what `target` cannot do without being told.

    Args:
        given: the options that are.

    Raises:
        InputError: an option without a default is not among them.
    """
    known = option_types(target)
    parameters = inspect.signature(target).parameters if known else {}
    needed = [key for key in known or () if parameters[key].default is inspect.Parameter.empty]
    if lacking := [key for key in needed if key not in given]:
        expected = f'"{name}:{",".join(f"{key}=VALUE" for key in lacking)}"'
        raise InputError(f"the {noun} {name!r} without {', '.join(lacking)}", expected)


def spec_options(noun: str, spec: str, known: Mapping[str, Any] | None) -> dict[str, Any]:
    """The options of a spec, converted.

    Args:
        noun: what is named, for messages ("scorer").
        known: option -> annotation; None where any option is taken, as text. A flag ("swap") is an option of type bool.

    Raises:
        InputError: an option that is not known, twice, without a value, of another type, or none where one is begun.
    """
    name, parts = split_spec(spec)
    _, colon, rest = spec.strip().partition(":")
    if colon and not all(part.strip() for part in rest.split(",")):
        raise InputError(f"an empty option in {spec!r:.80}", f'"{name}" alone, or "{name}:key=value"')
    given: dict[str, Any] = {}
    for part, key, value in parts:
        hint = str if known is None else known.get(key)
        if hint is None or (value is None and hint is not bool):
            expected = f"some of {listing(known)}" if known else "no options" if known is not None else "key=value"
            fix = f'write "{name}:key=value"' if known is None or known else ""
            if part.isdecimal() and given:  # 0,5
                fix = "write numbers with a point, as in 0.5, and each option as key=value"
            raise InputError(f"option {part!r} of the {noun} {name!r}", expected, fix)
        if key in given:
            raise InputError(f"option {key!r} twice in {spec!r}", "each option once")
        given[key] = convert(f"{name}:{key}", "true" if value is None else value, hint)
    return given


def option_types(target: Any) -> dict[str, Any] | None:
    """Option -> annotation of a class or function; None where any option is taken."""
    try:
        parameters = inspect.signature(target).parameters.values()
        hints = typing.get_type_hints(target.__init__ if inspect.isclass(target) else target)
    except (TypeError, ValueError, NameError):  # built in C, or annotated with what is not there
        return None
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return None
    return {p.name: hints.get(p.name, str) for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}


def listing(known: Mapping[str, Any]) -> str:
    """ "strength (a number), swap (a flag)"."""
    return ", ".join(f"{key} ({' or '.join(dict.fromkeys(map(_words, _kinds(hint))))})" for key, hint in known.items())


def convert(what: str, text: str, hint: Any) -> Any:
    """What a text stands for, by annotation: true or false, a whole or finite number, a word of a Literal, or the text.

    Of a union the first that takes it, text last; None is left out of account. `Any` is as YAML has it.

    Args:
        what: for messages, such as "npnet:strength".

    Raises:
        InputError: the annotation does not take it, or an empty text.
    """
    kinds = _kinds(hint)
    for kind in kinds:
        with contextlib.suppress(ValueError, KeyError):
            return _value(kind, text)
    words = ("true, false or the name alone" if kind is bool else _words(kind) for kind in kinds)
    raise InputError(f"{what} is {text!r:.80}", " or ".join(dict.fromkeys(words)))


def _kinds(hint: Any) -> list[Any]:
    union = typing.get_origin(hint) in (typing.Union, types.UnionType)
    kinds = [kind for kind in (typing.get_args(hint) if union else (hint,)) if kind is not type(None)]
    return sorted(kinds, key=_is_text)


def _is_text(kind: Any) -> bool:
    return kind not in (bool, int, float, Any) and typing.get_origin(kind) is not typing.Literal


def _words(kind: Any) -> str:
    if typing.get_origin(kind) is typing.Literal:
        return " or ".join(map(str, typing.get_args(kind)))
    return {float: "a number", int: "an integer", bool: "a flag", Any: "a value"}.get(kind, "text")


def _value(kind: Any, text: str) -> Any:
    """Raises KeyError or ValueError where it does not fit."""
    if typing.get_origin(kind) is typing.Literal:
        return {str(word): word for word in typing.get_args(kind)}[text]
    if kind is bool:
        return {"true": True, "false": False}[text.lower()]
    if kind in (int, float):
        number = plain_number(text)
        if number is None or (kind is int and type(number) is not int) or not abs(number) <= sys.float_info.max:
            raise ValueError(text)
        return kind(number)
    if not text:
        raise ValueError(text)
    if kind is Any:
        value = parse_value(text, text)
        if isinstance(value, dict):
            raise ValueError(text)
        return value
    return text


def split_spec(text: str) -> tuple[str, list[tuple[str, str, str | None]]]:
    """Read "name:key=value,flag": the name, and of each option what was written, its key and its value (None: a flag).

    A value holds no comma.
    """
    name, _, rest = text.strip().partition(":")
    options = []
    for part in filter(None, (p.strip() for p in rest.split(","))):
        key, equals, value = (p.strip() for p in part.partition("="))
        options.append((part, key, value if equals else None))
    return name, options


def split_specs(text: str, known: Container[str] = ()) -> list[str]:
    """Split "a,b:x=1,swap,c" into specs: a part "key=value" belongs to the spec before it.

    Args:
        known: names, where specs have flags: after options, a part without "=" that is none of them is a flag.

    Raises:
        InputError: nothing named.
    """
    specs: list[str] = []
    for part in filter(None, (p.strip() for p in text.split(","))):
        option = "=" in part and ":" not in part.partition("=")[0]
        flag = bool(known) and bool(specs) and ":" in specs[-1] and part.partition(":")[0] not in known
        if specs and (option or flag):
            specs[-1] += ("," if ":" in specs[-1] else ":") + part
        else:
            specs.append(part)
    if not specs:
        raise InputError(f"no names in {text!r}", 'a list of names such as "a,b:x=1"')
    return specs
