"""Which pairs of a data set are drawn and scored, where not all are: a share of them, each by its id alone."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping
from typing import Any

SCORED_SHARE = "scored_share"
"""The setting that says which share; absent where every pair is scored."""


def is_scored(pair_id: str, settings: Mapping[str, Any]) -> bool:
    """Whether a pair is one of those to score: SHA-256 of its id, as a number in [0, 1), is below the share.

    So neither who makes a pair, nor when, nor what else the plan holds changes the sample.

    Args:
        settings: of the data set.
    """
    share = settings.get(SCORED_SHARE, 1.0)
    return int(hashlib.sha256(pair_id.encode()).hexdigest()[:13], 16) / 16**13 < share
