"""Digests of what stood behind a run: recorded beside its settings under one key, compared where they were recorded.

They are no settings: a fingerprint is of settings alone, and a folder of an earlier release, which has none, continues.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

PARTS = "parts"
"""The key, of settings or of anything inside them."""


def without(data: Any) -> Any:
    """Plain data without its parts, at any depth."""
    if isinstance(data, Mapping):
        return {key: without(value) for key, value in data.items() if key != PARTS}
    return [without(value) for value in data] if isinstance(data, list | tuple) else data


def as_recorded(here: Mapping[str, Any], there: Mapping[str, Any]) -> dict[str, Any]:
    """`here` without the parts that `there` does not record in the same place."""
    kept = {key: value for key, value in here.items() if key != PARTS or key in there}
    return {
        key: as_recorded(value, there[key])
        if key != PARTS and isinstance(value, Mapping) and isinstance(there.get(key), Mapping)
        else value
        for key, value in kept.items()
    }
