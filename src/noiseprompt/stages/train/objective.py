"""What an objective of a training is; each has a file of its own and a line in `table.py`."""

from __future__ import annotations

from collections.abc import Callable, Iterable, Sequence
from typing import Any, NamedTuple, Protocol

import numpy as np
from torch import Tensor, nn

from noiseprompt.npnet import NPNet, NPNetConfig

Batch = dict[str, Tensor]
"""Tensors by name, batch first; the loop moves them to the device and makes those of float16 float32 there."""

Batches = Callable[[Sequence[np.ndarray]], Iterable[Batch]]
"""Parts of the validation rows -> their batches, on the device, in that order."""


class Judged(NamedTuple):
    """Sums over a batch: squared errors of a network and of nothing, mean squares of the predictions, and rows."""

    error: float
    nothing: float
    power: float
    rows: int


class Validated(NamedTuple):
    """What a validation found: the figure that decides (the higher the better), mean square of the predictions, and
    figures of its own by name."""

    explained: float
    power: float = 0.0
    scores: dict[str, float] = {}


class Objective(Protocol):
    """What a network is trained for, on rows of its data.

    Made of the settings, the data and the rows to train and to validate on: (TrainConfig, data, (n,), (m,)).

    Attributes:
        nothing: what a network that learned nothing is no better than, for messages.
        least: `explained` of such a network.
    """

    nothing: str
    least: float

    def begin(self, net: NPNet) -> float | None:
        """Told the network that the training starts from, on the CPU, also when a training goes on.

        Of several processes the main one is told first, and alone writes files.

        Returns:
            `explained` of it, where it is measured; it is then the first to be saved as the best.
        """
        ...

    def batch(self, rows: np.ndarray, step: int | None) -> Batch:
        """What some rows of the data give at a step (from 0), None for validation: the same each time.

        A function of its arguments alone, row by row: a training that was interrupted, or runs in several processes,
        sees the same. Called from a thread that is ahead of the loop; everything stays on the CPU.
        """
        ...

    def loss(self, net: nn.Module, batch: Batch) -> Tensor:
        """A scalar with a gradient, a mean over rows. The network is called as a module."""
        ...

    def validate(self, net: Any, rows: np.ndarray, batches: Batches, step: int) -> Validated:
        """What the averaged weights give on the validation rows, after so many steps."""
        ...

    def told(self, explained: float) -> str:
        """The figure of a validation in words: "explains 12.3% of the perturbation"."""
        ...

    def saved(self, config: NPNetConfig, power: float) -> NPNetConfig:
        """The configuration with which the network is saved.

        Args:
            config: of the network that is trained.
            power: mean square of its predictions on the validation rows; 0 before the first validation.
        """
        ...


class Regression:
    """Objectives with a target: validated by the share of it that is explained, 1 - error / error of nothing learned.

    Attributes:
        whole: what that is a share of ("the perturbation").
    """

    whole = ""
    least = 0.0

    def begin(self, net: NPNet) -> float | None:
        return None

    def error(self, net: Any, batch: Batch) -> Judged:
        """What validation adds up."""
        raise NotImplementedError

    def judged(self, net: Any, rows: np.ndarray, batches: Batches) -> Judged:
        """The sums over some rows, which have one shape."""
        parts = [rows[start : start + 64] for start in range(0, len(rows), 64)]
        found = [self.error(net, batch) for batch in batches(parts)]
        return Judged(*(sum(figures) for figures in zip(*found, strict=True)))

    def validate(self, net: Any, rows: np.ndarray, batches: Batches, step: int) -> Validated:
        error, nothing, power, count = self.judged(net, rows, batches)
        return Validated(1 - error / nothing, power / count)

    def told(self, explained: float) -> str:
        return f"explains {explained:.1%} of {self.whole}"
