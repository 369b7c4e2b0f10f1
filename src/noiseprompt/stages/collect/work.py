"""What one process does for a data set: batch after batch of the shards that it leases."""

from __future__ import annotations

import time
from collections.abc import Callable, Iterator, Sequence
from contextlib import closing, suppress
from dataclasses import dataclass

from noiseprompt.core.errors import NoisepromptError, StoreError
from noiseprompt.core.types import ScoredPair
from noiseprompt.core.waiting import Waiting
from noiseprompt.npd.sharing import SharedWriter
from noiseprompt.npd.state import UNIT
from noiseprompt.stages.collect.failures import MANY, Held
from noiseprompt.stages.collect.pairs import Item, pair_id
from noiseprompt.stages.collect.scoring import Maker, Scoring
from noiseprompt.stages.collect.settings import CollectConfig

COMMIT_SECONDS = 120.0
"""A short shard is committed when so much time has passed since the last commit, so that a slow model loses little."""

WAIT_SECONDS = 0.5
"""Between two looks at the shards that others make, once there is nothing else to do."""


@dataclass(frozen=True)
class CollectProgress:
    """State of a collection after a batch.

    Fields:
        done, total: pairs in the folder that belong to this run (or its part), and pairs it will have.
        kept_by_scorer: scorer -> pairs in the folder whose target scores higher (margin 0).
        scored: pairs in the folder that have scores.
        rejected: pairs in the folder without a usable target.
        pairs_per_second: of this process; 0 before its first batch.
        eta_seconds: at that rate; None before the first batch.
        made: pairs that this process has made.
        unsaved: of these, those that are not committed.
    """

    done: int
    total: int
    kept_by_scorer: dict[str, int]
    rejected: int
    pairs_per_second: float
    eta_seconds: float | None
    made: int = 0
    unsaved: int = 0
    scored: int = 0


def fill(
    writer: SharedWriter,
    items: Sequence[Item],
    maker: Maker,
    config: CollectConfig,
    should_stop: Callable[[], bool] | None = None,
    *,
    apart: bool = False,
) -> Iterator[CollectProgress]:
    """Make what an open data set lacks and nobody else makes, shard by shard; yields after each batch.

    Args:
        apart: as of `collect`. What was drawn when it is told to stop, or closed, is scored and added too.

    Raises:
        NoisepromptError: as `collect`.
    """
    work = Work(writer, items, maker, config, apart)
    yield work.progress()
    with closing(work):
        for _ in work.batches(should_stop):
            yield work.progress()
    if work.whole:
        _check_usable(writer)


class Work:
    """What one process does for a data set.

    Attributes:
        held: pairs that wait.
    """

    def __init__(
        self, writer: SharedWriter, items: Sequence[Item], maker: Maker, config: CollectConfig, apart: bool
    ) -> None:
        self.held, self.whole = Held(self._works), False
        self._writer, self._maker, self._scoring = writer, maker, Scoring(maker, apart)
        self._size = config.batch_size
        self._items = {pair_id(item): item for item in items}
        self._begun = self._committed = time.perf_counter()
        self._waiting = _waiting(writer)

    def batches(self, should_stop: Callable[[], bool] | None) -> Iterator[None]:
        """Make batch after batch; yields after each.

        Raises:
            NoisepromptError: as `collect`.
        """
        while True:
            ids = self._writer.take()
            if ids:
                self._waiting.over()
            if not ids and self.end():
                yield
            elif not ids and self.held.pairs:
                self.record(self.held.settle())
                yield
            elif not ids and not self._writer.lacking():
                self.whole = True
                return
            elif not ids:  # others make what is left; what they leave is made here
                self._waiting.on()
                time.sleep(WAIT_SECONDS)
                if should_stop is not None and should_stop():
                    return
            for start in range(0, len(ids), self._size):
                if not self._writer.makes(ids[-1]):
                    break
                if self.make(ids[start : start + self._size]):
                    yield
                if should_stop is not None and should_stop():
                    if self.end():
                        yield
                    return

    def make(self, ids: Sequence[str]) -> bool:
        """Draw a batch, and end it, or the one before where they are scored apart; whether one was ended."""
        batch = self._scoring.draw([self._items[one] for one in ids])
        ended = self.end()
        self._scoring.begin(batch)
        return ended if self._scoring.apart else self.end()

    def end(self) -> bool:
        """Take the scores of the batch that was begun; it is recorded once something shows that the model works.

        Returns:
            whether there was one.
        """
        try:
            made = self._scoring.end()
            ready = self.held.take(made) if made else []
        except StoreError:
            self._writer.flush()  # a file of a scorer or model: after one of its own the writer commits nothing
            raise
        self.record(ready)
        now = time.perf_counter()
        if now - self._committed > COMMIT_SECONDS:
            self._writer.flush()
            self._committed = now
        return made is not None

    def close(self) -> None:
        """Record what is drawn still; if that fails, the next run tells it."""
        try:
            with suppress(NoisepromptError):
                self.end()
        finally:
            self._scoring.close()

    def record(self, pairs: Sequence[ScoredPair]) -> None:
        """Add pairs to the data set."""
        for pair in pairs:
            self._writer.add(pair)

    def progress(self) -> CollectProgress:
        """As of now."""
        (done, total), home = self._writer.progress(), self._writer.home
        made, seconds = self._writer.added, time.perf_counter() - self._begun
        rate = made / seconds if made else 0.0
        eta = (total - done) / rate if rate else None
        kept, unsaved = dict(home.kept), self._writer.unsaved
        return CollectProgress(done, total, kept, home.rejected, rate, eta, made, unsaved, home.scored)

    def _works(self) -> bool:
        """Whether one of the latest pairs can be made again."""
        made = [self._items[one] for one in [*self._writer.home.homes] if one in self._items]
        return any(not self._maker.make([item])[0].rejected for item in reversed(made[-MANY:]))


def _waiting(writer: SharedWriter) -> Waiting:
    """For the shards that others make."""
    leases, shard = writer.home.store.leases(), UNIT.format(0)[:-6]
    return Waiting(
        leases.where, leases.patience, lambda: {u: h for u, h in leases.holders().items() if u.startswith(shard)}
    )


def _check_usable(writer: SharedWriter) -> None:
    if writer.home.homes and writer.home.rejected == len(writer.home.homes):
        came = f"all {writer.home.rejected} pairs in {writer.home.folder} were rejected"
        raise StoreError(came, "one that is usable", "look at the reasons with noiseprompt npd info")
