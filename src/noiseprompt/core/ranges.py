"""What a setting may be: its annotation tells the type, `setting` beside its default the limits.

Settings records hold themselves to both with `check`; the options of commands, files and recipes ask `misfit`.
"""

from __future__ import annotations

import dataclasses
import functools
import sys
import types
import typing
from collections.abc import Callable, Mapping, Sequence
from dataclasses import MISSING, dataclass
from numbers import Number
from pathlib import Path
from typing import Any

from noiseprompt.core.errors import ConfigError
from noiseprompt.core.texts import unwritable

_LARGEST = sys.float_info.max


@dataclass(frozen=True)
class Limits:
    """Of one setting; where it is a list, of each entry. Numbers are finite whatever the limits.

    Fields:
        least, most: of a number, themselves allowed.
        above, below: of a number, themselves not allowed.
        words: the texts there are; () for any.
        rising: whether no entry of a list is below the one before.
        some: whether a list has at least one entry, and a text a letter.
        longest: entries that a list has at most.
    """

    least: float | None = None
    most: float | None = None
    above: float | None = None
    below: float | None = None
    words: tuple[str, ...] = ()
    rising: bool = False
    some: bool = False
    longest: int | None = None

    def hold(self, number: float) -> bool:
        """Whether a number is within; NaN and infinities never are."""
        return (
            abs(number) <= _LARGEST
            and (self.least is None or number >= self.least)
            and (self.most is None or number <= self.most)
            and (self.above is None or number > self.above)
            and (self.below is None or number < self.below)
        )

    def told(self, noun: str) -> str:
        """ "a whole number, 1 or more"."""
        low = self.least if self.above is None else self.above
        high = self.most if self.below is None else self.below
        if low is not None and high is not None:
            open_low, open_high = self.above is not None, self.below is not None
            if open_low and open_high:
                return f"{noun} between {_number(low)} and {_number(high)}"
            return f"{noun} {'above' if open_low else 'from'} {_number(low)} to {'below ' * open_high}{_number(high)}"
        if low is not None:
            return f"{noun} above {_number(low)}" if self.above is not None else f"{noun}, {_number(low)} or more"
        if high is not None:
            return f"{noun} below {_number(high)}" if self.below is not None else f"{noun}, {_number(high)} or less"
        return noun


ANY = Limits()
COUNT = Limits(least=1)
NOT_NEGATIVE = Limits(least=0)
POSITIVE = Limits(above=0)
SHARE = Limits(least=0, most=1)
NAMED = Limits(some=True)
"""Of a text that names something: a blank one names nothing, and as a path it would be the folder one is in."""
GUIDANCE = Limits(least=-1000, most=1000)
"""Of a guidance scale: models are used from 0 to some 30, and below 0 to draw what a prompt is not."""
OF_ONE_STEP = Limits(least=1, most=1000)
"""Of the guidance scale of one step down or up: what pipelines of diffusers are called with below 1 they take as 1."""
PIXELS = Limits(least=1, most=16_384)
"""Of an edge of a picture: models draw some 4,096, and what is wider than this is never finished."""
WEIGHT = Limits(least=0, most=1_000_000)
"""Of a weight or a sharpness: with far more the floats of a network overflow, and something else gets the blame."""
RATE = Limits(above=0, most=1_000_000)
"""Of what a step is multiplied by, for the same reason."""
TRIES = Limits(least=1, most=10_000)
"""Of what a method does for one picture, again and again: more would never end."""
PASSES = Limits(least=1, most=10_000)
"""Of a training over its data: papers make some tens, and a hundred thousand nobody waits for."""
TRAINING_STEPS = Limits(least=1, most=1_000_000)
"""Of the optimizer, for the small networks of the embedded world: they learn in some thousands."""
SEEDS_EACH = Limits(least=1, most=10_000)
"""Of the seeds of one prompt: a plan of many more alone would never end."""
SUMMABLE = 1e30
"""The greatest score, count or time: sums of squares of many are finite still."""
DECAY = Limits(least=0, below=1)
LONGEST_RANGE = 1_000_000
"""Numbers of a range that is taken for a list; a longer one is no list that anybody wants."""
SEED = Limits(least=0, most=2**63 - 1)
SEED_RANGE = dataclasses.replace(SEED, rising=True)


