"""Re-denoise in formulas (the paper's algorithm 1, equations 1-2, theorem E.1): pure functions of tensors.

Letters: a = alpha-bar, the share of the picture's variance at a noise level, x_t = sqrt(a_t) x_0 + sqrt(1 - a_t) eps;
T the noisiest level of an N-step grid, T-k the next one. For flow matching a level is sigma, x = (1 - s) x_0 + s eps.
The paper's alpha_t and sigma_t are sqrt(a_t) and sqrt(1 - a_t).

All arithmetic is done in float32 (float64 for float64 input) and the result is cast last.
"""

from __future__ import annotations

import math
from typing import get_args

import torch

from noiseprompt.core.errors import InputError, ShapeError
from noiseprompt.core.ranges import SHARE, Limits, check_value
from noiseprompt.core.types import PredictionType

_ABOVE = Limits(above=0, most=1)
_GAP = Limits(least=-2000, most=2000)
"""Between two guidance scales, each from -1,000 to 1,000."""


def _check_same(x: torch.Tensor, *others: torch.Tensor) -> None:
    check_value("x", torch.Tensor, x)
    for other in others:
        check_value("a prediction", torch.Tensor, other)
        if other.shape != x.shape:
            raise ShapeError(f"a prediction of shape {tuple(other.shape)}", f"{tuple(x.shape)}, that of the latents")


def move(
    x: torch.Tensor,
    prediction: torch.Tensor,
    alpha_from: float,
    alpha_to: float,
    prediction_type: PredictionType = "epsilon",
    alpha_at: float | None = None,
) -> torch.Tensor:
    """One deterministic step between two noise levels, in either direction (equations 1 and 2 are its two directions).

    With one and the same eps, a move down and the move back up are the identity.

    Args:
        x: latents (B, ...) at level `alpha_from`.
        prediction: what the denoiser predicts, guidance applied, shaped like `x`.
        alpha_from, alpha_to: alpha-bar of the two levels in (0, 1]; for flow the two sigmas in [0, 1].
        prediction_type: "epsilon"; "v_prediction", v = sqrt(a) eps - sqrt(1 - a) x_0; "flow_prediction", v = eps - x_0.
        alpha_at: alpha-bar of the level whose timestep the denoiser was told, where that is not `alpha_from`;
            a v-prediction is converted to eps there. Other predictions do not depend on it.

    Returns:
        Latents at level `alpha_to`, shape and dtype of `x`.

    Raises:
        InputError: unknown prediction type, or an epsilon prediction at alpha-bar 0, which says nothing about x_0.
        ConfigError: a level out of its range.
        ShapeError: a prediction of another shape.
    """
    check_value("alpha_from", float, alpha_from, SHARE)
    check_value("alpha_to", float, alpha_to, SHARE)
    check_value("alpha_at", float | None, alpha_at, SHARE)
    _check_same(x, prediction)
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    x_from, predicted = x.to(dtype), prediction.to(dtype)
    if prediction_type == "flow_prediction":
        return (x_from + (alpha_to - alpha_from) * predicted).to(x.dtype)
    if prediction_type == "v_prediction":
        level = alpha_from if alpha_at is None else alpha_at
        eps = math.sqrt(level) * predicted + math.sqrt(1 - level) * x_from
        if level == alpha_from:  # defined at alpha-bar 0 too (zero terminal signal-to-noise ratio)
            x_0 = math.sqrt(level) * x_from - math.sqrt(1 - level) * predicted
            return (math.sqrt(alpha_to) * x_0 + math.sqrt(1 - alpha_to) * eps).to(x.dtype)
    elif prediction_type == "epsilon":
        eps = predicted
    else:
        raise InputError(f"prediction type {prediction_type!r}", f"one of {', '.join(get_args(PredictionType))}")
    if alpha_from <= 0:
        raise InputError(f"alpha-bar {alpha_from} of {prediction_type}", "a level above 0 to move from")
    scale = math.sqrt(alpha_to / alpha_from)
    return (scale * x_from + (math.sqrt(1 - alpha_to) - scale * math.sqrt(1 - alpha_from)) * eps).to(x.dtype)


def coefficient(alpha_T: float, alpha_Tk: float) -> float:
    """The factor of theorem E.1 (equation 29): how far one unit of guided prediction moves the noise.

    (sqrt(a_T) sqrt(1 - a_Tk) - sqrt(a_Tk) sqrt(1 - a_T)) / sqrt(a_Tk); negative. About -0.385 at 10 steps and -0.110 at
    50 steps of SDXL's schedule.

    Args:
        alpha_T, alpha_Tk: alpha-bar at T and T-k, each in (0, 1].

    Raises:
        ConfigError: out of their range.
    """
    check_value("alpha_T", float, alpha_T, SHARE)
    check_value("alpha_Tk", float, alpha_Tk, _ABOVE)
    return math.sqrt(alpha_T) * math.sqrt(1 - alpha_Tk) / math.sqrt(alpha_Tk) - math.sqrt(1 - alpha_T)


def closed_form(
    x: torch.Tensor,
    eps_cond: torch.Tensor,
    eps_uncond: torch.Tensor,
    alpha_T: float,
    alpha_Tk: float,
    guidance_gap: float,
) -> torch.Tensor:
    """Theorem E.1: re-denoise at once, as if both directions saw the same two predictions.

    Args:
        x: source noise x_T, (B, ...).
        eps_cond, eps_uncond: predicted noise with the prompt and with the empty one, shaped like `x`.
        alpha_T, alpha_Tk: alpha-bar at T and T-k.
        guidance_gap: denoise minus invert guidance scale.

    Returns:
        x'_T, shape and dtype of `x`.

    Raises:
        ConfigError: a level out of its range, or a gap that is no finite number.
        ShapeError: predictions of another shape.
    """
    check_value("guidance_gap", float, guidance_gap, _GAP)
    _check_same(x, eps_cond, eps_uncond)
    dtype = torch.float64 if x.dtype == torch.float64 else torch.float32
    semantic = eps_cond.to(dtype) - eps_uncond.to(dtype)
    return (x.to(dtype) + coefficient(alpha_T, alpha_Tk) * guidance_gap * semantic).to(x.dtype)
