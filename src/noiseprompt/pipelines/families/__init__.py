"""Facts about the families of text-to-image pipelines, one file a family. How to add one: `families/base.py`."""

from __future__ import annotations

import importlib
from collections.abc import Sequence
from typing import Any

from noiseprompt.core.errors import ModelLoadError
from noiseprompt.pipelines.families.base import Family
from noiseprompt.pipelines.families.generic import Unusable, generic_family

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


def class_family(kind: type) -> Family | None:
    """The family of a pipeline class, by its name or a base class's; None where no family has it."""
    return next(filter(None, (named_family(cls.__name__) for cls in kind.__mro__)), None)


def named_family(name: str) -> Family | None:
    """The family that has a class of that name among its own."""
    return next((family for family in FAMILIES if name in family.pipeline_classes), None)


def find_family(pipe: Any, names: Sequence[str] = ()) -> Family:
    """The family of a loaded diffusers pipeline, by its class or a base class, with its variant's defaults.

    A class of no family gets what can be read from the class itself, with a warning (`generic`).

    Args:
        names: ids or folders of the model and of what was put into it; some checkpoints are known by name alone.

    Raises:
        ModelLoadError: no family has that class, and it cannot work without one.
    """
    family = class_family(type(pipe))
    if family is not None:
        return family.of(pipe, names)
    try:
        return generic_family(pipe, _namesake(type(pipe).__name__))
    except Unusable as why:
        raise no_family(type(pipe).__name__, str(why)) from why


def _namesake(name: str) -> Family | None:
    """The family that a pipeline class is named after: StableDiffusionXLPAGPipeline after StableDiffusionXLPipeline."""
    known = {cls.removesuffix("Pipeline"): family for family in FAMILIES for cls in family.pipeline_classes}
    return known.get(max((begin for begin in known if name.startswith(begin)), key=len, default=""))


def no_family(name: str, why: str) -> ModelLoadError:
    """The error for a pipeline class that cannot work."""
    known = ", ".join(known for family in FAMILIES for known in family.pipeline_classes)
    fix = "choose a model that names one of these in its model_index.json, or add a family"
    return ModelLoadError(f"pipelines of class {name} are not supported{why and f': {why}'}", f"one of {known}", fix)
