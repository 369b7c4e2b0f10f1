"""The level at which a sampler begins, and how a picture is carried there: read off the pipeline's own scheduler.

level.noise x_T + level.signal h are latents that carry a picture h as the forward process makes it at that level: what
the denoiser is shown first is then sqrt(1 - a) x_T + sqrt(a) h at the alpha-bar a of its timestep, and
sigma x_T + (1 - sigma) h for flow matching. Samplers that begin at pure noise have no room for a picture.
"""

from __future__ import annotations

import copy
import math
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

import torch

from noiseprompt.core.errors import InputError
from noiseprompt.core.types import StartLevel
from noiseprompt.pipelines import calls
from noiseprompt.pipelines.levels import is_flow
from noiseprompt.pipelines.samplers import check_steps, schedule_arguments

if TYPE_CHECKING:
    from noiseprompt.pipelines.families.embeds import TextEmbeds

LEAST_SIGNAL = 1e-3
"""Of the noise: what is less is pure noise. Stable Diffusion's schedule ends at .068; one with zero terminal SNR, where
diffusers writes 2**-24 for an alpha-bar of 0, at .00024; the 999 first of 1,000 flow levels shifted by 3 at .00033."""


def start_level(
    loaded: calls.Loaded,
    schedule: str | None,
    num_inference_steps: int,
    size: calls.Size,
    empty: Callable[[], TextEmbeds],
) -> StartLevel:
    """As `Pipeline.start_level`.

    Args:
        schedule: a published timestep schedule, or None.
        size: in pixels, the model's own where None; the grid of some flow pipelines depends on it.
        empty: encodes one empty prompt; flow pipelines are asked with it.

    Raises:
        InputError: a number of steps that the scheduler cannot do, or sampling that begins at pure noise.
        ShapeError: a size the pipeline cannot draw.
    """
    scheduler = loaded.pipe.scheduler
    loaded.family.latent_shape(loaded.pipe, *size)
    if is_flow(scheduler):
        sigma = calls.levels(loaded, num_inference_steps, size, empty).alpha_from
        level = StartLevel(sigma, 1 - sigma)
    else:
        timesteps = schedule_arguments(loaded.pipe, loaded.family, schedule, num_inference_steps)
        level = diffusion_level(scheduler, num_inference_steps, timesteps)
    if level.signal < LEAST_SIGNAL * level.noise:
        raise no_room(scheduler, num_inference_steps)
    return level


def diffusion_level(scheduler: Any, num_inference_steps: int, timesteps: dict[str, Any]) -> StartLevel:
    """Where a scheduler that noises with betas begins; it is left as it is.

    Its state is sqrt(1 - a) x_T + sqrt(a) h, or sigma x_T + h where the scheduler scales what the denoiser sees (as
    `EulerDiscreteScheduler.scale_model_input` of diffusers does); the latents are this over its `init_noise_sigma`.

    Args:
        timesteps: {"timesteps": [...]} in place of an even grid, or {}.

    Raises:
        InputError: a number of steps that it cannot do, or a scheduler whose first level cannot be read.
    """
    grid, name = copy.deepcopy(scheduler), type(scheduler).__name__
    if not timesteps:
        check_steps(scheduler, num_inference_steps)
    try:
        grid.set_timesteps(**(timesteps or {"num_inference_steps": num_inference_steps}))
        first = grid.timesteps[0]
        alpha, scale = _alpha(grid, first), float(grid.init_noise_sigma)
        one = torch.ones(1, 1, 1, 1)
        scaled = not torch.equal(grid.scale_model_input(one, first), one)
    except AttributeError as error:
        came = f"{name}, of which the first noise level cannot be read ({error})"
        raise InputError(came, "a scheduler with alphas_cumprod or sigmas") from error
    except (ValueError, IndexError) as error:
        came = f"num_inference_steps {num_inference_steps} with a {name}: {error}"
        raise InputError(came, "a number of steps that it can do", "use fewer steps") from error
    noise, signal = math.sqrt(1 - alpha), math.sqrt(alpha)
    if scaled and signal:
        noise, signal = noise / signal, 1.0
    return StartLevel(noise / scale, signal / scale)


def _alpha(grid: Any, first: torch.Tensor) -> float:
    """alpha-bar at the first timestep, as the scheduler itself takes it to be."""
    sigmas = getattr(grid, "sigmas", None)
    return float(grid.alphas_cumprod[int(first)]) if sigmas is None else 1 / (1 + float(sigmas[0]) ** 2)


def no_room(scheduler: Any, num_inference_steps: int) -> InputError:
    """Why a picture cannot be carried where sampling begins at pure noise."""
    name, flow = type(scheduler).__name__, is_flow(scheduler)
    why = "flow matching at sigma 1" if flow else "zero terminal SNR"
    came = f"{num_inference_steps} steps of {name} begin at pure noise ({why}), which has no room for a picture"
    below = "flow-euler-below" if flow else "ddim:timestep_spacing=leading"
    fix = f'choose scheduler "{below}", which begins below, or use an NPNet that predicts noise, or re-denoise'
    return InputError(came, "a sampler whose first level is below pure noise", fix)
