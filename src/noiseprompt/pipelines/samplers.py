"""Other schedulers on a model's noise schedule, and published timestep schedules."""

from __future__ import annotations

import copy
import inspect
from typing import Any

import torch

from noiseprompt.core.errors import InputError
from noiseprompt.core.ranges import ANY, COUNT, NOT_NEGATIVE, POSITIVE, Limits, check_value
from noiseprompt.core.specs import spec_options, split_spec
from noiseprompt.core.texts import reason_of
from noiseprompt.core.types import Sampling
from noiseprompt.pipelines.families import FAMILIES
from noiseprompt.pipelines.families.base import Family
from noiseprompt.pipelines.levels import is_flow
from noiseprompt.pipelines.table import SCHEDULERS, SCHEDULES

_NOISE_SCHEDULE = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "trained_betas", "prediction_type")
_LIMITS = {
    **dict.fromkeys(("solver_order", "original_inference_steps"), COUNT),
    "num_train_timesteps": Limits(least=1, most=10_000),  # with far more the signal underflows
    "dynamic_thresholding_ratio": Limits(above=0, most=1),
    **dict.fromkeys(("sample_max_value", "clip_sample_range"), POSITIVE),
    "variance_type": Limits(words=("fixed_small", "fixed_small_log", "fixed_large", "fixed_large_log")),
    "timestep_type": Limits(words=("discrete", "continuous")),
    **dict.fromkeys(("beta_start", "beta_end"), Limits(above=0, below=1)),
    "steps_offset": NOT_NEGATIVE,
    "first_sigma": Limits(above=0, below=1),
    **dict.fromkeys(("shift", "flow_shift"), Limits(above=0, most=1000)),  # with far more all levels are one
    **dict.fromkeys(("sigma_max", "timestep_scaling"), POSITIVE),
    "shift_terminal": Limits(above=0, below=1),
    "sigma_min": NOT_NEGATIVE,
}
_KINDS = {
    "trained_betas": list[float],
    "variance_type": str,
    **dict.fromkeys(("sigma_min", "sigma_max", "shift_terminal"), float),
}
"""Setting of diffusers whose default tells no type -> its type."""
_FLOW = {"use_flow_sigmas": True, "prediction_type": "flow_prediction"}


def parse_scheduler(text: str) -> tuple[Any, dict[str, Any]]:
    """(diffusers class, settings) of "dpm++" or "dpm++:use_karras_sigmas=true,solver_order=3".

    Raises:
        UnknownNameError: no such scheduler.
        InputError: a setting its class does not have.
    """
    name, _ = split_spec(text)
    cls = SCHEDULERS.get(name if name in SCHEDULERS else name.lower())
    parameters = inspect.signature(cls).parameters
    known = dict.fromkeys(parameters, Any)  # some of diffusers' annotations are wrong
    given = spec_options(SCHEDULERS.noun, text, known)
    for key, value in given.items():
        kind = _KINDS.get(key) or _kind(parameters[key].default)
        if kind is not None:
            check_value(f"{name}:{key}", kind, value, _limits(cls, key))
    low, high = given.get("sigma_min"), given.get("sigma_max")
    if isinstance(low, int | float) and isinstance(high, int | float) and low > high:
        raise InputError(f"{name}:sigma_min {low:g} with sigma_max {high:g}", "the first below the second")
    return cls, given


def _kind(default: Any) -> Any:
    """The type of a setting with this default; None where anything may be."""
    if isinstance(default, bool | str):
        return type(default)
    return float if isinstance(default, float) else int if isinstance(default, int) else None


def _limits(cls: Any, key: str) -> Limits:
    """Of a setting of diffusers, whose schedulers draw something of what is beyond."""
    if key == "solver_order" and cls.__name__.startswith(("DPMSolver", "DEIS")):
        return Limits(least=1, most=3)  # of a higher one they take the third
    return _LIMITS.get(key, ANY)


