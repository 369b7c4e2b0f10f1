"""What the embedded world is called, which model is it, and what it brings: weights, scorers, NPNet, features, prompts.

A model is the world where it goes by the world's name or is the folder of its shipped pipeline. The name of a
`Pipeline` is what it was loaded from, so this also holds for a diffusers pipeline that `from_pretrained` made of that
folder. A world trained anew is another model: the shipped NPNet was not made for its weights.
"""

from __future__ import annotations

import functools
import hashlib
import os
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING

from noiseprompt.core.digests import files_digest
from noiseprompt.core.errors import ModelLoadError, UnknownNameError
from noiseprompt.core.ranges import COUNT, PIXELS, Limits, check_value

if TYPE_CHECKING:
    import numpy as np

NAME = "shapes"

TEST_PROMPTS = f"{NAME}:test"
"""The split that nothing was trained on, as a source of prompts; "train" and the others (`splits.SPLITS`) alike."""

PREFERENCE = "shapes-preference"
"""The scorer that filters pairs and steers methods."""

CHECKER = "shapes-checker"
"""The scorer that judges, and should never filter."""

SCORERS = (CHECKER, PREFERENCE)

FEATURES = "shapes-features"
"""The feature extractor of its set metrics."""

NPNETS = {
    "pictures": ("npnet-pictures", "noiseprompt run recipes/shapes-pictures.yaml"),
    "redenoise": ("npnet", "noiseprompt run recipes/shapes.yaml"),
}
"""What the NPNets of the world learned from -> folder among its weights, and the command that makes it. The first is
the one that "npnet" means; "shapes:redenoise" names the paper's."""

SIDE = 64
"""Of the world's own pictures in pixels, and the least of a scene's sides (`scenes.SIZE`, without its imports)."""

WEIGHTS = Path(__file__).parent / "weights"


def is_world(model: str | Path) -> bool:
    """Whether a model is the world, by the name or folder that it is asked for, or was loaded from."""
    return str(model) == NAME or _real(model) == _real(WEIGHTS / "pipeline")


def own_size(height: int | None, width: int | None) -> bool:
    """Whether a size in pixels, the model's own where None, is that of the pictures which preference scorer and feature
    network were trained on; the checker judges any."""
    return {height, width} <= {None, SIDE}


def _real(path: str | Path) -> str:
    return os.path.realpath(os.path.expanduser(path))


# ------------------------------------------------------------------------------------------------------------ weights


def weights_folder() -> Path:
    """The world's pipeline in diffusers' layout.

    Raises:
        ModelLoadError: not there; says which command makes it.
    """
    return _existing("pipeline", "model_index.json", "the world's pipeline", "noiseprompt shapes train")


def npnet_folder(learned_from: str = "pictures") -> Path:
    """An NPNet trained on the world.

    Args:
        learned_from: "pictures", or "redenoise" as in the paper.

    Raises:
        UnknownNameError: another name.
        ModelLoadError: not there; says which command makes it.
    """
    if learned_from not in NPNETS:
        names = " or ".join(f"{NAME}:{name}" for name in NPNETS)
        raise UnknownNameError(f"no NPNet of the world learned from {learned_from!r}", names)
    folder, command = NPNETS[learned_from]
    return _existing(folder, "model.safetensors", "the world's NPNet", command)


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


@functools.cache
def weights_of(model: str) -> str:
    """12 digits of the world's weights but its NPNet, so that another world has other digits; "" for other models."""
    if not is_world(model):
        return ""
    files = (path.relative_to(WEIGHTS) for path in WEIGHTS.rglob("*.safetensors"))
    return files_digest(*(WEIGHTS / file for file in sorted(files) if not file.parts[0].startswith("npnet")))


# ------------------------------------------------------------------------------------------------------------ prompts


def is_sentence(text: str) -> bool:
    """Whether the world knows what a prompt asks for."""
    from noiseprompt.shapes.scenes import parse

    try:
        parse(text)
    except ValueError:
        return False
    return True


def reference_scenes(texts: Sequence[str], each: int) -> Iterator[np.ndarray]:
    """uint8 (64, 64, 3): `each` scenes that show each prompt, always the same ones.

    Raises:
        ConfigError: `each` below 1.
        ValueError: a prompt that is no sentence of the world.
    """
    check_value("each", int, each, COUNT)
    for text in texts:
        yield from _scenes(f"reference/{text}", text, each)


def scene_of(text: str, seed: int, size: tuple[int, int] = (SIDE, SIDE)) -> np.ndarray:
    """uint8 (height, width, 3): a scene that shows the prompt, a function of all three; none of the reference scenes.

    Args:
        size: (height, width) in pixels, of which neither is below `SIDE`.

    Raises:
        ConfigError: a seed that is no whole number, or a size out of its range.
        ValueError: the prompt is no sentence of the world.
    """
    check_value("seed", int, seed)
    check_value("size", tuple[int, int], size, Limits(least=SIDE, most=PIXELS.most))
    return next(_scenes(f"scene/{seed}/{text}", text, 1, size))


def _scenes(key: str, text: str, each: int, size: tuple[int, int] = (SIDE, SIDE)) -> Iterator[np.ndarray]:
    import numpy as np

    from noiseprompt.shapes.scenes import parse, random_scene, render

    rng = np.random.default_rng(list(hashlib.sha256(key.encode()).digest()[:16]))
    request = parse(text)
    for _ in range(each):
        yield (render(random_scene(rng, request, size), size) * 255).round().astype(np.uint8)
