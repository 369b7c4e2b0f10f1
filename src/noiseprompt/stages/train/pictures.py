"""Pictures as targets: from noise and prompt the latents of a picture of the prompt, by plain regression.

No pair of noises, no denoiser and no scorer is asked. The noise is fresh at every step; which of the prompt's pictures
it aims at is the coupling's choice. The network's noise then carries its picture at the level where a sampler begins,
as the forward process would have made it: what the denoiser was trained on, and what sampling from pure noise lacks
(signal leak: Everaert et al., WACV 2024; Lin et al., WACV 2024).
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import replace
from typing import Any

import numpy as np
from torch import Tensor, nn

from noiseprompt.core.errors import InputError
from noiseprompt.core.types import StartLevel
from noiseprompt.noise.seeds import batch_noise, prompt_seed
from noiseprompt.npnet import NPNet, NPNetConfig
from noiseprompt.stages.train.coupling import correlated, nearest
from noiseprompt.stages.train.data import SOME, PairData, spread
from noiseprompt.stages.train.objective import Batch, Judged, Regression
from noiseprompt.stages.train.settings import TrainConfig

_SEEDS = (0, 2**63 - 1)
LARGEST_SCALE = 10.0
"""Of `picture_scale`: a network that predicts next to nothing has nothing to be scaled up."""

_LEVEL = StartLevel(noise=1.0, signal=1.0)
"""At which a network's forward pass gives noise + picture."""


class PictureObjective(Regression):
    """MSE to the latents of the picture that a noise aims at, divided by the targets' power: "no picture" is 1.

    A mean of pictures has less power than a picture, and so has what is learned from it; a network is saved with the
    factor that makes up for it (`picture_scale`), so that its noise carries as much as the forward process leaves. What
    all pictures share is predicted as it is; the factor acts on the rest, of targets and predictions alike (`centred`).

    A step's rows are pictures. With the couplings "any" and "nearest" each is aimed at itself; with "correlation" it
    stands for its prompt.

    Raises:
        InputError: too few pictures of a prompt for the coupling, squares larger than the latents, or pictures without
            power.
    """

    whole = "the pictures"
    nothing = "no picture"

    def __init__(self, config: TrainConfig, data: PairData, training: np.ndarray, validation: np.ndarray) -> None:
        self.config, self.data = config, data
        self.ids = data.npd.table().column("id").to_pylist()
        self.training = training
        self.pools = pools(data.prompts, np.concatenate([training, validation]))
        check_pools(config.coupling, [len(self.pools[prompt]) for prompt in np.unique(data.prompts[training])])
        if config.coupling == "correlation" and config.low_pass > (side := min(data.npd.latent_shape[1:])):
            raise InputError(f"low_pass {config.low_pass} of latents of side {side}", f"1 to {side}")
        self.noises = config.nearest_noises if config.coupling == "nearest" else 1
        some = spread(training, SOME)
        pictures = self._latents(some)
        self.mean, self.power = pictures.mean(0), float(pictures.square().mean())
        self.baseline = float(self.batch(some[:: len(some) // 64 or 1], None)["target"].float().square().mean())
        if self.power == 0 or self.baseline == 0:
            raise InputError("every picture's latents are 0", "pictures", "see `noiseprompt npd info`")

    def begin(self, net: NPNet) -> None:
        if net.config.centred:
            if self.mean.shape == net.mean_picture.shape:  # of several sizes that of the network's own is kept
                net.mean_picture.copy_(self.mean)
            self.power = float(net.deviation(self._latents(spread(self.training, SOME))).square().mean())

    def batch(self, rows: np.ndarray, step: int | None) -> Batch:
        shape = self.data.npd.latent_shape
        noise = batch_noise(self._seeds(rows, step), shape).view(len(rows), self.noises, *shape)
        aims = self.config.coupling == "correlation"
        target = self._aimed_at(rows, noise[:, 0]) if aims else self.data.targets(rows)
        return {"noise": noise, "target": target, **self.data.text(rows)}

    def loss(self, net: nn.Module, batch: Batch) -> Tensor:
        def predict(noise: Tensor, embeds: Tensor) -> Tensor:
            return net(noise, embeds, _LEVEL).float() - noise  # by the forward pass, which gradients are gathered from

        target, embeds = batch["target"], self.data.texts.embeds(batch)
        noise = self._chosen(predict, batch, embeds)
        return (predict(noise, embeds) - target).square().mean() / self.baseline

    def error(self, net: Any, batch: Batch) -> Judged:
        target, embeds = batch["target"], self.data.texts.embeds(batch)
        noise = self._chosen(net.picture, batch, embeds)
        predicted = net.picture(noise, embeds)
        error, nothing = (predicted - target).square().sum(), target.square().sum()
        power = net.deviation(predicted).square().mean(dim=(1, 2, 3)).sum()
        return Judged(float(error), float(nothing), float(power), len(target))

    def saved(self, config: NPNetConfig, power: float) -> NPNetConfig:
        return scaled(config, self.power, power)

    def _chosen(self, predict: Any, batch: Batch, embeds: Tensor) -> Tensor:
        noises = batch["noise"]
        if noises.shape[1] == 1:
            return noises[:, 0]
        return nearest(predict, noises, embeds, batch["target"])

    def _seeds(self, rows: np.ndarray, step: int | None) -> list[int]:
        """Of the noises of each row, a function of row and step."""
        when = "validation" if step is None else f"step {step}"
        seed = 0 if step is None else self.config.seed
        names = [f"{when}/{self.ids[row]}/{k}" for row in rows for k in range(self.noises)]
        return [prompt_seed(seed, name, _SEEDS) for name in names]

    def _aimed_at(self, rows: np.ndarray, noise: Tensor) -> Tensor:
        candidates = [self.pools[prompt] for prompt in self.data.prompts[rows]]
        pictures, counts = self._latents(np.concatenate(candidates)), [len(one) for one in candidates]
        return correlated(noise, pictures, counts, self.config.low_pass, self.config.coupling_sharpness)

    def _latents(self, rows: np.ndarray) -> Tensor:
        return self.data.targets(rows).float()


def scaled(config: NPNetConfig, of_pictures: float, of_predictions: float) -> NPNetConfig:
    """With the factor that gives predictions the power (mean square) of pictures; 1 before there are any."""
    scale = math.sqrt(of_pictures / of_predictions) if of_predictions else 1.0
    return replace(config, picture_scale=min(scale, LARGEST_SCALE))


def pools(prompts: np.ndarray, rows: np.ndarray) -> dict[int, np.ndarray]:
    """Prompt -> those of `rows` that are its pictures, ascending.

    Args:
        prompts: (N,) the prompt of every row of the data set, as a number.
    """
    rows = np.sort(rows)
    order = np.argsort(prompts[rows], kind="stable")
    found, starts = np.unique(prompts[rows][order], return_index=True)
    return dict(zip(found.tolist(), np.split(rows[order], starts[1:]), strict=True))


def check_pools(coupling: str, sizes: Sequence[int]) -> None:
    """Refuse a choice among pictures where there is hardly any.

    Args:
        sizes: how many pictures each prompt has.

    Raises:
        InputError: fewer than two a prompt on average, with the coupling "correlation".
    """
    if coupling == "correlation" and sum(sizes) < 2 * len(sizes):
        came = f"coupling correlation with {sum(sizes)} pictures of {len(sizes)} prompts"
        fix = "collect more of each prompt, keep more (best_share), or train with --coupling any or nearest"
        raise InputError(came, "two of a prompt or more, on average, for a noise to choose from", fix)
