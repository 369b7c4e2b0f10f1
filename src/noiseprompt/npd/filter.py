"""Which pairs of a data set are trained on: the filter is a view, chosen after collecting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from noiseprompt.core.arguments import held, told
from noiseprompt.core.errors import ConfigError, InputError, ShapeError, UnknownNameError
from noiseprompt.core.ranges import Limits, check, setting

BEST_SHARE = Limits(above=0, most=1)


@told
@dataclass(frozen=True)
class PairFilter:
    """Which pairs a reader takes. Rejected pairs never pass. One rule of three: the margin, unless another is given.

    Fields:
        scorers: names; none keeps every usable pair.
        margin: m in the scorers' own units; a pair passes a scorer where s_0 + m < s'_0 (section 2 of the paper). Where
            targets are pictures there is no s_0: the mean of the prompt's usable pictures takes its place.
        combine: "all" or "any" of the scorers, or the "mean" of their scores, unweighted.
        best_share: share of each prompt's usable pairs that passes a scorer, those it scores highest, rounded up; at
            equal scores the earlier ones.
        least_score: a pair passes a scorer where s'_0 is at least this, in its own units.

    Raises:
        ConfigError: a number out of its range, another combination, two rules, or a rule without scorers.
    """

    scorers: tuple[str, ...] = ()
    margin: float = 0.0
    combine: Literal["all", "any", "mean"] = "all"
    best_share: float | None = setting(None, BEST_SHARE)
    least_score: float | None = None

    def __post_init__(self) -> None:
        check(self)
        rules = {"margin": self.margin or None, "best_share": self.best_share, "least_score": self.least_score}
        given = [f"{name} {value:g}" for name, value in rules.items() if value is not None]
        if len(given) > 1:
            raise ConfigError(f"a filter with {' and '.join(given)}", "one of the three rules")
        if given and not self.scorers and not self.margin < 0:
            raise ConfigError(f"a filter with {given[0]} and no scorers", "names of scorers", "pass filter_scorers")
        if self.combine != "all" and not self.scorers:
            raise ConfigError(f"combine {self.combine} and no scorers", "names of scorers", "pass filter_scorers")

    @property
    def wider(self) -> str:
        """What lets more pairs pass, in words."""
        if self.least_score is not None:
            return "lower least_score"
        return "raise best_share" if self.best_share is not None else "lower the margin"

    @held
    def mask(self, scores: dict[str, np.ndarray], usable: np.ndarray, prompts: np.ndarray | None = None) -> np.ndarray:
        """(N,) bool: which pairs pass.

        Args:
            scores: name -> (N, 2), of source and target; NaN in place of a source that there is not, and where a pair
                was not scored.
            usable: (N,) bool.
            prompts: (N,) a number for each prompt; every pair is of one prompt if None.

        Raises:
            UnknownNameError: a scorer that the data set has no scores of.
            InputError: usable pairs that were not scored: they neither pass nor fail.
            ShapeError: an array of another shape or kind.
        """
        missing = [name for name in self.scorers if name not in scores]
        if missing:
            lacks = ("a data set that was scored", "collect one with scorers, or leave the filter out")
            wanted = (f"some of {', '.join(scores)}",) if scores else lacks
            raise UnknownNameError(f"no scores of {', '.join(missing)}", *wanted)
        _check_rows(usable, prompts)
        if not self.scorers:
            return usable.copy()
        for name in self.scorers:
            if scores[name].shape != (len(usable), 2) or scores[name].dtype.kind not in "fiu":
                came = f"scores of {name}: {scores[name].dtype} {scores[name].shape} for {len(usable)} pairs"
                raise ShapeError(came, "numbers (N, 2), of source and target")
        table = np.stack([scores[name] for name in self.scorers])
        unscored = int((usable & np.isnan(table[:, :, 1]).any(axis=0)).sum())
        if unscored:
            came = (
                f"a filter by {', '.join(self.scorers)}: {unscored:,} of {usable.sum():,} usable pairs were not scored"
            )
            raise InputError(came, "scores of every pair", "collect them all (scored_share 1), or leave the filter out")
        if self.combine == "mean":
            table = table.mean(axis=0, keepdims=True)
        groups = np.zeros(len(usable), np.int64) if prompts is None else prompts
        passed = np.stack([self._passed(column, usable, groups) for column in table])
        return usable & (passed.any(axis=0) if self.combine == "any" else passed.all(axis=0))

    def _passed(self, scores: np.ndarray, usable: np.ndarray, prompts: np.ndarray) -> np.ndarray:
        """(N,) bool of one scorer, (N, 2)."""
        before, after = scores.T
        if self.least_score is not None:
            return after >= self.least_score
        if self.best_share is not None:
            return _best(after, usable, prompts, self.best_share)
        return np.where(np.isnan(before), _means(after, usable, prompts), before) + self.margin < after


def _check_rows(usable: np.ndarray, prompts: np.ndarray | None) -> None:
    if usable.dtype.kind != "b" or usable.ndim != 1:
        raise ShapeError(f"usable: {usable.dtype} {usable.shape}", "booleans (N,)")
    if prompts is not None and (prompts.dtype.kind not in "iu" or prompts.shape != usable.shape or (prompts < 0).any()):
        came = f"prompts: {prompts.dtype} {prompts.shape} for {len(usable)} pairs"
        raise ShapeError(came, "whole numbers (N,) from 0")


def _means(values: np.ndarray, usable: np.ndarray, prompts: np.ndarray) -> np.ndarray:
    """(N,) the mean of the usable values of each row's prompt; NaN without any."""
    most = int(prompts.max(initial=0)) + 1
    total = np.bincount(prompts[usable], values[usable], most)
    count = np.bincount(prompts[usable], minlength=most)
    return np.divide(total, count, out=np.full(most, np.nan), where=count > 0)[prompts]


def _best(values: np.ndarray, usable: np.ndarray, prompts: np.ndarray, share: float) -> np.ndarray:
    """(N,) bool: the highest `share` of each prompt's usable values, at least one."""
    rows = np.flatnonzero(usable)
    rows = rows[np.lexsort((rows, -values[rows], prompts[rows]))]
    _, first, inverse, count = np.unique(prompts[rows], return_index=True, return_inverse=True, return_counts=True)
    rank = np.arange(len(rows)) - first[inverse]
    chosen = np.zeros(len(values), bool)
    chosen[rows[rank < np.ceil(share * count - 1e-9)[inverse]]] = True
    return chosen
