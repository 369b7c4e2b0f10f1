"""The gradient of a scorer through a short sampler: how far a noise can be bent towards that scorer, at what price.

An upper bound only in intention: the sampler of the run has more steps than the short one, and iterations are few.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal

import torch

from noiseprompt.core.errors import InputError
from noiseprompt.core.ranges import COUNT, GUIDANCE, POSITIVE, RATE, TRIES, WEIGHT, Limits, setting
from noiseprompt.core.types import Sampling
from noiseprompt.methods.base import NoiseMethod, check_options
from noiseprompt.methods.judging import described, load_judge, prompts_of
from noiseprompt.noise.white import project_white
from noiseprompt.pipelines.gradients import check_differentiable, chunks, draw

if TYPE_CHECKING:
    from noiseprompt.core.types import Prompt
    from noiseprompt.pipelines import Pipeline, TextEmbeds

LATENT_VALUES = 16_384
"""Of Stable Diffusion at 512 pixels, for which `grad_clip` is published."""


@dataclass
class RewardGradient(NoiseMethod):
    """Gradient ascent on the score of the image that a short chain draws, the noise's norm kept likely.

    Source: ReNO (Eyring et al., arXiv 2406.04312) and its published code: Nesterov's gradient descent (momentum 0.9, lr
    5, gradients clipped to a norm of 0.1) on -score + norm_weight (|x|^2 / 2 - (d - 1) log |x|), the negative
    log-likelihood of a norm of d unit Gaussian values; the best iteration is kept. ReNO takes 50 iterations through
    one-step models; other models need a few steps, hence fewer iterations. The chain is some of the levels of the
    run's sampler, its first among them (`pipelines.gradients.draw`), on every family. The scorer that steers is no
    judge of the result; `describe` names it.

    Instead of the penalty on the norm, `keep=white` puts the noise back after every step to the nearest one whose
    spectrum has the norms of white noise block by block (`noise.white`, after GPER, arXiv 2602.08646): a norm alone
    does not keep structure out of a noise.

    Cost: iterations x num_inference_steps guided predictions an image (240 denoiser calls by default), each but the
    last drawing's with a backward pass, whose cost shows in the seconds alone. On the embedded world the gradient
    through six of ten levels agrees with that through all ten, the one through four does not (docs/log.md).

    Fields:
        scorer: name of one with `score_tensor`; "shapes-preference" where None and the pipeline is the embedded world.
        iterations: drawings an image, 1 or more; with 1 the source is returned.
        num_inference_steps: of the short chain, 1 or more; the run's own where that has fewer.
        guidance_scale: of the short chain, 1 or more; the run's where None.
        lr, momentum, grad_clip: see above; grad_clip is for 16,384 latent values and grows with the norm of the noise.
        keep: what keeps the noise likely: "norm", the penalty, or "white", the projection.
        norm_weight: of the penalty, 0 or more.
    """

    name = "reward_gradient"

    scorer: str | None = None
    iterations: int = setting(20, TRIES)
    num_inference_steps: int = setting(6, COUNT)
    guidance_scale: float | None = setting(None, GUIDANCE)
    lr: float = setting(5.0, RATE)
    momentum: float = setting(0.9, Limits(above=0, below=1))
    grad_clip: float = setting(0.1, POSITIVE)
    keep: Literal["norm", "white"] = "norm"
    norm_weight: float = setting(0.01, WEIGHT)
    judge: Any = field(default=None, init=False, repr=False)
    sampling: Sampling = field(default=Sampling(), init=False)

    def __post_init__(self) -> None:
        check_options(self)

    def prepare(self, pipeline: Pipeline, sampling: Sampling) -> None:
        """Load the scorer; refuse what gives no gradient.

        Raises:
            InputError: as `check_differentiable`, a guidance scale that the pipeline does not take, or a scorer without
                gradient.
            UnknownNameError, ModelLoadError: as `load_scorers`.
        """
        check_differentiable(pipeline)
        if self.guidance_scale is not None:
            pipeline.family.check_guidance(pipeline.pipe, self.guidance_scale)
        judge = load_judge(self.name, self.scorer, pipeline)
        if not hasattr(judge, "score_tensor"):
            raise InputError(f"scorer {judge.name!r} gives no gradient", "a scorer with `score_tensor`")
        self.judge, self.sampling = judge, sampling

    def describe(self) -> dict[str, Any]:
        """The scorer that steers: where it also judges, its gain is not evidence."""
        return described(self.judge)

    def perturb(self, pipeline: Pipeline, embeds: TextEmbeds, noise: torch.Tensor) -> torch.Tensor:
        """The noise with the highest score of all iterations, the source among them.

        Raises:
            InputError: `prepare` was not called, or the prompts' texts are not known.
        """
        if self.judge is None:
            raise InputError("reward_gradient without its scorer", "a scorer", "call prepare(pipeline, sampling) first")
        prompts = prompts_of(self.name, embeds)
        made = noise.clone()
        for rows in chunks(noise):
            source = noise[rows].to(pipeline.device, torch.float32)
            best = self._ascend(pipeline, embeds.select(rows), source, [prompts[row] for row in rows])
            made[rows] = best.to(made)
        return made

    def _ascend(
        self, pipeline: Pipeline, embeds: TextEmbeds, noise: torch.Tensor, prompts: Sequence[Prompt]
    ) -> torch.Tensor:
        """The best noise of each row; rows do not mix."""
        scale = (noise[0].numel() / LATENT_VALUES) ** 0.5
        x = noise.clone().requires_grad_()
        optimizer = torch.optim.SGD([x], lr=self.lr, momentum=self.momentum, nesterov=True)
        best, highest = noise.clone(), torch.full((len(noise),), -torch.inf, device=noise.device, dtype=noise.dtype)
        for iteration in range(self.iterations):
            last = iteration == self.iterations - 1
            with torch.set_grad_enabled(not last):
                scores = self._scores(pipeline, embeds, x.detach() if last else x, prompts)
                loss = -scores.sum()
                if self.keep == "norm":
                    loss = loss + self.norm_weight * norm_penalty(x).sum()
            better = scores.detach() > highest
            best[better], highest[better] = x.detach()[better], scores.detach()[better]
            if not last:
                gradient = torch.autograd.grad(loss, x)[0]
                norms = torch.linalg.vector_norm(gradient, dim=(1, 2, 3), keepdim=True)
                x.grad = gradient * (self.grad_clip * scale / (norms + 1e-6)).clamp_max(1)
                optimizer.step()
                if self.keep == "white":
                    with torch.no_grad():
                        x.copy_(project_white(x))
        return best

    def _scores(
        self, pipeline: Pipeline, embeds: TextEmbeds, x: torch.Tensor, prompts: Sequence[Prompt]
    ) -> torch.Tensor:
        """(B,) of the images that the short chain draws from x."""
        run = self.sampling.resolve(pipeline.family)
        images = draw(
            pipeline,
            embeds,
            x,
            num_inference_steps=min(self.num_inference_steps, run.num_inference_steps),
            grid_of=run.num_inference_steps,
            guidance_scale=run.guidance_scale if self.guidance_scale is None else self.guidance_scale,
            # a sampler that adds noise on the way adds the same in every iteration
            generator=[torch.Generator("cpu").manual_seed(0) for _ in prompts],
        )
        return self.judge.score_tensor(images, prompts).to(x)


def norm_penalty(x: torch.Tensor) -> torch.Tensor:
    """|x|^2 / 2 - (d - 1) log |x| of (B, C, H, W) -> (B,): -log of chi's density with d degrees, but for a constant."""
    norms = torch.linalg.vector_norm(x, dim=(1, 2, 3))
    return norms**2 / 2 - (x[0].numel() - 1) * norms.log()
