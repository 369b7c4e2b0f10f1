"""What a plan needs that is not at hand: weights, prompts. Said in one message before anything runs."""

from __future__ import annotations

from collections.abc import Iterable
from pathlib import Path
from typing import Any

from noiseprompt.errors import ModelLoadError, NoisepromptError
from noiseprompt.recipes.plan import Plan

_HUB_SECONDS = 5.0
_MODEL_OPTIONS = ("model", "unet", "controlnet", "lora")


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
    """What is not at hand, each once: models, scorers, prompts."""
    options = [stage.options for stage in plan.stages.values()]
    models = _distinct(name for o in options for name in _model_names(o))
    missing = [f"model {name}" for name in models if not _model_at_hand(name)]
    scorers = _distinct(name for o in options for name in o.get("scorers") or ())
    missing += [f"scorer {name}" for name in scorers if not _scorer_at_hand(name, offline=bool(missing))]
    prompts = _distinct(str(o["prompts"]) for o in options if o.get("prompts"))
    return missing + [f"prompts {source}" for source in prompts if not _prompts_at_hand(source)]


def _distinct(names: Iterable[str]) -> list[str]:
    return list(dict.fromkeys(names))


def _model_names(options: dict[str, Any]) -> list[str]:
    """Of the pipeline and of what is loaded into it; a LoRA or U-Net may end in a scale or subfolder after a colon."""
    found: list[str] = []
    loading = options.get("loading")
    for key in _MODEL_OPTIONS:
        value = options.get(key) or getattr(loading, key, None)
        found += [value] if isinstance(value, str) else list(value or ())
    return [name.split(":")[0] for name in found]


def _model_at_hand(name: str) -> bool:
    if name == "shapes" or Path(name).exists():
        return True
    from huggingface_hub import HfApi, try_to_load_from_cache
    from huggingface_hub.errors import HFValidationError

    try:
        files = ("model_index.json", "config.json", "unet/config.json")
        if any(isinstance(try_to_load_from_cache(name, file), str) for file in files):
            return True
        HfApi().repo_info(name, timeout=_HUB_SECONDS)
    except (HFValidationError, OSError, ValueError, RuntimeError):
        return False
    except Exception as error:  # the hub's client raises those of the HTTP library it was built with
        if type(error).__module__.split(".")[0] in ("httpx", "httpcore", "requests", "huggingface_hub"):
            return False
        raise
    return True


def _scorer_at_hand(name: str, offline: bool) -> bool:
    if name.startswith("shapes"):
        return True
    if offline and "path=" not in name:
        return False
    from noiseprompt.scorers.base import load_scorers

    try:
        load_scorers([name])
    except NoisepromptError:
        return False
    return True


def _prompts_at_hand(source: str) -> bool:
    """Files; of "name:FILE" the file. Sets of the hub and the world's own splits are left to their loader."""
    if source.startswith("shapes:"):
        return True
    path = source.partition(":")[2] or source
    return Path(path).exists() or (":" in source and not Path(path).suffix)
