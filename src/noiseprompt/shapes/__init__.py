"""The embedded world: scenes, grammar, renderer, exact checker; its small networks, their training and weights."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from noiseprompt.shapes.world import WEIGHTS, features_folder, npnet_folder, preference_folder, weights_folder

__all__ = ["WEIGHTS", "features_folder", "npnet_folder", "preference_folder", "weights_folder"]

_HOMES = dict.fromkeys(__all__, "world")


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
