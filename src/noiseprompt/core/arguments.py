"""The arguments of a public function, held to its annotations before anything is done."""

from __future__ import annotations

import functools
import inspect
import types
import typing
from collections.abc import Callable
from typing import Any, ParamSpec, TypeVar

from noiseprompt.core.errors import ConfigError
from noiseprompt.core.ranges import misfit, shown, without_numpy

P = ParamSpec("P")
R = TypeVar("R")


def held(function: Callable[P, R]) -> Callable[P, R]:
    """Refuse arguments that their annotations do not take, as `check_value` does one by one.

    An annotation that names what is imported for type checkers alone is not asked: the function itself checks that.

    Raises:
        ConfigError: all that do not fit.
    """
    signature = inspect.signature(function)

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        kinds = _kinds(function)
        try:
            bound = signature.bind(*args, **kwargs)
        except TypeError:  # too many, too few or an unknown one: Python's own words name the function
            return function(*args, **kwargs)
        given = bound.arguments
        given.update({name: _plain(kinds[name], value) for name, value in given.items() if name in kinds})
        wrong = {name: misfit(kinds[name], value) for name, value in given.items() if name in kinds}
        wrong = {name: expected for name, expected in wrong.items() if expected}
        if wrong:
            came = ", ".join(f"{name} {shown(given[name])}" for name in wrong)
            several = len(wrong) > 1
            raise ConfigError(came, ", ".join(f"{name}: {text}" if several else text for name, text in wrong.items()))
        return function(*bound.args, **bound.kwargs)

    return checked


def _plain(kind: Any, value: Any) -> Any:
    """Numbers of NumPy as Python's, also as an array where a list of them is taken; anything else as it is."""
    if type(value).__module__ == "numpy" and getattr(value, "ndim", 0) and misfit(kind, value):
        listed = value.tolist()
        return value if misfit(kind, listed) else listed
    return without_numpy(value)


@functools.cache
def _kinds(function: Callable[..., Any]) -> dict[str, Any]:
    """Parameter -> its annotation, of those that can be told."""
    found: dict[str, Any] = {}
    for name, annotation in function.__annotations__.items():
        only = types.SimpleNamespace(__annotations__={name: annotation})
        try:
            found |= typing.get_type_hints(only, globalns=function.__globals__)
        except NameError:
            continue
    found.pop("return", None)
    return found
