"""Numbers of half precision as the bits they are: numpy compares float16 four times slower than it copies them."""

from __future__ import annotations

import math

import numpy as np

_MAGNITUDE, _INFINITY = 0x7FFF, 0x7C00


def finite_rows(halves: np.ndarray) -> np.ndarray:
    """(n,) bool of (n, ...) float16: whether all numbers of a row are finite."""
    bits = halves.view(np.uint16).reshape(len(halves), math.prod(halves.shape[1:]))
    return np.array([(row & _MAGNITUDE).max(initial=0) < _INFINITY for row in bits], bool)
