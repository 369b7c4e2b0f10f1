"""Learning-rate schedules."""

from __future__ import annotations

import math


def warm_cosine(step: int, steps: int, warmup: int) -> float:
    """Factor of the peak learning rate: linear warm-up to 1, then a half cosine to 1 % at `steps`, in (0, 1]."""
    if step < warmup:
        return (step + 1) / warmup
    phase = (step - warmup) / max(steps - warmup, 1)
    return 0.01 + 0.99 * 0.5 * (1 + math.cos(math.pi * min(phase, 1.0)))
