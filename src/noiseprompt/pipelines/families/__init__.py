"""Facts about the families of text-to-image pipelines, one file a family. How to add one: `families/base.py`."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

from noiseprompt.pipelines.families.base import Family, TextEmbeds, Variant

__all__ = ["FAMILIES", "FILES", "Family", "TextEmbeds", "Variant", "find_family", "load_diffusers"]

FILES = (
    "stable_diffusion",
    "stable_diffusion_xl",
    "stable_diffusion_3",
    "flux",
    "qwen_image",
    "z_image",
    "controlnet",
    "hunyuan_dit",
    "pixart",
    "sana",
    "chroma",
)
"""One line a family: a file of this folder that defines FAMILY, or FAMILIES."""


def _families(file: str) -> tuple[Family, ...]:
    module = importlib.import_module(f"noiseprompt.pipelines.families.{file}")
    return getattr(module, "FAMILIES", None) or (module.FAMILY,)


FAMILIES: tuple[Family, ...] = tuple(family for file in FILES for family in _families(file))


def find_family(pipe: Any, names: Sequence[str] = ()) -> Family:
    """The family of a loaded diffusers pipeline, by its class or a base class, with its variant's defaults.

    A class of no family gets what can be read from the class itself, with a warning (`generic`).

    Args:
        names: ids or folders of the model and of what was put into it; some checkpoints are known by name alone.

    Raises:
        ModelLoadError: no family has that class, and it cannot work without one.
    """
    for cls in type(pipe).__mro__:
        for family in FAMILIES:
            if cls.__name__ in family.pipeline_classes:
                return family.of(pipe, names)
    from noiseprompt.pipelines.families.generic import generic_family

    return generic_family(pipe)


from noiseprompt.pipelines.loading import load_diffusers  # noqa: E402 - it reads the table above
