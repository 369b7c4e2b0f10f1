"""Whether a data set is whole: checksums, ids, sources equal to what their seeds give."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa

from noiseprompt.core.arguments import held
from noiseprompt.core.config import fingerprint
from noiseprompt.core.errors import InputError, StoreError
from noiseprompt.core.stores import store_to_read
from noiseprompt.core.types import Prompt
from noiseprompt.npd.format import (
    Shard,
    checksum,
    digest,
    holds_pictures,
    opened,
    present_shards,
    read_shard,
    shard_name,
)
from noiseprompt.npd.halves import finite_rows
from noiseprompt.npd.sample import is_scored
from noiseprompt.npd.state import gaps

_MARK = b"ARROW1\0\0"
"""How an Arrow file begins."""

Digests = dict[tuple[int, tuple[int, ...]], str]
"""(seed, latent shape) -> digest of that noise: pairs share seeds, and to draw a noise costs most of all."""


@held
def verify(folder: str | Path) -> list[str]:
    """Read everything and check it, a shard at a time; an empty list means the data set is whole.

    Checks: every shard readable and of one run, checksums, no missing shard numbers, no pair twice, ids, sources equal
    to what their seeds give (pictures have none), targets and scores finite, no noise of one value alone, and scores of
    the pairs that are to have them alone.

    Returns:
        One line a problem.

    Raises:
        StoreError: no data set there.
    """
    store = store_to_read(folder)
    numbers = present_shards(store)
    problems = [f"{name} is missing{maker}" for name, maker in gaps(store, numbers).items()]
    seen: dict[str, str] = {}
    digests: Digests = {}
    settings: dict[str, Any] | None = None
    for number in numbers:
        try:
            name = shard_name(number)
            file = store.source(name)
            shard, start = read_shard(file, store.where(name)), _start_problem(file)
        except StoreError as error:
            problems.append(str(error))
            continue
        if settings is not None and shard.settings != settings:
            problems.append(f"{shard.name} was made with other settings ({fingerprint(shard.settings)})")
        settings = settings or shard.settings
        problems += [f"{shard.name}: {start}"] * bool(start)
        problems += [f"{shard.name}: {problem}" for problem in _shard_problems(shard, seen, digests)]
    return problems


def _start_problem(file: Path | bytes) -> str:
    """What is wrong with the start of a shard that `read_shard` takes, or "".

    It says again which columns there are, for programs that read a file from its start; its end alone is read here.
    """
    with opened(file) as source, pa.ipc.open_file(source) as reader:
        schema = reader.schema
    with opened(file) as source:
        try:
            mark = source.read(len(_MARK))
            same = mark == _MARK and pa.ipc.open_stream(source).schema.equals(schema, check_metadata=True)
        except (pa.ArrowException, OSError, ValueError):
            same = False
    return "" if same else "its start does not match its end: bytes were changed after writing"


def _shard_problems(shard: Shard, seen: dict[str, str], digests: Digests) -> list[str]:
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
        seen[row["id"]] = shard.name
        problems += [f"pair {row['id']}: {problem}" for problem in _row_problems(row, shard.settings, digests)]
    return problems


def _row_problems(row: dict[str, Any], settings: dict[str, Any], digests: Digests) -> list[str]:
    problems = []
    try:
        if row["id"] != f"{Prompt(row['prompt'], row['kind']).id}-{row['seed']}":
            problems.append("its id does not belong to its prompt and seed")
    except InputError as error:  # no prompt
        problems.append(str(error))
    pictures = holds_pictures(settings)
    try:
        if not pictures and _digest_of(row["seed"], settings["latent_shape"], digests) != row["source_digest"]:
            problems.append("the noise of its seed is not the source it was made with")
    except InputError as error:
        problems.append(str(error))
    scores = {name: value for name, value in row.items() if name.startswith("score_") and value is not None}
    if pictures and (row["source_digest"] or any(name.startswith("score_source.") for name in scores)):
        problems.append("it tells of a source, and pictures have none")
    if row["rejected"]:
        both = row["target"] is not None or bool(scores)
        return [*problems, *["it is rejected, and has a target or scores"] * both]
    if row["target"] is None:
        return [*problems, "it has neither a target nor a reason"]
    target = np.frombuffer(row["target"], np.float16)
    if not finite_rows(target[None]).all():
        problems.append("its target is not finite")
    elif len(target) > 1 and not pictures and (target == target[0]).all():
        problems.append("its target is one value alone, and no noise")
    sides = ("target",) if pictures else ("source", "target")
    values = [row[f"score_{side}.{name}"] for name in settings["scorers"] for side in sides]
    if not is_scored(row["id"], settings):
        problems += ["it has scores, but is none of the sample to score"] * any(value is not None for value in values)
    elif not all(value is not None and np.isfinite(value) for value in values):
        problems.append("a score is missing or not finite")
    return problems


def _digest_of(seed: int, shape: Sequence[int], digests: Digests) -> str:
    """Of the noise that a seed gives; drawn once.

    Raises:
        InputError: no seed.
    """
    from noiseprompt.noise import initial_noise

    key = (seed, tuple(shape))
    if key not in digests:
        digests[key] = digest(initial_noise(seed, shape).numpy())
    return digests[key]
