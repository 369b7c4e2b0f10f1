"""What the trainings of the world's networks share: run folder, resumable loop, one optimizer step, what is shipped.

A run folder holds config.json, STAGE.pt (the newest checkpoint, weights-only) and metrics.jsonl.
"""

from __future__ import annotations

import json
import math
import os
import time
from collections.abc import Callable, Iterator
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import Any, TypeVar

import numpy as np
import torch

from noiseprompt.core.averages import Average
from noiseprompt.core.config import from_dict
from noiseprompt.core.errors import ConfigError, DivergedError, ModelLoadError
from noiseprompt.core.files import append, make_folder, replace, replacing
from noiseprompt.core.json_files import read_json
from noiseprompt.core.json_lines import mend, read_lines
from noiseprompt.core.network_files import packed
from noiseprompt.core.tables import table
from noiseprompt.core.weights import read_checkpoint

CONFIG_FILE = "config.json"
"""Of a run folder: its settings."""

_CALMER = "train in a new folder with a lower learning rate"

Config = TypeVar("Config")
"""A dataclass of settings."""

KIND_SHARES = (0.12, 0.20, 0.32, 0.20, 0.16)
"""Shares of `scenes.KINDS` among training pictures: relations are the hardest and get the most."""


def to_tensor(images: list[np.ndarray]) -> torch.Tensor:
    """Pictures in [0, 1], (H, W, 3) each -> (B, 3, H, W) in [-1, 1]."""
    return torch.from_numpy(np.stack(images)).permute(0, 3, 1, 2) * 2 - 1


def begun(*stages: str) -> tuple[str, ...]:
    """Files of a run folder of which one shows that a training with these stages made something."""
    return ("metrics.jsonl", *(f"{stage}.pt" for stage in stages))


def read_config(folder: Path, kind: type[Config]) -> Config:
    """The settings a run folder was made with.

    Raises:
        ConfigError: the folder is not a run folder.
    """
    path = folder / CONFIG_FILE
    if not path.exists():
        raise ConfigError(f"{folder} holds no {path.name}", "a folder in which it was trained", "train it first")
    return from_dict(kind, read_json(path, fix="train in a new folder"))


def loop(
    folder: Path, stage: str, steps: int, state: dict[str, Any], step_fn: Callable[[int], float], every: float
) -> Iterator[dict]:
    """Run `step_fn(step)` to `steps`, with a checkpoint of `state` (objects with state_dict) every `every` seconds.

    Args:
        state: among it "ema", the average of the weights.

    Raises:
        DivergedError: as `step_fn`, or averaged weights are not finite; the last checkpoint stays.
    """
    path = folder / f"{stage}.pt"
    mend(folder / "metrics.jsonl")
    read_metrics(folder)
    start = 0
    if os.path.lexists(path):
        saved = _read_stage(path, set(state))
        start = saved.pop("step")
        if not 0 <= start <= steps:
            came = f"{path} is of step {start:,}"
            raise ModelLoadError(came, f"0 to {steps:,}", "restore it, or delete it to train from the start")
        for name, part in saved.items():
            state[name].load_state_dict(part)
    clock = saved_at = time.monotonic()
    losses: list[float] = []
    for step in range(start, steps):
        losses.append(step_fn(step))
        now = time.monotonic()
        last = step + 1 == steps
        record = {"stage": stage, "step": step + 1, "loss": float(np.mean(losses)), "seconds": round(now - clock, 1)}
        told = last or (step + 1) % 50 == 0
        if told:  # before the checkpoint: what a kill between them leaves is told twice, not never
            losses.clear()
            append(folder / "metrics.jsonl", json.dumps(record, allow_nan=False) + "\n")
        if last or now - saved_at > every:
            if not state["ema"].finite():
                raise DivergedError(step + 1, record["loss"], _CALMER, "average of the weights")
            with replacing(path) as file:
                torch.save({"step": step + 1, **{name: part.state_dict() for name, part in state.items()}}, file)
            saved_at = now
        if told:
            yield record


