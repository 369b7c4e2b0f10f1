"""Prompts with their seeds and kinds: from files, published sets, and splits of the world."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from noiseprompt.prompts.load import load_prompts

__all__ = ["load_prompts"]

_HOMES = {
    "load_prompts": "load",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
