"""Names of devices and dtypes -> what torch calls them."""

from __future__ import annotations

import torch

from noiseprompt.core.errors import InputError

DTYPES = {"float32": torch.float32, "float16": torch.float16, "bfloat16": torch.bfloat16}


def pick_device(device: str) -> str:
    """ "auto" is the first of cuda, mps and cpu that torch sees; anything else is itself."""
    if device != "auto":
        return device
    return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"


def resolve_device(device: str) -> torch.device:
    """ "auto", or what torch calls it.

    Raises:
        InputError: no such device.
    """
    try:
        return torch.zeros(0, device=pick_device(device)).device
    except (RuntimeError, AssertionError) as error:
        raise InputError(f"device {device!r}: {error}", "auto, cpu, cuda, cuda:1, mps") from error


def resolve_dtype(dtype: str) -> torch.dtype:
    """By name.

    Raises:
        InputError: not one of `DTYPES`.
    """
    if dtype not in DTYPES:
        raise InputError(f"dtype {dtype!r}", f"one of {', '.join(DTYPES)}")
    return DTYPES[dtype]
