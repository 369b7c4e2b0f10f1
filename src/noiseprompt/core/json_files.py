"""JSON that this package wrote, read back: bounded in size and depth, each key once, and no more than JSON can say."""

from __future__ import annotations

import json
import math
from pathlib import Path
from typing import Any

from noiseprompt.core.errors import ConfigError, NoisepromptError
from noiseprompt.core.fetched import AnyFile
from noiseprompt.core.places import no_file, refuse_pipe

LARGEST = 64 * 2**20
"""Bytes of a file that is read at once."""

DEEPEST = 64
"""Objects and lists inside each other."""


def read_json(
    path: AnyFile,
    error: type[NoisepromptError] = ConfigError,
    expected: str = "a JSON object",
    fix: str = "",
    *,
    nan: bool = False,
    infinite: bool = False,
) -> dict[str, Any]:
    """The object of a file.

    Args:
        error: raised with `expected` and `fix` where the file cannot be read as an object.
        nan: NaN is a number, as in figures of a single image.
        infinite: and so are the infinities, as in configurations of schedulers.

    Raises:
        NoisepromptError: `error`, with the path and the reason.
    """
    try:
        data = parse_json(read_bytes(path), nan=nan, infinite=infinite)
    except OSError as problem:
        came = f"cannot read {path}: {problem.strerror or problem}"
        if isinstance(path, Path) and path.is_symlink() and isinstance(problem, FileNotFoundError):
            came = no_file(path)
        raise error(came, expected, fix) from problem
    except ValueError as problem:
        raise error(f"{path} is damaged: {problem}", expected, fix) from problem
    if not isinstance(data, dict):
        raise error(f"{path} is damaged: it holds no object", expected, fix)
    return data


def read_bytes(path: AnyFile, most: int = LARGEST) -> bytes:
    """A whole file; never more than `most` bytes, whatever it claims.

    Raises:
        OSError: it cannot be read.
        ValueError: it is longer.
    """
    refuse_pipe(path)
    with path.open("rb") as file:
        data = file.read(most + 1)
    if len(data) > most:
        raise ValueError(f"it is longer than {most:,} bytes")
    return data


def parse_json(text: str | bytes, *, nan: bool = False, infinite: bool = False) -> Any:
    """A JSON value.

    Args:
        nan, infinite: as in `read_json`.

    Raises:
        ValueError: not UTF-8 or not JSON, a key twice, deeper than `DEEPEST`, half a character, infinity or NaN.
    """

    def constant(name: str) -> float:
        if infinite or (nan and name == "NaN"):
            return float(name)
        raise ValueError(f"{name} is no number")

    try:
        text = text.decode() if isinstance(text, bytes) else text
        if text.startswith("\ufeff"):
            raise ValueError("it begins with a mark (U+FEFF), as some editors put one there")
        data = json.loads(text, object_pairs_hook=_object, parse_constant=constant, parse_float=_finite)
        _check_depth(data)
    except UnicodeDecodeError as error:
        raise ValueError("it is not UTF-8") from error
    except json.JSONDecodeError as error:
        what = "it is empty" if not text.strip() else f"line {error.lineno}, column {error.colno}: {error.msg}"
        raise ValueError(what) from error
    except RecursionError as error:
        raise ValueError(f"it is deeper than {DEEPEST} levels") from error
    except ValueError as error:
        long = "set_int_max_str_digits" in str(error)  # Python's word to programmers
        raise ValueError("it holds a whole number of more than 4,300 digits") if long else error from error
    if "\\ud" in text.lower():
        try:
            json.dumps(data, ensure_ascii=False).encode()
        except UnicodeEncodeError as error:
            raise ValueError("it holds half a character (a lone surrogate)") from error
    return data


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    data = dict(pairs)
    if len(data) < len(pairs):
        names = [name for name, _ in pairs]
        raise ValueError(f"it gives {next(name for name in names if names.count(name) > 1)!r:.60} twice")
    return data


def _finite(text: str) -> float:
    value = float(text)
    if not math.isfinite(value):
        raise ValueError(f"{text:.40} is too large a number")
    return value


def _check_depth(data: Any) -> None:
    level = [data] if isinstance(data, dict | list) else []
    for _ in range(DEEPEST):
        inside = [value.values() if isinstance(value, dict) else value for value in level]
        level = [value for values in inside for value in values if isinstance(value, dict | list)]
        if not level:
            return
    raise ValueError(f"it is deeper than {DEEPEST} levels")
