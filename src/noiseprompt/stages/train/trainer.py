"""The loop of a training: steps, validation, checkpoints, resuming."""

from __future__ import annotations

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
from noiseprompt.stages.train.objective import Batch, Objective
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
        self.optimizer = torch.optim.AdamW(net.parameters(), lr=config.lr, weight_decay=config.weight_decay)
        self.raw = net
        self.net, self.optimizer = self.accelerator.prepare(net, self.optimizer)
        self.average = Average(net.state_dict(), config.ema_decay)
        self.batches = max(1, len(training) // config.batch_size)
        self.steps = self.batches * config.epochs
        self.step, self.best, self.power = 0, -math.inf, 0.0
        self._resume()

    def _resume(self) -> None:
        mend(self.out / "metrics.jsonl")
        path = self.out / "state.pt"
        if not path.exists():
            return
        state = read_checkpoint(path)
        try:
            self.raw.load_state_dict(state["net"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.average.load_state_dict(state["average"])
            self.step, self.best, self.power = int(state["step"]), float(state["best"]), float(state.get("power", 0))
        except (KeyError, TypeError, ValueError, RuntimeError, AttributeError) as error:
            came = f"{path} is no state of this training: {' '.join(str(error).split())[:200]}"
            raise ModelLoadError(came, "what the same command wrote", "delete it to train from the start") from error

    def run(self) -> Iterator[TrainProgress]:
        while self.step < self.steps:
            epoch, position = divmod(self.step, self.batches)
            order = np.random.default_rng((self.config.seed, epoch)).permutation(self.training)
            lr = learning_rate(self.config, self.step, self.steps)
            loss = self._update(order[position * self.config.batch_size :][: self.config.batch_size], lr)
            self.step += 1
            last = self.step == self.steps
            explained = None
            if last or self.step % self.config.validate_every == 0:
                explained = self._validate()
                if explained > self.best:
                    self.best = explained
                    self._save_net("best")
            record = TrainProgress(self.step, self.steps, epoch, loss, lr, explained, self.best)
            self._log(record)
            if last or self.step % self.config.checkpoint_every == 0:
                self._checkpoint()
            yield record
        if self.config.tensorboard:
            self.accelerator.end_training()
        self._check_learned()

    def _check_learned(self) -> None:
        """A training without a network to use is no success, also one that had ended so before.

        Raises:
            NoisepromptError: no validation gave a finite figure.
        """
        if not math.isfinite(self.best):
            raise NoisepromptError(f"the training in {self.out} learned nothing", "a network that improved", _CALMER)
        if self.best <= 0:
            share = f"{self.best:.1%} of {self.objective.whole}"
            came = f"the NPNet in {self.out / 'best'} explains {share}: it is no better than {self.objective.nothing}"
            warnings.warn(NoisepromptWarning(f"{came}. Train longer, or on more pairs"), stacklevel=2)

    def _update(self, indices: np.ndarray, lr: float) -> float:
        world, rank = self.accelerator.num_processes, self.accelerator.process_index
        batch = self._batch(indices[rank::world], self.step)
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.net.train()
        with self.accelerator.autocast():
            loss = self.objective.loss(self.net, batch)
        self.optimizer.zero_grad()
        self.accelerator.backward(loss)
        norm = self.accelerator.clip_grad_norm_(self.net.parameters(), self.config.grad_clip)
        value = loss.item()
        if not math.isfinite(value) or (norm is not None and not math.isfinite(norm)):
            raise DivergedError(self.step + 1, value, f"{_CALMER}; {self.out} keeps its last good checkpoint")
        self.optimizer.step()
        self.average.update(self.step)
        return value

    @torch.no_grad()
    def _validate(self) -> float:
        """1 - error of the averaged weights / error of nothing, on the validation rows."""
        kept = {name: value.detach().clone() for name, value in self.raw.state_dict().items()}
        self.average.apply()
        self.raw.eval()
        judged = []
        for start in range(0, len(self.validation), 64):
            batch = self._batch(self.validation[start : start + 64], None)
            judged.append(self.objective.error(self.raw, batch))
        self.raw.load_state_dict(kept)
        error, nothing, power, rows = (sum(figures) for figures in zip(*judged, strict=True))
        self.power = power / rows
        return 1 - error / nothing

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
        }
        with replacing(self.out / "state.pt") as file:
            torch.save(state, file)

    def _log(self, record: TrainProgress) -> None:
        if self.accelerator.is_main_process and (record.explained is not None or record.step % 10 == 0):
            known = {key: value for key, value in to_dict(record).items() if value is not None}
            values = {key: value for key, value in known.items() if math.isfinite(value)}  # JSON has no infinity
            append(self.out / "metrics.jsonl", json.dumps(values, allow_nan=False) + "\n")
            self.accelerator.log({k: v for k, v in values.items() if isinstance(v, float)}, step=record.step)
