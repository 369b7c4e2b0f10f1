"""Stage II: train an NPNet on a noise prompt data set (algorithm 2, eqs. 8 and 9), through accelerate.

The loss is the mean squared error to the target noise, divided by that of "predict the source unchanged" over the
training pairs: 1.0 means nothing learned, 0.0 everything. `explained` = 1 - that ratio, on the validation pairs: the
share of the perturbation the network predicts.

A run folder holds `settings.json`, `metrics.jsonl`, `embeds.npy` (text encoded once, memory-mapped), `state.pt`
(weights-only), `best/` (by validation) and `last/`. The same command continues an interrupted run, bit-equal on a CPU.
"""

from __future__ import annotations

import json
import math
import os
from collections.abc import Iterator
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from noiseprompt.config import fingerprint, to_dict
from noiseprompt.errors import ConfigError, InputError
from noiseprompt.npnet import NPNet, NPNetConfig, build, small_config, tokens_config
from noiseprompt.npnet.transfer import start_from
from noiseprompt.schedules import warm_cosine
from noiseprompt.store import Npd, PairFilter
from noiseprompt.train_data import PairData, cache_embeds, select_pairs

if TYPE_CHECKING:
    from noiseprompt.pipelines import Pipeline


@dataclass(frozen=True)
class TrainConfig:
    """Settings of one training.

    Args:
        architecture: "paper" (section 3.2) or "tokens" (our transformer over noise patches and prompt tokens).
        sizes: overrides of the architecture's sizes, e.g. {"depth": 6}.
        filter_scorers, margin, combine: which pairs are kept: s_0 + margin < s'_0 by all, any or the mean of them
            (section 3.1); no scorer keeps every pair.
        epochs, batch_size: 30 and 64 in the paper.
        lr: peak of AdamW's learning rate, after `warmup_steps` and before a half cosine to 1 %.
        grad_clip: largest norm of the gradient.
        ema_decay: of the averaged weights, which are the ones saved; 0 switches averaging off.
        validation_share: share of prompts (by hash of their id) held out for validation, in (0, 1).
        checkpoint_every, validate_every: in steps.
        mixed_precision: "no" or "bf16".
        max_pairs: train on the first n kept pairs only (table 12); 0 for all.
        seed: of the weights and the order of pairs.
        init: folder or hub id of an NPNet to fine-tune from, of this model or of another, or "". Its architecture and
            sizes are kept, except for what `sizes` overrides; layers of other shapes start fresh and are listed.
        tensorboard: also write TensorBoard files.
    """

    architecture: str = "paper"
    sizes: dict[str, Any] = field(default_factory=dict)
    filter_scorers: tuple[str, ...] = ()
    margin: float = 0.0
    combine: str = "all"
    epochs: int = 30
    batch_size: int = 64
    lr: float = 1e-3
    weight_decay: float = 0.01
    warmup_steps: int = 50
    grad_clip: float = 1.0
    ema_decay: float = 0.995
    validation_share: float = 0.05
    checkpoint_every: int = 200
    validate_every: int = 200
    mixed_precision: str = "no"
    max_pairs: int = 0
    seed: int = 0
    init: str = ""
    tensorboard: bool = False


@dataclass(frozen=True)
class TrainProgress:
    """One step of training.

    Args:
        step, steps: this one (from 1) and all.
        epoch: from 0.
        loss: MSE relative to the unchanged source, of the batch.
        lr: learning rate of the step.
        explained: share of the validation perturbation explained by the averaged weights, or None between validations.
        best: the highest `explained` so far.
    """

    step: int
    steps: int
    epoch: int
    loss: float
    lr: float
    explained: float | None
    best: float


SMALL_SIDE = 64
"""Latents up to this side get the paper's network at their own resolution; larger ones the sizes of the paper."""


def network_config(config: TrainConfig, **facts: Any) -> NPNetConfig:
    """The configuration of the network to train: the architecture's defaults, what it is for, then `config.sizes`.

    Args:
        facts: latent_shape, text_length, text_width, family, denoiser.

    Raises:
        ConfigError: an unknown architecture or size.
    """
    if config.architecture == "tokens":
        base = tokens_config(**facts)
    elif config.architecture == "paper" and max(facts["latent_shape"][1:]) <= SMALL_SIDE:
        base = small_config(**facts)
    else:
        base = NPNetConfig(architecture=config.architecture, **facts)
    sizes = {name: tuple(value) if isinstance(value, list) else value for name, value in config.sizes.items()}
    try:
        return replace(base, **sizes)
    except TypeError as error:
        raise ConfigError(f"sizes {sizes}", f"some of {', '.join(to_dict(base))}") from error


def learning_rate(config: TrainConfig, step: int, steps: int) -> float:
    """Linear warm-up, then a half cosine to 1 % of the peak."""
    return config.lr * warm_cosine(step, steps, config.warmup_steps)


def train(npd: Npd, pipeline: Pipeline, config: TrainConfig, out: Path) -> Iterator[TrainProgress]:
    """Train, yielding one record a step; afterwards `out/best` holds the NPNet to use.

    Raises:
        ConfigError: `out` was made with other settings or another data set.
        InputError: the filter keeps too few pairs.
    """
    out.mkdir(parents=True, exist_ok=True)
    _claim(out, config, npd)
    pair_filter = PairFilter(tuple(config.filter_scorers), config.margin, config.combine)  # type: ignore[arg-type]
    training, validation = select_pairs(npd, pair_filter, config.validation_share, config.max_pairs)
    embeds, rows = cache_embeds(npd, pipeline, out / "embeds.npy")
    yield from _Trainer(PairData(npd, embeds, rows), pipeline, config, out, training, validation).run()


