"""Which pairs of a data set are trained on: the filter is a view, chosen after collecting."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Literal

import numpy as np

from noiseprompt.core.errors import UnknownNameError
from noiseprompt.core.ranges import check


@dataclass(frozen=True)
class PairFilter:
    """Which pairs a reader takes. Rejected pairs never pass.

    Fields:
        scorers: names; none keeps every usable pair.
        margin: m in the scorers' own units; a pair passes a scorer where s_0 + m < s'_0 (section 2 of the paper).
        combine: "all" or "any" of the scorers, or the "mean" of their scores, unweighted.

    Raises:
        ConfigError: a margin that is not finite, or another combination.
    """

    scorers: tuple[str, ...] = ()
    margin: float = 0.0
    combine: Literal["all", "any", "mean"] = "all"

    def __post_init__(self) -> None:
        check(self)

    def mask(self, scores: dict[str, np.ndarray], usable: np.ndarray) -> np.ndarray:
        """(N,) bool: which pairs pass.

        Args:
            scores: name -> (N, 2), of source and target.
            usable: (N,) bool.

        Raises:
            UnknownNameError: a scorer that the data set has no scores of.
        """
        missing = [name for name in self.scorers if name not in scores]
        if missing:
            raise UnknownNameError(f"no scores of {', '.join(missing)}", f"some of {', '.join(scores) or 'no scorer'}")
        if not self.scorers:
            return usable.copy()
        table = np.stack([scores[name] for name in self.scorers])
        if self.combine == "mean":
            table = table.mean(axis=0, keepdims=True)
        passed = table[..., 0] + self.margin < table[..., 1]
        return usable & (passed.any(axis=0) if self.combine == "any" else passed.all(axis=0))
