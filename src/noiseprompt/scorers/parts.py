"""What a scorer's name does not tell of it: its options and its weights, for records."""

from __future__ import annotations

import inspect
from collections.abc import Iterable
from typing import Any

from noiseprompt.core.config import fingerprint, to_dict
from noiseprompt.core.digests import weights_digest
from noiseprompt.scorers.base import Scorer, described

_NO_MATTER = ("device", "batch_size", "name", "path", "folder", "tokenizer", "clip")
"""Options that decide no score, or name files of which the weights are recorded."""


def parts_of(scorers: Iterable[Scorer]) -> dict[str, dict[str, Any]]:
    """ "scorer NAME" -> its options, as far as it keeps them under their names, and a digest of its weights.

    A scorer may tell more of itself by a method `describe()` that returns plain data.
    """
    return {f"scorer {scorer.name}": told for scorer in scorers if (told := _of(scorer))}


def _of(scorer: Any) -> dict[str, Any]:
    import torch

    held = getattr(scorer, "__dict__", {})
    digests = {name: weights_digest(part) for name, part in held.items() if isinstance(part, torch.nn.Module)}
    options = {name: value for name in _options(scorer) if _plain(value := getattr(scorer, name, None))}
    return to_dict({**options, **described(scorer), **({"weights": fingerprint(digests)} if digests else {})})


def _options(scorer: Any) -> list[str]:
    """Of its constructor, those that matter."""
    try:
        names = list(inspect.signature(type(scorer)).parameters)
    except (TypeError, ValueError):  # built in C
        return []
    return [name for name in names if name not in _NO_MATTER]


def _plain(value: Any) -> bool:
    import torch

    return isinstance(value, bool | int | float | str | torch.dtype)
