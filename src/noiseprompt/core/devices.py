"""Names of devices and dtypes -> what torch calls them. torch is imported when one is asked for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from noiseprompt.core.errors import InputError

if TYPE_CHECKING:
    import torch

DTYPES = ("float32", "float16", "bfloat16")
"""Number formats of weights."""


def best_device() -> str:
    """What "auto" means: the first of cuda, mps and cpu that torch sees."""
    import torch

    return "cuda" if torch.cuda.is_available() else "mps" if torch.backends.mps.is_available() else "cpu"


def resolve_device(device: str) -> torch.device:
    """The device of a name, or of "auto", with its index; something was put there to see that it can be used.

    Raises:
        InputError: no such device.
    """
    import torch

    expected = "auto, cpu, cuda, cuda:1, mps"
    try:
        found = torch.zeros(0, device=best_device() if device == "auto" else device).device
    except (RuntimeError, AssertionError, ImportError) as error:  # "privateuseone" is a module that nobody has
        reason = (str(error).splitlines()[0] if str(error) else type(error).__name__).partition(". ")[0]
        if reason.startswith("Could not run"):  # of a kind that this build was made without, in words of its operators
            reason = f"the torch that is installed has no {device.partition(':')[0]}"
        came = f"device {device!r}" + ("" if reason.startswith("Expected one of") else f": {reason}")
        raise InputError(came, expected) from error
    if found.type == "cpu" and device not in ("auto", "cpu", "cpu:0"):  # torch takes any number for the only one
        raise InputError(f"device {device!r}", expected, "there is one cpu, without a number")
    if found.type == "meta":
        raise InputError(f"device {device!r}, on which nothing is computed", expected)
    return found


def resolve_dtype(dtype: str) -> torch.dtype:
    """The dtype of a name.

    Raises:
        InputError: not one of `DTYPES`.
    """
    import torch

    if dtype not in DTYPES:
        raise InputError(f"dtype {dtype!r}", f"one of {', '.join(DTYPES)}")
    return getattr(torch, dtype)


def is_out_of_memory(error: BaseException) -> bool:
    """Whether an error says that memory is full, the accelerator's or not; not every device has a type for it."""
    import torch

    if isinstance(error, (MemoryError, torch.OutOfMemoryError)):
        return True
    words = ("out of memory", "not enough memory", "can't allocate memory", "alloc_failed")
    return isinstance(error, RuntimeError) and any(word in str(error).lower() for word in words)
