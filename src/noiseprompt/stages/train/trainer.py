"""The loop of a training: steps, validation, checkpoints, resuming."""

from __future__ import annotations

import functools
import json
import math
import warnings
from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from noiseprompt.core.averages import Average
from noiseprompt.core.config import to_dict
from noiseprompt.core.errors import DivergedError, ModelLoadError, NoisepromptError, NoisepromptWarning
from noiseprompt.core.files import append, replacing
from noiseprompt.core.json_lines import mend
from noiseprompt.core.weights import read_checkpoint
from noiseprompt.npnet import NPNet, build
from noiseprompt.npnet.transfer import start_from
from noiseprompt.stages.train.objective import Batch, Objective, Validated
from noiseprompt.stages.train.settings import TrainConfig, TrainProgress, learning_rate, network_config

if TYPE_CHECKING:
    from noiseprompt.pipelines import Pipeline


_CALMER = "train in a new folder with a lower lr, more warmup_steps, or mixed_precision no"


class _Trainer:
    def __init__(
        self,
        objective: Objective,
        pipeline: Pipeline,
        facts: dict[str, Any],
        config: TrainConfig,
        out: Path,
        training: np.ndarray,
        validation: np.ndarray,
    ) -> None:
        from accelerate import Accelerator
        from accelerate.utils import set_seed

        self.objective, self.config, self.out = objective, config, out
        self.training, self.validation = training, validation
        set_seed(config.seed)
        self.accelerator = Accelerator(
            mixed_precision=config.mixed_precision,
            cpu=pipeline.device.type == "cpu",
            log_with="tensorboard" if config.tensorboard else None,
            project_dir=str(out),
        )
        if config.tensorboard:
            self.accelerator.init_trackers("tensorboard")
        if config.init:
            net, what = start_from(NPNet.from_pretrained(config.init), config.sizes, **facts)
            self.accelerator.print(what.report(config.init))
        else:
            net = build(network_config(config, **facts))
        first = objective.begin(net)
        self.optimizer = torch.optim.AdamW(net.parameters(), lr=config.lr, weight_decay=config.weight_decay)
        self.raw = net
        self.net, self.optimizer = self.accelerator.prepare(net, self.optimizer)
        self.average = Average(net.state_dict(), config.ema_decay)
        self.batches = max(1, len(training) // config.batch_size)
        self.steps = self.batches * config.epochs
        self.step, self.best, self.power, self.stale = 0, -math.inf, 0.0, 0
        if not self._resume() and first is not None:
            self.best = first
            self._save_net("best")

    def _resume(self) -> bool:
        """Whether there is a checkpoint to go on from."""
        mend(self.out / "metrics.jsonl")
        path = self.out / "state.pt"
        if not path.exists():
            return False
        state = read_checkpoint(path)
        try:
            self.raw.load_state_dict(state["net"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.average.load_state_dict(state["average"])
            self.step, self.best, self.power = int(state["step"]), float(state["best"]), float(state.get("power", 0))
            self.stale = int(state.get("stale", 0))
        except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            came = f"{path} is no state of this training: {' '.join(str(error).split())[:200]}"
            raise ModelLoadError(came, "what the same command wrote", "delete it to train from the start") from error
        return True

    def run(self) -> Iterator[TrainProgress]:
        while self.step < self.steps and not self._stopped():
            epoch, position = divmod(self.step, self.batches)
            order = np.random.default_rng((self.config.seed, epoch)).permutation(self.training)
            lr = learning_rate(self.config, self.step, self.steps)
            loss = self._update(order[position * self.config.batch_size :][: self.config.batch_size], lr)
            self.step += 1
            last = self.step == self.steps
            found = None
            if last or self.step % self.config.validate_every == 0:
                found = self._validate()
                self.stale += 1
                if found.explained > self.best:
                    self.best, self.stale = found.explained, 0
                    self._save_net("best")
            explained, scores = (found.explained, found.scores) if found else (None, {})
            record = TrainProgress(self.step, self.steps, epoch, loss, lr, explained, self.best, scores)
            self._log(record)
            if last or self._stopped() or self.step % self.config.checkpoint_every == 0:
                self._checkpoint()
            yield record
        if self.config.tensorboard:
            self.accelerator.end_training()
        self._check_learned()

    def _stopped(self) -> bool:
        """Whether patience is at its end."""
        return 0 < self.config.patience <= self.stale

    def _check_learned(self) -> None:
        """A training without a network to use is no success, also one that had ended so before.

        Raises:
            NoisepromptError: no validation gave a finite figure.
        """
        if not math.isfinite(self.best):
            raise NoisepromptError(f"the training in {self.out} learned nothing", "a network that improved", _CALMER)
        if self.best <= self.objective.least:
            told = f"the NPNet in {self.out / 'best'} {self.objective.told(self.best)}"
            came = f"{told}: it is no better than {self.objective.nothing}"
            warnings.warn(NoisepromptWarning(f"{came}. Train longer, or on more pairs"), stacklevel=2)

    def _update(self, indices: np.ndarray, lr: float) -> float:
        world, rank = self.accelerator.num_processes, self.accelerator.process_index
        rows = indices[rank::world]
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.net.train()
        self.optimizer.zero_grad()
        value = 0.0
        for part in np.array_split(rows, min(self.config.accumulate, len(rows)) or 1):
            batch, share = self._batch(part, self.step), len(part) / len(rows)
            with self.accelerator.autocast():
                loss = self.objective.loss(self.net, batch) * share
            self.accelerator.backward(loss)
            value += loss.item()
        norm = self.accelerator.clip_grad_norm_(self.net.parameters(), self.config.grad_clip)
        if not math.isfinite(value) or (norm is not None and not math.isfinite(norm)):
            raise DivergedError(self.step + 1, value, f"{_CALMER}; {self.out} keeps its last good checkpoint")
        self.optimizer.step()
        self.average.update(self.step)
        return value

    @torch.no_grad()
    def _validate(self) -> Validated:
        """Of the averaged weights, on the validation rows."""
        kept = {name: value.detach().clone() for name, value in self.raw.state_dict().items()}
        self.average.apply()
        self.raw.eval()
        batches = functools.partial(self._batch, step=None)
        found = self.objective.validate(self.raw, self.validation, batches, self.step)
        self.raw.load_state_dict(kept)
        self.power = found.power
        return found

    def _batch(self, rows: np.ndarray, step: int | None) -> Batch:
        return {name: x.to(self.accelerator.device) for name, x in self.objective.batch(rows, step).items()}

    def _save_net(self, name: str) -> None:
        if self.accelerator.is_main_process:
            net = build(self.objective.saved(self.raw.config, self.power))
            net.load_state_dict(self.average.state_dict())
            net.save_pretrained(self.out / name)

    def _checkpoint(self) -> None:
        if not self.accelerator.is_main_process:
            return
        self._save_net("last")
        state = {
            "net": self.raw.state_dict(),
            "average": self.average.state_dict(),
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "best": self.best,
            "power": self.power,
            "stale": self.stale,
        }
        with replacing(self.out / "state.pt") as file:
            torch.save(state, file)

    def _log(self, record: TrainProgress) -> None:
        if self.accelerator.is_main_process and (record.explained is not None or record.step % 10 == 0):
            known = {key: value for key, value in to_dict(record).items() if value is not None}
            scores = known.pop("scores")
            values = {key: value for key, value in known.items() if math.isfinite(value)}  # JSON has no infinity
            line = {**values, **({"scores": scores} if scores else {})}
            append(self.out / "metrics.jsonl", json.dumps(line, allow_nan=False) + "\n")
            floats = {key: value for key, value in {**values, **scores}.items() if isinstance(value, float)}
            self.accelerator.log(floats, step=record.step)
