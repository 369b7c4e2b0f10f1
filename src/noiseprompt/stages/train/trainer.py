"""The loop of a training: steps, validation, checkpoints, resuming; in one process or in several.

Of a step's rows process r of n takes every n-th, from the r-th; what it adds to the gradient is weighted by its share
of them. The sum over processes is then the gradient that one process finds, whatever their number and however the rows
are divided. Every process takes the same step of the optimizer; the main one alone averages, validates and writes.
"""

from __future__ import annotations

import json
import math
import os
import time
import warnings
from collections.abc import Iterator, Sequence
from contextlib import closing, nullcontext
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from noiseprompt.core.averages import Average
from noiseprompt.core.config import to_dict
from noiseprompt.core.errors import (
    DivergedError,
    MissingDependencyError,
    ModelLoadError,
    NoisepromptError,
    NoisepromptWarning,
    StoreError,
)
from noiseprompt.core.files import append, replacing
from noiseprompt.core.json_lines import mend
from noiseprompt.core.ranks import ALONE, Processes
from noiseprompt.core.weights import read_checkpoint
from noiseprompt.noise.seeds import prompt_seed
from noiseprompt.npnet import NPNet, build
from noiseprompt.stages.train.checkpoint import (
    LOGGED,
    check_best,
    check_metrics,
    check_state,
    load_optimizer,
    settings_digest,
)
from noiseprompt.stages.train.feed import ahead
from noiseprompt.stages.train.objective import Batch, Objective, Validated
from noiseprompt.stages.train.order import batches_an_epoch, batches_of
from noiseprompt.stages.train.settings import TrainConfig, TrainProgress, learning_rate

_CALMER = "train in a new folder with a lower lr, more warmup_steps, or mixed_precision no"


def _warn_of_warmup(config: TrainConfig, steps: int) -> None:
    """Tell of a training that ends before its learning rate has risen."""
    if steps < config.warmup_steps:
        came = f"warmup_steps {config.warmup_steps:,} of a training of {steps:,} steps"
        told = f"{came}: the learning rate never reaches lr {config.lr:g}. Lower warmup_steps, or train longer"
        warnings.warn(told, NoisepromptWarning, stacklevel=3)


class _Step(NamedTuple):
    """Fields:
    number: of the step, from 0.
    parts: rows of this process, one after the other.
    rows: how many rows the step has in all processes.
    """

    number: int
    parts: list[np.ndarray]
    rows: int


