"""InitNO: the noise's mean and deviation are optimised until the U-Net attends to every subject, each in its place."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import torch

from noiseprompt.core.errors import InputError
from noiseprompt.core.ranges import RATE, SHARE, TRIES, WEIGHT, Limits, setting
from noiseprompt.core.types import Sampling
from noiseprompt.methods.attention import attention_losses, recorded_attention
from noiseprompt.methods.base import NoiseMethod, check_options
from noiseprompt.methods.judging import prompts_of
from noiseprompt.methods.subjects import Subject, find_subjects
from noiseprompt.noise.fresh import fresh_noise
from noiseprompt.pipelines.gradients import chunks
from noiseprompt.pipelines.unet_calls import record_call, require_unet

if TYPE_CHECKING:
    from noiseprompt.pipelines import Pipeline, TextEmbeds


@dataclass
class InitNO(NoiseMethod):
    """x = exp(log_var / 2) noise + mean: response + conflict is minimised, KL(N(mean, var) || N(0, 1)) kept small.

    Source: InitNO (Guo et al., arXiv 2404.04650) and its published code, whose values the defaults are unless said
    otherwise. Rounds begin with fresh noise (the first one with the source) and end early where both losses are below
    their limits; where no round gets there, the best round's noise is optimised once more, for longer. Everything is
    bounded: at most rounds x iterations + final_iterations denoiser calls an image, 100 by default, each with a
    backward pass, whose cost shows in the seconds alone. Returned is the noise with the smallest sum of the two losses.
    Differences: what the divergence exceeds its limit by is part of the loss (the published code lowers it in an inner
    loop without a bound); a subject may have several words, whose attention is added; the published code's third loss
    (attention outside a subject's place) is left out, and it returns the last noise of a search rather than the best.

    Fields:
        tokens: subject words, joined by "+" ("cat+dog"); where empty every run of words that are no stop words is a
            subject ("red car").
        rounds: 1 or more.
        iterations: a round, 1 or more.
        final_iterations: after rounds that all failed, 0 or more.
        lr: of Adam.
        response_limit, conflict_limit: both losses below theirs end the search; from 0, which is never met, to 1.
        kl_limit: divergence, the mean over the latents' values, up to which it costs nothing, 0 or more; 0.001 lets the
            mean move by 0.045.
        kl_weight: of what it exceeds that by, 0 or more (ours: twice the limit costs 0.5).
    """

    name = "initno"

    tokens: str = ""
    rounds: int = setting(5, TRIES)
    iterations: int = setting(10, TRIES)
    final_iterations: int = setting(50, Limits(least=0, most=TRIES.most))
    lr: float = setting(0.01, RATE)
    response_limit: float = setting(0.2, SHARE)
    conflict_limit: float = setting(0.3, SHARE)
    kl_limit: float = setting(0.001, WEIGHT)
    kl_weight: float = setting(500.0, WEIGHT)
    sampling: Sampling = field(default=Sampling(), init=False)

    def __post_init__(self) -> None:
        check_options(self)
        if self.tokens.strip() and not all(token.strip() for token in self.tokens.split("+")):
            raise InputError(f"initno:tokens={self.tokens}", 'words joined by "+", such as cat+dog')

    def prepare(self, pipeline: Pipeline, sampling: Sampling) -> None:
        """Refuse what has no U-Net with cross-attention.

        Raises:
            InputError: another architecture.
        """
        require_unet(pipeline, self.name)
        self.sampling = sampling

    def perturb(self, pipeline: Pipeline, embeds: TextEmbeds, noise: torch.Tensor) -> torch.Tensor:
        """The optimised noise; a prompt without a subject keeps its source.

        Raises:
            InputError: another architecture, embeds that do not know their texts, or a subject that is not in a prompt.
        """
        require_unet(pipeline, self.name)
        words = tuple(filter(None, (token.strip() for token in self.tokens.split("+"))))
        length = embeds.prompt_embeds.shape[1]
        texts = [prompt.text for prompt in prompts_of(self.name, embeds)]
        subjects = [find_subjects(pipeline.pipe.tokenizer, text, words, length) for text in texts]
        made = noise.clone()
        for rows in chunks(noise):
            rows = [row for row in rows if subjects[row]]
            if rows:
                task = _Task(self, pipeline, embeds.select(rows), [subjects[row] for row in rows])
                made[rows] = task.search(noise[rows].to(pipeline.device, torch.float32)).to(made)
        return made


def divergence(mean: torch.Tensor, log_var: torch.Tensor) -> torch.Tensor:
    """KL(N(mean, exp(log_var)) || N(0, 1)) of each image: (B, ...) -> (B,), the mean over its values."""
    return 0.5 * (mean**2 + log_var.exp() - 1 - log_var).flatten(1).mean(1)


@dataclass
class _Task:
    """One batch of prompts that goes through the U-Net together."""

    method: InitNO
    pipeline: Pipeline
    embeds: TextEmbeds
    subjects: Sequence[Sequence[Subject]]

    def search(self, noise: torch.Tensor) -> torch.Tensor:
        """(B, C, H, W) float32 -> the best noise of all rounds."""
        method = self.method
        best, start = noise.clone(), noise.clone()
        lowest = torch.full((len(noise),), torch.inf)
        todo = list(range(len(noise)))
        for index in range(method.rounds):
            source = fresh_noise(noise, "initno", index) if index else noise
            found, losses, failed = self._optimise(source, todo, method.iterations)
            for row in todo:
                if losses[row] < lowest[row]:
                    best[row], start[row], lowest[row] = found[row], source[row], losses[row]
            todo = [row for row in todo if row in failed]
            if not todo:
                return best
        found, losses, _ = self._optimise(start, todo, method.final_iterations)
        for row in todo:
            if losses[row] < lowest[row]:
                best[row] = found[row]
        return best

    def _optimise(
        self, noise: torch.Tensor, todo: Sequence[int], iterations: int
    ) -> tuple[torch.Tensor, torch.Tensor, set[int]]:
        """Adam on mean and log-variance of the rows `todo`: the best noise and its loss of each row, and who failed.

        Rows do not mix: each has its own loss, and Adam works value by value.
        """
        method = self.method
        mean, log_var = torch.zeros_like(noise), torch.zeros_like(noise)
        parameters = [mean.requires_grad_(), log_var.requires_grad_()]
        optimizer = torch.optim.Adam(parameters, lr=method.lr, eps=1e-3)
        best, lowest = noise.clone(), torch.full((len(noise),), torch.inf)
        active = list(todo)
        for iteration in range(iterations):
            with torch.enable_grad():
                x = noise[active] * torch.exp(log_var[active] / 2) + mean[active]
                response, conflict = self._losses(x, active)
                excess = divergence(mean[active], log_var[active]) - method.kl_limit
                total = (response + conflict + method.kl_weight * excess.clamp_min(0)).sum()
            sums = (response + conflict).detach().cpu()
            for i, row in enumerate(active):
                if sums[i] < lowest[row]:
                    best[row], lowest[row] = x[i].detach(), sums[i]
            done = (response < method.response_limit) & (conflict < method.conflict_limit)
            active = [row for row, finished in zip(active, done.tolist(), strict=True) if not finished]
            if not active or iteration == iterations - 1:
                break
            mean.grad, log_var.grad = torch.autograd.grad(total, parameters)
            optimizer.step()
        return best, lowest, set(active)

    def _losses(self, x: torch.Tensor, rows: Sequence[int]) -> tuple[torch.Tensor, torch.Tensor]:
        """Both losses (R,) of the U-Net's first step on x (R, C, H, W) for these rows' prompts."""
        steps = self.method.sampling.resolve(self.pipeline.family).num_inference_steps
        timestep, *_ = self.pipeline.levels(steps)
        call = record_call(self.pipeline, self.embeds.select(rows), x.detach())
        with recorded_attention(self.pipeline.denoiser, (x.shape[2], x.shape[3])) as attention:
            call(x, timestep)
        cross, own = attention.means()
        return attention_losses(cross, own, attention.size, [self.subjects[row] for row in rows])
