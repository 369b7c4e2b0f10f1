"""The one writer of a noise prompt data set (NPD): a lock, shards committed by a rename, resumption."""

from __future__ import annotations

from collections import Counter
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from noiseprompt.core.arguments import held
from noiseprompt.core.config import to_dict
from noiseprompt.core.errors import InputError, StoreError
from noiseprompt.core.files import Lock, differences, refuse_changes, remove, replacing
from noiseprompt.core.parts import as_recorded
from noiseprompt.core.ranges import COUNT, check_value
from noiseprompt.core.types import ScoredPair, check_shape
from noiseprompt.npd.format import (
    SCHEMA_VERSION,
    Row,
    Shard,
    holds_pictures,
    pair_to_row,
    read_shard,
    schema,
    shard_bytes,
    shard_numbers,
    shard_path,
)

_NAMES = ("model",)
"""Settings that decide nothing, only say where things are from: those a folder has (or lacks) stay as they are."""


class NpdWriter:
    """The one writer of a folder. Use it as a context manager; leaving it commits what was added.

    Args:
        folder: made if missing; continued if it was made with the same settings.
        settings: everything that decides what the pairs are; `settings["scorers"]` names the scorers, in order.
        latent_shape: (C, H, W) of one noise.
        store_source: keep the source noise too instead of regenerating it from its seed; doubles the size.
        shard_size: pairs a shard.
        recorded: what the user calls a setting -> its name in `settings`, where they differ; for messages.

    A shard that is short (the last one, or one committed early by `flush`) is filled up before the next begins, and a
    missing shard is written again, so that the files depend only on the pairs and their order.

    Raises:
        StoreLockedError: another process writes to the folder.
        ConfigError: the folder was made with other settings.
        StoreError: a shard is damaged (of a short one every byte is checked), or the folder cannot be written.
    """

    @held
    def __init__(
        self,
        folder: str | Path,
        settings: dict[str, Any],
        latent_shape: Sequence[int],
        *,
        store_source: bool = False,
        shard_size: int = 64,
        recorded: Mapping[str, str] | None = None,
    ) -> None:
        check_value("shard_size", int, shard_size, COUNT)
        check_value("folder", str | Path, folder)
        check_shape("latent_shape", latent_shape)
        if store_source and holds_pictures(settings):
            raise InputError("store_source with pictures", "pairs of noises: a picture has no source noise")
        self.folder = Path(folder)
        self.latent_shape = tuple(latent_shape)
        self.shard_size = shard_size
        own = {"latent_shape": latent_shape, "store_source": store_source, "shard_size": shard_size}
        self.settings = to_dict({"scorers": [], **settings, **own, "schema_version": SCHEMA_VERSION})
        self._called = {there: name for name, there in (recorded or {}).items()}
        self._schema = schema(self.latent_shape, self.settings["scorers"], store_source)
        self.done: set[str] = set()
        """Ids of the pairs added, those committed earlier included."""
        self.kept: Counter[str] = Counter(dict.fromkeys(self.settings["scorers"], 0))
        """Scorer -> number of pairs whose target scores higher than their source."""
        self.rejected = 0
        self._lock = Lock(self.folder)
        self._lock.take()
        try:
            self._open_shards = self._resume()
            self._next()
        except BaseException:
            self.close()
            raise

    def __enter__(self) -> NpdWriter:
        return self

    def __exit__(self, kind: type[BaseException] | None, error: BaseException | None, trace: object) -> None:
        try:
            if not isinstance(error, StoreError):
                self.flush()
        finally:
            self.close()

    @property
    def room(self) -> int:
        """How many pairs the current shard still takes."""
        return self.shard_size - len(self._rows)

    @held
    def add(self, pair: ScoredPair) -> None:
        """Take a pair; the shard is committed when it is full.

        Raises:
            StoreError: the id is there already, the pair is incomplete, or the disk is full.
            ShapeError: noise of another shape.
        """
        if pair.id in self.done:
            raise StoreError(f"pair {pair.id} is in {self.folder} already", "a new pair")
        row = pair_to_row(pair, self.settings)
        self._rows.append(row)
        self._note(row)
        self._dirty = True
        if not self.room:
            self.flush()
            self._next()

    def flush(self) -> None:
        """Commit what was added, as a short shard if need be.

        Raises:
            StoreError: the disk is full; nothing committed is lost.
        """
        if self._dirty:
            data = shard_bytes(self._rows, self._schema, self.settings)
            with replacing(shard_path(self.folder, self._number)) as file:
                file.write(data)
            self._dirty = False

    def close(self) -> None:
        """Release the folder without committing."""
        self._lock.free()

    def _resume(self) -> list[tuple[int, list[Row]]]:
        for leftover in self.folder.glob("shard-*.arrow.tmp"):  # of earlier releases
            remove(leftover)
        numbers = shard_numbers(self.folder)
        missing = set(range(max(numbers, default=-1) + 1)) - set(numbers)
        slots: list[tuple[int, list[Row]]] = [(number, []) for number in missing]
        for number in numbers:
            shard = read_shard(shard_path(self.folder, number))
            self._check_settings(shard)
            light = [name for name in shard.batch.schema.names if name not in ("source", "target", "prompt")]
            for row in shard.batch.select(light).to_pylist():
                self._note(row)
            if shard.batch.num_rows < self.shard_size:
                slots.append((number, shard.rows()))  # they get a new checksum: the old one must hold
        return sorted(slots, key=lambda slot: slot[0])

    def _check_settings(self, shard: Shard) -> None:
        theirs = shard.settings
        names = {name: theirs[name] for name in _NAMES if name in theirs}
        self.settings = {**{key: value for key, value in self.settings.items() if key not in _NAMES}, **names}
        self.settings = as_recorded(self.settings, theirs)
        told = {there: f"{name} (recorded as {there})" for there, name in self._called.items()}
        refuse_changes(self.folder, differences(theirs, self.settings, told=told), theirs, self.settings)

    def _next(self) -> None:
        if self._open_shards:
            self._number, self._rows = self._open_shards.pop(0)
        else:
            self._number, self._rows = max(shard_numbers(self.folder), default=-1) + 1, []
        self._dirty = False

    def _note(self, row: Row) -> None:
        self.done.add(row["id"])
        self.rejected += bool(row["rejected"])
        for name in self.settings["scorers"]:
            before, after = row[f"score_source.{name}"], row[f"score_target.{name}"]
            self.kept[name] += before is not None and before < after
