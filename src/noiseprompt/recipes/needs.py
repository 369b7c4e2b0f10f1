"""What a plan needs that is not at hand: weights, pictures, prompts. Said in one message before anything runs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any, TypeVar

from noiseprompt.core import hub
from noiseprompt.core.errors import ModelLoadError, NoisepromptError
from noiseprompt.prompts.load import source_kind
from noiseprompt.prompts.published import SETS
from noiseprompt.recipes.plan import Plan
from noiseprompt.shapes import world
from noiseprompt.stages.train.judges import weighted

_MODEL_OPTIONS = ("model", "unet", "controlnet", "lora")

T = TypeVar("T")


def check_needs(plan: Plan) -> None:
    """Refuse a plan that would stop for want of a model, a scorer's weights or a file of prompts.

    Raises:
        ModelLoadError: "needs weights: ..." with everything that is missing.
    """
    missing = find_missing(plan)
    if missing:
        raise ModelLoadError(
            f"needs weights: {'; '.join(missing)}",
            "the network, or these in the hub's cache or at these paths",
            f"nothing was run; recipes run offline with --on shapes, not --on {plan.on}",
        )


def find_missing(plan: Plan) -> list[str]:
    """What is not at hand, each once: models, scorers, pictures, prompts."""
    options = [stage.options for stage in plan.stages.values()]
    models = _distinct(name for o in options for name in _model_names(o))
    missing = [f"model {name}" for name in models if not _model_at_hand(name)]
    scorers = _distinct(name for o in options for name in _scorer_names(o))
    missing += [f"scorer {name}" for name in scorers if not _scorer_at_hand(name, offline=bool(missing))]
    prompts = _distinct((str(o["prompts"]), str(o.get("model", ""))) for o in options if o.get("prompts"))
    of_files = (o["settings"] for o in options if getattr(o.get("settings"), "of_files", False))
    missing += _distinct(f"pictures {one.pictures}" for one in of_files if not Path(one.pictures).exists())
    return missing + _distinct(f"prompts {source}" for source, model in prompts if not _prompts_at_hand(source, model))


def _distinct(names: Iterable[T]) -> list[T]:
    return list(dict.fromkeys(names))


def _scorer_names(options: dict[str, Any]) -> list[str]:
    """Of a command, and of the settings of a training by reward, there less their weights."""
    settings = options.get("settings")
    steering = [weighted(spec)[0] for spec in getattr(settings, "reward", ())]
    return [*(options.get("scorers") or ()), *steering, *getattr(settings, "validation_scorers", ())]


def _model_names(options: dict[str, Any]) -> list[str]:
    """Of the pipeline and of what is loaded into it; a LoRA or U-Net may end in a scale or subfolder after a colon."""
    found: list[str] = []
    loading = options.get("loading")
    for key in _MODEL_OPTIONS:
        value = options.get(key) or getattr(loading, key, None)
        found += [part.strip() for part in value.split(",")] if isinstance(value, str) else list(value or ())
    return [name.split(":")[0] for name in found]


def _model_at_hand(name: str) -> bool:
    return world.is_world(name) or Path(name).exists() or hub.at_hand(name)


def _scorer_at_hand(name: str, offline: bool) -> bool:
    if name.partition(":")[0] in world.SCORERS:
        return True
    if offline and "path=" not in name:
        return False
    from noiseprompt.scorers.base import load_scorers

    try:
        load_scorers([name])
    except NoisepromptError:
        return False
    return True


def _prompts_at_hand(source: str, model: str) -> bool:
    """A split of the world, a file or folder, or a data set on the hub."""
    if source_kind(source, model) == "split":
        return True
    name, colon, rest = source.partition(":")
    path = rest if colon and name in SETS else source
    return Path(path).exists() or (not Path(path).suffix and path.count("/") == 1 and hub.at_hand(path, "dataset"))