def make_scheduler(pipe: Any, text: str, hands_sigmas: bool = False) -> Any:
    """Another scheduler on the noise schedule of the pipeline's own (`from_config`).

    Latents are never clipped: `clip_sample`, on by default in some classes, is for pixels. PNDM leaves out its
    Runge-Kutta steps, as Stable Diffusion's own configuration does, unless the model's says otherwise.

    Args:
        hands_sigmas: the pipeline's call hands sigmas to its scheduler, as its family tells.

    Raises:
        UnknownNameError, InputError: as `parse_scheduler`; or one for flow matching with a model of another kind, and
            the other way round; or one that takes no sigmas where some are handed to it.
    """
    cls, settings = parse_scheduler(text)
    kept = _flow_settings(pipe, cls, hands_sigmas) if is_flow(pipe.scheduler) else _noise_settings(pipe, cls)
    try:
        made = cls.from_config(pipe.scheduler.config, **{**kept, **settings})
        low, high = made.config.get("beta_start", 0), made.config.get("beta_end", 1)
        if {"beta_start", "beta_end"} & {*settings} and low > high:
            raise InputError(
                f"beta_start {low:g} with beta_end {high:g}", "noise that grows: the first below the second"
            )
        if settings and not is_flow(made):
            _try(copy.deepcopy(made))
        return made
    except InputError:
        raise
    except Exception as error:  # of numbers out of range schedulers raise whatever their arithmetic does
        reason = "its timesteps leave its noise schedule" if isinstance(error, IndexError) else reason_of(error)
        came = f"{cls.__name__} does not take {text.partition(':')[2].strip() or 'this'}: {reason}"
        raise InputError(came, "settings that fit together") from error


def _try(scheduler: Any) -> None:
    """A whole chain on a tiny latent: some read their settings with the first timesteps, or the first step, alone."""
    steps = min(10, scheduler.config.num_train_timesteps, scheduler.config.get("original_inference_steps") or 10)
    with torch.random.fork_rng(devices=[]):
        scheduler.set_timesteps(steps)
        if _last(scheduler) > _longest(scheduler):
            raise IndexError
        sigmas = getattr(scheduler, "sigmas", None)
        if sigmas is not None and sigmas.max() > sigmas[0]:
            raise ValueError("its noise grows on the way")
        latents = torch.zeros(1, 1, 2, 2)
        for timestep in scheduler.timesteps:
            taken = scheduler.scale_model_input(latents, timestep)
            latents = scheduler.step(torch.zeros_like(taken), timestep, latents, return_dict=False)[0]
        pure = scheduler.config.get("rescale_betas_zero_snr")  # then zeros are no prediction that a model makes
        if not pure and not bool(latents.isfinite().all()):
            raise ValueError("it draws what is not finite")


def _last(scheduler: Any) -> float:
    """The largest timestep of its grid."""
    return float(torch.as_tensor(scheduler.timesteps).max())


def _longest(scheduler: Any) -> int:
    """The largest timestep that it can be asked for; one that has sigmas takes them between its ends."""
    return scheduler.config.num_train_timesteps - (not hasattr(scheduler, "sigmas"))


def check_steps(scheduler: Any, num_inference_steps: int) -> None:
    """Refuse a number of steps that a scheduler cannot do, before anything is drawn with it; it is left as it is.

    Raises:
        InputError: more than it has, or timesteps beyond those of the training.
    """
    longest, name = getattr(scheduler.config, "num_train_timesteps", None), type(scheduler).__name__
    if longest is None:
        return
    own = scheduler.config.get("original_inference_steps")
    most = min(longest, own or longest)
    if not 1 <= num_inference_steps <= most:
        of = f" of a {name} with original_inference_steps {own}" if most < num_inference_steps <= longest else ""
        raise InputError(f"num_inference_steps {num_inference_steps}{of}", f"1 to {most}")
    if is_flow(scheduler):
        return
    grid = copy.deepcopy(scheduler)
    try:
        grid.set_timesteps(num_inference_steps)
    except (ValueError, IndexError) as error:
        came = f"num_inference_steps {num_inference_steps} with a {name}: {reason_of(error)}"
        raise InputError(came, "a number of steps that it can do", "use fewer steps") from error
    if _last(grid) > _longest(grid):
        came = f"num_inference_steps {num_inference_steps} with a {name}: timestep {_last(grid):g}"
        raise InputError(came, f"timesteps to {_longest(grid)}", "use fewer steps, or lower its steps_offset")


def _noise_settings(pipe: Any, cls: Any) -> dict[str, Any]:
    """What a scheduler class is told beside the configuration of one that noises with betas."""
    if cls.__name__.startswith("FlowMatch"):
        raise InputError(f"{cls.__name__} for a model that is no flow-matching model", "for example ddim or dpm++")
    config, accepted = pipe.scheduler.config, inspect.signature(cls.__init__).parameters
    kept = {name: config[name] for name in _NOISE_SCHEDULE if name in accepted and name in config}
    kept.update({name: False for name in ("clip_sample", "thresholding") if name in accepted})
    if "skip_prk_steps" in accepted:
        kept["skip_prk_steps"] = config.get("skip_prk_steps", True)
    return kept


