"""Any diffusers pipeline: load and change it, encode prompts, draw from given noise, one step down or up.

Also samplers, timestep schedules, LoRA, ControlNet, prompts over the encoder's limit, images with a gradient.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from noiseprompt.pipelines.families.embeds import TextEmbeds
    from noiseprompt.pipelines.pipeline import Pipeline

__all__ = ["Pipeline", "TextEmbeds"]

_HOMES = {
    "Pipeline": "pipeline",
    "TextEmbeds": "families.embeds",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
