"""Objects that stand in `pipe.scheduler` for the length of one call of an unmodified diffusers pipeline.

A pipeline drives its scheduler through `set_timesteps`, `scale_model_input` and `step`. `OneMove` answers with a single
timestep and performs a single move, up or down; `WithoutFirstStep` leaves out the first timestep of another scheduler.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import SimpleNamespace
from typing import Any

import torch

from noiseprompt.errors import InputError
from noiseprompt.redenoise import move
from noiseprompt.types import InvertAt, PredictionType


@dataclass(frozen=True)
class Levels:
    """The two noisiest levels T and T-k of an N-step grid.

    Fields:
        t_from, t_to: timesteps in [0, num_train_timesteps).
        alpha_from, alpha_to: alpha-bar there (sigma for flow).
        prediction_type: what the denoiser predicts.
    """

    t_from: int
    t_to: int
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


class OneMove:
    """A scheduler of one step: down from T to T-k, or back up.

    Args:
        levels: the grid's two levels.
        up: direction.
        invert_at: timestep the denoiser is told on the way up: "paper" T-k, "published" T.
        exact: latents (B, ...) to move in place of the pipeline's copy of them, which may be in half precision.
        config: of the pipeline's scheduler; some pipelines read it.

    After the call `result` holds the moved latents, in the dtype of `exact` or of the pipeline.
    """

    order = 1
    init_noise_sigma = 1.0

    def __init__(
        self,
        levels: Levels,
        *,
        up: bool = False,
        invert_at: InvertAt = "paper",
        exact: torch.Tensor | None = None,
        config: Any = None,
    ) -> None:
        if invert_at not in ("paper", "published"):
            raise InputError(f"invert_at {invert_at!r}", '"paper" (timestep T-k) or "published" (timestep T)')
        self.config = config
        self.levels, self.exact = levels, exact
        self.alpha_from, self.alpha_to = levels.alpha_from, levels.alpha_to
        self.timestep, self.alpha_at = levels.t_from, levels.alpha_from
        if up:
            self.alpha_from, self.alpha_to = self.alpha_to, self.alpha_from
            if invert_at == "paper":
                self.timestep, self.alpha_at = levels.t_to, levels.alpha_to
        self.timesteps = torch.tensor([self.timestep])
        self.result: torch.Tensor | None = None

    def set_timesteps(self, num_inference_steps: int, device: Any = None) -> None:
        self.timesteps = torch.tensor([self.timestep], device=device)

    def scale_model_input(self, sample: torch.Tensor, timestep: Any = None) -> torch.Tensor:
        return sample

    def step(self, model_output: torch.Tensor, timestep: Any, sample: torch.Tensor, return_dict: bool = True) -> Any:
        x = self.exact if self.exact is not None and self.exact.shape == sample.shape else sample
        kind = self.levels.prediction_type
        self.result = move(x.to(sample.device), model_output, self.alpha_from, self.alpha_to, kind, self.alpha_at)
        moved = self.result.to(sample.dtype)
        return SimpleNamespace(prev_sample=moved) if return_dict else (moved,)


class WithoutFirstStep:
    """Any one-state scheduler, less the first timestep of its grid; everything else is the wrapped scheduler's own."""

    def __init__(self, scheduler: Any) -> None:
        self._scheduler = scheduler
        self.timesteps = scheduler.timesteps[1:]

    def __getattr__(self, name: str) -> Any:
        return getattr(self._scheduler, name)

    def set_timesteps(self, num_inference_steps: int, device: Any = None) -> None:
        self._scheduler.set_timesteps(num_inference_steps, device=device)
        self.timesteps = self._scheduler.timesteps[1:]


def is_plain_ddim(scheduler: Any) -> bool:
    """Whether a scheduler's first step is exactly `OneMove`'s: DDIM, nothing clipped, a grid as even as it supposes."""
    config = scheduler.config
    return (
        type(scheduler).__name__ == "DDIMScheduler"
        and not config.clip_sample
        and not config.thresholding
        and config.timestep_spacing == "leading"
    )


@contextmanager
def counted(module: Any, add: Callable[[int], None]) -> Iterator[None]:
    """Report the batch size of each forward pass of a denoiser to `add`."""

    def before(module: Any, args: tuple, named: dict[str, Any]) -> None:
        add(len(args[0] if args else named["sample" if "sample" in named else "hidden_states"]))

    hook = module.register_forward_pre_hook(before, with_kwargs=True)
    try:
        yield
    finally:
        hook.remove()


@contextmanager
def borrowed(pipe: Any, scheduler: Any = None) -> Iterator[None]:
    """Put a scheduler into a pipeline and silence its progress bar; both are put back afterwards, also on error."""
    own, bar = pipe.scheduler, getattr(pipe, "_progress_bar_config", None)
    pipe.set_progress_bar_config(**{**(bar or {}), "disable": True})
    try:
        if scheduler is not None:
            pipe.scheduler = scheduler
        yield
    finally:
        if scheduler is not None:
            pipe.scheduler = own
        if bar is None:
            del pipe._progress_bar_config
        else:
            pipe.set_progress_bar_config(**bar)
