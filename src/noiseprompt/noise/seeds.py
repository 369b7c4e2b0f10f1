"""Source noise: a function of (seed, shape) alone, whatever the batch, the order, the worker or the device.

The values are those a diffusers user gets for one image from `generator=torch.Generator("cpu").manual_seed(seed)`
with a unit `init_noise_sigma`: drawn on the CPU in float32 and cast last.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterable, Sequence
from numbers import Integral
from typing import TYPE_CHECKING

from noiseprompt.core.arguments import called, held
from noiseprompt.core.devices import resolve_device
from noiseprompt.core.errors import InputError, NoiseError
from noiseprompt.core.ranges import check_value
from noiseprompt.core.types import check_shape, check_tensor

if TYPE_CHECKING:
    import torch

PAPER_SEEDS = (0, 1024)
"""The paper's range of training seeds, both ends included (section 4)."""


def check_seed(seed: int) -> None:
    """Refuse what is no seed of a noise.

    Raises:
        InputError: the seed is out of range.
    """
    if isinstance(seed, bool) or not isinstance(seed, Integral) or not 0 <= seed < 2**63:
        raise InputError(f"seed {seed!r:.60}", "an integer from 0 to 2**63 - 1")


@called
def initial_noise(
    seed: int, shape: Sequence[int], *, dtype: torch.dtype | None = None, device: str = "cpu"
) -> torch.Tensor:
    """Unit Gaussian noise of one image.

    Args:
        seed: 0 to 2**63 - 1.
        shape: of one image's latents, e.g. (4, 128, 128).
        dtype: of the result, float32 unless given.

    Raises:
        InputError: the seed is out of range, the shape is none or too large, a dtype of other numbers, or a device that
            is not there.
    """
    import torch

    check_seed(seed)
    check_shape("a shape", shape)
    check_value("dtype", torch.dtype | None, dtype)
    check_value("device", str | torch.device, device)
    if dtype is not None and not dtype.is_floating_point:
        raise InputError(f"noise of {dtype}", "a dtype of floating point numbers")
    generator = torch.Generator("cpu").manual_seed(int(seed))
    noise = torch.randn(tuple(shape), generator=generator, dtype=torch.float32)
    place = noise.device if str(device) == "cpu" else resolve_device(str(device))
    return noise.to(device=place, dtype=dtype or torch.float32)


def batch_noise(
    seeds: Sequence[int], shape: Sequence[int], *, dtype: torch.dtype | None = None, device: str = "cpu"
) -> torch.Tensor:
    """(B, *shape): row i is `initial_noise(seeds[i], shape)`.

    Raises:
        InputError: no seeds, or as `initial_noise`.
    """
    import torch

    if not isinstance(seeds, Iterable) or not len(seeds):
        raise InputError(f"seeds {seeds!r:.60}", "a list with at least one")
    return torch.stack([initial_noise(seed, shape, dtype=dtype, device=device) for seed in seeds])


@held
def prompt_seed(run_seed: int, prompt_id: str, seed_range: tuple[int, int] = PAPER_SEEDS) -> int:
    """The seed a run assigns to a prompt: a hash of both, uniform in `seed_range` (both ends included).

    Raises:
        InputError: the range is empty or negative.
    """
    low, high = seed_range
    if not 0 <= low <= high:
        raise InputError(f"seed range {low}-{high}", "two integers, 0 <= low <= high", 'write for example "0-1024"')
    digest = hashlib.sha256(f"{run_seed}/{prompt_id}".encode()).digest()
    return low + int.from_bytes(digest[:8], "big") % (high - low + 1)


def sampler_generators(seeds: Sequence[int]) -> list[torch.Generator]:
    """For samplers that add noise on the way: one generator an image, a function of its seed alone.

    Images of one seed get the same, whatever noise they start from, the method, the batch or the order.
    """
    import torch

    own = [prompt_seed(seed, "sampler noise", (0, 2**63 - 1)) for seed in seeds]
    return [torch.Generator("cpu").manual_seed(seed) for seed in own]


def check_noise(latents: torch.Tensor, label: str, shape: str = "(B, C, H, W)") -> None:
    """Refuse latents that cannot start a diffusion.

    Args:
        shape: for the message.

    Raises:
        InputError: as `check_tensor`.
        NoiseError: values that are not finite.
    """
    import torch

    check_tensor(latents, label, shape)
    if not bool(torch.isfinite(latents).all()):
        bad = int((~torch.isfinite(latents)).sum())
        raise NoiseError(
            f"{bad} of {latents.numel()} values of {label} are not finite", "finite numbers", "use float32 or bfloat16"
        )
