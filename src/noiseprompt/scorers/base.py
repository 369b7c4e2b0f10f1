"""What a scorer is, and how the names of scorers become objects."""

from __future__ import annotations

from collections.abc import Sequence
from typing import TYPE_CHECKING, Protocol, runtime_checkable

import numpy as np

from noiseprompt.errors import InputError, ShapeError
from noiseprompt.registry import SCORERS
from noiseprompt.types import Prompt

if TYPE_CHECKING:
    from noiseprompt.shapes.scenes import Request


@runtime_checkable
class Scorer(Protocol):
    """Judges images against their prompts; higher is better."""

    name: str

    def score(self, images: np.ndarray, prompts: Sequence[Prompt]) -> np.ndarray:
        """Images uint8 (N, H, W, 3) in [0, 255], one prompt each -> float64 (N,)."""
        ...


def load_scorers(names: Sequence[str]) -> list[Scorer]:
    """One scorer for each name of the registry, in the order given; a name that occurs twice is loaded once.

    Raises:
        UnknownNameError: a name that no scorer has.
        ModelLoadError: a scorer whose weights are not there.
    """
    makers = [SCORERS.get(name) for name in dict.fromkeys(names)]
    return [make() for make in makers]


def check_images(images: np.ndarray, prompts: Sequence[Prompt], size: int | None = None) -> None:
    """Refuse what is not uint8 (N, H, W, 3) with one prompt an image.

    Raises:
        ShapeError: the shape, the number of prompts, or the edge (where `size` pixels are needed) is wrong.
        InputError: the values are not uint8.
    """
    edge = ("H", "W") if size is None else (size, size)
    if images.ndim != 4 or images.shape[-1] != 3 or (size is not None and images.shape[1:3] != (size, size)):
        raise ShapeError(f"images of shape {tuple(images.shape)}", f"(N, {edge[0]}, {edge[1]}, 3)")
    if images.dtype != np.uint8:
        raise InputError(
            f"images of type {images.dtype}", "uint8 in [0, 255]", "multiply images in [0, 1] by 255 and round"
        )
    if len(images) != len(prompts):
        raise ShapeError(f"{len(images)} images with {len(prompts)} prompts", "one prompt an image")


def world_requests(prompts: Sequence[Prompt], scorer: str) -> list[Request]:
    """What each prompt asks for in the embedded world.

    Raises:
        InputError: a prompt is not a sentence of the world.
    """
    from noiseprompt.shapes.scenes import parse

    requests = []
    for prompt in prompts:
        try:
            requests.append(parse(prompt.text))
        except ValueError as error:
            raise InputError(
                f"the scorer {scorer} cannot read the prompt {prompt.text!r}",
                'a sentence of the shapes world, such as "a red circle above a blue square"',
                "choose another scorer or other prompts",
            ) from error
    return requests
