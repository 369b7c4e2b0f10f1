"""Two noises mixed so that the mix is a noise too: along the arc between them, not along the chord."""

from __future__ import annotations

import torch

from noiseprompt.core.arguments import called
from noiseprompt.core.errors import ShapeError
from noiseprompt.core.ranges import SHARE, check_value
from noiseprompt.noise.seeds import check_noise


@called
def mix_noise(first: torch.Tensor, second: torch.Tensor, amount: float) -> torch.Tensor:
    """Row by row the point at `amount` of the way from one noise to another, on the sphere.

    The direction follows the great circle (spherical linear interpolation), the norm goes evenly from one to the other.
    The straight line between two independent noises would pass through .71 of their norm.

    Args:
        first, second: (B, ...) of one shape.
        amount: 0 is exactly `first`, 1 exactly `second`.

    Returns:
        Shape, device and dtype of `first`; computed in float32 (float64 for float64). Rows of which one is 0, or that
        point opposite ways, have no arc between them: those are mixed along the chord.

    Raises:
        ConfigError: an amount that is not from 0 to 1.
        InputError, NoiseError: no tensors of finite floating point numbers.
        ShapeError: two shapes.
    """
    check_value("amount", float, amount, SHARE)
    check_noise(first, "the first noise")
    check_noise(second, "the second noise")
    if first.shape != second.shape or not first.ndim:
        raise ShapeError(f"noises of {tuple(first.shape)} and {tuple(second.shape)}", "two of one shape (B, ...)")
    amount = float(amount)
    if amount in (0, 1):
        return first if amount == 0 else second.to(first)
    exact = torch.promote_types(first.dtype, torch.float32)
    a, b = first.to(exact).flatten(1), second.to(first.device, exact).flatten(1)
    norms = a.norm(dim=1, keepdim=True), b.norm(dim=1, keepdim=True)
    u, v = (x / norm.clamp_min(1e-12) for x, norm in zip((a, b), norms, strict=True))
    # the angle from the chord and its complement: the cosine alone is coarse where the two are close
    angle = 2 * torch.atan2((u - v).norm(dim=1, keepdim=True), (u + v).norm(dim=1, keepdim=True))
    sine = torch.sin(angle)
    weights = torch.sin((1 - amount) * angle) / sine, torch.sin(amount * angle) / sine
    arc = (weights[0] * u + weights[1] * v) * ((1 - amount) * norms[0] + amount * norms[1])
    curved = (sine > 1e-4) & (norms[0] > 0) & (norms[1] > 0)
    mixed = torch.where(curved, arc, (1 - amount) * a + amount * b).reshape(first.shape).to(first.dtype)
    check_noise(mixed, "the mix")
    return mixed
