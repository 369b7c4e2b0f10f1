"""Noise: of a seed, moved between two levels (DDIM and flow formulas), put back among white noise, checked, told."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from noiseprompt.noise.seeds import initial_noise

__all__ = ["initial_noise"]

_HOMES = {
    "initial_noise": "seeds",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
