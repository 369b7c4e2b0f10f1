"""The two noise levels of one step, read off a scheduler: timesteps and alpha-bar, or sigma for flow matching."""

from __future__ import annotations

import copy
import math
from dataclasses import dataclass
from typing import Any

from noiseprompt.core.errors import InputError
from noiseprompt.core.types import PredictionType


@dataclass(frozen=True)
class Levels:
    """The two noisiest levels T and T-k of an N-step grid.

    Fields:
        t_from, t_to: timesteps in [0, num_train_timesteps), for flow in [0, num_train_timesteps] and not whole.
        alpha_from, alpha_to: alpha-bar there (sigma for flow).
        prediction_type: what the denoiser predicts.
    """

    t_from: float
    t_to: float
    alpha_from: float
    alpha_to: float
    prediction_type: PredictionType


def ddim_levels(scheduler_config: Any, num_inference_steps: int) -> Levels:
    """First step of the DDIM grid that belongs to any scheduler's noise schedule.

    Its spacing, offset and prediction type are kept; clipping and thresholding are off, since they cannot be inverted.
    With one step there is no second timestep: T-k is then timestep 0 at the schedule's final alpha-bar.

    Raises:
        InputError: a number of steps out of range, or a denoiser that predicts the clean sample.
    """
    from diffusers import DDIMScheduler

    grid: Any = DDIMScheduler.from_config(scheduler_config, clip_sample=False, thresholding=False)
    longest = int(grid.config.num_train_timesteps)
    if not 1 <= num_inference_steps <= longest:
        raise InputError(f"num_inference_steps {num_inference_steps}", f"1 to {longest}")
    if grid.config.prediction_type not in ("epsilon", "v_prediction"):
        raise InputError(
            f"prediction type {grid.config.prediction_type!r}", "a model that predicts epsilon or v_prediction"
        )
    grid.set_timesteps(num_inference_steps)
    timesteps = [int(t) for t in grid.timesteps]
    if timesteps[0] >= longest:
        came = f"num_inference_steps {num_inference_steps} with steps_offset {grid.config.steps_offset}"
        raise InputError(
            f"{came} begins at timestep {timesteps[0]}", f"a first timestep below {longest}", "use fewer steps"
        )
    t_from, t_to = timesteps[0], timesteps[1] if len(timesteps) > 1 else 0
    alpha_to = grid.alphas_cumprod[t_to] if len(timesteps) > 1 else grid.final_alpha_cumprod
    return Levels(t_from, t_to, float(grid.alphas_cumprod[t_from]), float(alpha_to), grid.config.prediction_type)


def dpm_solver_levels(scheduler: Any, num_inference_steps: int) -> Levels:
    """First step of a DPM-Solver++ scheduler's grid, or of the one that belongs to another scheduler's noise schedule.

    That step is first-order, and so the move between these two levels.

    Raises:
        InputError: as `ddim_levels`.
    """
    from diffusers import DPMSolverMultistepScheduler

    ddim_levels(scheduler.config, 1)  # the same refusals
    solver = type(scheduler).__name__ in ("DPMSolverMultistepScheduler", "DPMSolverSinglestepScheduler")
    grid: Any = copy.deepcopy(scheduler) if solver else DPMSolverMultistepScheduler.from_config(scheduler.config)
    longest = int(grid.config.num_train_timesteps)
    if not 1 <= num_inference_steps < longest:
        raise InputError(f"num_inference_steps {num_inference_steps}", f"1 to {longest - 1}")
    grid.set_timesteps(num_inference_steps)
    t_from, t_to = (int(grid.timesteps[i]) if i < len(grid.timesteps) else 0 for i in (0, 1))
    alpha_from, alpha_to = (1 / (1 + float(sigma) ** 2) for sigma in grid.sigmas[:2].double())
    return Levels(t_from, t_to, alpha_from, alpha_to, grid.config.prediction_type)


def is_flow(scheduler: Any) -> bool:
    """Whether a scheduler is for flow matching: x = (1 - sigma) x_0 + sigma eps, the denoiser predicts eps - x_0."""
    config = scheduler.config
    flow = config.get("prediction_type") == "flow_prediction" or bool(config.get("use_flow_sigmas"))
    return flow or type(scheduler).__name__.startswith("FlowMatch")


def flow_levels(grid: Any) -> Levels:
    """First step of a flow scheduler whose timesteps are set.

    Raises:
        InputError: levels that are not finite (one step of a grid that is stretched to a terminal shift).
    """
    timesteps, sigmas = [float(t) for t in grid.timesteps[:2]], [float(s) for s in grid.sigmas[:2]]
    if not all(math.isfinite(value) for value in sigmas):
        came = f"a grid of {len(grid.timesteps)} steps whose noise levels are {sigmas}"
        raise InputError(came, "numbers", "use more steps: this scheduler stretches its grid to end at shift_terminal")
    return Levels(timesteps[0], timesteps[1] if len(timesteps) > 1 else 0.0, sigmas[0], sigmas[1], "flow_prediction")


def is_plain_ddim(scheduler: Any) -> bool:
    """Whether a scheduler's first step is exactly `OneMove`'s: DDIM, nothing clipped, a grid as even as it supposes."""
    config = scheduler.config
    return (
        type(scheduler).__name__ == "DDIMScheduler"
        and not config.clip_sample
        and not config.thresholding
        and config.timestep_spacing == "leading"
    )
