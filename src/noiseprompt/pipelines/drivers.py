"""Objects that stand in `pipe.scheduler` for the length of one call of an unmodified diffusers pipeline.

A pipeline drives its scheduler through `set_timesteps`, `scale_model_input` and `step`. `OneMove` answers with a single
timestep and performs a single move, up or down; `WithoutFirstStep` leaves out the first timestep of another scheduler.
The two noise levels of a move come from the noise schedule (`ddim_levels`, `dpm_solver_levels`), or, for flow matching,
from the pipeline itself: it tells its scheduler which grid it wants, and `OneMove` asks a copy of that scheduler.
"""

from __future__ import annotations

import copy
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from types import SimpleNamespace
from typing import Any

import torch

from noiseprompt.core.errors import InputError, NoisepromptError
from noiseprompt.core.types import InvertAt
from noiseprompt.noise.moves import move
from noiseprompt.pipelines.levels import Levels, flow_levels


class GridKnown(Exception):
    """Ends a pipeline call that was made for its two noise levels alone."""

    def __init__(self, levels: Levels) -> None:
        super().__init__("the levels are known")
        self.levels = levels


class OneMove:
    """A scheduler of one step: down from T to T-k, or back up.

    Args:
        levels: the grid's two levels, or a flow scheduler (left as it is) that will be asked for them with whatever the
            pipeline passes to `set_timesteps`: number of steps, sigmas, shift.
        up: direction.
        invert_at: timestep the denoiser is told on the way up: "paper" T-k, "published" T.
        exact: latents (B, ...) to move in place of the pipeline's copy of them, which may be in half precision.
        config: of the pipeline's scheduler; some pipelines read it.
        only_levels: raise `GridKnown` as soon as the levels are known.

    After the call `result` holds the moved latents, in the dtype of `exact` or of the pipeline, and `prediction` what
    the pipeline passed to `step`: the prediction with guidance.
    """

    order = 1
    init_noise_sigma = 1.0

    def __init__(
        self,
        levels: Levels | Any,
        *,
        up: bool = False,
        invert_at: InvertAt = "paper",
        exact: torch.Tensor | None = None,
        config: Any = None,
        only_levels: bool = False,
    ) -> None:
        if not isinstance(invert_at, str) or invert_at not in ("paper", "published"):
            raise InputError(f"invert_at {invert_at!r:.60}", '"paper" (timestep T-k) or "published" (timestep T)')
        self.config, self.exact, self.up, self.invert_at = config, exact, up, invert_at
        self.only_levels = only_levels
        self.flow = None if isinstance(levels, Levels) else levels
        self.levels: Levels | None = levels if isinstance(levels, Levels) else None
        self.timesteps = torch.zeros(1)
        self.prediction: torch.Tensor | None = None
        self.result: torch.Tensor | None = None

    def set_timesteps(
        self, num_inference_steps: int | None = None, device: Any = None, sigmas: Any = None, mu: Any = None
    ) -> None:
        if self.flow is not None:
            grid = copy.deepcopy(self.flow)
            given = {"sigmas": sigmas, "mu": mu}
            grid.set_timesteps(num_inference_steps, **{k: v for k, v in given.items() if v is not None})
            self.levels = flow_levels(grid)
        levels = self._levels
        if self.only_levels:
            raise GridKnown(levels)
        timestep = levels.t_to if self.up and self.invert_at == "paper" else levels.t_from
        kind = torch.float32 if self.flow is not None and self.flow.timesteps.is_floating_point() else torch.int64
        self.timesteps = torch.tensor([timestep], device=device, dtype=kind)

    @property
    def _levels(self) -> Levels:
        if self.levels is None:
            raise NoisepromptError("a step before set_timesteps", "a pipeline that sets its scheduler's timesteps")
        return self.levels

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
        x = self.exact if self.exact is not None and self.exact.shape == sample.shape else sample
        levels = self._levels
        a, b = levels.alpha_from, levels.alpha_to
        at = b if self.up and self.invert_at == "paper" else a
        if self.up:
            a, b = b, a
        self.prediction = model_output
        # where `exact` lies: it may be float64, which not every accelerator has
        self.result = move(x, model_output.to(x.device), a, b, levels.prediction_type, at)
        moved = self.result.to(sample)
        return SimpleNamespace(prev_sample=moved) if return_dict else (moved, moved)  # some pipelines read the second


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


@contextmanager
def counted(module: Any, add: Callable[[int], None]) -> Iterator[None]:
    """Report the batch size of each forward pass of a denoiser to `add`."""

    def before(module: Any, args: tuple, named: dict[str, Any]) -> None:
        rows = args[0] if args else next((named[k] for k in ("sample", "hidden_states", "x") if k in named), None)
        add(len(next(iter(named.values())) if rows is None else rows))

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
