"""The arguments of a public function, held to its annotations before anything is done."""

from __future__ import annotations

import difflib
import functools
import inspect
import types
import typing
from collections.abc import Callable, Generator
from typing import Any, ParamSpec, TypeVar

from noiseprompt.core.errors import ConfigError, InputError
from noiseprompt.core.places import as_told
from noiseprompt.core.ranges import misfit, plain, shown

P = ParamSpec("P")
R = TypeVar("R")
T = TypeVar("T")

_TELLS = "_tells"
"""Mark of a function that tells of its arguments; it stays on what other decorators make of it."""


def held(function: Callable[P, R]) -> Callable[P, R]:
    """Refuse arguments that their annotations do not take, as `check_value` does one by one; numbers and rows of NumPy
    become Python's own where those fit.

    An annotation that names what is imported for type checkers alone is not asked: the function itself checks that.

    Raises:
        ConfigError: all that do not fit.
        InputError: an argument that there is not, or one that is missing.
    """
    signature = inspect.signature(function)

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        kinds = _kinds(function)
        bound = _bound(function, signature, args, kwargs)
        given = bound.arguments
        given.update({name: _own(kind, given[name]) for name, kind in kinds.items() if name in given})
        wrong = {name: misfit(kinds[name], value) for name, value in given.items() if name in kinds}
        wrong = {name: expected for name, expected in wrong.items() if expected}
        if wrong:
            came = ", ".join(f"{name} {shown(given[name])}" for name in wrong)
            several = len(wrong) > 1
            raise ConfigError(came, ", ".join(f"{name}: {text}" if several else text for name, text in wrong.items()))
        return _run(function, bound.args, bound.kwargs)

    setattr(checked, _TELLS, True)
    return checked


def called(function: Callable[P, R]) -> Callable[P, R]:
    """Tell of an argument that there is not, or that is missing; what they hold the function checks itself.

    Raises:
        InputError: with the arguments that there are.
    """
    signature = inspect.signature(function)

    @functools.wraps(function)
    def checked(*args: P.args, **kwargs: P.kwargs) -> R:
        _bound(function, signature, args, kwargs)
        return _run(function, args, kwargs)

    setattr(checked, _TELLS, True)
    return checked


def told(kind: type[T]) -> type[T]:
    """A class whose constructor and public methods tell of their arguments as `called` does; those of it alone, not
    what it inherits.

    Raises:
        InputError: as `called`.
    """
    for name, value in list(vars(kind).items()):
        method = value.__func__ if isinstance(value, classmethod) else value
        public = name == "__init__" or not name.startswith("_")
        if public and inspect.isfunction(method) and not hasattr(method, _TELLS):
            checked = called(method)
            setattr(kind, name, classmethod(checked) if isinstance(value, classmethod) else checked)
    return kind


def _bound(
    function: Callable[..., Any], signature: inspect.Signature, args: Any, kwargs: Any
) -> inspect.BoundArguments:
    try:
        return signature.bind(*args, **kwargs)
    except TypeError as error:
        names = [name for name in signature.parameters if name not in ("self", "cls")]
        unknown = [name for name in kwargs if name not in names]
        close = difflib.get_close_matches(unknown[0], names, n=1) if unknown else []
        what = f"no argument {unknown[0]!r}" if unknown else str(error)
        fix = f"did you mean {close[0]!r}?" if close else ""
        raise InputError(f"{_named(function)}: {what}", f"the arguments {', '.join(names)}", fix) from error


def _run(function: Callable[..., R], args: Any, kwargs: Any) -> R:
    """What it returns; the error of a path that nobody translated, such as one of no rights, told as by `as_told`."""
    try:
        made = function(*args, **kwargs)
    except OSError as error:
        if (told_of := as_told(error)) is None:
            raise
        raise told_of from error
    return _stepped(made) if inspect.isgenerator(made) else made  # type: ignore[return-value]


def _stepped(made: Generator[Any, Any, R]) -> Generator[Any, Any, R]:
    try:
        return (yield from made)
    except OSError as error:
        if (told_of := as_told(error)) is None:
            raise
        raise told_of from error


def _own(kind: Any, value: Any) -> Any:
    """Numbers of NumPy as Python's; an array where a list of them is taken as that list, and as it is elsewhere."""
    own = plain(value)
    array = getattr(value, "ndim", 0) > 0
    return value if misfit(kind, own) or (array and not misfit(kind, value)) else own


def _named(function: Callable[..., Any]) -> str:
    """As it is called: a constructor by its class."""
    return f"{function.__qualname__.removesuffix('.__init__')}()"


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
