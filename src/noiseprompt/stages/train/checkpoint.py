"""What a training goes on from has to be its own: the numbers in `state.pt`, and the settings they belong to."""

from __future__ import annotations

import hashlib
import json
import math
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from noiseprompt.core.errors import StoreError
from noiseprompt.core.json_files import read_json
from noiseprompt.core.ranges import SUMMABLE
from noiseprompt.core.weights import differences, read_header, shapes_of
from noiseprompt.npnet.disk import WEIGHTS_FILE


def check_state(state: Mapping[str, Any], steps: int, settings: str) -> None:
    """Refuse numbers that no training has, and the state of another one.

    Args:
        steps: of the whole training.
        settings: `settings_digest` of the folder; states of before it was recorded pass.

    Raises:
        KeyError: a number is missing.
        ValueError: with the first that is none.
    """
    limits = {"step": (int, 0, steps), "stale": (int, 0, steps), "power": (float, 0, SUMMABLE)}
    given = {"stale": 0, "power": 0.0, **state}
    for name, (kind, least, most) in limits.items():
        if type(given[name]) is not kind or not least <= given[name] <= most:
            raise ValueError(f"its {name} is {given[name]!r:.40}")
    if type(given["best"]) is not float or not -math.inf <= given["best"] <= SUMMABLE:
        raise ValueError(f"its best is {given['best']!r:.40}")
    if settings and given.get("settings", settings) != settings:
        raise ValueError("it was written with other settings than those in settings.json")


def check_best(out: Path, net: torch.nn.Module) -> None:
    """Refuse a training that has ended and whose best network was taken away since, or exchanged for another.

    Args:
        net: the network that is trained.

    Raises:
        StoreError: it is gone, or has tensors of other names or shapes.
        ModelLoadError: its file cannot be read.
    """
    best, again = out / "best", f"restore it, or delete {out / 'state.pt'} and train again"
    if not (best / WEIGHTS_FILE).is_file():
        raise StoreError(f"{best} holds no {WEIGHTS_FILE}, and the training in {out} has ended", "its network", again)
    shapes = {name: shape for name, (_, shape) in read_header(best / WEIGHTS_FILE).items()}
    if problems := differences(shapes, shapes_of(net.state_dict())):
        raise StoreError(f"{best} holds another network: {problems}", "the one that was trained here", again)


def settings_digest(out: Path) -> str:
    """16 hexadecimal digits of what a run's settings.json tells, digests of parts included; "" where there is none."""
    path = out / "settings.json"
    if not path.exists():
        return ""
    return hashlib.sha256(json.dumps(read_json(path), sort_keys=True).encode()).hexdigest()[:16]
