"""What can be asked of a noise prompt data set as a whole: counts and filter rates, verification, export."""

from __future__ import annotations

import contextlib
import itertools
import json
import os
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np

from noiseprompt.config import fingerprint
from noiseprompt.errors import InputError, StoreError
from noiseprompt.npd_format import (
    Shard,
    checksum,
    digest,
    present_shards,
    read_shard,
    shard_path,
    write_atomically,
)
from noiseprompt.store import Npd, PairFilter
from noiseprompt.types import Prompt

MARGINS = (0.0, 0.005, 0.01, 0.02)
"""Margins of table 8 of the paper, in HPSv2's units."""


def info(folder: str | Path, margins: Sequence[float] = MARGINS) -> dict[str, Any]:
    """Counts, means and filter rates, as plain data.

    Keys: folder, fingerprint, settings, latent_shape, shards, bytes, pairs, prompts, usable, rejected (reason ->
    pairs), scores (scorer -> means over usable pairs: source, target, gain; empty without any) and filter_rates.

    Raises:
        StoreError: no data set there, or a damaged shard.
    """
    npd = Npd(folder)
    usable = npd.usable()
    files = [shard_path(npd.folder, number) for number in present_shards(npd.folder)]
    reasons = Counter(reason for reason in npd.table().column("rejected").to_pylist() if reason)
    scores = {}
    for name, values in npd.scores().items():
        if usable.any():
            source, target = (float(mean) for mean in values[usable].mean(axis=0))
            scores[name] = {"source": source, "target": target, "gain": target - source}
    return {
        "folder": str(npd.folder),
        "fingerprint": fingerprint(npd.settings),
        "settings": npd.settings,
        "latent_shape": list(npd.latent_shape),
        "shards": len(files),
        "bytes": sum(path.stat().st_size for path in files),
        "pairs": len(npd),
        "prompts": len(set(npd.table().column("prompt").to_pylist())),
        "usable": int(usable.sum()),
        "rejected": dict(reasons.most_common()),
        "scores": scores,
        "filter_rates": filter_rates(npd, margins),
    }


def filter_rates(npd: Npd, margins: Sequence[float] = MARGINS) -> dict[str, dict[float, float]]:
    """Share in [0, 1] of the usable pairs that a filter drops (tables 7 and 8 of the paper).

    Returns:
        "NAME", and for several scorers "A+B" (all of them must agree), "any of ..." -> margin -> share.
    """
    names = list(npd.scores())
    usable = int(npd.usable().sum())
    filters: dict[str, tuple[tuple[str, ...], Any]] = {name: ((name,), "all") for name in names}
    for size in sorted({2, len(names)} - {0, 1}):
        filters |= {"+".join(group): (group, "all") for group in itertools.combinations(names, size)}
    if len(names) > 1:
        filters["any of " + ", ".join(names)] = (tuple(names), "any")
    rates = {}
    for label, (group, combine) in filters.items():
        kept = [len(npd.select(PairFilter(group, margin, combine))) for margin in margins]
        rates[label] = {m: 1 - k / usable if usable else 0.0 for m, k in zip(margins, kept, strict=True)}
    return rates


NOISE = "noise.json"
NOISE_BATCH = 64
"""Pairs whose noise is looked at together, however many were made at a time: figures are those of the pairs alone."""


def write_noise_figures(folder: str | Path) -> None:
    """Write noise.json: `Guard.summary` of the target noise of every usable pair, in however many runs they were made.

    Read from the shards, so that a run that was killed loses none; a file that tells of as many pairs is left alone.

    Raises:
        StoreError: no data set there, a source that cannot be made again, or the file cannot be written.
    """
    import torch

    from noiseprompt.guard import Guard, inspect_noise

    npd, path = Npd(folder), Path(folder) / NOISE
    usable = npd.select()
    with contextlib.suppress(OSError, ValueError, TypeError, KeyError):  # missing or damaged: made anew
        if json.loads(path.read_text(encoding="utf-8"))["target noise"]["images"] == len(usable):
            return
    guard = Guard()
    for start in range(0, len(usable), NOISE_BATCH):
        rows = usable[start : start + NOISE_BATCH]
        target, source = (torch.from_numpy(noise).float() for noise in (npd.targets(rows), npd.sources(rows)))
        guard.note("target noise", inspect_noise(target, source))
    if guard.summary():
        write_atomically(path, (json.dumps(guard.summary(), indent=1) + "\n").encode())


