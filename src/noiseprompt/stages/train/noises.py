"""The paper's objective (eqs. 8 and 9): the target noise of each pair from its source noise and prompt."""

from __future__ import annotations

import warnings
from typing import Any

import numpy as np
from torch import Tensor, nn

from noiseprompt.core.errors import InputError
from noiseprompt.noise.guard import NoiseWarning, inspect_noise
from noiseprompt.npnet import NPNet, NPNetConfig
from noiseprompt.npnet.svd import SingularBranch, decomposed
from noiseprompt.stages.train.data import SINGULAR, PairData
from noiseprompt.stages.train.objective import Batch, Judged, Regression
from noiseprompt.stages.train.settings import TrainConfig


class NoiseObjective(Regression):
    """MSE to the target noise, divided by that of "predict the source unchanged" over the training pairs.

    Raises:
        InputError: every target equals its source.

    Warns:
        NoiseWarning: the first targets are outside the Gaussian band.
    """

    whole = "the perturbation"
    nothing = "the noise unchanged"

    def __init__(self, config: TrainConfig, data: PairData, training: np.ndarray, validation: np.ndarray) -> None:
        self.data = data
        self.baseline = self._baseline(training)
        self._baseline(validation)
        self._look(training[:256])

    def begin(self, net: NPNet) -> None:
        if isinstance(branch := getattr(net, "singular", None), SingularBranch):
            self.data.keep_singular(branch.fix_signs)

    def batch(self, rows: np.ndarray, step: int | None) -> Batch:
        return self.data.batch(rows)

    def loss(self, net: nn.Module, batch: Batch) -> Tensor:
        predicted = self._predicted(net, batch)
        return (predicted.float() - batch["target"]).square().mean() / self.baseline

    def error(self, net: Any, batch: Batch) -> Judged:
        source, target = batch["source"], batch["target"]
        predicted = self._predicted(net, batch)
        error, nothing = (predicted - target).square().sum(), (source - target).square().sum()
        return Judged(float(error), float(nothing), float(predicted.square().mean(dim=(1, 2, 3)).sum()), len(target))

    def _predicted(self, net: nn.Module, batch: Batch) -> Tensor:
        left, values, right = (batch.get(name) for name in SINGULAR)
        parts = None if left is None or values is None or right is None else (left, values, right)
        with decomposed(net, parts):
            return net(batch["source"], self.data.texts.embeds(batch))

    def saved(self, config: NPNetConfig, power: float) -> NPNetConfig:
        return config

    def _look(self, rows: np.ndarray) -> None:
        """Tell of targets that another program scaled, sorted or made of a picture: what is learned is as they are."""
        if problems := inspect_noise(self.data.targets(rows).float()).problems:
            came = f"the targets of {self.data.npd.folder} are not like unit Gaussian noise: {'; '.join(problems)}"
            warnings.warn(f"{came}. The network learns to make such noise", NoiseWarning, stacklevel=2)

    def _baseline(self, rows: np.ndarray) -> float:
        """MSE of "predict the source unchanged" over at most 2,048 pairs."""
        total = 0.0
        some = rows[:2048]
        for start in range(0, len(some), 256):
            batch = self.data.batch(some[start : start + 256])
            total += float((batch["source"] - batch["target"].float()).square().mean((1, 2, 3)).sum())
        baseline = total / len(some)
        if baseline == 0:
            raise InputError(
                "every target equals its source", "pairs with a perturbation", "collect with a guidance gap"
            )
        return baseline
