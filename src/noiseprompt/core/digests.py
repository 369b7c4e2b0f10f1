"""What files hold, in a few digits: weights and pictures in records and fingerprints."""

from __future__ import annotations

import hashlib
from pathlib import Path
from typing import Any

from noiseprompt.core.places import refuse_pipe


def files_digest(*paths: Path) -> str:
    """12 hexadecimal digits of the SHA-256 of the files' bytes, one file after the other; names do not count."""
    total = hashlib.sha256()
    for path in paths:
        refuse_pipe(path)
        with path.open("rb") as file:
            while piece := file.read(1 << 20):
                total.update(piece)
    return total.hexdigest()[:12]


def file_sha256(path: Path) -> str:
    """The 64 hexadecimal digits of the SHA-256 of a file, as `sha256sum` prints them."""
    total = hashlib.sha256()
    with path.open("rb") as file:
        while piece := file.read(1 << 20):
            total.update(piece)
    return total.hexdigest()


def stored(network: Any, name: str, value: Any) -> Any:
    """The tensor of an entry of `state_dict`, also while sequential offloading keeps them elsewhere."""
    if not value.is_meta:
        return value
    owner, _, own = name.rpartition(".")
    return network.get_submodule(owner)._hf_hook.weights_map[own]


def weights_digest(network: Any, dtype: Any = None) -> str:
    """12 hexadecimal digits of a network's parameter names, shapes and first values.

    Args:
        dtype: as if the network had been loaded in this precision, lower than its own.
    """
    total = hashlib.sha256()
    for name, value in network.state_dict().items():
        total.update(f"{name} {tuple(value.shape)}".encode())
        first = stored(network, name, value).reshape(-1)[:16]
        if dtype is not None and first.is_floating_point():
            first = first.to(dtype)
        total.update(first.float().cpu().numpy().tobytes())
    return total.hexdigest()[:12]
