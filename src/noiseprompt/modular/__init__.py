"""Modular Diffusers: one block that gives a pipeline its winning noise."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from noiseprompt.modular.block import NoiseBlock, with_noise

__all__ = ["NoiseBlock", "with_noise"]

_HOMES = {
    "NoiseBlock": "block",
    "with_noise": "block",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
