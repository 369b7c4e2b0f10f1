"""What the prompt changes in the denoiser's prediction: the guidance gap that several methods write into the noise.

The two predictions of one guided call serve every guidance scale.
"""

from __future__ import annotations

import warnings
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeVar

import torch

from noiseprompt.core.errors import InputError, NoisepromptWarning

if TYPE_CHECKING:
    from noiseprompt.pipelines import Pipeline, TextEmbeds

T = TypeVar("T")

LOW, HIGH = 2.0, 3.0
"""Two guidance scales one apart, both above 1, so that both calls of the pipeline ask the denoiser the same."""


def check_grid(pipeline: Any, option: str, steps: int | None) -> None:
    """Refuse a grid of more steps than the model has timesteps.

    Args:
        option: for the message, as in "redenoise:steps".

    Raises:
        InputError: with the option.
    """
    config = getattr(getattr(pipeline.pipe, "scheduler", None), "config", {})
    longest = config.get("num_train_timesteps")
    if steps is not None and longest and steps > longest:
        raise InputError(f"{option}={steps}", f"1 to {longest:,}")


def check_scales(pipeline: Any, down: float, up: float) -> None:
    """Refuse the two guidance scales of a method between which there is no gap.

    Raises:
        InputError: as `Family.check_gap`.

    Warns:
        NoisepromptWarning: the second is above the first, so that the noise moves away from the prompt.
    """
    pipeline.family.check_gap(pipeline.pipe, down, up)
    if down < up:
        came = f"guidance scale {down:g} down and {up:g} up: the guidance gap is turned round"
        told = f"{came}, and the noise moves away from what its prompt says. Swap the two unless that is meant"
        warnings.warn(told, NoisepromptWarning, stacklevel=3)


def guidance_gap(pipeline: Pipeline, embeds: TextEmbeds, noise: torch.Tensor, num_inference_steps: int) -> torch.Tensor:
    """eps_c - eps_0 at level T of an N-step grid (for flow v_c - v_0), whatever the pipeline and its prediction type.

    Two denoiser calls an image: the pipeline predicts at two guidance scales one apart, the second time from the
    denoiser's recorded answers.

    Args:
        embeds: of B prompts.
        noise: (B, C, H, W) at level T.

    Returns:
        (B, C, H, W) float32.

    Raises:
        InputError: a pipeline without guidance, or a schedule whose noisiest level is pure noise, where a prediction of
            the noise says nothing.
    """
    require_guidance(pipeline)
    if not pipeline.is_flow and pipeline.levels(num_inference_steps)[2] <= 0:
        raise InputError("a schedule that ends at alpha-bar 0", "a noisiest level above 0", "use method redenoise")

    def predicted(scale: float) -> torch.Tensor:
        return pipeline.predictions(embeds, noise, guidance_scale=scale, num_inference_steps=num_inference_steps)

    low, high = at_two_scales(pipeline, predicted, LOW, HIGH)
    return (high - low) / (HIGH - LOW)


def at_two_scales(pipeline: Pipeline, ask: Callable[[float], T], first: float, second: float) -> tuple[T, T]:
    """What `ask` gives at two guidance scales, the second time from the denoiser's recorded answers.

    Args:
        ask: makes calls of the pipeline at a guidance scale, with the same latents and prompts each time.
        first, second: both above 1, so that both ask the denoiser the same.
    """
    answers: list[Any] = []
    own = pipeline.denoiser.forward
    with _forward(pipeline.denoiser, lambda *args, **named: answers.append(own(*args, **named)) or answers[-1]):
        one = ask(first)
    calls, recorded = pipeline.denoiser_calls, iter(answers)
    with _forward(pipeline.denoiser, lambda *args, **named: next(recorded)):
        other = ask(second)
    pipeline.denoiser_calls = calls  # nothing was evaluated
    return one, other


def require_guidance(pipeline: Pipeline) -> None:
    """Refuse a pipeline that cannot compute guided predictions.

    Raises:
        InputError: with the reason.
    """
    why = pipeline.family.why_no_guidance(pipeline.pipe)
    if why:
        raise InputError(f"{pipeline.name!r}: {why}", "a pipeline with classifier-free guidance")


def levels_of(pipeline: Pipeline, noise: torch.Tensor, num_inference_steps: int) -> tuple[float, float]:
    """alpha-bar (sigma for flow) of T and T-k on an N-step grid for images of the size of `noise`."""
    factor = pipeline.family.factor(pipeline.pipe)
    return pipeline.levels(num_inference_steps, noise.shape[2] * factor, noise.shape[3] * factor)[2:]


@contextmanager
def _forward(module: Any, forward: Callable[..., Any]) -> Iterator[None]:
    """Another `forward` for a while; the module's own, or an earlier replacement of it, is put back."""
    before = module.__dict__.get("forward")
    module.forward = forward
    try:
        yield
    finally:
        if before is None:
            del module.forward
        else:
            module.forward = before
