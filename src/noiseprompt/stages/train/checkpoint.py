"""What a training goes on from has to be its own: the numbers in `state.pt`, and the settings they belong to."""

from __future__ import annotations

import hashlib
import json
import math
import warnings
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from noiseprompt.core.errors import NoisepromptWarning, StoreError
from noiseprompt.core.json_files import read_json
from noiseprompt.core.json_lines import damaged, read_lines
from noiseprompt.core.ranges import SUMMABLE, shown
from noiseprompt.core.tensors import differences, shapes_of
from noiseprompt.core.weights import read_header
from noiseprompt.npnet.disk import WEIGHTS_FILE, read_settings


def check_state(state: Any, net: torch.nn.Module, steps: int, settings: str) -> None:
    """Refuse numbers that no training has, and the state of another one.

    Args:
        net: the network that is trained.
        steps: of the whole training.
        settings: `settings_digest` of the folder; states of before it was recorded pass.

    Raises:
        KeyError: a number is missing.
        ValueError: with the first that is none.
    """
    if not isinstance(state, Mapping) or not isinstance(state.get("net", {}), Mapping):
        raise ValueError("it holds no names with their tensors and numbers")
    limits = {"step": (int, 0, steps), "stale": (int, 0, steps), "power": (float, 0, SUMMABLE)}
    given = {"stale": 0, "power": 0.0, **state}
    for name, (kind, least, most) in limits.items():
        if type(given[name]) is not kind or not least <= given[name] <= most:
            raise ValueError(f"its {name} is {given[name]!r:.40}")
    if type(given["best"]) is not float or not -math.inf <= given["best"] <= SUMMABLE:
        raise ValueError(f"its best is {given['best']!r:.40}")
    if settings and given.get("settings", settings) != settings:
        raise ValueError("it was written with other settings than those in settings.json")
    if problems := differences(shapes_of(given["net"]), shapes_of(net.state_dict())):
        raise ValueError(f"it is of another network: {problems}")


def load_optimizer(optimizer: torch.optim.Optimizer, state: Any) -> None:
    """Continue from moments of the same network.

    Raises:
        ValueError: they are of another, or none; PyTorch says so in words about itself.
    """
    try:
        optimizer.load_state_dict(state)
    except Exception as error:  # what it stumbles over depends on what is wrong
        raise ValueError(f"its optimizer's numbers are not of this network ({type(error).__name__})") from error


LOGGED = 10
"""Each such step leaves a line in metrics.jsonl."""


def check_metrics(path: Path, steps: int, step: int = 0) -> None:
    """Refuse lines that no training told; lines that are gone are told of.

    Args:
        steps: of the whole training.
        step: from which it goes on.

    Raises:
        StoreError: with the first of them.
    """
    fix, told = "delete that line: it tells of the training alone", 0
    for number, line in read_lines(path, dict, fix):
        there = line.get("step")
        if type(there) is not int or not 0 < there <= steps:
            raise damaged(path, number, f"its step is {shown(there)}", fix)
        if line.get("steps", steps) != steps:
            came = f"it tells of a training of {shown(line['steps'])} steps, and this one has {steps:,}"
            raise damaged(path, number, came, fix)
        told = max(told, there)
    if told < step - step % LOGGED:
        came = f"{path} tells of no step after {told}, and the training goes on from step {step}"
        warnings.warn(f"{came}: what lies between is told nowhere", NoisepromptWarning, stacklevel=3)


def check_best(out: Path, net: torch.nn.Module) -> None:
    """Refuse a training whose best network was taken away, or exchanged for another.

    Args:
        net: the network that is trained.

    Raises:
        StoreError: it is gone, has tensors of other names or shapes, or predicts something else.
        ModelLoadError: one of its files cannot be read.
    """
    best, again = out / "best", f"restore it, or delete {out / 'state.pt'} and train again"
    if not (best / WEIGHTS_FILE).is_file():
        raise StoreError(f"{best} holds no {WEIGHTS_FILE}", f"the best network of the training in {out}", again)
    shapes = {name: shape for name, (_, shape) in read_header(best / WEIGHTS_FILE).items()}
    if problems := differences(shapes, shapes_of(net.state_dict())):
        raise StoreError(f"{best} holds another network: {problems}", "the one that was trained here", again)
    there, here = read_settings(best).get("predicts", "noise"), getattr(getattr(net, "config", None), "predicts", None)
    if here is not None and there != here:
        came = f"{best} holds another network, which predicts a {there}"
        raise StoreError(came, f"the one that was trained here, which predicts a {here}", again)


def settings_digest(out: Path) -> str:
    """16 hexadecimal digits of what a run's settings.json tells, digests of parts included; "" where there is none."""
    path = out / "settings.json"
    if not path.exists():
        return ""
    return hashlib.sha256(json.dumps(read_json(path), sort_keys=True).encode()).hexdigest()[:16]
