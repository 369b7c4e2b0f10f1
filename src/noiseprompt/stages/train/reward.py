"""Rewards: scores of the images that a network's noise leads to, through a short chain of the sampler's levels.

Of one image with source noise x and network noise x':

    loss = sum_k w_k softplus(hinge - z_k) + anchor_weight |x' - x_0|^2 / 2

z_k is the score of scorer k in standard deviations above the mean of standard noise; x_0 is x, or the noise of the
network that the training starts from where that predicts a picture. The sum over latents is, but for a constant, the
divergence of a Gaussian around x' from one around x_0: a mean would all but vanish beside the reward. The gradient of
the reward at x' is clipped by its norm, image by image, before it goes into the network: a chain's gradient has heavy
tails, and one image would decide a step. After HyperNoise (Eyring et al., NeurIPS 2025, arXiv 2508.09968), whose
network is a LoRA of a one-step model.
"""

from __future__ import annotations

import copy
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch
from torch import Tensor, nn

from noiseprompt.core.errors import InputError
from noiseprompt.core.files import make_folder
from noiseprompt.core.pictures import write_picture
from noiseprompt.core.types import Prompt, Sampling, StartLevel
from noiseprompt.methods.npnet import level_for
from noiseprompt.methods.reward_gradient import LATENT_VALUES
from noiseprompt.noise.seeds import batch_noise, prompt_seed, sampler_generators
from noiseprompt.npnet import NPNet, NPNetConfig
from noiseprompt.pipelines.gradients import draw
from noiseprompt.stages.train.judges import Judges, Reference, reward_loss
from noiseprompt.stages.train.objective import Batch, Batches, Validated
from noiseprompt.stages.train.settings import TrainConfig

if TYPE_CHECKING:
    from noiseprompt.pipelines import Pipeline, TextEmbeds

REFERENCE = "reference.json"
SAMPLES = "samples"
SHOWN = 8
"""Validation prompts of which pictures are kept."""

_SEEDS = (0, 2**63 - 1)


@dataclass(frozen=True)
class RewardData:
    """What a training by reward is made of; its rows are prompts.

    Fields:
        folder: of the run, for figures of the start and pictures.
    """

    pipeline: Pipeline
    prompts: Sequence[Prompt]
    judges: Judges
    folder: Path


