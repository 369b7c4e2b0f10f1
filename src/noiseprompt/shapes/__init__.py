"""The embedded world: scenes, grammar, renderer, exact checker; its small networks, their training and weights."""

from __future__ import annotations

from pathlib import Path

from noiseprompt.core.errors import ModelLoadError

WEIGHTS = Path(__file__).parent / "weights"


def weights_folder() -> Path:
    """The world's pipeline in diffusers' layout.

    Raises:
        ModelLoadError: not there; says which command makes it.
    """
    return _existing("pipeline", "model_index.json", "the world's pipeline", "noiseprompt shapes train")


def npnet_folder() -> Path:
    """The NPNet trained on the world.

    Raises:
        ModelLoadError: not there; says which command makes it.
    """
    return _existing("npnet", "model.safetensors", "the world's NPNet", "noiseprompt run recipes/shapes.yaml")


def preference_folder() -> Path:
    """The world's preference scorer.

    Raises:
        ModelLoadError: not there; says which command makes it.
    """
    return _existing(
        "preference", "model.safetensors", "the world's preference scorer", "noiseprompt shapes preference"
    )


def features_folder() -> Path:
    """The world's feature network.

    Raises:
        ModelLoadError: not there; says which command makes it.
    """
    return _existing("features", "model.safetensors", "the world's feature network", "noiseprompt shapes features")


def _existing(name: str, marker: str, noun: str, command: str) -> Path:
    folder = WEIGHTS / name
    if not (folder / marker).is_file():
        raise ModelLoadError(f"{noun} is not in {folder}", f"a folder with {marker}", f"make it with `{command}`")
    return folder
