"""The format of a noise prompt data set (NPD): rows, schema and one shard as one Arrow IPC file.

One shard is one file and one record batch of up to `shard_size` rows. Columns:

    id                    "{prompt id}-{seed}"
    prompt, kind          text and category of the prompt
    seed                  int64, of the source noise
    source_digest         first 16 hexadecimal digits of SHA-256 of the source's float32 bytes
    source                (C, H, W) float16 as fixed-size binary where stored, else null: it follows from the seed
    target                (C, H, W) float16 as fixed-size binary, null where rejected
    score_source.NAME     float64, of the image drawn from the source by scorer NAME; null where rejected or not scored
    score_target.NAME     float64, of the image drawn from the target
    rejected              "" or the reason

Where targets are pictures (`settings["targets"]` is "pictures") `target` holds a picture's latents in the scale of x_0;
there is no source: `source` and `score_source.NAME` are null and `source_digest` is "". `seed` is that of the noise a
picture was drawn from where the model drew it, of its scene or else of its file's name.

Of a usable pair all scores are there or none: `settings["scored_share"]` below 1 says that only a sample is drawn and
scored (`npd/sample.py`).

Schema metadata: `noiseprompt.version`, `.settings` (JSON), `.fingerprint` (of the settings), `.checksum` (of the rows).
`datasets`, pandas, polars and Ray read the files as they are.
"""

from __future__ import annotations

import hashlib
import json
import math
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from noiseprompt.core.config import fingerprint, to_dict
from noiseprompt.core.errors import StoreError
from noiseprompt.core.json_files import parse_json
from noiseprompt.core.places import absent, nearby, refuse_pipe
from noiseprompt.core.ranged import Ranged
from noiseprompt.core.store import Store
from noiseprompt.npd.known import PICTURES, SCHEMA_VERSION, check_known
from noiseprompt.npd.wrong import RESTORE, difference, unread

NOISES = ("source", "target")
"""The columns that are large."""

Row = dict[str, Any]
MOST_MISSING = 100_000
"""Shards that a data set may lack."""

CLAIM_FILE = ".claim.json"
"""What those who write agreed on: settings, a digest of the planned pairs, how many pairs and shards that is."""

_NAME = re.compile(r"shard-(\d{6,})\.arrow")
_PACKED = re.compile(r"shard.*\.arrow.*", re.IGNORECASE)
"""Shards that somebody packed or renamed: "shard-000000.arrow.gz", "SHARD-000000.ARROW"."""
_PREFIX = "noiseprompt."


@dataclass(frozen=True)
class Shard:
    """One shard, memory-mapped, or in memory where it was read from object storage.

    Fields:
        where: its file, for messages.
        batch: the columns of the module's docstring, or those of them without noise (`light_shard`).
        settings: of the run that wrote it.
        checksum: that was written with it, 64 hexadecimal digits.
        mapped: its file and how many bytes that had, where they are read from the disk as they are asked for.
    """

    where: str
    batch: pa.RecordBatch
    settings: dict[str, Any]
    checksum: str
    mapped: tuple[Path, int] | None = None

    def check_length(self) -> None:
        """Refuse a file that was cut short since it was opened: to read beyond its end kills a process.

        Raises:
            StoreError: it was. One that is gone is read to its end as it was.
        """
        if self.mapped is None:
            return
        try:
            short = self.mapped[0].stat().st_size < self.mapped[1]
        except OSError:
            short = False
        if short:
            raise StoreError(f"{self.where} was cut short while it was read", "a data set at rest", RESTORE)

    @property
    def name(self) -> str:
        """Of its file, without the folder."""
        return self.where.replace("\\", "/").rpartition("/")[2]

    @property
    def light(self) -> pa.RecordBatch:
        """Its columns without noise."""
        return self.batch.select([name for name in self.batch.schema.names if name not in NOISES])

    @property
    def whole(self) -> bool:
        """Whether its noises are there."""
        return NOISES[1] in self.batch.schema.names

    def rows(self) -> list[Row]:
        """Every row, exactly as it was written.

        Raises:
            StoreError: bytes were changed since.
        """
        try:
            rows = self.batch.to_pylist()
        except (ValueError, OSError) as error:
            raise StoreError(f"the rows of {self.where} cannot be read: {error}", "whole rows", RESTORE) from error
        if checksum(rows) != self.checksum:
            came = f"the checksum of {self.where} does not match: bytes were changed after writing"
            raise StoreError(came, "its rows as they were written", f"see `noiseprompt npd verify`; {RESTORE}")
        return rows

    def noises(self, column: str, shape: Sequence[int]) -> np.ndarray | None:
        """(rows, *shape) float16 view of "source" or "target" without a copy; None for a column without values, or
        one that was not read.

        Rows that are null hold zeros.
        """
        if not self.whole:
            return None
        array = self.batch.column(column)
        if not pa.types.is_fixed_size_binary(array.type):
            return None
        values = np.frombuffer(array.buffers()[1], np.float16, count=len(array) * math.prod(shape))
        return values.reshape(len(array), *shape)


