"""Whether a data set is whole: checksums, ids, sources equal to what their seeds give."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np

from noiseprompt.core.arguments import held
from noiseprompt.core.config import fingerprint
from noiseprompt.core.errors import InputError, StoreError
from noiseprompt.core.types import Prompt
from noiseprompt.npd.format import Shard, checksum, digest, holds_pictures, present_shards, read_shard, shard_path


@held
def verify(folder: str | Path) -> list[str]:
    """Read everything and check it; an empty list means the data set is whole.

    Checks: every shard readable and of one run, checksums, no missing shard numbers, no pair twice, ids, sources equal
    to what their seeds give (pictures have none), targets and scores finite.

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
    pictures = holds_pictures(settings)
    try:
        if (
            not pictures
            and digest(initial_noise(row["seed"], settings["latent_shape"]).numpy()) != row["source_digest"]
        ):
            problems.append("the noise of its seed is not the source it was made with")
    except InputError as error:
        problems.append(str(error))
    if row["rejected"]:
        return problems
    if row["target"] is None:
        return [*problems, "it has neither a target nor a reason"]
    if not np.isfinite(np.frombuffer(row["target"], np.float16)).all():
        problems.append("its target is not finite")
    sides = ("target",) if pictures else ("source", "target")
    values = [row[f"score_{side}.{name}"] for name in settings["scorers"] for side in sides]
    if not all(value is not None and np.isfinite(value) for value in values):
        problems.append("a score is missing or not finite")
    return problems
