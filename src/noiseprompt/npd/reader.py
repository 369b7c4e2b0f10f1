"""Reading a noise prompt data set (NPD): a folder of shards in the format of `npd/format.py`, written by `NpdWriter`.

Every candidate is stored with all its scores; what is kept for training is a view (`PairFilter`) chosen when reading.
"""

from __future__ import annotations

import hashlib
import math
import warnings
from collections.abc import Iterator, Sequence
from itertools import pairwise
from pathlib import Path

import numpy as np
import pyarrow as pa

from noiseprompt.core.arguments import held, told
from noiseprompt.core.errors import InputError, NoisepromptWarning, PromptError, StoreError
from noiseprompt.core.ranges import Limits, check_value, shown
from noiseprompt.core.store import Store
from noiseprompt.core.stores import store_to_read
from noiseprompt.core.types import Prompt, ScoredPair
from noiseprompt.npd.claim import read_claim
from noiseprompt.npd.columns import check_columns
from noiseprompt.npd.filter import PairFilter
from noiseprompt.npd.format import Shard, digest, holds_pictures, light_shard, present_shards, read_shard
from noiseprompt.npd.halves import finite_rows
from noiseprompt.npd.state import State, gaps, state_of, warn_claim
from noiseprompt.npd.wrong import twice


@told
class Npd:
    """A data set for reading, memory-mapped. `npd[i]` is pair i with its noises; the other readers are cheap.

    Of one in object storage (s3://BUCKET/FOLDER) the columns without noise are fetched when it is opened, and a whole
    shard when its first noise is read; it is kept on this machine (`core/object_cache.py`).

    Attributes:
        store: where it lies.
        folder: of the shards.
        shards: those there were when it was opened, in order; in object storage without noises until they are read.
        settings: of the run that made it.
        latent_shape: (C, H, W) of one noise.

    Raises:
        StoreError: no data set there, a damaged shard, or a pair twice. Checksums are compared when the first noise of
            a shard is read.
    """

    @held
    def __init__(self, folder: str | Path) -> None:
        self.store = store_to_read(folder)
        self.folder = self.store.folder
        numbers = present_shards(self.store)
        self.shards = [*self.store.each(lambda number: light_shard(self.store, number), numbers)]
        _warn_missing(self.store, numbers, sum(shard.batch.num_rows for shard in self.shards))
        self.settings = self.shards[0].settings
        for shard in self.shards:
            if shard.settings != self.settings:
                raise StoreError(
                    f"{shard.where} was made with other settings than {self.shards[0].name}", "one run a folder"
                )
        warn_claim(self.store, self.settings)
        self.latent_shape: tuple[int, ...] = tuple(self.settings["latent_shape"])
        self._starts = np.cumsum([0, *(shard.batch.num_rows for shard in self.shards)])
        self._targets = [shard.noises("target", self.latent_shape) for shard in self.shards]
        self._sources = [shard.noises("source", self.latent_shape) for shard in self.shards]
        self._table = pa.Table.from_batches([shard.light for shard in self.shards])
        self._seeds = self._table.column("seed").to_numpy()
        self._usable = np.array([not reason for reason in self._table.column("rejected").to_pylist()], bool)
        self._prompts: np.ndarray | None = None
        self._checked = np.zeros(len(self), bool)
        self._whole = np.zeros(len(self.shards), bool)
        self._finite = np.ones(len(self), bool)
        self._refuse_twice()
        check_columns(self._table, self.settings, self.folder)
        self._check_rejected()

    def _refuse_twice(self) -> None:
        """Refuse a pair that is there twice, as in a shard that was copied under another number."""
        seen: dict[str, int] = {}
        for index, key in enumerate(self._table.column("id").to_pylist()):
            first = seen.setdefault(key, index)
            if first != index:
                places = np.searchsorted(self._starts, [first, index], side="right") - 1
                one, other = (self.shards[shard].name for shard in places)
                raise twice(key, one, other, self.folder)

    def _check_rejected(self) -> None:
        """Compare the checksums of shards without a usable pair: nobody else would read them."""
        for index, (begin, end) in enumerate(pairwise(self._starts)):
            if not self._usable[begin:end].any():
                self.whole_shard(index).rows()

    def __len__(self) -> int:
        return int(self._starts[-1])

    @property
    def checksum(self) -> str:
        """12 hexadecimal digits of the checksums of its shards: of every value of every pair."""
        return hashlib.sha256("".join(shard.checksum for shard in self.shards).encode()).hexdigest()[:12]

    def state(self) -> State:
        """Which shards are there now, which somebody makes, and which are missing."""
        return state_of(self.store)

    def table(self) -> pa.Table:
        """Every column but the noises."""
        return self._table

    def prompts(self) -> tuple[Prompt, ...]:
        """The prompt of every pair, in order."""
        texts, kinds = (self._table.column(name).to_pylist() for name in ("prompt", "kind"))
        try:
            return tuple(map(Prompt, texts, kinds))
        except PromptError as error:
            fix = "see `noiseprompt npd verify`"
            raise StoreError(f"a pair of {self.folder}: {error.came}", error.expected, fix) from error

    def seeds(self) -> np.ndarray:
        """(N,) int64: the seed of every source."""
        return self._seeds

    def usable(self) -> np.ndarray:
        """(N,) bool: pairs with a target."""
        return self._usable

    def scores(self) -> dict[str, np.ndarray]:
        """Scorer name -> (N, 2) float64: score of the source's and of the target's image.

        NaN where a pair was rejected or not scored. That of the source is NaN throughout where targets are pictures.
        """
        sides = ("source", "target")
        return {
            name: np.stack(
                [self._table.column(f"score_{side}.{name}").to_numpy().astype(np.float64) for side in sides], axis=1
            )
            for name in self.settings["scorers"]
        }

    def scored(self) -> np.ndarray:
        """(N,) bool: usable pairs that were scored; none where there are no scorers."""
        columns = [scores[:, 1] for scores in self.scores().values()]
        return self._usable & np.isfinite(columns).all(axis=0) if columns else np.zeros(len(self), bool)

    @held
    def select(self, pair_filter: PairFilter | None = None) -> np.ndarray:
        """Ascending indices of the pairs that pass the filter; every usable pair without one.

        Raises:
            UnknownNameError, InputError: as `PairFilter.mask`.
        """
        return np.flatnonzero((pair_filter or PairFilter()).mask(self.scores(), self._usable, self.prompt_rows()))

    def prompt_rows(self) -> np.ndarray:
        """(N,) int64: the prompt of every pair as a number, those that occur first counted first."""
        if self._prompts is None:
            order: dict[str, int] = {}
            texts = self._table.column("prompt").to_pylist()
            self._prompts = np.array([order.setdefault(text, len(order)) for text in texts], np.int64)
        return self._prompts

    @property
    def pictures(self) -> bool:
        """Whether the targets are pictures' latents, in the scale of x_0, rather than noises."""
        return holds_pictures(self.settings)

    def targets(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """(n, C, H, W) float16 target noises, or pictures' latents.

        Raises:
            InputError: an index out of range, or of a rejected pair.
            StoreError: the shard of a pair was changed after writing, or a target is not finite.
        """
        rows = self._rows(indices)
        if not self._usable[rows].all():
            raise InputError(
                f"pair {rows[~self._usable[rows]][0]} was rejected",
                "pairs with a target",
                "take the indices of select()",
            )
        places = self._places(rows)
        if not self._finite[rows].all():
            came = f"the target of pair {rows[self._finite[rows].argmin()]} of {self.folder} is missing or not finite"
            raise StoreError(came, "numbers", "see `noiseprompt npd verify`")
        return self._stored(self._targets, places)

    def sources(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        """(n, C, H, W) source noises: float16 from the store, else float32 from their seeds, each checked once.

        Raises:
            InputError: an index out of range, or pictures, which have no source.
            StoreError: the shard of a pair was changed after writing, or the noise of a seed is not the one it was made
                with.
        """
        if self.pictures:
            raise InputError(f"the sources of {self.folder}, which holds pictures", "a data set of pairs of noises")
        rows = self._rows(indices)
        places = self._places(rows)
        if self.settings["store_source"]:
            return self._stored(self._sources, places)
        result = np.empty((len(rows), *self.latent_shape), np.float32)
        for i, row in enumerate(rows.tolist()):
            result[i] = self._regenerate(row)
        return result

    def _stored(self, columns: Sequence[np.ndarray | None], places: tuple[np.ndarray, np.ndarray]) -> np.ndarray:
        """(n, C, H, W) float16 copies of stored noises: one copy of their bytes and nothing else."""
        result = np.empty((len(places[0]), *self.latent_shape), np.float16)
        for i, (shard, row) in enumerate(zip(*(each.tolist() for each in places), strict=True)):
            result[i] = columns[shard][row]  # type: ignore[index]
        return result

    def __iter__(self) -> Iterator[ScoredPair]:
        return (self[i] for i in range(len(self)))

    def __getitem__(self, index: int) -> ScoredPair:
        rows = self._rows([index])
        if len(rows) != 1:
            raise InputError(f"pair index {shown(index)}", "one whole number", "targets() and sources() take several")
        index = int(rows[0])
        shard, position = (int(found[0]) for found in self._places(np.array([index])))
        row = self.shards[shard].light.slice(position, 1).to_pylist()[0]
        usable = not row["rejected"]
        names = [name for name in self.settings["scorers"] if row[f"score_target.{name}"] is not None]
        return ScoredPair(
            id=row["id"],
            prompt=Prompt(row["prompt"], row["kind"]),
            seed=row["seed"],
            source=None if self.pictures else self.sources([index])[0].astype(np.float32),
            target=self.targets([index])[0].astype(np.float32) if usable else None,
            scores={name: (_number(row[f"score_source.{name}"]), row[f"score_target.{name}"]) for name in names},
            rejected=row["rejected"],
        )

    def _rows(self, indices: Sequence[int] | np.ndarray) -> np.ndarray:
        try:
            rows = np.atleast_1d(np.asarray(indices))
        except (ValueError, TypeError, RuntimeError):  # lists of several lengths, or a tensor that is no array
            rows = np.asarray([None])
        if len(rows) and rows.dtype.kind not in "iu":  # NumPy would cut 1.5 to 1
            raise InputError(f"pair index {shown(indices)}", "whole numbers")
        if rows.ndim > 1:
            raise InputError(f"pair indices of shape {rows.shape}", "one row of whole numbers")
        rows = rows.astype(np.int64)
        if len(rows) and (rows.min() < -len(self) or rows.max() >= len(self)):
            raise InputError(f"pair index {rows.min()} to {rows.max()}", f"-{len(self)} to {len(self) - 1}")
        return np.where(rows < 0, rows + len(self), rows)

    def _places(self, rows: np.ndarray) -> tuple[np.ndarray, np.ndarray]:
        """Shard of each pair and its row there; a shard is checked once: its checksum, and which targets are finite."""
        shards = np.searchsorted(self._starts, rows, side="right") - 1
        for shard in np.unique(shards).tolist():
            self.shards[shard].check_length()
        fresh = np.unique(shards[~self._whole[shards]]).tolist()
        self._fetch(fresh)
        for shard in fresh:
            self.shards[shard].rows()
            targets = self._targets[shard]
            if targets is not None:
                there = np.asarray(self.shards[shard].batch.column("target").is_valid())
                self._finite[self._starts[shard] : self._starts[shard + 1]] = finite_rows(targets) & there
            self._whole[shard] = True
        return shards, rows - self._starts[shards]

    def whole_shard(self, index: int) -> Shard:
        """One of `shards` with its noises.

        Raises:
            StoreError: it cannot be fetched, or was written anew since.
            ConfigError: there is none of that number.
        """
        check_value("index", int, index, Limits(least=0, most=len(self.shards) - 1))
        self._fetch([index])
        return self.shards[index]

    def _fetch(self, indices: Sequence[int]) -> None:
        """The noises of shards that were opened without."""
        lacking = [index for index in indices if not self.shards[index].whole]
        files = self.store.kept([self.shards[index].name for index in lacking])
        for index, file in zip(lacking, files, strict=True):
            light, shard = self.shards[index], read_shard(file, self.shards[index].where)
            if shard.checksum != light.checksum:
                raise StoreError(f"{light.where} was written anew", "a data set at rest", "open it again")
            self.shards[index] = shard
            self._targets[index] = shard.noises("target", self.latent_shape)
            self._sources[index] = shard.noises("source", self.latent_shape)

    def _regenerate(self, index: int) -> np.ndarray:
        from noiseprompt.noise import initial_noise

        noise = initial_noise(int(self._seeds[index]), self.latent_shape).numpy()
        if not self._checked[index]:
            expected = self._table.column("source_digest")[index].as_py()
            if digest(noise) != expected:
                raise StoreError(
                    f"the noise of seed {self._seeds[index]} has digest {digest(noise)}",
                    f"{expected}, of pair {index} of {self.folder}",
                    "use the torch release that made the data set, or collect with store_source",
                )
            self._checked[index] = True
        return noise


def _number(value: float | None) -> float:
    return math.nan if value is None else value


def _warn_missing(store: Store, numbers: list[int], pairs: int) -> None:
    missing = [f"{name}{maker}" for name, maker in gaps(store, numbers).items()]
    now, planned = state_of(store), read_claim(store).get("pairs", 0)
    if not missing and (now.planned > len(numbers) or planned > pairs):
        told = f"{len(numbers)} of the {now.planned} shards that were planned"
        if now.planned == len(numbers):
            told = f"{pairs:,} of the {planned:,} pairs that were planned"
        rest = (
            "Somebody still collects: the rest comes later"
            if now.writers
            else "The same collect command makes the rest"
        )
        warnings.warn(f"{store} holds {told}. {rest}", NoisepromptWarning, stacklevel=3)
    if missing:
        more = f" and {len(missing) - 3} more" if len(missing) > 3 else ""
        told = f"{store} lacks {', '.join(missing[:3])}{more}"
        if pairs == planned:
            told += f", and holds all {pairs:,} pairs that were planned"
            again = "A shard that was renamed needs its number back"
        else:
            told += ": its pairs are left out"
            again = "The same collect command makes them again; a shard that was renamed needs its number back"
        warnings.warn(f"{told}. {again}", NoisepromptWarning, stacklevel=3)
