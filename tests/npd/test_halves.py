"""Bits of half precision against numpy's own verdict, for every number there is."""

from __future__ import annotations

import numpy as np

from noiseprompt.npd.halves import finite_rows


def test_every_half_is_judged_as_numpy_judges_it():
    every = np.arange(2**16, dtype=np.uint16).view(np.float16)
    np.testing.assert_array_equal(finite_rows(every[:, None]), np.isfinite(every))
    rows = every.reshape(64, 4, 256)
    np.testing.assert_array_equal(finite_rows(rows), np.isfinite(rows).all((1, 2)))
    assert finite_rows(np.zeros((0, 3), np.float16)).shape == (0,)
    assert finite_rows(np.zeros((2, 0), np.float16)).all()
