"""The exact checker of the embedded world as a scorer: it judges, and should never filter."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np

from noiseprompt.core.arguments import told
from noiseprompt.core.types import Prompt
from noiseprompt.scorers.base import check_images, world_requests


@told
class ShapesChecker:
    """Graded score in [0, 1] of `shapes.checker.check`; exactly 1.0 where the image shows the prompt."""

    name = "shapes-checker"

    def score(self, images: np.ndarray, prompts: Sequence[Prompt]) -> np.ndarray:
        """Images uint8 (N, H, W, 3) of any size, one prompt each -> float64 (N,) in [0, 1].

        Raises:
            ShapeError: no images, or not one prompt each.
            InputError: images that are not uint8, or a prompt that is not a sentence of the world.
        """
        from noiseprompt.shapes import checker

        check_images(images, prompts)
        requests = world_requests(prompts, self.name)
        scores = [checker.check(image, request).score for image, request in zip(images, requests, strict=True)]
        return np.array(scores, np.float64)