class Trainer:
    """One training.

    Args:
        net: to start from, the same in every process.
        device: that it is trained on.
        out: folder of the run.
        training, validation: rows of the objective's data.
        starts: first row of each data set, where there are several: every batch is of one of them.
    """

    def __init__(
        self,
        objective: Objective,
        net: NPNet,
        device: torch.device,
        config: TrainConfig,
        out: Path,
        training: np.ndarray,
        validation: np.ndarray,
        processes: Processes = ALONE,
        starts: Sequence[int] = (0,),
    ) -> None:
        self.objective, self.config, self.out, self.device = objective, config, out, device
        self.training, self.validation, self.processes, self.starts = training, validation, processes, starts
        first = processes.once(lambda: objective.begin(net))
        if not processes.main:
            objective.begin(net)
        self.net = net.to(device)
        fused = device.type in ("cpu", "cuda")  # a third of the time of one tensor after the other
        self.optimizer = torch.optim.AdamW(
            net.parameters(), lr=config.lr, weight_decay=config.weight_decay, fused=fused
        )
        self.average = Average(net.state_dict(), config.ema_decay if processes.main else 0.0)
        self.batches = batches_an_epoch(training, starts, config.batch_size)
        self.steps = self.batches * config.epochs
        self.step, self.best, self.power, self.stale, self.saved_at = 0, -math.inf, 0.0, 0, time.monotonic()
        self.board: Any = nullcontext()
        if processes.main:
            mend(out / "metrics.jsonl")
            self.board = _board(out / "tensorboard") if config.tensorboard else self.board
        resumed = self._resume()
        if processes.main:
            _warn_of_warmup(config, self.steps)
        if processes.once(lambda: self.step) != self.step:
            came = f"process {processes.rank} is at step {self.step} of {out}, process 0 is not"
            raise StoreError(came, "one folder that all processes see", "train in a folder that all machines share")
        if processes.main:
            check_metrics(out / "metrics.jsonl", self.steps, self.step)
        if not resumed and first is not None:
            self.best = first
            self._save_net("best")

    def _resume(self) -> bool:
        """Whether there is a checkpoint to go on from."""
        path = self.out / "state.pt"
        if not os.path.lexists(path):
            if (self.out / "last").is_dir():
                told = f"{path} is not there: {self.out} begins at step 0, and its networks are written over"
                warnings.warn(told, NoisepromptWarning, stacklevel=2)
            return False
        state = read_checkpoint(path, own=True)
        try:
            check_state(state, self.net, self.steps, settings_digest(self.out))
            self.net.load_state_dict(state["net"])
            load_optimizer(self.optimizer, state["optimizer"])
            self.average.load_state_dict(state["average"])
            self.step, self.best = state["step"], state["best"]
            self.power, self.stale = state.get("power", 0.0), state.get("stale", 0)
        except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            reason = f"it lacks {error}" if isinstance(error, KeyError) else " ".join(str(error).split())[:200]
            came = f"{path} is no state of this training: {reason}"
            raise ModelLoadError(came, "what the same command wrote", "delete it to train from the start") from error
        if math.isfinite(self.best) and self.processes.main:
            check_best(self.out, self.net)  # a training that goes on would tell hours later
        return True

    def run(self) -> Iterator[TrainProgress]:
        if not self._stopped():
            with closing(ahead(self._made, self._wanted())) as steps, self.board:
                for step, batches in steps:
                    yield self._one(step, batches)
                    if self._stopped():
                        break
        self._check_learned()

    def _one(self, step: _Step, batches: list[Batch]) -> TrainProgress:
        """A step with what belongs to it: validation, log, checkpoint."""
        lr = learning_rate(self.config, step.number, self.steps)
        loss = self._update(step, batches, lr)
        self.step = step.number + 1
        last, found = self.step == self.steps, None
        if last or self.step % self.config.validate_every == 0:
            found = Validated(*self.processes.once(lambda: self._validate(loss)))
            self.power, self.stale = found.power, self.stale + 1
            if found.explained > self.best:
                self.best, self.stale = found.explained, 0
                self._save_net("best")
        explained, scores = (found.explained, found.scores) if found else (None, {})
        epoch = step.number // self.batches
        record = TrainProgress(self.step, self.steps, epoch, loss, lr, explained, self.best, scores)
        self._log(record)
        if last or self._stopped() or self._checkpoint_due():
            self._checkpoint()
        return record

    def _stopped(self) -> bool:
        """Whether patience is at its end."""
        return 0 < self.config.patience <= self.stale

    def _check_learned(self) -> None:
        """A training without a network to use is no success, also one that had ended so before.

        Raises:
            NoisepromptError: no validation gave a finite figure.
            StoreError: the best network is gone, or is another training's.
        """
        if not math.isfinite(self.best):
            raise NoisepromptError(f"the training in {self.out} learned nothing", "a network that improved", _CALMER)
        if self.processes.main:
            check_best(self.out, self.net)
        if self.best <= self.objective.least and self.processes.main:
            told = f"the NPNet in {self.out / 'best'} {self.objective.told(self.best)}"
            came = f"{told}: it is no better than {self.objective.nothing}"
            warnings.warn(NoisepromptWarning(f"{came}. Train longer, or on more pairs"), stacklevel=2)

    # ------------------------------------------------------------------------------------------------ what is fed

    def _wanted(self) -> Iterator[_Step]:
        """The steps that are left, with the rows of this process: a function of the seed alone."""
        made: list[np.ndarray] = []
        for number in range(self.step, self.steps):
            epoch, position = divmod(number, self.batches)
            if position == 0 or not made:
                made = batches_of(self.training, self.starts, self.config.batch_size, self.config.seed, epoch)
            mine = made[position][self.processes.rank :: self.processes.size]
            parts = np.array_split(mine, min(self.config.accumulate, len(mine)))
            yield _Step(number, parts, len(made[position]))

    def _made(self, step: _Step) -> list[Batch]:
        return [self._pinned(self.objective.batch(rows, step.number)) for rows in step.parts]

    def _pinned(self, batch: Batch) -> Batch:
        """In memory from which a GPU reads while it computes."""
        if self.device.type != "cuda":
            return batch
        with torch.cuda.device(self.device):  # a thread begins with the first GPU, which may be another process's
            return {name: x.pin_memory() for name, x in batch.items()}

    def _placed(self, batch: Batch) -> Batch:
        moved = {name: x.to(self.device, non_blocking=True) for name, x in batch.items()}
        return {name: x.float() if x.dtype == torch.float16 else x for name, x in moved.items()}

    def _validation(self, parts: Sequence[np.ndarray]) -> Iterator[Batch]:
        with closing(ahead(lambda rows: self._pinned(self.objective.batch(rows, None)), parts)) as batches:
            for _, batch in batches:
                yield self._placed(batch)

    # ------------------------------------------------------------------------------------------------ what is learned

    def _update(self, step: _Step, batches: list[Batch], lr: float) -> float:
        """One step of the optimizer; the loss over all processes."""
        # layers that drop at random depend on nothing before this step: a run that goes on ends bit-equal
        seed_of(self.device, prompt_seed(self.config.seed, f"step {step.number}/{self.processes.rank}", (0, 2**63 - 1)))
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.net.train()
        self.optimizer.zero_grad()
        total = torch.zeros((), device=self.device)
        for rows, batch in zip(step.parts, batches, strict=True):
            placed, half = self._placed(batch), self.config.mixed_precision == "bf16"
            with torch.autocast(self.device.type, torch.bfloat16, enabled=half):
                loss = self.objective.loss(self.net, placed) * (len(rows) / step.rows)
            loss.backward()
            total += loss.detach()
        total = self._summed(total)
        norm = torch.nn.utils.clip_grad_norm_(self.net.parameters(), self.config.grad_clip)
        value, largest = torch.stack([total, norm.to(total)]).tolist()
        if not math.isfinite(value) or not math.isfinite(largest):
            raise DivergedError(self.step + 1, value, f"{_CALMER}; what {self.out} holds of checkpoints stays")
        self.optimizer.step()
        if self.processes.main:
            self.average.update(self.step)
        return value

    def _summed(self, total: torch.Tensor) -> torch.Tensor:
        """Of the loss; the gradients become their sums over all processes in place."""
        if self.processes.size == 1:
            return total
        gradients = [parameter.grad for parameter in self.net.parameters() if parameter.grad is not None]
        flat = torch.cat([total.reshape(1), *(gradient.flatten() for gradient in gradients)])
        self.processes.sum(flat)
        total, *sums = flat.split([1, *(gradient.numel() for gradient in gradients)])
        for gradient, sum_ in zip(gradients, sums, strict=True):
            gradient.copy_(sum_.view_as(gradient))
        return total.squeeze(0)

    @torch.no_grad()
    def _validate(self, loss: float) -> Validated:
        """Of the averaged weights, on the validation rows, after a step with that loss."""
        kept = {name: value.detach().clone() for name, value in self.net.state_dict().items()}
        self.average.apply()
        if not self.average.finite():
            raise DivergedError(self.step, loss, _CALMER, "average of the weights")
        self.net.eval()
        found = self.objective.validate(self.net, self.validation, self._validation, self.step)
        self.net.load_state_dict(kept)
        return found

    # ------------------------------------------------------------------------------------------------ what is written

    def _save_net(self, name: str) -> None:
        if self.processes.main:
            net = build(self.objective.saved(self.net.config, self.power))
            net.load_state_dict(self.average.state_dict())
            net.save_pretrained(self.out / name)

    def _checkpoint_due(self) -> bool:
        away = time.monotonic() - self.saved_at
        return self.step % self.config.checkpoint_every == 0 and away >= self.config.checkpoint_seconds

    def _checkpoint(self) -> None:
        if not self.processes.main:
            return
        self._save_net("last")
        state = {
            "net": self.net.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "best": self.best,
            "power": self.power,
            "stale": self.stale,
            "settings": settings_digest(self.out),
        }
        with replacing(self.out / "state.pt") as file:
            torch.save(state, file)
        self.saved_at = time.monotonic()

    def _log(self, record: TrainProgress) -> None:
        if self.processes.main and (record.explained is not None or record.step % LOGGED == 0):
            known = {key: value for key, value in to_dict(record).items() if value is not None}
            scores = known.pop("scores")
            values = {key: value for key, value in known.items() if math.isfinite(value)}  # JSON has no infinity
            line = {**values, **({"scores": scores} if scores else {})}
            append(self.out / "metrics.jsonl", json.dumps(line, allow_nan=False) + "\n")
            if self.config.tensorboard:
                for key, value in {**values, **scores}.items():
                    if isinstance(value, float):
                        self.board.add_scalar(key, value, record.step)


def seed_of(device: torch.device, seed: int) -> None:
    """Seed what is drawn there and on the CPU; `torch.manual_seed` formats the stack for GPUs that never start."""
    torch.default_generator.manual_seed(seed) if device.type == "cpu" else torch.manual_seed(seed)


def _board(folder: Path) -> Any:
    """A TensorBoard writer, a context manager.

    Raises:
        MissingDependencyError: there is no tensorboard.
    """
    try:
        from torch.utils.tensorboard import SummaryWriter
    except ImportError as error:
        fix = 'pip install "noiseprompt[tensorboard]"'
        raise MissingDependencyError("TensorBoard files need the package tensorboard", "", fix) from error
    return SummaryWriter(str(folder))
