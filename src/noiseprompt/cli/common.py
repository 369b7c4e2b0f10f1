"""What several commands do alike: load a model, read the options of methods, choose scorers, tell of the noise."""

from __future__ import annotations

import dataclasses
import os
from collections.abc import Sequence
from typing import TYPE_CHECKING, Any

from noiseprompt.core.errors import InputError
from noiseprompt.core.texts import visible
from noiseprompt.shapes import world

if TYPE_CHECKING:
    from noiseprompt.engines.options import Sharing
    from noiseprompt.methods.base import MethodSpec
    from noiseprompt.noise.guard import Guard
    from noiseprompt.pipelines import Pipeline
    from noiseprompt.pipelines.options import ModelOptions


def load_model(model: str, loading: ModelOptions | None) -> Pipeline:
    """The model, with the libraries' loading bars and remarks switched off."""
    from noiseprompt.pipelines import Pipeline
    from noiseprompt.pipelines.loading import silence
    from noiseprompt.pipelines.options import ModelOptions

    silence()
    return Pipeline.load(model, loading or ModelOptions())


def with_options(
    specs: Sequence[MethodSpec], strength: float = 1.0, renormalize: bool = False, no_text: bool = False
) -> list[MethodSpec]:
    """The methods with the command's options where they do not name their own; the baseline stays the source noise.

    Raises:
        InputError: an option that none of them takes.
    """
    from noiseprompt.results.summary import BASELINE

    given: dict[str, Any] = {"strength": strength, "renormalize": renormalize}
    if no_text:  # an option of few methods, and part of their label once it is named
        given["no_text"] = True
    others = [spec for spec in specs if spec.name != BASELINE]
    said = {"strength": strength != 1, "renormalize": renormalize, "no_text": no_text}
    if idle := [name for name in said if said[name] and not any(spec.takes(name) for spec in others)]:
        came = f"--{' and --'.join(idle)} with the methods {some_of([spec.label for spec in specs])}"
        raise InputError(came, "a method that takes it and does not name its own")
    return [spec if spec.name == BASELINE else spec.with_defaults(**given) for spec in specs]


def tell_noise_of(guard: Guard, verbose: bool) -> None:
    """With `verbose`, the figures of every noise on standard output."""
    for line in guard.lines() if verbose else ():
        print(visible(f"noise of {line}"))


def scorers_of(given: list[str] | None, model: str, *of_the_world: str) -> list[str]:
    """The scorers to use: those given, or the world's own.

    Raises:
        InputError: none given, and another model, or none named.
        ModelLoadError: none given, and no such model.
    """
    if not model.strip():
        raise InputError(f"--model {model!r}", "a folder, a hub id, or shapes")
    if given is None and not world.is_world(model):
        known = f"; {world.NAME!r} alone has its own" if model.strip().lower() == world.NAME else ""
        if not known:
            from noiseprompt.pipelines.loading import resolve

            resolve(model)
        raise InputError(f"no scorers for the model {model!r}{known}", "names of scorers", "pass --scorers NAME")
    return list(of_the_world) if given is None else given


def some_of(labels: Sequence[str], most: int = 4) -> str:
    """ "a, b", and of many the first few."""
    return ", ".join(labels[:most]) + (f" and {len(labels) - most} more" if len(labels) > most else "")


def names_of(scorers: Sequence[Any]) -> str:
    """Of scorers, for a sentence."""
    return ", ".join(scorer.name for scorer in scorers) or "nobody"


def placed(loading: ModelOptions | None, sharing: Sharing) -> ModelOptions | None:
    """The options of a model with the GPU of this process, where torchrun started several that number themselves."""
    from noiseprompt.core.part import AUTO
    from noiseprompt.pipelines.options import ModelOptions

    said, options = os.environ.get("LOCAL_RANK", ""), loading or ModelOptions()
    if sharing.part is None or sharing.part.strip() != AUTO or not said.isdecimal() or options.device != "auto":
        return loading
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    return dataclasses.replace(options, device=f"cuda:{int(said) % count}") if count else loading