class RewardObjective:
    """Rewards by back-propagation; validated with the run's whole sampler by scorers that are not trained on."""

    nothing = "standard noise"
    least = 0.0

    def __init__(self, config: TrainConfig, data: RewardData, training: np.ndarray, validation: np.ndarray) -> None:
        self.config, self.data, self.pipeline, self.validation = config, data, data.pipeline, validation
        self.run: Sampling = Sampling.of(config).resolve(self.pipeline.family)
        self.shape = self.pipeline.latent_shape(config.height, config.width)
        self.at_once = -(-config.batch_size // config.accumulate)
        self.names = [scorer.name for scorer in data.judges.validating]
        self.level: StartLevel | None = None
        self.first: NPNet | None = None

    def begin(self, net: NPNet) -> float:
        """Keep the network to stay near to, and measure standard noise and it where that has not been done."""
        self.level = level_for(net, self.pipeline, self.run)
        first = copy.deepcopy(net).to(self.pipeline.device).eval().requires_grad_(False)
        self.first = first if net.config.predicts == "picture" else None
        path, judges = self.data.folder / REFERENCE, self.data.judges
        if not path.exists():
            standard = self._judged(None, self.validation, self._here, "standard")
            Reference.of(standard, self._judged(first, self.validation, self._here, "0")).write(path)
        self.reference = Reference.read(path, [scorer.name for scorer in judges.all])
        gain = self.reference.gain(self.reference.start, self.names)
        if gain > 0:
            self.nothing, self.least = "the network that it started from", gain
        return gain

    def batch(self, rows: np.ndarray, step: int | None) -> Batch:
        return {"noise": batch_noise(self._seeds(rows, step), self.shape), "row": torch.from_numpy(rows)}

    def _here(self, parts: Sequence[np.ndarray]) -> Iterator[Batch]:
        for rows in parts:
            yield {name: x.to(self.pipeline.device) for name, x in self.batch(rows, None).items()}

    def loss(self, net: nn.Module, batch: Batch) -> Tensor:
        noise, prompts = batch["noise"], self._prompts(batch)
        with self._own_precision():
            embeds = self.pipeline.encode([prompt.text for prompt in prompts])
        text = embeds.prompt_embeds.to(noise.device, torch.float32)
        made = net(noise, text, self.level).float()
        losses, gradient = self._steer(embeds, made.detach(), prompts)
        anchor = (made - self._near(noise, text)).square().flatten(1).sum(1) / 2
        steered = ((made - made.detach()) * gradient).flatten(1).sum(1)  # 0, with that gradient
        return (losses + self.config.anchor_weight * anchor + steered).mean()

    def _steer(self, embeds: TextEmbeds, latents: Tensor, prompts: Sequence[Prompt]) -> tuple[Tensor, Tensor]:
        """(B,) losses and their (B, C, H, W) gradients at the latents, clipped one by one."""
        leaf = latents.clone().requires_grad_()
        with torch.enable_grad(), self._own_precision():
            images = draw_short(self.pipeline, embeds, leaf, self.run, self.config.chain_steps)
            losses = reward_loss(self.data.judges, self.reference, images, prompts, self.config.reward_hinge)
            gradient = torch.autograd.grad(losses.sum(), leaf)[0]
        return losses.detach().to(latents), clipped(gradient, self.config.reward_clip)

    @torch.no_grad()
    def _near(self, noise: Tensor, text: Tensor) -> Tensor:
        """What the network's noise is kept near to."""
        return noise if self.first is None else self.first(noise, text, self.level).float()

    @contextmanager
    def _own_precision(self) -> Iterator[None]:
        """The pipeline and the scorers compute as they were loaded, whatever precision the network trains in."""
        with torch.autocast(self.pipeline.device.type, enabled=False):
            yield

    def validate(self, net: Any, rows: np.ndarray, batches: Batches, step: int) -> Validated:
        scores = {name: float(each.mean()) for name, each in self._judged(net, rows, batches, str(step)).items()}
        return Validated(self.reference.gain(scores, self.names), scores=scores)

    @torch.no_grad()
    def _judged(self, net: Any, rows: np.ndarray, batches: Batches, name: str) -> dict[str, np.ndarray]:
        """Scorer -> (n,) of the images by the whole sampler, of standard noise where `net` is None; some are kept."""
        found: list[dict[str, np.ndarray]] = []
        shown: list[np.ndarray] = []
        parts = [rows[start : start + self.at_once] for start in range(0, len(rows), self.at_once)]
        for part, batch in zip(parts, batches(parts), strict=True):
            noise, prompts = batch["noise"], self._prompts(batch)
            with self._own_precision():
                embeds = self.pipeline.encode([prompt.text for prompt in prompts])
                text = embeds.prompt_embeds.to(noise.device, torch.float32)
                made = noise if net is None else net(noise, text, self.level)
                generators = sampler_generators(self._seeds(part, None))
                images = self.pipeline.sample(embeds, made, generator=generators, **vars(self.run))
            found.append(self.data.judges.scores(images, prompts))
            shown.extend(images[: SHOWN - len(shown)])
        make_folder(self.data.folder / SAMPLES)
        write_picture(self.data.folder / SAMPLES / f"{name}.png", tiled(shown))
        return {scorer: np.concatenate([scores[scorer] for scores in found]) for scorer in found[0]}

    def told(self, explained: float) -> str:
        units = f"standard deviations of {' and '.join(self.names)} over standard noise"
        return f"gains {explained:+.3f} {units}"

    def saved(self, config: NPNetConfig, power: float) -> NPNetConfig:
        return config

    def _prompts(self, batch: Batch) -> list[Prompt]:
        return [self.data.prompts[row] for row in batch["row"].tolist()]

    def _seeds(self, rows: np.ndarray, step: int | None) -> list[int]:
        """Of the noise of each row, a function of prompt and step."""
        when, seed = ("validation", 0) if step is None else (f"step {step}", self.config.seed)
        prompts = [self.data.prompts[row] for row in rows]
        return [prompt_seed(seed, f"{when}/{prompt.id}/{prompt.seed}", _SEEDS) for prompt in prompts]


def draw_short(pipeline: Pipeline, embeds: TextEmbeds, latents: Tensor, run: Sampling, chain_steps: int) -> Tensor:
    """Images (B, 3, H, W) in [0, 1] by at most `chain_steps` of the levels of the run's sampler, with a graph."""
    steps = run.num_inference_steps or chain_steps
    return draw(
        pipeline,
        embeds,
        latents,
        num_inference_steps=min(chain_steps, steps),
        grid_of=steps,
        guidance_scale=run.guidance_scale,
        height=run.height,
        width=run.width,
        # a sampler that adds noise on the way adds the same at every step
        generator=[torch.Generator("cpu").manual_seed(0) for _ in range(len(latents))],
    )


def clipped(gradient: Tensor, most: float) -> Tensor:
    """(B, C, H, W) with norms of at most `most`, for 16,384 values an image; it grows with the norm of the noise."""
    norms = torch.linalg.vector_norm(gradient, dim=(1, 2, 3), keepdim=True)
    largest = most * (gradient[0].numel() / LATENT_VALUES) ** 0.5
    return gradient * (largest / (norms + 1e-12)).clamp_max(1)


def check_gradient(pipeline: Pipeline, judges: Judges, prompt: Prompt, run: Sampling, chain_steps: int) -> None:
    """Draw one image and go back from its scores to its noise: what cannot be trained through is told at once.

    Raises:
        InputError: a scorer whose score has no gradient, one that is not finite, or as `pipelines.gradients.draw`.
    """
    shape = pipeline.latent_shape(run.height, run.width)
    leaf = batch_noise([0], shape).to(pipeline.device).requires_grad_()
    images = draw_short(pipeline, pipeline.encode([prompt.text]), leaf, run, chain_steps)
    seen, total = images.detach().requires_grad_(), torch.zeros_like(images)
    for scorer in judges.steering:
        score = scorer.score_tensor(seen, [prompt])
        if not score.requires_grad:
            raise InputError(f"scorer {scorer.name!r}, whose scores have no gradient", "a differentiable scorer")
        total += torch.autograd.grad(score.sum(), seen)[0]
    gradient = torch.autograd.grad(images, leaf, total)[0]
    if not bool(gradient.isfinite().all()):
        came = f"a gradient through {pipeline.name!r} that is not finite"
        raise InputError(came, "numbers", "load the model with --dtype float32 or bfloat16")


def tiled(pictures: Sequence[np.ndarray], columns: int = 4) -> np.ndarray:
    """uint8 (H, W, 3): pictures of one size side by side, in rows of four on white."""
    height, width, _ = pictures[0].shape
    rows = -(-len(pictures) // columns)
    canvas = np.full((rows * height, min(columns, len(pictures)) * width, 3), 255, np.uint8)
    for index, picture in enumerate(pictures):
        top, left = height * (index // columns), width * (index % columns)
        canvas[top : top + height, left : left + width] = picture
    return canvas
