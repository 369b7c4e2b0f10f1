"""A short chain of steps whose levels are some of a longer sampler's own, its first among them."""

from __future__ import annotations

import copy
import inspect
import math
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch

from noiseprompt.core.errors import InputError, NoisepromptError
from noiseprompt.noise.moves import move
from noiseprompt.pipelines.levels import is_flow


def thinned(count: int, kept: int) -> list[int]:
    """Positions of `kept` of `count` levels, evenly, the first and the last among them: i (count - 1) // (kept - 1).

    6 of 901, 801, ..., 1 are 901, 801, 601, 401, 201, 1.

    Raises:
        InputError: more than there are, or none.
    """
    if not 1 <= kept <= count:
        raise InputError(f"{kept} steps of a grid of {count} levels", f"1 to {count}")
    return [0] if kept == 1 else [i * (count - 1) // (kept - 1) for i in range(kept)]


class ShortGrid:
    """A scheduler for one pipeline call that was told the longer sampler's number of steps: `steps` of its levels.

    Between the levels goes the deterministic first-order step on the model's own noise schedule (`noise.moves.move`):
    DDIM without clipping, or Euler for flow matching. Every scheduler tells its levels so, also those that take no
    timesteps, keep several predictions or add noise; what they share with this chain is where it starts and passes.
    Differentiable, and without state that outlives the call.

    Args:
        scheduler: the sampler; a copy of it is asked for its timesteps with whatever the pipeline passes.
        steps: how many of its levels, 1 or more.

    Raises:
        InputError: a denoiser that predicts the clean sample, or a noise schedule that is not known.
    """

    order = 1

    def __init__(self, scheduler: Any, steps: int) -> None:
        self._own, self.config, self._steps = copy.deepcopy(scheduler), scheduler.config, steps
        self._flow = is_flow(scheduler)
        self._kind: Any = "flow_prediction" if self._flow else self.config.get("prediction_type", "epsilon")
        known = self._flow or (hasattr(scheduler, "alphas_cumprod") and self._kind in ("epsilon", "v_prediction"))
        if not known:
            came = f"a short chain of {type(scheduler).__name__} with prediction type {self._kind!r}"
            raise InputError(came, "a model that predicts epsilon, v_prediction or a flow, on a schedule of betas")
        self._levels: list[float] = []
        self._done = 0
        self.timesteps = torch.zeros(1)
        self.init_noise_sigma = 1.0

    def set_timesteps(
        self,
        num_inference_steps: int | None = None,
        device: Any = None,
        timesteps: Any = None,
        sigmas: Any = None,
        mu: Any = None,
    ) -> None:
        grid = copy.deepcopy(self._own)
        given = {"timesteps": timesteps, "sigmas": sigmas, "mu": mu}
        given = {name: value for name, value in given.items() if value is not None}
        if "timesteps" not in given and _takes(grid, "num_inference_steps"):
            given["num_inference_steps"] = num_inference_steps
        grid.set_timesteps(device=device, **given)
        times = [float(t) for t in grid.timesteps]
        # schedulers of second order name levels twice
        own = [i for i, t in enumerate(times) if i == 0 or t < min(times[:i])]
        kept = [own[i] for i in thinned(len(own), self._steps)]
        self.timesteps = grid.timesteps[kept]
        self._levels = self._levels_of(grid, kept)
        self._done = 0
        sigma = 1.0 if self._flow else float(grid.init_noise_sigma)
        # where the pipeline's latents are x_0 + sigma eps they are scaled to sqrt(a) x_0 + sqrt(1 - a) eps
        self.init_noise_sigma = sigma if sigma == 1 else sigma * math.sqrt(self._levels[0])

    def _levels_of(self, grid: Any, kept: list[int]) -> list[float]:
        """alpha-bar of each level (sigma for flow), and of the end."""
        if self._flow:
            sigmas = [float(s) for s in grid.sigmas]
            return [sigmas[i] for i in kept] + [sigmas[-1]]
        alphas = grid.alphas_cumprod.double().cpu().numpy()
        end = float(getattr(grid, "final_alpha_cumprod", 1.0))
        return [alpha_at(alphas, float(grid.timesteps[i])) for i in kept] + [end]

    def set_begin_index(self, begin_index: int = 0) -> None:
        pass

    def scale_model_input(self, sample: torch.Tensor, timestep: Any = None) -> torch.Tensor:
        return sample

    def step(
        self,
        model_output: torch.Tensor,
        timestep: Any,
        sample: torch.Tensor,
        generator: Any = None,
        return_dict: bool = True,
    ) -> Any:
        if self._done >= len(self.timesteps):
            raise NoisepromptError("a step after the last", "a pipeline that makes one step a timestep")
        level, lower = self._levels[self._done : self._done + 2]
        self._done += 1
        moved = move(sample, model_output, level, lower, self._kind)
        return SimpleNamespace(prev_sample=moved) if return_dict else (moved, moved)


def alpha_at(alphas: np.ndarray, timestep: float) -> float:
    """alpha-bar at a timestep; between two whole ones log sigma, sigma^2 = (1 - a) / a, is linear, as diffusers has it.

    Args:
        alphas: of timesteps 0, 1, ..., float64.
    """
    low = min(int(timestep), len(alphas) - 1)
    share = timestep - low
    if share <= 0 or low + 1 >= len(alphas):
        return float(alphas[low])
    pair = np.log((1 - alphas[low : low + 2]) / alphas[low : low + 2])
    return float(1 / (1 + np.exp((1 - share) * pair[0] + share * pair[1])))


def _takes(grid: Any, name: str) -> bool:
    return name in inspect.signature(grid.set_timesteps).parameters
