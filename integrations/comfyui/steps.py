"""Noise from the model alone: one step down with strong guidance, the same step up with weak, on ComfyUI's own sampler.

Everything is done in the state that the sampler walks in, x = x_0 + sigma eps (for flow (1 - sigma) x_0 + sigma eps):
d = (x - denoised) / sigma is eps (for flow the velocity), and a step is x + (sigma_to - sigma_from) d. In the usual
state this is DDIM down (eq. 1 of the paper) and DDIM inversion up (eq. 2).
"""

from __future__ import annotations

import math
from collections.abc import Callable
from typing import Any

import comfy.samplers
import torch

from noiseprompt import NoisepromptError

from .levels import at_greatest, check_sigmas, scaling

METHODS = ("closed form", "re-denoise")
"""Two denoiser evaluations an image (theorem E.1), or three (algorithm 1)."""


class FirstStep(comfy.samplers.Sampler):
    """In place of a sampler: makes the target noise of the first step and keeps it in `.target`.

    Args:
        method: of `METHODS`.
        down, up: guidance scales of the step down and of the step up; 1 is no guidance.
    """

    def __init__(self, method: str, down: float, up: float) -> None:
        self.method, self.down, self.up = method, down, up
        self.target: torch.Tensor | None = None

    def sample(
        self,
        model_wrap: Any,
        sigmas: torch.Tensor,
        extra_args: dict[str, Any],
        callback: Any,
        noise: torch.Tensor,
        latent_image: torch.Tensor | None = None,
        denoise_mask: torch.Tensor | None = None,
        disable_pbar: bool = False,
    ) -> torch.Tensor:
        """Called by the guider with its model loaded. Returns the noise as it came: nobody reads that."""
        sampling = model_wrap.inner_model.model_sampling
        scale = scaling(sampling, float(sigmas[0]), 1.0, 0.0, at_greatest(sampling, float(sigmas[0])))
        make = self._closed_form if self.method == "closed form" else self._redenoise
        change = make(model_wrap, scale * noise.float(), sigmas[0], sigmas[1], extra_args)
        self.target = noise.float() + change / scale
        return noise

    def _redenoise(self, guider: Any, x: torch.Tensor, high: Any, low: Any, extra: dict[str, Any]) -> torch.Tensor:
        def direction(at: torch.Tensor, sigma: Any, guidance: float) -> torch.Tensor:
            guider.set_cfg(guidance)
            options = {"model_options": extra["model_options"], "seed": extra["seed"]}
            return (at - guider(at, _rows(sigma, at), **options)) / sigma

        lower = x + (low - high) * direction(x, high, self.down)
        return lower + (high - low) * direction(lower, low, self.up) - x

    def _closed_form(self, guider: Any, x: torch.Tensor, high: Any, low: Any, extra: dict[str, Any]) -> torch.Tensor:
        conds = [guider.conds["positive"], guider.conds["negative"]]
        seen = comfy.samplers.calc_cond_batch(guider.inner_model, conds, x, _rows(high, x), extra["model_options"])
        gap = (seen[1] - seen[0]) / high  # d_c - d_0
        return (low - high) * (self.down - self.up) * gap


def _rows(sigma: Any, x: torch.Tensor) -> torch.Tensor:
    """(B,), as models take it."""
    return sigma * x.new_ones(len(x))


def check_step(sigmas: torch.Tensor, down: float, up: float) -> None:
    """Refuse what has no step down, or no guidance gap.

    Raises:
        NoisepromptError: fewer than two sigmas or not falling; or the same guidance both ways.
    """
    check_sigmas(sigmas)
    if len(sigmas) < 2 or not math.inf > float(sigmas[0]) > float(sigmas[1]) > 0:
        came = f"SIGMAS {[round(float(sigma), 4) for sigma in sigmas[:3]]}"
        raise NoisepromptError(
            came, "at least two falling sigmas, finite and above 0", "use a scheduler with 2 or more steps"
        )
    if down == up:
        came = f"guidance {down:g} both down and up: there is no guidance gap to work with"
        raise NoisepromptError(came, "more down than up", "models sampled without guidance have no gap: use an NPNet")


def first_step(
    model: Any, positive: Any, negative: Any, sigmas: torch.Tensor, method: str, down: float, up: float
) -> Callable[[torch.Tensor, int], torch.Tensor]:
    """(source noise, seed) -> target noise, both as the sampler takes them; the model is loaded when it is called."""

    def target(noise: torch.Tensor, seed: int) -> torch.Tensor:
        sampler = FirstStep(method, down, up)
        guider = comfy.samplers.CFGGuider(model)
        guider.set_conds(positive, negative)
        guider.set_cfg(down)
        guider.sample(noise, torch.zeros_like(noise), sampler, sigmas[:2], disable_pbar=True, seed=seed)
        if sampler.target is None:
            raise NoisepromptError("a model that leaves the sampler out", "one that is sampled step by step")
        return sampler.target.to(noise)

    return target
