"""Filters against hand computation."""

from __future__ import annotations

import pytest

from noiseprompt.core.errors import InputError, UnknownNameError
from noiseprompt.npd import Npd, PairFilter
from tests.npd_fakes import write


@pytest.mark.parametrize(
    ("margin", "combine", "scorers", "expected"),
    [
        (0.0, "all", (), [0, 1, 2, 3, 4]),
        (0.0, "all", ("a",), [0, 3, 4]),
        (0.0625, "all", ("a",), [0, 4]),  # strictly more than the margin: pair 3 gains exactly 0.0625
        (-0.25, "all", ("a",), [0, 2, 3, 4]),  # pair 1 loses exactly 0.25
        (0.0, "all", ("b",), [1]),
        (0.0, "all", ("a", "b"), []),
        (0.0, "any", ("a", "b"), [0, 1, 3, 4]),
        (0.0, "mean", ("a", "b"), [1]),  # b outweighs a: mean gain of pair 1 is (-0.25 + 2.5) / 2
        (1.125, "mean", ("a", "b"), []),
        (1.12, "mean", ("a", "b"), [1]),
    ],
)
def test_filters_against_hand_computation(tmp_path, margin, combine, scorers, expected):
    assert Npd(write(tmp_path)).select(PairFilter(scorers, margin, combine)).tolist() == expected


def test_bad_filters(tmp_path):
    npd = Npd(write(tmp_path))
    with pytest.raises(UnknownNameError, match="a, b"):
        npd.select(PairFilter(("c",)))
    with pytest.raises(InputError):
        npd.select(PairFilter(("a",), float("nan")))
    with pytest.raises(InputError):
        npd.select(PairFilter(("a",), combine="most"))  # type: ignore[arg-type]