def _claim(out: Path, config: TrainConfig, npd: Npd) -> None:
    settings = {**to_dict(config), "npd_pairs": len(npd), "npd": fingerprint(npd.settings)}
    path = out / "settings.json"
    if path.exists():
        old = json.loads(path.read_text())
        changed = sorted(k for k in old.keys() | settings.keys() if old.get(k) != settings.get(k))
        if changed:
            raise ConfigError(
                f"{out} was trained with another {', '.join(changed)} (fingerprint {fingerprint(old)})",
                f"fingerprint {fingerprint(settings)}",
                "choose another folder",
            )
    path.write_text(json.dumps(settings, indent=2))


class _Trainer:
    def __init__(
        self,
        data: PairData,
        pipeline: Pipeline,
        config: TrainConfig,
        out: Path,
        training: np.ndarray,
        validation: np.ndarray,
    ) -> None:
        from accelerate import Accelerator
        from accelerate.utils import set_seed

        self.data, self.config, self.out = data, config, out
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
        facts = {
            "latent_shape": data.npd.latent_shape,
            "text_length": data.embeds.shape[1],
            "text_width": data.embeds.shape[2],
            "family": pipeline.family.name,
            "denoiser": pipeline.name,
        }
        if config.init:
            net, what = start_from(NPNet.from_pretrained(config.init), config.sizes, **facts)
            self.accelerator.print(what.report(config.init))
        else:
            net = build(network_config(config, **facts))
        self.optimizer = torch.optim.AdamW(net.parameters(), lr=config.lr, weight_decay=config.weight_decay)
        self.raw = net
        self.net, self.optimizer = self.accelerator.prepare(net, self.optimizer)
        self.average = {name: value.detach().clone() for name, value in net.state_dict().items()}
        self.batches = max(1, len(training) // config.batch_size)
        self.steps = self.batches * config.epochs
        self.step, self.best = 0, -math.inf
        self._resume()
        self.baseline = self._baseline()

    def _resume(self) -> None:
        path = self.out / "state.pt"
        if path.exists():
            state = torch.load(path, weights_only=True)
            self.raw.load_state_dict(state["net"])
            self.optimizer.load_state_dict(state["optimizer"])
            self.average = state["average"]
            self.step, self.best = state["step"], state["best"]

    def _baseline(self) -> float:
        """MSE of "predict the source unchanged" over at most 2,048 training pairs."""
        total = 0.0
        some = self.training[:2048]
        for start in range(0, len(some), 256):
            source, target, _ = self.data.batch(some[start : start + 256])
            total += float((source - target).square().mean((1, 2, 3)).sum())
        baseline = total / len(some)
        if baseline == 0:
            raise InputError(
                "every target equals its source", "pairs with a perturbation", "collect with a guidance gap"
            )
        return baseline

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

    def _update(self, indices: np.ndarray, lr: float) -> float:
        world, rank = self.accelerator.num_processes, self.accelerator.process_index
        source, target, embeds = (x.to(self.accelerator.device) for x in self.data.batch(indices[rank::world]))
        for group in self.optimizer.param_groups:
            group["lr"] = lr
        self.net.train()
        with self.accelerator.autocast():
            predicted = self.net(source, embeds)
        loss = (predicted.float() - target).square().mean() / self.baseline
        self.optimizer.zero_grad()
        self.accelerator.backward(loss)
        self.accelerator.clip_grad_norm_(self.net.parameters(), self.config.grad_clip)
        self.optimizer.step()
        decay = min(self.config.ema_decay, (1 + self.step) / (10 + self.step)) if self.config.ema_decay else 0.0
        with torch.no_grad():
            for name, value in self.raw.state_dict().items():
                if value.is_floating_point():
                    self.average[name].lerp_(value, 1 - decay)
                else:
                    self.average[name].copy_(value)
        return loss.item()

    @torch.no_grad()
    def _validate(self) -> float:
        """1 - MSE(predicted, target) / MSE(source, target) of the averaged weights on the validation pairs."""
        kept = {name: value.detach().clone() for name, value in self.raw.state_dict().items()}
        self.raw.load_state_dict(self.average)
        self.raw.eval()
        error = unchanged = 0.0
        for start in range(0, len(self.validation), 64):
            source, target, embeds = (
                x.to(self.accelerator.device) for x in self.data.batch(self.validation[start : start + 64])
            )
            error += float((self.raw(source, embeds) - target).square().sum())
            unchanged += float((source - target).square().sum())
        self.raw.load_state_dict(kept)
        return 1 - error / unchanged

    def _save_net(self, name: str) -> None:
        if self.accelerator.is_main_process:
            net = build(self.raw.config)
            net.load_state_dict(self.average)
            net.save_pretrained(self.out / name)

    def _checkpoint(self) -> None:
        if not self.accelerator.is_main_process:
            return
        self._save_net("last")
        state = {
            "net": self.raw.state_dict(),
            "average": self.average,
            "optimizer": self.optimizer.state_dict(),
            "step": self.step,
            "best": self.best,
        }
        partial = self.out / "state.tmp"
        torch.save(state, partial)
        os.replace(partial, self.out / "state.pt")

    def _log(self, record: TrainProgress) -> None:
        if self.accelerator.is_main_process and (record.explained is not None or record.step % 10 == 0):
            values = {key: value for key, value in to_dict(record).items() if value is not None}
            with (self.out / "metrics.jsonl").open("a") as file:
                file.write(json.dumps(values) + "\n")
            self.accelerator.log({k: v for k, v in values.items() if isinstance(v, float)}, step=record.step)
