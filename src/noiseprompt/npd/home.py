"""What a writer knows of a data set's folder: its settings, which pair is in which shard, and the shards being made."""

from __future__ import annotations

from abc import ABC, abstractmethod
from collections import Counter
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, TypeVar

from noiseprompt.core.config import check_plain, to_dict
from noiseprompt.core.errors import InputError, StoreError
from noiseprompt.core.files import differences, refuse_changes
from noiseprompt.core.parts import as_recorded
from noiseprompt.core.ranges import ANY, COUNT, NAMED, check_value
from noiseprompt.core.store import Stamp
from noiseprompt.core.stores import store_of
from noiseprompt.core.types import ScoredPair, check_shape
from noiseprompt.npd.format import (
    Row,
    Shard,
    holds_pictures,
    light_shard,
    schema,
    shard_bytes,
    shard_name,
    shard_numbers,
    stored_shard,
)
from noiseprompt.npd.known import SCHEMA_VERSION
from noiseprompt.npd.rows import pair_to_row
from noiseprompt.npd.wrong import twice

W = TypeVar("W", bound="Writer")

_NAMES = ("model",)
"""Settings that decide nothing, only say where things are from: those a folder has (or lacks) stay as they are."""


class Writer(ABC):
    """A context manager; leaving it commits what was added."""

    @abstractmethod
    def flush(self) -> None:
        """Commit what was added, as short shards if need be.

        Raises:
            StoreError: the disk is full; nothing committed is lost.
        """

    @abstractmethod
    def close(self) -> None:
        """Give back what was held, without committing."""

    def __enter__(self: W) -> W:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        try:
            if not isinstance(error, StoreError):
                self.flush()
        finally:
            self.close()


@dataclass
class Tally:
    """One shard in figures.

    Fields:
        ids: of its pairs, in order.
        kept: scorer -> pairs whose target scores higher than their source.
        rejected: pairs without a target.
        scored: pairs with scores.
        stamp: of its file as it was read.
    """

    ids: list[str] = field(default_factory=list)
    kept: Counter[str] = field(default_factory=Counter)
    rejected: int = 0
    scored: int = 0
    stamp: Stamp | None = None


class Home:
    """A folder of shards with one kind of settings.

    Args:
        folder: made when something is written.
        settings, latent_shape, store_source, shard_size, recorded: as of `NpdWriter`.

    Attributes:
        store: of its files.
        settings: everything that is recorded in each shard.
        tallies: number -> what the shard holds, those being made included.
        homes: id of a pair -> the number of its shard.

    Raises:
        InputError: settings that no data set has.
    """

    def __init__(
        self,
        folder: str | Path,
        settings: Mapping[str, Any],
        latent_shape: Sequence[int],
        *,
        store_source: bool = False,
        shard_size: int = 64,
        recorded: Mapping[str, str] | None = None,
    ) -> None:
        check_value("shard_size", int, shard_size, COUNT)
        check_value("folder", str | Path, folder, NAMED)
        check_value("latent_shape", tuple[int, int, int], latent_shape, COUNT)
        check_shape("latent_shape", latent_shape)
        check_plain("settings", settings)
        scorers = settings.get("scorers", [])
        check_value("settings: scorers", list[str], scorers, NAMED if scorers else ANY)
        if len(set(scorers)) < len(scorers):
            raise InputError(f"scorers {', '.join(scorers)}", "each scorer once")
        if store_source and holds_pictures(settings):
            raise InputError("store_source with pictures", "pairs of noises: a picture has no source noise")
        self.store = store_of(folder)
        self.folder, self.latent_shape, self.shard_size = self.store.folder, tuple(latent_shape), shard_size
        own = {"latent_shape": latent_shape, "store_source": store_source, "shard_size": shard_size}
        self.settings = to_dict({"scorers": [], **settings, **own, "schema_version": SCHEMA_VERSION})
        self.columns = schema(self.latent_shape, self.settings["scorers"], store_source)
        self.tallies: dict[int, Tally] = {}
        self.homes: dict[str, int] = {}
        self.being_made: set[int] = set()
        self._called = {there: name for name, there in (recorded or {}).items()}

    @property
    def kept(self) -> Counter[str]:
        """Scorer -> number of pairs whose target scores higher than their source."""
        total = Counter(dict.fromkeys(self.settings["scorers"], 0))
        for tally in self.tallies.values():
            total.update(tally.kept)
        return total

    @property
    def rejected(self) -> int:
        """How many pairs have no target."""
        return sum(tally.rejected for tally in self.tallies.values())

    @property
    def scored(self) -> int:
        """How many pairs have scores."""
        return sum(tally.scored for tally in self.tallies.values())

    def adopt(self, theirs: Mapping[str, Any]) -> None:
        """Refuse other settings than those the folder was made with, and take its names for the same things.

        Raises:
            ConfigError: they differ.
        """
        names = {name: theirs[name] for name in _NAMES if name in theirs}
        own = {key: value for key, value in self.settings.items() if key not in _NAMES}
        own = as_recorded({**own, **names}, theirs)
        told = {there: f"{name} (recorded as {there})" for there, name in self._called.items()}
        refuse_changes(self.folder, differences(theirs, own, told=told), theirs, own)
        self.settings = own

    def refresh(self) -> None:
        """Read the shards that are new or that have grown; those being made here are known.

        Raises:
            ConfigError: one has other settings.
            StoreError: one is damaged, or a pair is in two.
        """
        numbers = {*shard_numbers(self.store)}
        for number in {*self.tallies} - numbers - self.being_made:
            self.forget(number)
        todo = [number for number in sorted(numbers - self.being_made) if not self._known(number)]
        stamps = [self._stamp(number) for number in todo]
        read = self.store.each(lambda number: light_shard(self.store, number), todo)
        for number, stamp, shard in zip(todo, stamps, read, strict=True):
            self.forget(number)
            self.adopt(shard.settings)
            self.tallies[number] = Tally(stamp=stamp)
            for row in shard.light.drop_columns(["prompt"]).to_pylist():
                if not row["rejected"] and _lacks_scores(row, self.settings):
                    came = f"{shard.where}: pair {row['id']} lacks some of its scores"
                    raise StoreError(came, "all of a usable pair's, or none", "see `noiseprompt npd verify`")
                home = self.homes.get(row["id"])
                if home is not None and home not in self.being_made:
                    raise twice(row["id"], shard_name(home), shard_name(number), self.folder)
                self.note(number, row)

    def _known(self, number: int) -> bool:
        """Whether a shard is as it was read."""
        tally = self.tallies.get(number)
        return tally is not None and (len(tally.ids) >= self.shard_size or tally.stamp == self._stamp(number))

    def forget(self, number: int) -> None:
        """What a shard holds, as where it is no more."""
        for pair in self.tallies.pop(number, Tally()).ids:
            self.homes.pop(pair, None)

    def note(self, number: int, row: Row) -> None:
        """A row of a shard."""
        tally = self.tallies.setdefault(number, Tally())
        tally.ids.append(row["id"])
        tally.rejected += bool(row["rejected"])
        names = self.settings["scorers"]
        tally.scored += bool(names) and row[f"score_target.{names[0]}"] is not None
        for name in names:
            before, after = row[f"score_source.{name}"], row[f"score_target.{name}"]
            tally.kept[name] += before is not None and before < after
        self.homes[row["id"]] = number

    def lacking(self, ids: Sequence[str]) -> Iterator[tuple[int, list[str]]]:
        """Shard -> those of the planned pairs that it is to hold and lacks, in order; of shards that lack some alone.

        Pairs that no shard holds fill the room there is, in order: in short shards, missing ones, and after the last.
        A shard made so leaves those of the others as they are, so that all who share a plan agree, whenever they look.
        """
        todo = [pair for pair in ids if pair not in self.homes]
        number = begun = 0
        while begun < len(todo):
            room = self.shard_size - len(self.tallies[number].ids if number in self.tallies else ())
            if room > 0:
                yield number, todo[begun : begun + room]
                begun += room
            number += 1

    def open(self, number: int, held: Callable[[], bool] | None = None) -> OpenShard:
        """A shard to add to; of one that is there every byte is checked, for it gets a new checksum.

        Args:
            held: as of `OpenShard`.

        Raises:
            StoreError: it was changed after writing.
        """
        known = self.tallies.get(number)
        rows = stored_shard(self.store, number).rows() if known is not None else []
        return OpenShard(self, number, rows, known.stamp if known is not None else None, held)

    def first(self) -> Shard | None:
        """The first shard there is."""
        numbers = shard_numbers(self.store)
        return light_shard(self.store, numbers[0]) if numbers else None

    def _stamp(self, number: int) -> Stamp | None:
        return self.store.stamp(shard_name(number))


