"""The paper's objective (eqs. 8 and 9): the target noise of each pair from its source noise and prompt."""

from __future__ import annotations

from typing import Any

import numpy as np
from torch import Tensor, nn

from noiseprompt.core.errors import InputError
from noiseprompt.npnet import NPNetConfig
from noiseprompt.stages.train.data import PairData
from noiseprompt.stages.train.objective import Batch, Judged, Regression
from noiseprompt.stages.train.settings import TrainConfig


class NoiseObjective(Regression):
    """MSE to the target noise, divided by that of "predict the source unchanged" over the training pairs.

    Raises:
        InputError: every target equals its source.
    """

    whole = "the perturbation"
    nothing = "the noise unchanged"

    def __init__(self, config: TrainConfig, data: PairData, training: np.ndarray, validation: np.ndarray) -> None:
        self.data = data
        self.baseline = self._baseline(training)
        self._baseline(validation)

    def batch(self, rows: np.ndarray, step: int | None) -> Batch:
        source, target, embeds = self.data.batch(rows)
        return {"source": source, "target": target, "prompt_embeds": embeds}

    def loss(self, net: nn.Module, batch: Batch) -> Tensor:
        predicted = net(batch["source"], batch["prompt_embeds"])
        return (predicted.float() - batch["target"]).square().mean() / self.baseline

    def error(self, net: Any, batch: Batch) -> Judged:
        source, target = batch["source"], batch["target"]
        predicted = net(source, batch["prompt_embeds"])
        error, nothing = (predicted - target).square().sum(), (source - target).square().sum()
        return Judged(float(error), float(nothing), float(predicted.square().mean(dim=(1, 2, 3)).sum()), len(target))

    def saved(self, config: NPNetConfig, power: float) -> NPNetConfig:
        return config

    def _baseline(self, rows: np.ndarray) -> float:
        """MSE of "predict the source unchanged" over at most 2,048 pairs."""
        total = 0.0
        some = rows[:2048]
        for start in range(0, len(some), 256):
            source, target, _ = self.data.batch(some[start : start + 256])
            total += float((source - target).square().mean((1, 2, 3)).sum())
        baseline = total / len(some)
        if baseline == 0:
            raise InputError(
                "every target equals its source", "pairs with a perturbation", "collect with a guidance gap"
            )
        return baseline