def setting(default: Any = MISSING, limits: Limits = ANY) -> Any:
    """A field of a dataclass with limits."""
    return dataclasses.field(default=default, metadata={"limits": limits})


def limits_of(cls: Any) -> dict[str, Limits]:
    """Field -> its limits."""
    return {field.name: field.metadata.get("limits", ANY) for field in dataclasses.fields(cls)}


def check(record: Any, written: str = "{} {}") -> None:
    """Hold the fields of a dataclass that its constructor takes to their annotations and limits; numbers of NumPy
    become Python's own.

    Args:
        written: how a field and its value are shown.

    Raises:
        ConfigError: those that do not fit, all of them at once.
    """
    hints, limits = _hints(type(record)), limits_of(type(record))
    for name in hints:
        if (value := plain(getattr(record, name))) is not getattr(record, name):
            object.__setattr__(record, name, value)
    wrong = {name: misfit(hints[name], getattr(record, name), limits[name]) for name in hints}
    wrong = {name: expected for name, expected in wrong.items() if expected}
    if wrong:
        came = ", ".join(written.format(name, shown(getattr(record, name))) for name in wrong)
        several = len(wrong) > 1
        raise ConfigError(came, ", ".join(f"{name}: {text}" if several else text for name, text in wrong.items()))


def check_value(name: str, annotation: Any, value: Any, limits: Limits = ANY) -> None:
    """Hold one argument to its annotation and limits; numbers of NumPy are numbers.

    Raises:
        ConfigError: it does not fit.
    """
    if expected := misfit(annotation, plain(value), limits):
        raise ConfigError(f"{name} {shown(value)}", expected)


def misfit(annotation: Any, value: Any, limits: Limits = ANY) -> str:
    """What was expected instead of a value, "" where it fits. True is no number, and 2.0 no whole one."""
    return "" if _fits(annotation, value, limits) else _wanted(annotation, value, limits)


def plain(value: Any) -> Any:
    """Numbers, texts and rows of NumPy, alone or in a list, as Python's own, a range as a list; all else is itself."""
    if isinstance(value, range):
        return list(value) if len(value) <= LONGEST_RANGE else value
    if type(value).__module__ == "numpy" and getattr(value, "ndim", 2) < 2 and value.dtype.kind in "biufUO":
        return value.tolist()
    if type(value) in (list, tuple) and any(type(one).__module__ == "numpy" for one in value):
        return type(value)(map(plain, value))
    return value


def kind_of(value: Any) -> str:
    """The kind of a value in a word or two, for what cannot be shown itself: "nothing", "a list", "the class list"."""
    if isinstance(value, type):
        return f"the class {value.__name__}"
    name = type(value).__name__
    return "nothing" if value is None else f"{'an' if name[:1] in 'aeiou' else 'a'} {name}"


def shown(value: Any) -> str:
    """A value as a file of settings has it, at most 60 letters; of what a file cannot have its kind."""
    value = plain(value)
    if value is None or isinstance(value, bool):
        text = {None: "null", True: "true", False: "false"}[value]
    elif isinstance(value, list | tuple):
        text = f"[{', '.join(map(shown, value[:60]))}]"
    elif isinstance(value, dict):
        text = f"{{{', '.join(f'{shown(key)}: {shown(one)}' for key, one in list(value.items())[:60])}}}"
    elif isinstance(value, str | Number | bytes | Path):
        text = repr(value)
    else:
        text = str(value) if type(value).__name__ in ("dtype", "device") else kind_of(value)  # of torch and NumPy
    return text if len(text) <= 60 else text[:57] + "..."


@functools.cache
def _hints(cls: Any) -> dict[str, Any]:
    hints = typing.get_type_hints(cls.__init__)
    return {field.name: hints[field.name] for field in dataclasses.fields(cls) if field.init}


