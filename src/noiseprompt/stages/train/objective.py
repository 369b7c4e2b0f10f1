"""What an objective of a training is; each has a file of its own and a line in `table.py`."""

from __future__ import annotations

from typing import Any, NamedTuple, Protocol

import numpy as np
from torch import Tensor, nn

from noiseprompt.npnet import NPNetConfig

Batch = dict[str, Tensor]
"""Tensors by name, batch first; the loop moves them to the device."""


class Judged(NamedTuple):
    """Sums over a batch: squared errors of a network and of nothing, mean squares of the predictions, and rows."""

    error: float
    nothing: float
    power: float
    rows: int


class Objective(Protocol):
    """What a network is trained for, on rows of a data set. Only `loss` and `error` see a network.

    Made of the settings, the data and the rows to train and to validate on: (TrainConfig, PairData, (n,), (m,)).

    Attributes:
        whole: what `explained` is a share of, for messages ("the perturbation").
        nothing: what a network that learned nothing is no better than.
    """

    whole: str
    nothing: str

    def batch(self, rows: np.ndarray, step: int | None) -> Batch:
        """What some rows of the data set give at a step (from 0), None for validation: the same each time.

        A function of its arguments alone, row by row: a training that was interrupted, or runs on several devices, sees
        the same.
        """
        ...

    def loss(self, net: nn.Module, batch: Batch) -> Tensor:
        """A scalar with a gradient; 1.0 means nothing learned, 0.0 everything. The network is called as a module."""
        ...

    def error(self, net: Any, batch: Batch) -> Judged:
        """What validation adds up."""
        ...

    def saved(self, config: NPNetConfig, power: float) -> NPNetConfig:
        """The configuration with which the network is saved.

        Args:
            config: of the network that is trained.
            power: mean square of its predictions on the validation rows; 0 before the first validation.
        """
        ...