def shard_name(number: int) -> str:
    """File of a shard: "shard-000000.arrow"."""
    return f"shard-{number:06d}.arrow"


def shard_path(folder: Path, number: int) -> Path:
    """The same in a folder on a disk."""
    return folder / shard_name(number)


def shard_numbers(store: Store) -> list[int]:
    """The numbers of the shards in a folder, ascending.

    Raises:
        StoreError: a shard was renamed: more zeros before its number, or more than `MOST_MISSING` numbers are missing.
    """
    named = {name: int(match[1]) for name in store.names() if (match := _NAME.fullmatch(name))}
    other = next((name for name, number in sorted(named.items()) if name != shard_name(number)), None)
    if other is not None:
        came = f"{store} holds {other}"
        raise StoreError(came, f"shards named as {shard_name(named[other])}", "give it the name that it had")
    numbers = sorted(named.values())
    if numbers and numbers[-1] > len(numbers) + MOST_MISSING:
        came = f"{store} holds {shard_name(numbers[-1])} and {len(numbers) - 1} other shards"
        raise StoreError(came, "numbers without gaps", "take the shard away, or give it its own number again")
    return numbers


def present_shards(store: Store) -> list[int]:
    """As `shard_numbers`, of a data set that is there.

    Raises:
        StoreError: there is none.
    """
    numbers = shard_numbers(store)
    packed = [name for name in store.names() if _PACKED.fullmatch(name)]
    if not numbers and packed:
        came = f"{store} holds {min(packed)} and no shard as it was written"
        raise StoreError(came, f"files such as {shard_name(0)}", "unpack or rename them")
    if not numbers and CLAIM_FILE in store.names():
        fix = "wait for who collects, or run the same collect command"
        raise StoreError(f"{store} holds no shard yet of the collection that began there", "at least one", fix)
    if not numbers:
        expected = "shards named shard-000000.arrow and so on"
        hint = nearby(store.folder, shard_name(0)) or "collect one first"
        raise StoreError(f"{store} holds no noise prompt data set{absent(store.folder)}", expected, hint)
    return numbers


def digest(noise: np.ndarray) -> str:
    """First 16 hexadecimal digits of SHA-256 of the float32 bytes."""
    return hashlib.sha256(np.ascontiguousarray(noise, np.float32).tobytes()).hexdigest()[:16]


def checksum(rows: Iterable[Row]) -> str:
    """SHA-256 over every value of every row, in order."""
    total = hashlib.sha256()
    for row in rows:
        for value in row.values():
            total.update(value if isinstance(value, bytes) else repr(value).encode())
            total.update(b"\0")
    return total.hexdigest()


def schema(latent_shape: Sequence[int], scorers: Sequence[str], store_source: bool) -> pa.Schema:
    """The columns, without metadata."""
    noise = pa.binary(2 * math.prod(latent_shape))
    text = [pa.field(name, pa.string(), nullable=False) for name in ("id", "prompt", "kind")]
    fields = [
        *text,
        pa.field("seed", pa.int64(), nullable=False),
        pa.field("source_digest", pa.string(), nullable=False),
        pa.field("source", noise if store_source else pa.null()),
        pa.field("target", noise),
        *(pa.field(f"score_{side}.{name}", pa.float64()) for name in scorers for side in ("source", "target")),
        pa.field("rejected", pa.string(), nullable=False),
    ]
    return pa.schema(fields)


def holds_pictures(settings: Mapping[str, Any]) -> bool:
    """Whether the targets of a data set with these settings are pictures."""
    return settings.get("targets") == PICTURES


def shard_bytes(rows: list[Row], columns: pa.Schema, settings: dict[str, Any]) -> pa.Buffer:
    """The file of a shard; equal rows and settings give equal bytes."""
    metadata = {
        "version": str(SCHEMA_VERSION),
        "settings": json.dumps(to_dict(settings), sort_keys=True),
        "fingerprint": fingerprint(settings),
        "checksum": checksum(rows),
    }
    columns = columns.with_metadata({_PREFIX + key: value for key, value in metadata.items()})
    batch = pa.record_batch([pa.array([row[f.name] for row in rows], f.type) for f in columns], schema=columns)
    sink = pa.BufferOutputStream()
    with pa.ipc.new_file(sink, columns) as writer:
        writer.write_batch(batch)
    return sink.getvalue()


