"""Annotations as types, before the parser asks for them, and what they hold.

jsonargparse resolves annotations that are texts by importing all that their file imports for types alone
(`if TYPE_CHECKING:`), torch among it; an option's own type never stands there.
"""

from __future__ import annotations

import builtins
import inspect
import types
import typing
from collections.abc import Mapping, Sequence
from typing import Any


def settle(owner: Any) -> Any:
    """The same function or dataclass, its annotations types; names that its file has for types alone are Any."""
    functions = [owner.__init__, owner] if inspect.isclass(owner) else [owner]
    for each in functions:
        names = _Names(vars(inspect.getmodule(owner)))
        each.__annotations__ = typing.get_type_hints(each, None, names)  # type: ignore[arg-type]
    return owner


class _Names(dict[str, Any]):
    """The names of a module as it is when it runs; every other is Any."""

    def __init__(self, module: Mapping[str, Any]) -> None:
        super().__init__({**vars(builtins), **module})

    def __missing__(self, name: str) -> Any:
        return Any


def element(annotation: Any) -> Any:
    """`str` for a list of texts, `int` for one of numbers; None for everything else, and where a text is a value."""
    options = typing.get_args(annotation) if typing.get_origin(annotation) in (typing.Union, types.UnionType) else ()
    for option in () if str in options else (options or (annotation,)):
        inner = typing.get_args(option)
        origin = typing.get_origin(option)
        if origin in (list, Sequence) or (origin is tuple and Ellipsis in inner):
            return inner[0]
    return None
