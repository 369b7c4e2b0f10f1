"""Filters against hand computation."""

from __future__ import annotations

import numpy as np
import pytest

from noiseprompt.core.errors import ConfigError, InputError, UnknownNameError
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


SCORES = [3.0, 1.0, 2.0, 5.0, 5.0, 4.0, 9.0]
"""Of one scorer: pictures 0 to 2 are of one prompt, 3 to 5 of another, 6 (rejected) of the first."""


@pytest.mark.parametrize(
    ("rule", "expected"),
    [
        ({}, [0, 3, 4]),  # above their prompt's mean of 2 and 4.67
        ({"margin": 0.5}, [0]),
        ({"margin": -0.5}, [0, 2, 3, 4]),
        ({"best_share": 0.34}, [0, 2, 3, 4]),  # of three 1.02, rounded up
        ({"best_share": 1 / 3}, [0, 3]),  # at equal scores the earlier one
        ({"best_share": 1.0}, [0, 1, 2, 3, 4, 5]),
        ({"least_score": 3.0}, [0, 3, 4, 5]),
    ],
)
def test_pictures_are_compared_with_those_of_their_prompt(rule, expected):
    scores = {"a": np.stack([np.full(7, np.nan), SCORES], 1)}
    usable, prompts = np.arange(7) < 6, np.array([0, 0, 0, 1, 1, 1, 0])
    assert np.flatnonzero(PairFilter(("a",), **rule).mask(scores, usable, prompts)).tolist() == expected


def test_a_filter_does_not_guess_at_pairs_that_were_not_scored():
    scores = {"a": np.array([[0.0, 1.0], [0.0, np.nan], [1.0, 0.0]]), "b": np.array([[0.0, 1.0]] * 3)}
    for rule in ({}, {"best_share": 0.5}, {"least_score": 0.5}):
        with pytest.raises(
            InputError, match=r"a filter by b, a: 1 of 3 usable pairs were not scored.*leave the filter"
        ):
            PairFilter(("b", "a"), **rule).mask(scores, np.ones(3, bool))
    assert PairFilter(("a",)).mask(scores, np.array([True, False, True])).tolist() == [True, False, False]
    assert PairFilter().mask(scores, np.ones(3, bool)).all()


def test_rules_that_contradict_each_other_are_refused():
    for wrong in ({"margin": 0.1, "best_share": 0.5}, {"best_share": 0.5, "least_score": 1.0}):
        with pytest.raises(ConfigError, match="one of the three rules"):
            PairFilter(("a",), **wrong)
    with pytest.raises(ConfigError, match=r"best_share 0\.5 and no scorers"):
        PairFilter(best_share=0.5)


def test_what_lets_more_pairs_pass():
    assert PairFilter(("a",), 1.0).wider == "lower the margin"
    assert PairFilter(("a",), best_share=0.5).wider == "raise best_share"
    assert PairFilter(("a",), least_score=0.0).wider == "lower least_score"


def test_bad_filters(tmp_path):
    npd = Npd(write(tmp_path))
    with pytest.raises(UnknownNameError, match="a, b"):
        npd.select(PairFilter(("c",)))
    with pytest.raises(InputError):
        npd.select(PairFilter(("a",), float("nan")))
    with pytest.raises(InputError):
        npd.select(PairFilter(("a",), combine="most"))  # type: ignore[arg-type]
