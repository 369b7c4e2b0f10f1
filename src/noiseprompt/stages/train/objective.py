"""What a training lowers: one file an objective, one line here."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any, Protocol

import numpy as np
from torch import Tensor, nn

from noiseprompt.stages.train.data import PairData
from noiseprompt.stages.train.settings import TrainConfig

Batch = dict[str, Tensor]
"""Tensors by name, batch first; the loop moves them to the device."""


class Objective(Protocol):
    """What a network is trained for, on rows of a data set. Only `loss` and `error` see a network.

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

    def error(self, net: Any, batch: Batch) -> tuple[float, float]:
        """(error of the network, error of nothing), summed over the batch: their ratio is what validation gives."""
        ...


def make_objective(config: TrainConfig, data: PairData, training: np.ndarray, validation: np.ndarray) -> Objective:
    """The objective that the settings name.

    Args:
        training, validation: rows of the data set.

    Raises:
        InputError: a data set that it cannot learn from.
    """
    from noiseprompt.stages.train.noises import NoiseObjective
    from noiseprompt.stages.train.pictures import PictureObjective

    made: dict[str, Callable[..., Objective]] = {"noise": NoiseObjective, "picture": PictureObjective}
    return made[config.objective](config, data, training, validation)
