"""Pictures of several sizes: one data set a size, one network for all of them, and for others.

The rows of the data sets are counted through, those of the first data set first. Every batch is of one data set, hence
of one shape; each has its own targets, couplings and power, and its share of the steps is that of its rows.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Any

import numpy as np
from torch import Tensor, nn

from noiseprompt.core.errors import ConfigError, InputError
from noiseprompt.npd import Npd
from noiseprompt.npnet import NPNet, NPNetConfig
from noiseprompt.stages.train.objective import Batch, Batches, Judged, Regression, Validated
from noiseprompt.stages.train.order import owners
from noiseprompt.stages.train.pictures import PictureObjective, scaled

Rows = tuple[np.ndarray, np.ndarray]
"""Of one data set, counted from 0: rows to train on, rows to validate on."""


def check_sizes(npds: Sequence[Npd]) -> None:
    """Refuse several data sets that no training mixes, and none at all.

    Raises:
        InputError: not pictures, or two of one size; or there is none.
    """
    if not npds:
        raise InputError("no data set", "one, or several of pictures")
    if len(npds) == 1:
        return
    for npd in npds:
        if not npd.pictures:
            came = f"{npd.folder}, which holds pairs of noises, as one of {len(npds)} data sets"
            raise InputError(came, "one data set of noises, or several of pictures", "pass one folder as --npd")
    shapes = [npd.latent_shape for npd in npds]
    for i, shape in enumerate(shapes):
        if shape in shapes[:i]:
            came = f"{npds[shapes.index(shape)].folder} and {npds[i].folder}, both of latents {shape}"
            raise InputError(came, "one data set a size", "collect all pictures of one size into one folder")


def check_patches(config: NPNetConfig, npds: Sequence[Npd]) -> None:
    """Refuse a patch that does not divide every size.

    Raises:
        ConfigError: it does not.
    """
    for npd in npds:
        if any(side % config.patch for side in npd.latent_shape[1:]):
            height, width = npd.latent_shape[1:]
            came = f"a patch of {config.patch} on latents of {height} x {width} ({npd.folder})"
            raise ConfigError(came, "a patch that divides every size", 'pass --sizes "{patch: 2}", or collect others')


def counted(rows: Sequence[Rows], lengths: Sequence[int]) -> tuple[np.ndarray, np.ndarray, list[int]]:
    """Training rows, validation rows, and the first row of each data set, counted through.

    Args:
        lengths: rows of each data set.
    """
    starts = [0, *np.cumsum(lengths)[:-1].tolist()]
    training, validation = (np.concatenate([r[k] + s for r, s in zip(rows, starts, strict=True)]) for k in (0, 1))
    return training, validation, starts


class SizesObjective(Regression):
    """Several `PictureObjective`s, each of its own shape, as one.

    Args:
        parts: of each data set.
        starts: first row of each, counted through.
        validated: rows of each that validation reads.
    """

    whole = PictureObjective.whole
    nothing = PictureObjective.nothing

    def __init__(self, parts: Sequence[PictureObjective], starts: Sequence[int], validated: Sequence[int]) -> None:
        self.starts = starts
        self.parts = {part.data.npd.latent_shape: part for part in parts}
        self.validated = validated

    def begin(self, net: NPNet) -> None:
        for part in self.parts.values():
            part.begin(net)

    def batch(self, rows: np.ndarray, step: int | None) -> Batch:
        owner = owners(rows, self.starts)[0]
        return list(self.parts.values())[owner].batch(rows - self.starts[owner], step)

    def loss(self, net: nn.Module, batch: Batch) -> Tensor:
        return self._part(batch).loss(net, batch)

    def error(self, net: Any, batch: Batch) -> Judged:
        return self._part(batch).error(net, batch)

    def validate(self, net: Any, rows: np.ndarray, batches: Batches, step: int) -> Validated:
        """Of all rows together; `scores` tell of each size alone."""
        owner_of = owners(rows, self.starts)
        judged = [self.judged(net, rows[owner_of == owner], batches) for owner in range(len(self.parts))]
        shares = [1 - one.error / one.nothing for one in judged]
        names = [f"explained {height} x {width}" for _, height, width in self.parts]
        error, nothing, power, count = (sum(figures) for figures in zip(*judged, strict=True))
        return Validated(1 - error / nothing, power / count, dict(zip(names, shares, strict=True)))

    def saved(self, config: NPNetConfig, power: float) -> NPNetConfig:
        pictures = float(np.average([part.power for part in self.parts.values()], weights=self.validated))
        return scaled(config, pictures, power)

    def _part(self, batch: Batch) -> PictureObjective:
        return self.parts[tuple(batch["target"].shape[1:])]


def objective_of(make: Callable[[Npd, Rows], Any], npds: Sequence[Npd], rows: Sequence[Rows]) -> Any:
    """The objective of a training on some data sets: that of the one, or of all their sizes.

    Args:
        make: the objective of one data set.
    """
    parts = [make(npd, one) for npd, one in zip(npds, rows, strict=True)]
    starts = counted(rows, [len(npd) for npd in npds])[2]
    return parts[0] if len(parts) == 1 else SizesObjective(parts, starts, [len(validation) for _, validation in rows])
