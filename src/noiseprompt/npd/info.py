"""What can be told of a noise prompt data set as a whole: counts, scores, filter rates."""

from __future__ import annotations

import itertools
import json
import warnings
from collections import Counter
from collections.abc import Sequence
from pathlib import Path
from typing import Any

from noiseprompt.core.arguments import held
from noiseprompt.core.config import fingerprint
from noiseprompt.core.errors import NoisepromptWarning
from noiseprompt.npd.filter import PairFilter
from noiseprompt.npd.reader import Npd

MARGINS = (0.0, 0.005, 0.01, 0.02)
"""Margins of table 8 of the paper, in HPSv2's units."""


@held
def info(folder: str | Path, margins: Sequence[float] = MARGINS) -> dict[str, Any]:
    """Counts, means and filter rates, as plain data.

    Keys: folder, fingerprint, settings, latent_shape, shards (that are there), planned_shards, missing_shards (their
    numbers), leased_shards (number -> who makes it), writers, bytes, checksums (that none was compared: it would read
    everything), pairs, prompts, usable, scored (of these), rejected (reason -> pairs), scores (scorer -> means over
    the scored pairs: source, target, gain, of pictures the target alone; empty without any) and filter_rates.

    Raises:
        StoreError: no data set there, or a damaged shard.
    """
    npd = Npd(folder)
    usable, scored, now = npd.usable(), npd.scored(), npd.state()
    sizes = [size for shard in npd.shards for _, size in [npd.store.stamp(shard.name) or ("", 0)]]
    reasons = Counter(reason for reason in npd.table().column("rejected").to_pylist() if reason)
    scores = {}
    for name, values in npd.scores().items():
        if scored.any():
            source, target = (float(mean) for mean in values[scored].mean(axis=0))
            pair = {"source": source, "target": target, "gain": target - source}
            scores[name] = {"target": target} if npd.pictures else pair
    return {
        "folder": str(npd.folder),
        "fingerprint": fingerprint(npd.settings),
        "settings": npd.settings,
        "latent_shape": list(npd.latent_shape),
        "shards": len(sizes),
        "planned_shards": now.planned,
        "missing_shards": list(now.missing),
        "leased_shards": now.leased,
        "writers": now.writers,
        "bytes": sum(sizes),
        "checksums": "not compared; `noiseprompt npd verify` does",
        "pairs": len(npd),
        "prompts": len(set(npd.table().column("prompt").to_pylist())),
        "usable": int(usable.sum()),
        "scored": int(scored.sum()),
        "rejected": dict(reasons.most_common()),
        "scores": scores,
        "filter_rates": filter_rates(npd, margins),
    }


def filter_rates(npd: Npd, margins: Sequence[float] = MARGINS) -> dict[str, dict[float, float]]:
    """Share in [0, 1] of the scored pairs that a filter drops (tables 7 and 8 of the paper).

    Returns:
        "NAME", and for several scorers "A+B" (all of them must agree), "any of ..." -> margin -> share.
    """
    scores, scored = npd.scores(), npd.scored()
    names, n, prompts = list(scores), int(scored.sum()), npd.prompt_rows()
    filters: dict[str, tuple[tuple[str, ...], Any]] = {name: ((name,), "all") for name in names}
    for size in sorted({2, len(names)} - {0, 1}):
        filters |= {"+".join(group): (group, "all") for group in itertools.combinations(names, size)}
    if len(names) > 1:
        filters["any of " + ", ".join(names)] = (tuple(names), "any")
    rates = {}
    for label, (group, combine) in filters.items():
        kept = [int(PairFilter(group, margin, combine).mask(scores, scored, prompts).sum()) for margin in margins]
        rates[label] = {m: 1 - k / n if n else 0.0 for m, k in zip(margins, kept, strict=True)}
    return rates


NOISE = "noise.json"
NOISE_BATCH = 64
"""Pairs whose noise is looked at together, however many were made at a time: figures are those of the pairs alone."""


@held
def write_noise_figures(folder: str | Path) -> None:
    """Write noise.json: `Guard.summary` of the target noise of every usable pair, in however many runs they were made.

    Read from the shards, so that a run that was killed loses none; a file that tells of as many pairs is left alone.

    A data set of pictures has no noise to tell of.

    Raises:
        StoreError: no data set there, a source that cannot be made again, or the file cannot be written.
    """
    import torch

    from noiseprompt.noise.guard import Guard, inspect_noise

    npd = Npd(folder)
    usable = npd.select()
    if npd.pictures:
        return
    there = npd.store.read_json(NOISE)  # {} where it is missing or damaged: made anew
    told = there.get("target noise")
    if isinstance(told, dict) and told.get("images") == len(usable):
        return
    if there and told is None:
        came = f"{npd.store.where(NOISE)} is of something else and stays: the figures of the noise are written nowhere"
        warnings.warn(came, NoisepromptWarning, stacklevel=2)
        return
    guard = Guard()
    for start in range(0, len(usable), NOISE_BATCH):
        rows = usable[start : start + NOISE_BATCH]
        target, source = (torch.from_numpy(noise).float() for noise in (npd.targets(rows), npd.sources(rows)))
        guard.note("target noise", inspect_noise(target, source))
    if guard.summary():
        npd.store.put(NOISE, f"{json.dumps(guard.summary(), indent=1)}\n".encode())
