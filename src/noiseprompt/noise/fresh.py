"""Fresh noise that follows from the source noise, so that a result does not depend on the rest of its batch."""

from __future__ import annotations

import hashlib
from typing import TYPE_CHECKING

from noiseprompt.core.types import check_tensor
from noiseprompt.noise.seeds import batch_noise

if TYPE_CHECKING:
    import torch


def fresh_noise(noise: torch.Tensor, purpose: str, index: int = 0) -> torch.Tensor:
    """Unit Gaussian noise, independent of `noise` and of any other purpose or index, yet the same each time.

    Each row is `initial_noise` of a seed hashed from that row's values (in float32), `purpose` and `index`.

    Args:
        noise: (B, C, H, W).
        purpose: what it is for, e.g. "repaint".
        index: 0, 1, ... where more than one is needed.

    Returns:
        Shape, dtype and device of `noise`.
    """
    check_tensor(noise, "noise", "(B, C, H, W)")
    rows = noise.detach().cpu().float().contiguous().numpy()
    seeds = [_seed(f"{purpose}/{index}/".encode() + row.tobytes()) for row in rows]
    return batch_noise(seeds, noise.shape[1:], dtype=noise.dtype, device=str(noise.device))


def _seed(data: bytes) -> int:
    return int.from_bytes(hashlib.sha256(data).digest()[:8], "big") >> 1
