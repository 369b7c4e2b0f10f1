"""In which order a training sees its rows: batches of an epoch, each of one data set and so of one shape."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np


def batches_of(rows: np.ndarray, starts: Sequence[int], size: int, seed: int, epoch: int) -> list[np.ndarray]:
    """The batches of an epoch, a function of the arguments: full ones, or all rows of a data set that has fewer.

    Args:
        rows: (n,) to train on.
        starts: first row of each data set, ascending, 0 first; rows are those of the first, then of the second...
        size: rows a batch.
    """
    rng = np.random.default_rng((seed, epoch))
    order = rng.permutation(rows)
    owner_of = owners(order, starts)
    groups = [order[owner_of == owner] for owner in range(len(starts))]
    cut = [group[i * size :][:size] for group in groups for i in range(_full(len(group), size))]
    return [cut[i] for i in rng.permutation(len(cut))] if len(starts) > 1 else cut


def batches_an_epoch(rows: np.ndarray, starts: Sequence[int], size: int) -> int:
    """How many `batches_of` gives; arguments as of it."""
    return sum(_full(int(count), size) for count in np.bincount(owners(rows, starts), minlength=len(starts)))


def owners(rows: np.ndarray, starts: Sequence[int]) -> np.ndarray:
    """(n,) the number of the data set that each row is of."""
    return np.searchsorted(np.asarray(starts), rows, side="right") - 1


def _full(count: int, size: int) -> int:
    return max(1, count // size)
