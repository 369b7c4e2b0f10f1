"""Numbers that somebody hands over as a list, an array or a tensor: plain real ones, or a word about what they are."""

from __future__ import annotations

from typing import Any

import numpy as np

from noiseprompt.core.ranges import kind_of


def plain_numbers(given: Any) -> np.ndarray:
    """float64 of what is real numbers already; of what NumPy itself would turn or cut.

    It would take the real part of complex numbers, what a mask hides, days since 1970 of dates, and digits in texts. A
    tensor may be on any device, of bfloat16 and with its gradients.

    Raises:
        TypeError: no numbers, with what they are.
    """
    if isinstance(given, np.ma.MaskedArray) and np.ma.is_masked(given):
        raise TypeError("masked numbers")
    detach = getattr(given, "detach", None)
    if callable(detach):
        tensor: Any = detach()
        given = (tensor.double() if tensor.is_floating_point() else tensor).cpu()
    try:
        plain = np.asarray(given)
    except ValueError as error:  # rows of several lengths
        raise TypeError("lists of several lengths") from error
    if plain.dtype.kind == "c" or (plain.dtype.kind == "O" and any(isinstance(one, complex) for one in plain.ravel())):
        raise TypeError("complex numbers")
    if plain.dtype.kind not in "fiubO" or any(isinstance(one, str) for one in plain.ravel()[:1]):
        raise TypeError(f"{_KINDS.get(plain.dtype.kind, plain.dtype)} in place of numbers")
    if plain.dtype.kind == "O" and any(one is None for one in plain.ravel()):  # NumPy takes it for NaN
        raise TypeError("nothing in place of numbers")
    try:
        return np.asarray(plain, np.float64)
    except (TypeError, ValueError, OverflowError) as error:  # of objects
        strange = next((one for one in plain.ravel() if not isinstance(one, int | float)), None)
        raise TypeError(f"{kind_of(strange)} in place of numbers") from error


_KINDS = {"U": "texts", "S": "bytes", "M": "dates", "m": "times", "V": "records"}
"""NumPy's letter of a kind of values -> a word."""