def average_of(module: torch.nn.Module, decay: float) -> Average:
    """Of a module's parameters, by the names that checkpoints have."""
    return Average({f"average.{i}": value for i, value in enumerate(module.parameters())}, decay)


def _read_stage(path: Path, parts: set[str]) -> dict[str, Any]:
    """A checkpoint of `loop`.

    Raises:
        ModelLoadError: damaged, or without its step or one of `parts`.
    """
    saved = read_checkpoint(path, own=True)
    lacking = sorted({"step", *parts} - set(saved)) if isinstance(saved, dict) else ["everything"]
    if lacking or type(saved["step"]) is not int:
        came = f"{path} is no checkpoint of a training: it lacks {', '.join(lacking or ['a step'])}"
        raise ModelLoadError(came, "what the training wrote", "delete it to train from the start")
    return saved


def optimize(optimizer: torch.optim.Optimizer, ema: Average, loss: torch.Tensor, lr: float, step: int) -> None:
    """One step down the gradient of `loss` at rate `lr`, its norm clipped to 1; the average follows.

    Raises:
        DivergedError: loss or gradient is not finite; nothing was changed.
    """
    for group in optimizer.param_groups:
        group["lr"] = lr
    optimizer.zero_grad()
    loss.backward()
    norm = float(torch.nn.utils.clip_grad_norm_(ema.sources.values(), 1.0))
    if not math.isfinite(loss.item()) or not math.isfinite(norm):
        raise DivergedError(step + 1, loss.item(), _CALMER)
    optimizer.step()
    ema.update(step)


def load_average(folder: Path, stage: str, network: torch.nn.Module, ema_decay: float) -> int:
    """Put the averaged weights of the newest checkpoint of a stage into `network`; returns the checkpoint's step.

    Raises:
        ConfigError: the folder holds no checkpoint of that stage.
    """
    path = folder / f"{stage}.pt"
    if not path.exists():
        raise ConfigError(f"{folder} holds no {path.name}", "a folder in which it was trained", "train it first")
    saved = _read_stage(path, {"ema"})
    ema = average_of(network, ema_decay)
    ema.load_state_dict(saved["ema"])
    ema.apply()
    return saved["step"]


def save_network(network: torch.nn.Module, config: Any, card: str, out: Path) -> None:
    """Write a network as it is shipped: model.safetensors in fp16, config.json and README.md.

    Raises:
        ConfigError: there is a config.json of another kind.
    """
    check_export(out, config)
    make_folder(out)
    with replacing(out / "model.safetensors") as file:
        file.write(packed({name: value.half() for name, value in network.state_dict().items()}))
    replace(out / "config.json", json.dumps(asdict(config), indent=2) + "\n")
    replace(out / "README.md", card)


def check_export(out: Path, config: Any) -> None:
    """Refuse to write a network over another one's files; before the training too, which may take hours.

    Raises:
        ConfigError: there is a config.json of another kind.
    """
    there = out / CONFIG_FILE
    if there.is_file() and not read_json(there).keys() & asdict(config).keys():
        raise ConfigError(f"{there} is of something else", "a new folder", "export to another one")


def curve(folder: Path) -> str:
    """About ten rows of a run's metrics, step and loss, for a model card; none without metrics."""
    records = read_metrics(folder)
    some = records[:: max(len(records) // 10, 1)]
    return table(("step", "loss"), [(record.step, f"{record.loss:.4f}") for record in some])


@dataclass(frozen=True)
class Metrics:
    """What `loop` tells every 50 steps.

    Fields:
        stage: of the training.
        step: from 1.
        loss: mean of the steps since the last record.
        seconds: since the training was started or continued.
    """

    stage: str
    step: int
    loss: float
    seconds: float


def read_metrics(folder: Path) -> list[Metrics]:
    """Those of a run folder, [] without any; of a step that was made twice, after a kill, the last.

    Raises:
        StoreError: a damaged line before the last.
    """
    found = read_lines(folder / "metrics.jsonl", Metrics, "delete that line")
    return list({(record.stage, record.step): record for _, record in found}.values())
