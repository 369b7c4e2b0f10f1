"""Methods compared over the seeds of one prompt while they are drawn: paired by seed, with the intervals of now."""

from __future__ import annotations

import math
from collections import defaultdict
from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

from noiseprompt.results.statistics import WinRate, paired_bootstrap, win_rate
from noiseprompt.results.summary import ACCURACY, BASELINE
from noiseprompt.shapes.world import CHECKER

if TYPE_CHECKING:
    from noiseprompt.web.studio import Drawn

RESAMPLES = 4000
"""Of the bootstrap at every look."""

CAUTION = (
    "This is a look, not a test. The intervals are those of 95 % at this n; whoever watches them grow and stops when "
    "they please is wrong more often than in 5 % of cases. n counts seeds of this one prompt: other prompts may "
    "answer otherwise."
)


@dataclass(frozen=True)
class Standing:
    """One method after n seeds, by one metric.

    Fields:
        method: label.
        n: seeds that are drawn with it and with the baseline.
        mean: over those.
        gain: mean of the paired differences from the baseline, 0 for itself.
        low, high: 95 % bootstrap interval of the gain; None where n is 1 or every difference is the same: nothing is
            known of the spread then.
        win: seeds won, lost and tied; None for the baseline.
    """

    method: str
    n: int
    mean: float
    gain: float
    low: float | None
    high: float | None
    win: WinRate | None


class Standings:
    """Scores as they come: metric -> method -> seed -> score. `add` the pictures, then ask `of` a metric."""

    def __init__(self) -> None:
        self._scores: dict[str, dict[str, dict[int, float]]] = defaultdict(lambda: defaultdict(dict))

    def add(self, pictures: Iterable[Drawn]) -> None:
        """Keep the scores of pictures; the pictures themselves are not kept."""
        for picture in pictures:
            for verdict in picture.verdicts:
                if verdict.judge == CHECKER:
                    self._scores[ACCURACY][picture.method][picture.seed] = float(bool(verdict.correct))
                else:
                    self._scores[verdict.judge][picture.method][picture.seed] = verdict.score

    @property
    def metrics(self) -> Sequence[str]:
        """In the order of the judges; of the checker the share of pictures that are right."""
        return tuple(self._scores)

    def of(self, metric: str) -> list[Standing]:
        """A row a method that has met the baseline, the baseline first."""
        columns = self._scores[metric]
        base = columns.get(BASELINE, {})
        rows = []
        for method, own in columns.items():
            seeds = sorted(own.keys() & base.keys())
            if not seeds:
                continue
            mine, others = [own[s] for s in seeds], [base[s] for s in seeds]
            mean = sum(mine) / len(mine)
            if method == BASELINE:
                rows.append(Standing(method, len(seeds), mean, 0.0, None, None, None))
                continue
            differences = [a - b for a, b in zip(mine, others, strict=True)]
            found = paired_bootstrap(differences, resamples=RESAMPLES)
            known = math.isfinite(found.low) and len(set(differences)) > 1
            ends = (found.low, found.high) if known else (None, None)
            rows.append(Standing(method, len(seeds), mean, found.mean, *ends, win_rate(mine, others)))
        return rows
