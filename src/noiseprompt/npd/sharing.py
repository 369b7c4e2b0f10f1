"""Many writers of one noise prompt data set (NPD): which shards there are to make, each made by whoever leases it."""

from __future__ import annotations

import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from noiseprompt.core.errors import NoisepromptWarning
from noiseprompt.core.leasing import AnyLease
from noiseprompt.core.part import WHOLE, Part
from noiseprompt.core.types import ScoredPair
from noiseprompt.npd.claim import Claim
from noiseprompt.npd.format import shard_name
from noiseprompt.npd.home import Home, OpenShard, Writer
from noiseprompt.npd.state import UNIT


class SharedWriter(Writer):
    """One of the writers of a folder, who make the shards of one plan. A context manager; leaving it commits what was
    added and gives back what was leased.

    Which pairs a shard holds follows from the plan and from what the folder held before, never from who makes it: the
    files of any number of writers, some of them killed, are those of one that was never disturbed.

    Args:
        folder, settings, latent_shape, store_source, shard_size, recorded: as of `NpdWriter`.
        ids: of all pairs that the folder is to hold when everybody is done, in order. More of them may be asked for
            later; all who write at the same time ask for the same.
        part: makes only the shards of this part.

    Attributes:
        home: what the folder holds.

    Raises:
        StoreLockedError: another process writes other pairs.
        ConfigError: the folder was made with other settings, or another process uses others now.
        StoreError: a shard is damaged, or the folder cannot be written.
    """

    def __init__(
        self,
        folder: str | Path,
        settings: Mapping[str, Any],
        latent_shape: Sequence[int],
        ids: Sequence[str],
        *,
        store_source: bool = False,
        shard_size: int = 64,
        recorded: Mapping[str, str] | None = None,
        part: Part = WHOLE,
    ) -> None:
        self.home = Home(
            folder, settings, latent_shape, store_source=store_source, shard_size=shard_size, recorded=recorded
        )
        self.ids, self.part = tuple(ids), part
        self.added = 0
        self._open: dict[int, tuple[OpenShard, list[str], AnyLease]] = {}
        self._claim = Claim(self.home)
        self.home.refresh()
        self._tell_surplus()
        numbers = [*self.home.tallies, *(number for number, _ in self.home.lacking(self.ids))]
        self._claim.shared(self.ids, max(numbers, default=-1) + 1)

    def _tell_surplus(self) -> None:
        """Say that the folder holds pairs that are not asked for now, such as after `n` was made smaller."""
        if surplus := len(self.home.homes) - sum(pair in self.home.homes for pair in self.ids):
            whose = f"{self.home.store} holds {surplus:,} rows that are not asked for now"
            told = f"{whose}: they stay, and what reads the folder takes them too. A new folder is without them"
            warnings.warn(told, NoisepromptWarning, stacklevel=3)

    def take(self) -> list[str]:
        """Lease the next shard that lacks pairs and that nobody makes; the ids of these pairs, in order.

        Nothing where there is no such shard now; `lacking` tells whether there may be later.

        Raises:
            StoreError: it is damaged, or the folder cannot be written.
        """
        self.home.refresh()
        for number, _ in [*self.home.lacking(self.ids)]:
            if number not in self.part or number in self._open:
                continue
            lease = self._claim.leases.take(UNIT.format(number))
            if lease is None:
                continue
            try:
                ids = self._begin(number, lease)
            except BaseException:
                lease.free()
                raise
            if ids:
                return ids
            lease.free()  # another has made it meanwhile
        return []

    def _begin(self, number: int, lease: AnyLease) -> list[str]:
        self.home.refresh()  # what another committed before it gave up the lease
        ids = dict(self.home.lacking(self.ids)).get(number, [])
        if ids:
            self.home.store.clear_left(shard_name(number))
            self._open[number] = (self.home.open(number, lease.held), ids, lease)
        return ids

    def lacking(self) -> int:
        """How many planned pairs of the part no shard holds, those of shards that are made here left out."""
        return sum(len(ids) for number, ids in self._missing() if number not in self._open)

    def progress(self) -> tuple[int, int]:
        """How many pairs of the part there are, those added here included, and how many there will be."""
        if self.part.whole:
            return sum(pair in self.home.homes for pair in self.ids), len(self.ids)
        numbers = (self.home.homes.get(pair) for pair in self.ids)
        have = sum(number is not None and number in self.part for number in numbers)
        return have, have + sum(len(ids) for _, ids in self._missing())

    def _missing(self) -> list[tuple[int, list[str]]]:
        return [(number, ids) for number, ids in self.home.lacking(self.ids) if number in self.part]

    @property
    def unsaved(self) -> int:
        """How many of the pairs added here are not committed."""
        return sum(shard.unsaved for shard, _, _ in self._open.values())

    def makes(self, pair: str) -> bool:
        """Whether the shard of a pair that `take` gave is this writer's still."""
        return self._number(pair) is not None

    def add(self, pair: ScoredPair) -> None:
        """Take a pair that `take` gave, those of a shard in order; the shard is committed with its last one.

        A pair of a shard that was taken over meanwhile is dropped: another makes it.

        Raises:
            StoreError: the pair is incomplete, or the disk is full.
            ShapeError: noise of another shape.
        """
        number = self._number(pair.id)
        if number is None:
            return
        shard, ids, _ = self._open[number]
        shard.add(pair)
        self.added += 1
        if pair.id == ids[-1]:
            self._commit(number)
            self._give_back(number)

    def flush(self) -> None:
        """Commit what was added, as short shards if need be.

        Raises:
            StoreError: the disk is full; nothing committed is lost.
        """
        for number in [*self._open]:
            self._commit(number)

    def close(self) -> None:
        """Give back what was leased, without committing."""
        try:
            for number in [*self._open]:
                self._give_back(number)
            self._claim.tidy()
        finally:
            self._claim.free()

    def whole(self) -> bool:
        """Whether the folder holds every shard up to its last, and all planned pairs."""
        self.home.refresh()
        return not any(True for _ in self.home.lacking(self.ids))

    def _number(self, pair: str) -> int | None:
        return next((number for number, (_, ids, _) in self._open.items() if pair in ids), None)

    def _commit(self, number: int) -> None:
        shard = self._open[number][0]
        before = shard.unsaved
        if not shard.flush():
            self.added -= before
            self._give_back(number)

    def _give_back(self, number: int) -> None:
        found = self._open.pop(number, None)
        if found is not None:
            found[0].close()
            found[2].free()
