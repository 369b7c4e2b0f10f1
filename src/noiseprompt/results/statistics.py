"""Comparing two methods on the same prompts and seeds: win rate, bootstrap, permutation test, Holm's correction.

Everything is float64 numpy and repeatable: the same input and seed give the same digits.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from statistics import NormalDist

import numpy as np
from numpy.typing import ArrayLike

from noiseprompt.core.arrays import plain_numbers
from noiseprompt.core.errors import InputError
from noiseprompt.core.ranges import NOT_NEGATIVE, POSITIVE, SHARE, SUMMABLE, Limits, check_value, shown

LEVEL = Limits(above=0, below=1)
"""Of confidence: .95, not 95."""

DRAWS = Limits(least=1, most=10_000_000)
"""Resamples or permutations: ten million take minutes, and more show nothing new."""

_CHUNK = 2_000_000
"""Numbers drawn at once by the resampling tests: 16 MB, whatever the size of the problem."""


@dataclass(frozen=True)
class WinRate:
    """How often the first of two methods scored higher.

    Fields:
        wins, losses, ties: numbers of pairs.
        rate: (wins + ties / 2) / pairs, in [0, 1].
        low, high: Wilson score interval of the rate.
    """

    wins: int
    losses: int
    ties: int
    rate: float
    low: float
    high: float


@dataclass(frozen=True)
class Interval:
    """A mean and an interval around it, in the units of the data; `n` values. low and high are nan where n is 1."""

    mean: float
    low: float
    high: float
    n: int


def win_rate(a: ArrayLike, b: ArrayLike, *, level: float = 0.95) -> WinRate:
    """How often `a` beats `b`; a tie counts as half a win.

    Args:
        a, b: (n,) scores of the same items by two methods, higher is better.

    Raises:
        InputError: no items, different lengths, or no finite numbers.
        ConfigError: a level that is not between 0 and 1.
    """
    first, second = _values(a), _values(b)
    if len(first) != len(second):
        raise InputError(f"{len(first)} and {len(second)} scores", "one score of each method per item")
    wins, losses = int((first > second).sum()), int((first < second).sum())
    ties = len(first) - wins - losses
    rate = (wins + ties / 2) / len(first)
    return WinRate(wins, losses, ties, rate, *wilson(rate, len(first), level=level))


def wilson(rate: float, n: float, *, level: float = 0.95) -> tuple[float, float]:
    """Wilson's score interval of a proportion `rate`, in [0, 1], seen in `n` independent trials.

    Raises:
        ConfigError: a rate or level out of its range, or no trials.
    """
    check_value("rate", float, rate, SHARE)
    check_value("n", float, n, POSITIVE)
    check_value("level", float, level, LEVEL)
    z = NormalDist().inv_cdf(0.5 + level / 2)
    centre = rate + z * z / (2 * n)
    spread = z * math.sqrt(rate * (1 - rate) / n + z * z / (4 * n * n))
    scale = 1 + z * z / n
    return max(0.0, (centre - spread) / scale), min(1.0, (centre + spread) / scale)


def paired_bootstrap(
    differences: ArrayLike, *, seed: int = 0, resamples: int = 10_000, level: float = 0.95
) -> Interval:
    """Percentile bootstrap of a mean difference.

    Args:
        differences: (n,) method minus baseline, one value an independent unit (a prompt, its seeds averaged before).
        resamples: of the values, with replacement.
        level: share of the resampled means inside the interval.

    Raises:
        InputError: no values, or no finite numbers.
        ConfigError: a seed, level or number of resamples out of its range.
    """
    check_value("seed", int, seed, NOT_NEGATIVE)
    check_value("resamples", int, resamples, DRAWS)
    check_value("level", float, level, LEVEL)
    values = _values(differences)
    mean = float(values.mean())
    if len(values) < 2:
        return Interval(mean, math.nan, math.nan, len(values))
    means = _resampled_means(values, np.random.default_rng(seed), resamples)
    low, high = np.quantile(means, [(1 - level) / 2, (1 + level) / 2])
    return Interval(mean, float(low), float(high), len(values))


def _resampled_means(values: np.ndarray, rng: np.random.Generator, resamples: int) -> np.ndarray:
    """(resamples,) means of n values drawn with replacement; few distinct values: by how often each is drawn."""
    n = len(values)
    distinct, counts = np.unique(values, return_counts=True)
    if 8 * len(distinct) <= n:
        return rng.multinomial(n, counts / n, size=resamples) @ distinct / n
    chunks = [values[rng.integers(n, size=(rows, n), dtype=np.int32)].mean(axis=1) for rows in _chunks(resamples, n)]
    return np.concatenate(chunks)


def sign_flip_test(differences: ArrayLike, *, seed: int = 0, permutations: int = 10_000) -> float:
    """Two-sided p of "the sign of every difference is a coin toss", by the mean; exact where 2**n <= permutations.

    Sampled otherwise, the observed signs counted as one of the permutations, so that p is never 0.

    Raises:
        InputError: no values, or no finite numbers.
        ConfigError: a seed or number of permutations out of its range.
    """
    check_value("seed", int, seed, NOT_NEGATIVE)
    check_value("permutations", int, permutations, DRAWS)
    values = _values(differences)
    moved = values[values != 0]  # flipping a zero changes nothing
    n = len(moved)
    observed = abs(moved.sum())
    limit = observed - 1e-12 * np.abs(moved).sum()  # the same sum in another order may round down
    if 2**n <= permutations:
        signs = 1 - 2.0 * ((np.arange(2**n)[:, None] >> np.arange(n)) & 1)
        return float((np.abs(signs @ moved) >= limit).mean())
    rng = np.random.default_rng(seed)
    sizes, counts = np.unique(np.abs(moved), return_counts=True)  # flips of equal sizes are one binomial draw
    count = 0
    for rows in _chunks(permutations, len(sizes)):
        sums = (2.0 * rng.binomial(counts, 0.5, size=(rows, len(sizes))) - counts) @ sizes
        count += int((np.abs(sums) >= limit).sum())
    return (count + 1) / (permutations + 1)


def holm(p_values: Sequence[float]) -> list[float]:
    """Holm's step-down correction: the same order, each at least as large, at most 1.

    Raises:
        ConfigError: no list of numbers in [0, 1].
    """
    check_value("p_values", Sequence[float], p_values, SHARE)
    order = sorted(range(len(p_values)), key=lambda i: p_values[i])
    corrected = [0.0] * len(p_values)
    largest = 0.0
    for rank, i in enumerate(order):
        largest = max(largest, min(1.0, (len(p_values) - rank) * p_values[i]))
        corrected[i] = largest
    return corrected


def detectable_effect(differences: ArrayLike) -> float:
    """The mean difference that `n` such values show at level .05 (two-sided) with power .8: 2.8 sd / sqrt(n).

    nan for a single value.
    """
    values = _values(differences)
    return float(2.8 * values.std(ddof=1) / math.sqrt(len(values))) if len(values) > 1 else math.nan


def _values(data: ArrayLike) -> np.ndarray:
    """(n,) float64."""
    try:
        values = plain_numbers(data)
    except TypeError as error:
        raise InputError(f"{shown(data)} ({error})", "a list of numbers") from error
    if values.ndim != 1:
        raise InputError(f"values of shape {values.shape}", "a list of numbers (n,)")
    if not len(values):
        raise InputError("no values", "at least one")
    if not np.isfinite(values).all():
        raise InputError(
            f"{int((~np.isfinite(values)).sum())} of {len(values)} values are not finite", "finite numbers"
        )
    if (largest := np.abs(values).max()) > SUMMABLE:
        raise InputError(f"a value of {largest:g}", f"numbers from {-SUMMABLE:g} to {SUMMABLE:g}")
    return values


def _chunks(rows: int, width: int) -> list[int]:
    size = max(1, _CHUNK // max(1, width))
    return [min(size, rows - start) for start in range(0, rows, size)]