def _fits(kind: Any, value: Any, limits: Limits) -> bool:
    if not getattr(value, "ndim", 1):  # one number of NumPy is as good as Python's; rows of them are arrays
        value = plain(value)
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        return any(_fits(one, value, limits) for one in inner)
    if origin is typing.Literal:
        return isinstance(value, str) and value in inner
    if origin in (tuple, list):
        return isinstance(value, tuple | list) and _entries_fit(inner, value, limits)
    if origin is Sequence:
        listed = isinstance(value, Sequence) and not isinstance(value, str | bytes)
        entries = (*value[:1], *value[-1:]) if isinstance(value, range) else value  # of a range the ends tell
        return listed and all(_fits(inner[0], one, limits) for one in entries)
    if origin is Callable:
        return callable(value)
    if origin in (dict, Mapping):
        return isinstance(value, Mapping) and all(
            isinstance(key, str) and _fits(inner[1], one, limits) for key, one in value.items()
        )
    if kind is int:
        return type(value) is int and limits.hold(value)
    if kind is float:
        return isinstance(value, int | float) and not isinstance(value, bool) and limits.hold(value)
    if kind is str:
        named = isinstance(value, str) and not (limits.some and not value.strip())
        return named and (not limits.words or value in limits.words) and not unwritable(value)
    if isinstance(value, Path) and unwritable(str(value)):
        return False
    if not isinstance(kind, type) or kind is Any or not getattr(kind, "_is_runtime_protocol", True):
        return True
    if getattr(kind, "_is_protocol", False) and isinstance(value, type):
        return False  # it has what its objects have, and is none
    return isinstance(value, kind)


def _entries_fit(inner: Sequence[Any], value: Sequence[Any], limits: Limits) -> bool:
    fixed = len(inner) > 1 and Ellipsis not in inner
    if (fixed and len(value) != len(inner)) or (limits.some and not value):
        return False
    if limits.longest is not None and len(value) > limits.longest:
        return False
    return all(_fits(inner[0], one, limits) for one in value) and not (limits.rising and list(value) != sorted(value))


def _wanted(kind: Any, value: Any, limits: Limits) -> str:
    """What a setting takes, in words; null is not mentioned."""
    origin, inner = typing.get_origin(kind), typing.get_args(kind)
    if origin in (typing.Union, types.UnionType):
        kinds = (_wanted(one, value, limits) for one in inner if one is not type(None))
        return ", or ".join(dict.fromkeys(kinds))
    if origin is typing.Literal or (kind is str and limits.words):
        return f"one of {', '.join(str(word) or repr(word) for word in inner or limits.words)}"
    if origin is Callable:
        return "a function"
    if origin in (tuple, list, Sequence):
        number = "" if len(inner) == 1 or Ellipsis in inner else f" of {len(inner)}"
        several = f" of {'1 to' if limits.some else 'at most'} {limits.longest}" if limits.longest is not None else ""
        head = f"a list{several or (' of at least one' if limits.some else number)}"
        return f"{head}, each {_wanted(inner[0], None, limits)}{', the lowest first' * limits.rising}"
    if origin in (dict, Mapping):
        return "a mapping of names" + ("" if inner[1] is Any else f", each to {_wanted(inner[1], None, limits)}")
    vast = isinstance(value, int) and abs(value) > _LARGEST and limits.most is None and limits.below is None
    digits = " of at most 308 digits" * vast
    if kind is float:
        endless = isinstance(value, float) and not abs(value) <= _LARGEST
        return limits.told("a finite number" if endless or (limits == ANY and not vast) else f"a number{digits}")
    if isinstance(value, str | Path) and (bad := unwritable(str(value))):
        return f"a text without {bad}"
    text = "a text that is not blank" if limits.some else "a text"
    words = {int: limits.told(f"a whole number{digits}"), bool: "true or false", str: text, Path: "a path"}
    words[dict] = "a mapping of names"
    if kind in words or not isinstance(kind, type):
        return words.get(kind, "another value")
    package = kind.__module__.partition(".")[0]
    return f"an object of {'' if package == 'noiseprompt' else package + '.'}{kind.__name__}"


def _number(value: float) -> str:
    bits = value.bit_length() if isinstance(value, int) else 0
    return f"2**{bits} - 1" if bits > 30 and value == 2**bits - 1 else f"{value:,}"
