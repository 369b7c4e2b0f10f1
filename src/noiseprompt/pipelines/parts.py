"""Digests of the parts of a pipeline that decide its pictures: what a model's name does not tell."""

from __future__ import annotations

import hashlib
import inspect
from collections.abc import Mapping
from typing import Any

import torch

from noiseprompt.core.config import fingerprint
from noiseprompt.core.digests import weights_digest


def parts_of(pipe: Any, schedule: str | None = None, long_prompts: str = "truncate") -> dict[str, str]:
    """Component of a diffusers pipeline -> 12 hexadecimal digits; looks at 16 values of every tensor.

    Networks by their weights (those of diffusers by their settings too, such as the scale of a VAE), the scheduler and
    the pipeline by their settings, tokenizers by their words, a control image by its pixels. What else there is
    (processors of pictures that are put in) decides nothing here.

    Args:
        schedule, long_prompts: of the `Pipeline`; recorded where they are not the usual.
    """
    found = {"pipeline": _settings(pipe)}
    for name, part in sorted(pipe.components.items()):
        if isinstance(part, torch.nn.Module):
            found[name] = _network(part)
        elif hasattr(part, "get_vocab"):
            found[name] = fingerprint({"words": part.get_vocab(), "length": getattr(part, "model_max_length", 0)})
        elif hasattr(part, "set_timesteps"):
            found[name] = _settings(part)
    image = getattr(pipe, "control_image", None)
    if image is not None and hasattr(image, "tobytes"):
        found["control_image"] = hashlib.sha256(image.tobytes()).hexdigest()[:12]
    if schedule is not None:
        found["schedule"] = schedule
    return found if long_prompts == "truncate" else {**found, "long_prompts": long_prompts}


def _network(part: torch.nn.Module) -> str:
    weights = weights_digest(part)
    own = isinstance(getattr(part, "config", None), Mapping)  # transformers keeps more in its own, and moves it about
    return fingerprint({"weights": weights, "settings": _settings(part)}) if own else weights


def _settings(part: Any) -> str:
    """Of a part with a diffusers config: those that are not as its class has them, so that new ones change nothing."""
    parameters = inspect.signature(type(part).__init__).parameters
    usual = {name: parameter.default for name, parameter in parameters.items()}
    own = {
        name: value
        for name, value in part.config.items()
        if not name.startswith("_") and _plain(value) and (name not in usual or usual[name] != value)
    }
    return fingerprint({"class": type(part).__name__, "settings": own})


def _plain(value: Any) -> bool:
    """Whether it is a setting, not the [library, class] of a component."""
    component = isinstance(value, list | tuple) and len(value) == 2 and all(isinstance(one, str) for one in value)
    return not component and isinstance(value, str | int | float | list | tuple | dict)