class OpenShard:
    """A shard that is being made.

    Args:
        rows: those it holds already.
        stamp: of its file as these were read; None where there is none.
        held: whether it is this process's to make still; always unless given.

    Attributes:
        number: of the shard.
        unsaved: pairs added since the last `flush`.
    """

    def __init__(
        self,
        home: Home,
        number: int,
        rows: list[Row],
        stamp: Stamp | None = None,
        held: Callable[[], bool] | None = None,
    ) -> None:
        self.number, self.unsaved = number, 0
        self._home, self._rows, self._stamp, self._held = home, rows, stamp, held
        home.being_made.add(number)

    @property
    def room(self) -> int:
        """How many pairs it still takes."""
        return self._home.shard_size - len(self._rows)

    def add(self, pair: ScoredPair) -> None:
        """Take a pair.

        Raises:
            StoreError: the id is there already, or the pair is incomplete.
            ShapeError: noise of another shape.
        """
        row = pair_to_row(pair, self._home.settings)
        if pair.id in self._home.homes:
            raise StoreError(f"pair {pair.id} is in {self._home.folder} already", "a new pair")
        self._rows.append(row)
        self._home.note(self.number, row)
        self.unsaved += 1

    def flush(self) -> bool:
        """Commit what was added, as a short shard if need be; False where another has taken the shard over.

        Raises:
            StoreError: the disk is full; nothing committed is lost.
        """
        if not self.unsaved:
            return True
        if self._held is not None and not self._held():
            return False
        data = shard_bytes(self._rows, self._home.columns, self._home.settings).to_pybytes()
        written = self._home.store.swap(shard_name(self.number), data, self._stamp)
        if written is None:
            return False
        self._stamp, self.unsaved = written, 0
        return True

    def close(self) -> None:
        """No more is added; what was not committed is forgotten."""
        self._home.being_made.discard(self.number)
        if self.unsaved:
            self._home.forget(self.number)


def _lacks_scores(row: Row, settings: Mapping[str, Any]) -> bool:
    """Whether some of the scores of a usable pair are there and others are not."""
    sides = ("target",) if holds_pictures(settings) else ("source", "target")
    there = {row[f"score_{side}.{name}"] is None for name in settings["scorers"] for side in sides}
    return len(there) > 1