def stored_shard(store: Store, number: int) -> Shard:
    """A shard to read once: memory-mapped from a disk, in memory from object storage.

    Raises:
        StoreError: as `read_shard`, or it cannot be fetched.
    """
    name = shard_name(number)
    return read_shard(store.source(name), store.where(name))


def light_shard(store: Store, number: int) -> Shard:
    """As `stored_shard`, for who asks for no noise yet: of one in object storage the other columns alone.

    Raises:
        StoreError: as `stored_shard`.
    """
    name = shard_name(number)
    file = store.glanced(name)
    try:
        return read_shard(file, store.where(name))
    except StoreError:
        if not isinstance(file, Ranged):
            raise
        return stored_shard(store, number)  # it was written anew meanwhile


def read_shard(file: Path | bytes | Ranged, where: str = "") -> Shard:
    """Memory-map a shard; the file handle is closed, the mapping lives as long as the arrays.

    Args:
        file: or what it holds; of one that is read in parts the columns of `NOISES` are left out.
        where: it lies, for messages; the file itself unless given.

    Raises:
        StoreError: the file is not a whole shard of this format.
    """
    path = where or str(file)
    try:
        with opened(file) as source, pa.ipc.open_file(source, options=_chosen(file, source)) as reader:
            metadata = {key.decode(): value.decode() for key, value in (reader.schema.metadata or {}).items()}
            version = metadata.get(_PREFIX + "version")
            if version is None:
                came = f"{path} is no shard of noiseprompt, or another program wrote it anew: it tells no version"
                raise StoreError(came, "a shard as it was written", RESTORE)
            if version != str(SCHEMA_VERSION):
                raise StoreError(
                    f"{path} has NPD version {version}", f"version {SCHEMA_VERSION}", "use the release that wrote it"
                )
            if reader.num_record_batches != 1:
                raise StoreError(f"{path} holds {reader.num_record_batches} record batches", "one", RESTORE)
            batch = reader.get_batch(0)
            batch.validate(full=True)
        lacking = [key for key in ("settings", "fingerprint", "checksum") if _PREFIX + key not in metadata]
        if lacking:
            raise StoreError(f"{path} does not tell its {lacking[0]}", "a shard as it was written", RESTORE)
        settings = parse_json(metadata[_PREFIX + "settings"])
        if not isinstance(settings, dict):
            raise StoreError(f"the settings in {path} are {settings!r:.40}", "an object", RESTORE)
        if fingerprint(settings) != metadata[_PREFIX + "fingerprint"]:
            raise StoreError(f"the settings in {path} were changed after writing", "those of its run", RESTORE)
        check_known(settings)
        expected = schema(settings["latent_shape"], settings["scorers"], settings["store_source"])
        if isinstance(file, Ranged):
            expected = pa.schema([field for field in expected if field.name not in NOISES])
        if not batch.schema.equals(expected, check_metadata=False):
            came, wanted = difference(batch.schema, expected)
            raise StoreError(f"{path} has {came}", wanted, RESTORE)
        empty = [each.name for each in expected if not each.nullable and batch.column(each.name).null_count]
        if empty:
            raise StoreError(f"{path} has rows without {' and '.join(empty)}", "a value in each row", RESTORE)
        mapped = (file, file.stat().st_size) if isinstance(file, Path) else None
        return Shard(path, batch, settings, metadata[_PREFIX + "checksum"], mapped)
    except PermissionError as error:
        raise StoreError(f"{path} may not be read", "the right to read it", "ask its owner") from error
    except (pa.ArrowException, OSError, KeyError, ValueError, TypeError) as error:
        raise unread(path, error) from error


def _chosen(file: Path | bytes | Ranged, source: pa.NativeFile) -> pa.ipc.IpcReadOptions:
    """Which columns are read."""
    if not isinstance(file, Ranged):
        return pa.ipc.IpcReadOptions()
    names = pa.ipc.open_file(source).schema.names
    return pa.ipc.IpcReadOptions(included_fields=[i for i, name in enumerate(names) if name not in NOISES])


def opened(file: Path | bytes | Ranged) -> pa.NativeFile:
    """To read, memory-mapped from a disk."""
    if isinstance(file, bytes):
        return pa.BufferReader(file)
    if isinstance(file, Ranged):
        return pa.PythonFile(file, mode="r")
    refuse_pipe(file)
    return pa.memory_map(str(file))
