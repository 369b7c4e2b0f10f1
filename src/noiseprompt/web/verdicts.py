"""What the judges say of a picture, in words: of the embedded world what the exact checker saw, else scores."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from noiseprompt.core.errors import NoiseError
from noiseprompt.scorers.base import judge
from noiseprompt.shapes.world import CHECKER

if TYPE_CHECKING:
    from noiseprompt.core.types import Prompt
    from noiseprompt.scorers.base import Scorer


@dataclass(frozen=True)
class Verdict:
    """One judge on one picture.

    Fields:
        judge: its name.
        score: higher is better.
        correct: whether the picture shows the prompt; None from judges that do not know.
        reason: what is wrong, in words; "" elsewhere.
    """

    judge: str
    score: float
    correct: bool | None = None
    reason: str = ""


def judged(judges: Sequence[Scorer], images: np.ndarray, prompt: Prompt) -> list[tuple[Verdict, ...]]:
    """The verdicts on each of the images of one prompt.

    Args:
        images: uint8 (N, H, W, 3).

    Raises:
        NoiseError: a score that is not finite.
        NoisepromptError: as judges raise.
    """
    columns = [_checked(images, prompt) if j.name == CHECKER else _scored(j, images, prompt) for j in judges]
    return [tuple(column[i] for column in columns) for i in range(len(images))]


def _checked(images: np.ndarray, prompt: Prompt) -> list[Verdict]:
    from noiseprompt.shapes.checker import check
    from noiseprompt.shapes.scenes import parse

    request = parse(prompt.text)
    found = [check(image, request) for image in images]
    return [Verdict(CHECKER, result.score, result.correct, result.reason) for result in found]


def _scored(scorer: Scorer, images: np.ndarray, prompt: Prompt) -> list[Verdict]:
    scores = judge(scorer, images, [prompt] * len(images))
    if not np.isfinite(scores).all():
        raise NoiseError(f"scorer {scorer.name!r} gave {scores.tolist()}", f"{len(images)} finite numbers")
    return [Verdict(scorer.name, float(score)) for score in scores]
