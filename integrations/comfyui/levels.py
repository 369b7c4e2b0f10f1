"""Where the sampler begins, read off the MODEL's own noise scaling.

The sampler starts from noise_scaling(sigma, noise, latent): for diffusion noise times sigma, or times
sqrt(1 + sigma^2) where it begins at the model's greatest sigma; for flow sigma noise + (1 - sigma) latent. A picture h
that the forward process carries there makes it a noise + b h, with a and b of that same function.
"""

from __future__ import annotations

import math
from typing import Any

import torch

from noiseprompt import NoisepromptError, StartLevel

LEAST_SIGNAL = 1e-3
"""Of the noise: what is less is pure noise, which has no room for a picture."""


def check_sigmas(sigmas: Any) -> None:
    """Refuse what is no row of noise levels.

    Raises:
        NoisepromptError: no tensor (N,).
    """
    if not isinstance(sigmas, torch.Tensor) or sigmas.ndim != 1:
        what = f"of shape {tuple(sigmas.shape)}" if isinstance(sigmas, torch.Tensor) else type(sigmas).__name__
        raise NoisepromptError(f"SIGMAS {what}", "a row of numbers, as schedulers give it")


def first_sigma(model: Any, sigmas: torch.Tensor | None) -> float:
    """Of SIGMAS, or the MODEL's greatest, where most schedules begin.

    Raises:
        NoisepromptError: SIGMAS that are empty or none, or begin without noise.
    """
    if sigmas is None:
        return float(model.get_model_object("model_sampling").sigma_max)
    check_sigmas(sigmas)
    if not len(sigmas):
        raise NoisepromptError("empty SIGMAS", "those of the sampler", "a scheduler with denoise 0 gives none")
    if not 0 < float(sigmas[0]) < math.inf:
        raise NoisepromptError(f"SIGMAS that begin at {float(sigmas[0]):g}", "a finite first level above 0")
    return float(sigmas[0])


def at_greatest(sampling: Any, sigma: float) -> bool:
    """Whether the sampler takes this for pure noise, as `Sampler.max_denoise` of ComfyUI does."""
    greatest = float(sampling.sigma_max)
    return sigma > greatest or math.isclose(greatest, sigma, rel_tol=1e-5)


def scaling(sampling: Any, sigma: float, noise: float, picture: float, greatest: bool) -> float:
    """One value of what the sampler starts from, of one value of noise and one of a picture."""
    one = torch.ones(1, 1, 1, 1)
    made = sampling.noise_scaling(torch.tensor(sigma), noise * one, picture * one, greatest)
    return float(made.reshape(()))


def start_level(model: Any, sigmas: torch.Tensor | None) -> StartLevel:
    """The level in the noise that is handed to the sampler, which scales it.

    Raises:
        NoisepromptError: sampling begins at pure noise, which has no room for a picture.
    """
    sampling, sigma = model.get_model_object("model_sampling"), first_sigma(model, sigmas)
    scale = scaling(sampling, sigma, 1.0, 0.0, at_greatest(sampling, sigma))
    noise = scaling(sampling, sigma, 1.0, 0.0, False) / scale
    signal = scaling(sampling, sigma, 0.0, 1.0, False) / scale
    if signal < LEAST_SIGNAL * noise:
        came = f"sampling that begins at pure noise (sigma {sigma:g}), which has no room for the picture of this NPNet"
        fix = "use SIGMAS that begin lower, an NPNet that predicts noise, or training-free noise"
        raise NoisepromptError(came, "a first level below pure noise", fix)
    return StartLevel(noise, signal)
