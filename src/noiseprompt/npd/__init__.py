"""Noise pairs on disk, the noise prompt data set (NPD): write, read, filter, info, verify, export."""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from noiseprompt.npd.filter import PairFilter
    from noiseprompt.npd.reader import Npd
    from noiseprompt.npd.writer import NpdWriter

__all__ = ["Npd", "NpdWriter", "PairFilter"]

_HOMES = {
    "Npd": "reader",
    "NpdWriter": "writer",
    "PairFilter": "filter",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
