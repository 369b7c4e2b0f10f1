"""What is made once for each of a few sources and then kept, in main memory."""

from __future__ import annotations

import math
from collections.abc import Callable, Sequence

import numpy as np
import torch
from torch import Tensor

ROOM = 5 * 2**29
"""Most bytes of one `Kept`: 1,025 noises of SDXL have 269 MB and their singular vectors 539 MB, of 16 channels 1.1 and
2.2 GB."""


class Kept:
    """float32 tensors by number, made when they are first asked for; made anew each time where all do not fit.

    Args:
        count: of numbers.
        shapes: of the tensors that belong to one number.
    """

    def __init__(self, count: int, shapes: Sequence[Sequence[int]]) -> None:
        self.fits = 4 * count * sum(math.prod(shape) for shape in shapes) <= ROOM
        self._made = np.zeros(count, bool)
        self._values = [torch.empty(count, *shape) for shape in shapes] if self.fits else []

    def get(self, numbers: np.ndarray, make: Callable[[np.ndarray], Sequence[Tensor]]) -> list[Tensor]:
        """A batch (B, ...) of each tensor; may be called from several threads.

        Args:
            numbers: (B,), repeats are allowed.
            make: distinct numbers -> a batch of each tensor.
        """
        if not self.fits:
            distinct, place = np.unique(numbers, return_inverse=True)
            return [tensor[torch.from_numpy(place)] for tensor in make(distinct)]
        new = np.unique(numbers[~self._made[numbers]])
        if len(new):
            for values, tensor in zip(self._values, make(new), strict=True):
                values[torch.from_numpy(new)] = tensor
            self._made[new] = True
        return [values[torch.from_numpy(numbers)] for values in self._values]