def _flow_settings(pipe: Any, cls: Any, hands_sigmas: bool) -> dict[str, Any]:
    """The same for flow matching; two families of classes call the shift of the schedule by two names."""
    config, accepted = pipe.scheduler.config, inspect.signature(cls.__init__).parameters
    native = cls.__name__.startswith("FlowMatch")
    if not native and "use_flow_sigmas" not in accepted:
        expected = "flow-euler, or unipc or dpm++, which have a flow form"
        raise InputError(f"{cls.__name__} for a flow-matching model", expected)
    takes_sigmas = "sigmas" in inspect.signature(cls.set_timesteps).parameters
    if hands_sigmas and not takes_sigmas:
        raise InputError(f"{cls.__name__} in a {type(pipe).__name__}", "a scheduler that takes sigmas: flow-euler")
    shift = config.get("flow_shift") if config.get("shift") is None else config.get("shift")
    name = "shift" if native else "flow_shift"
    return {**({} if native else _FLOW), **({} if shift is None or name not in accepted else {name: shift})}


def check_schedule(pipe: Any, family: Family, schedule: str) -> list[int]:
    """The timesteps of a published schedule, for a pipeline whose scheduler and call accept timesteps.

    Align Your Steps (arXiv 2404.14507) in 10 steps, as `diffusers.schedulers.AysSchedules` lists them.

    Raises:
        InputError: a family without such a schedule, or a scheduler that takes no timesteps.
    """
    from diffusers.schedulers import AysSchedules

    name = type(pipe).__name__
    if schedule not in family.timestep_schedules:
        known = dict.fromkeys(other.name for other in FAMILIES if schedule in other.timestep_schedules)
        raise InputError(f"schedule {schedule!r} with {name}", f"one of {', '.join(known)}", "leave it out")
    own = pipe.scheduler
    alternatives = "DPMSolverMultistepScheduler, EulerDiscreteScheduler, HeunDiscreteScheduler or DDPMScheduler"
    for callee, what in ((own.set_timesteps, type(own).__name__), (type(pipe).__call__, name)):
        if "timesteps" not in inspect.signature(callee).parameters:
            raise InputError(
                f"schedule {schedule!r} with {what}, which takes no timesteps", alternatives, 'choose scheduler "dpm++"'
            )
    other = [key for key in own.config if key.startswith("use_") and key.endswith("_sigmas") and own.config[key]]
    if other:
        raise InputError(f"schedule {schedule!r} with {other[0]}", "one of the two: both choose the noise levels")
    return list(AysSchedules[family.timestep_schedules[schedule]])


def drawn_shape(pipeline: Any, sampling: Sampling) -> tuple[int, int, int]:
    """(C, H, W) of the latents of one image; what a pipeline cannot draw with is told before it draws.

    Args:
        pipeline: a `Pipeline`.

    Raises:
        ShapeError, InputError: a size or a number of steps, as `Pipeline.sample`.
    """
    pipe, family = pipeline.pipe, pipeline.family
    if hasattr(getattr(pipe, "scheduler", None), "config"):
        step_arguments(pipe, family, pipeline.schedule, sampling.resolve(family).num_inference_steps)
    return pipeline.latent_shape(sampling.height, sampling.width)


def step_arguments(pipe: Any, family: Family, schedule: str | None, num_inference_steps: int) -> dict[str, Any]:
    """As `schedule_arguments`, the steps checked.

    Raises:
        InputError: as it, or as `check_steps`.
    """
    timesteps = schedule_arguments(pipe, family, schedule, num_inference_steps)
    if not timesteps and hasattr(pipe.scheduler, "config"):
        check_steps(pipe.scheduler, num_inference_steps)
    return timesteps


def schedule_arguments(pipe: Any, family: Family, schedule: str | None, num_inference_steps: int) -> dict[str, Any]:
    """What a pipeline call needs for a schedule: {"timesteps": [...]}, or {} without one.

    Raises:
        InputError: another number of steps than the schedule has, or as `check_schedule`.
    """
    if schedule is None:
        return {}
    if schedule not in SCHEDULES:
        raise InputError(f"schedule {schedule!r}", f"one of {', '.join(SCHEDULES)}, or None")
    if num_inference_steps != SCHEDULES[schedule]:
        raise InputError(
            f"{num_inference_steps} steps with schedule {schedule!r}",
            f"{SCHEDULES[schedule]}, the steps it was optimised for",
            "leave num_inference_steps out",
        )
    return {"timesteps": check_schedule(pipe, family, schedule)}
