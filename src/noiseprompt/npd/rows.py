"""A pair as a row of a shard."""

from __future__ import annotations

import math
from collections.abc import Mapping, Sequence
from typing import Any

import numpy as np

from noiseprompt.core.errors import InputError, ShapeError, StoreError
from noiseprompt.core.ranges import NAMED, SEED, SUMMABLE, check_value, kind_of, shown
from noiseprompt.core.types import Prompt, ScoredPair
from noiseprompt.npd.format import Row, digest, holds_pictures
from noiseprompt.npd.sample import is_scored


def check_pair(pair: ScoredPair) -> None:
    """Refuse a pair whose fields are of other kinds.

    Raises:
        InputError: with the field.
    """
    check_value("the id of a pair", str, pair.id, NAMED)
    check_value("its prompt", Prompt, pair.prompt)
    check_value("its seed", int, pair.seed, SEED)
    check_value("the reason for which it is rejected", str, pair.rejected)
    for name, noise in (("source", pair.source), ("target", pair.target)):
        if noise is not None and not (isinstance(noise, np.ndarray) and noise.dtype.kind == "f"):
            came = f"{noise.dtype}" if isinstance(noise, np.ndarray) else kind_of(noise)
            raise InputError(f"the {name} of pair {pair.id}: {came}", "an array of floating point numbers, or None")
    scores: Any = pair.scores
    numbers = isinstance(scores, Mapping) and all(_two_numbers(both) for both in scores.values())
    if not numbers:
        raise InputError(
            f"the scores of pair {pair.id}: {shown(scores)}", f"two numbers for each scorer, within {SUMMABLE:g}"
        )


def _two_numbers(both: Any) -> bool:
    pair = isinstance(both, tuple | list) and len(both) == 2
    numbers = pair and all(isinstance(one, int | float | np.floating) and not isinstance(one, bool) for one in both)
    return numbers and not any(math.isfinite(one) and abs(one) > SUMMABLE for one in both)


def pair_to_row(pair: ScoredPair, settings: Mapping[str, Any]) -> Row:
    """The row of a pair.

    Args:
        settings: of the data set: `latent_shape`, `scorers`, `scored_share`, `store_source` and `targets`.

    Raises:
        StoreError: no source (where targets are noises), a usable pair without target, without the scores it is to
            have or with others, or values that float16 cannot hold.
        ShapeError: noise of another shape.
    """
    check_pair(pair)
    latent_shape, scorers = settings["latent_shape"], settings["scorers"]
    store_source, wanted = settings["store_source"], set(scorers if is_scored(pair.id, settings) else ())
    lacks_source = pair.source is None and not holds_pictures(settings)
    if lacks_source or (not pair.rejected and (pair.target is None or set(pair.scores) != wanted)):
        raise StoreError(
            f"pair {pair.id} has scores of {sorted(pair.scores)} and {'a' if pair.target is not None else 'no'} target",
            f"a source and, unless it is rejected, a target and scores of {sorted(wanted)}",
        )
    target = None if pair.rejected or pair.target is None else _half(pair.id, pair.target, latent_shape)
    row: Row = {
        "id": pair.id,
        "prompt": pair.prompt.text,
        "kind": pair.prompt.kind,
        "seed": pair.seed,
        "source_digest": "" if pair.source is None else digest(pair.source),
        "source": None if pair.source is None or not store_source else _half(pair.id, pair.source, latent_shape),
        "target": target,
    }
    for name in scorers:
        before, after = pair.scores[name] if name in wanted and not pair.rejected else (None, None)
        row[f"score_source.{name}"] = None if before is None or math.isnan(before) else float(before)
        row[f"score_target.{name}"] = None if after is None else float(after)
    row["rejected"] = pair.rejected
    return row


def _half(pair_id: str, noise: np.ndarray, latent_shape: Sequence[int]) -> bytes:
    if tuple(noise.shape) != tuple(latent_shape):
        raise ShapeError(f"noise of shape {tuple(noise.shape)} in pair {pair_id}", f"{tuple(latent_shape)}")
    with np.errstate(over="ignore"):
        half = np.asarray(noise, np.float16)
    if not np.isfinite(half).all():
        raise StoreError(f"noise of pair {pair_id} does not fit float16", "finite values within 65504")
    return half.tobytes()
