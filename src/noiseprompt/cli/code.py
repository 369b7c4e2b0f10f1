"""No value of an option names code to import."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from noiseprompt.core.errors import InputError

_NAMES_CODE = ("class_path", "init_args", "dict_kwargs")
"""Keys by which jsonargparse finds a class and calls it."""


def refuse_code(value: Any) -> None:
    """Refuse plain data that names code to import, at any depth.

    Raises:
        InputError: there is a key of `_NAMES_CODE` in it.
    """
    inside = value.values() if isinstance(value, Mapping) else value if isinstance(value, list | tuple) else ()
    found = [key for key in _NAMES_CODE if isinstance(value, Mapping) and key in value]
    if found:
        raise InputError(f"{found[0]} in an option", "plain values: options never import or run anything")
    for part in inside:
        refuse_code(part)
