""" "name:key=value,key=value" -> an object out of a registry: how scorers and feature extractors are named."""

from __future__ import annotations

import inspect
import typing
from collections.abc import Container
from typing import Any

from noiseprompt.core.errors import InputError
from noiseprompt.core.registry import Registry


def make(registry: Registry, spec: str) -> Any:
    """Build what `spec` names; options are those of its constructor.

    Values are converted by the constructor's annotations (int, float, bool); anything else stays a text. A value holds
    no comma.

    Raises:
        UnknownNameError: no such name.
        InputError: an option that it does not have, twice, without a value, or of another type.
    """
    name, parts = split_spec(spec)
    target = registry.get(name)
    hints = _options(target)
    given: dict[str, Any] = {}
    for part, key, value in parts:
        if not value or (hints is not None and key not in hints):
            listed = ", ".join(f"{k}=..." for k in hints or ()) or "no options"
            raise InputError(f"option {part!r} of the {registry.noun} {name!r}", listed, f'write "{name}:key=value"')
        if key in given:
            raise InputError(f"option {key!r} twice in {spec!r}", "each option once")
        given[key] = _convert(f"{name}:{key}", value, hints[key] if hints else str)
    return target(**given)


def _options(target: Any) -> dict[str, Any] | None:
    """Option -> annotation; None where any option is taken."""
    try:
        parameters = inspect.signature(target).parameters.values()
        function = target.__init__ if inspect.isclass(target) else target
        hints = typing.get_type_hints(function)
    except (TypeError, ValueError, NameError):  # built in C, or annotated with what is not there
        return None
    if any(p.kind is p.VAR_KEYWORD for p in parameters):
        return None
    return {p.name: hints.get(p.name, str) for p in parameters if p.kind in (p.POSITIONAL_OR_KEYWORD, p.KEYWORD_ONLY)}


def _convert(option: str, value: str, kind: Any) -> Any:
    kinds = typing.get_args(kind) or (kind,)
    if bool in kinds:
        if value.lower() not in ("true", "false"):
            raise InputError(f"{option}={value}", "true or false")
        return value.lower() == "true"
    for number in (int, float):
        if number in kinds:
            try:
                return number(value)
            except ValueError as error:
                if str not in kinds:
                    raise InputError(f"{option}={value}", f"a number ({number.__name__})") from error
    return value


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