def verify(folder: str | Path) -> list[str]:
    """Read everything and check it; an empty list means the data set is whole.

    Checks: every shard readable and of one run, checksums, no missing shard numbers, no pair twice, ids, sources equal
    to what their seeds give, targets and scores finite.

    Returns:
        One line a problem.

    Raises:
        StoreError: no data set there.
    """
    folder = Path(folder)
    numbers = present_shards(folder)
    problems = [f"{shard_path(folder, n).name} is missing" for n in sorted({*range(numbers[-1])} - {*numbers})]
    seen: dict[str, str] = {}
    settings: dict[str, Any] | None = None
    for number in numbers:
        try:
            shard = read_shard(shard_path(folder, number))
        except StoreError as error:
            problems.append(str(error))
            continue
        if settings is not None and shard.settings != settings:
            problems.append(f"{shard.path.name} was made with other settings ({fingerprint(shard.settings)})")
        settings = settings or shard.settings
        problems += [f"{shard.path.name}: {problem}" for problem in _shard_problems(shard, seen)]
    return problems


def _shard_problems(shard: Shard, seen: dict[str, str]) -> list[str]:
    try:
        rows = shard.batch.to_pylist()
    except (UnicodeDecodeError, ValueError, OSError) as error:
        return [f"its rows cannot be read: {error}"]
    problems = (
        [] if checksum(rows) == shard.checksum else ["its checksum does not match: bytes were changed after writing"]
    )
    for row in rows:
        if row["id"] in seen:
            problems.append(f"pair {row['id']} is in {seen[row['id']]} too")
        seen[row["id"]] = shard.path.name
        problems += [f"pair {row['id']}: {problem}" for problem in _row_problems(row, shard.settings)]
    return problems


def _row_problems(row: dict[str, Any], settings: dict[str, Any]) -> list[str]:
    from noiseprompt.noise import initial_noise

    problems = []
    if row["id"] != f"{Prompt(row['prompt']).id}-{row['seed']}":
        problems.append("its id does not belong to its prompt and seed")
    try:
        if digest(initial_noise(row["seed"], settings["latent_shape"]).numpy()) != row["source_digest"]:
            problems.append("the noise of its seed is not the source it was made with")
    except InputError as error:
        problems.append(str(error))
    if row["rejected"]:
        return problems
    if row["target"] is None:
        return [*problems, "it has neither a target nor a reason"]
    if not np.isfinite(np.frombuffer(row["target"], np.float16)).all():
        problems.append("its target is not finite")
    values = [row[f"score_{side}.{name}"] for name in settings["scorers"] for side in ("source", "target")]
    if not all(value is not None and np.isfinite(value) for value in values):
        problems.append("a score is missing or not finite")
    return problems


def export(folder: str | Path, file: str | Path, pair_filter: PairFilter | None = None) -> int:
    """Write the data set as one parquet file with the same columns, shard by shard; returns the number of pairs.

    Args:
        file: replaced if it exists.
        pair_filter: only the pairs that pass; every pair, the rejected ones too, if None.

    Raises:
        StoreError: no data set there, a damaged shard, or the file cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    npd, file = Npd(folder), Path(file)
    chosen = np.ones(len(npd), bool) if pair_filter is None else np.isin(np.arange(len(npd)), npd.select(pair_filter))
    temporary = file.with_name(file.name + ".tmp")
    start = 0
    try:
        first = read_shard(shard_path(npd.folder, present_shards(npd.folder)[0])).batch.schema
        first = first.with_metadata({k: v for k, v in first.metadata.items() if k != b"noiseprompt.checksum"})
        # noise does not compress
        with pq.ParquetWriter(temporary, first, compression="none", use_dictionary=False) as writer:
            for number in present_shards(npd.folder):
                batch = read_shard(shard_path(npd.folder, number)).batch.replace_schema_metadata(first.metadata)
                rows = chosen[start : start + batch.num_rows]
                writer.write_batch(batch.filter(pa.array(rows)))
                start += batch.num_rows
        os.replace(temporary, file)
    except OSError as error:
        temporary.unlink(missing_ok=True)
        raise StoreError(f"cannot write {file}: {error.strerror or error}", "a writable place with room") from error
    return int(chosen.sum())
