"""Frozen records from plain data: every field there, none unknown, each of its annotated type."""

from __future__ import annotations

import functools
import types
import typing
from collections.abc import Callable, Mapping
from dataclasses import MISSING, fields, is_dataclass
from typing import Any

from noiseprompt.core.ranges import shown

Prepare = Callable[[Any, dict[str, Any]], dict[str, Any]]

LARGEST = 10**300
"""Of a whole number in place of another: what is larger is no float."""


def read_value(kind: Any, value: Any, where: str, prepare: Prepare = lambda kind, data: data) -> Any:
    """A value of an annotated type from JSON data: a dataclass, tuple, list, mapping, `X | None` or a plain type.

    Args:
        where: its place, for the message.
        prepare: changes the object of a dataclass before its fields are read.

    Raises:
        ValueError: it is of another type, with the place; true is no number, 2.0 is no whole one.
    """
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):  # always with None here
        return None if value is None else read_value(inner[0], value, where, prepare)
    if is_dataclass(kind) and isinstance(value, dict):
        return _record(kind, prepare(kind, value), where, prepare)
    if origin in (tuple, list) and isinstance(value, list):
        return origin(read_value(inner[0], one, where, prepare) for one in value)
    if origin in (Mapping, dict) and isinstance(value, dict):
        return {key: read_value(inner[1], one, f"{where} / {key:.60}", prepare) for key, one in value.items()}
    if type(value) is kind or (kind is float and type(value) is int and abs(value) < LARGEST):
        return value
    raise ValueError(f"{where} is {shown(value):.40}")


@functools.cache
def _hints(kind: Any) -> dict[str, Any]:
    return typing.get_type_hints(kind)


def _record(kind: Any, data: dict[str, Any], where: str, prepare: Prepare) -> Any:
    known = {field.name: field for field in fields(kind)}
    missing = [name for name, field in known.items() if field.default is MISSING and name not in data]
    unknown = [f"{name:.60}" for name in data if name not in known]
    if missing or unknown:
        lacks = [f"{where} lacks {', '.join(missing)}"] * bool(missing)
        raise ValueError("; ".join([*lacks, *[f"{where} has {', '.join(unknown[:4])}"] * bool(unknown)]))
    hints = _hints(kind)
    places = {name: where if name == "against" else f"{where} / {name}" for name in data}
    return kind(**{name: read_value(hints[name], one, places[name], prepare) for name, one in data.items()})
