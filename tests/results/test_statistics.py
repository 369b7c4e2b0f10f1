"""Against scipy, formulas written out, and simulated data of known truth."""

from __future__ import annotations

import math

import numpy as np
import pytest
import scipy.linalg
import scipy.stats

from noiseprompt.core.errors import InputError
from noiseprompt.results.statistics import detectable_effect, holm, paired_bootstrap, sign_flip_test, wilson, win_rate
from noiseprompt.scorers.sets.distances import frechet_distance


@pytest.mark.parametrize(("wins", "n"), [(0, 7), (7, 7), (51, 67), (120, 400)])
def test_wilson_is_scipys(wins: int, n: int) -> None:
    expected = scipy.stats.binomtest(wins, n).proportion_ci(method="wilson")
    assert wilson(wins / n, n) == pytest.approx((expected.low, expected.high), abs=1e-12)


def test_win_rate_counts_and_halves_ties() -> None:
    result = win_rate([1, 2, 3, 0, 5, 5], [0, 2, 4, 0, 1, 1])
    assert (result.wins, result.losses, result.ties) == (3, 1, 2)
    assert result.rate == (3 + 1) / 6
    assert (result.low, result.high) == wilson(4 / 6, 6)
    swapped = win_rate([0, 2, 4, 0, 1, 1], [1, 2, 3, 0, 5, 5])
    assert swapped.low == pytest.approx(1 - result.high)


def test_bootstrap_is_scipys() -> None:
    data = np.random.default_rng(3).exponential(size=200) - 0.8
    ours = paired_bootstrap(data, seed=1)
    theirs = scipy.stats.bootstrap(
        (data,), np.mean, method="percentile", n_resamples=10_000, rng=np.random.default_rng(2)
    ).confidence_interval
    assert ours.mean == pytest.approx(data.mean())
    assert ours.n == 200
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.01)


def test_bootstrap_of_few_distinct_values_is_scipys() -> None:
    data = np.random.default_rng(3).choice([-1.0, 0.0, 1.0], p=[0.1, 0.6, 0.3], size=300)
    ours = paired_bootstrap(data, seed=1)
    theirs = scipy.stats.bootstrap(
        (data,), np.mean, method="percentile", n_resamples=10_000, rng=np.random.default_rng(2)
    ).confidence_interval
    assert (ours.low, ours.high) == pytest.approx((theirs.low, theirs.high), abs=0.008)


def test_sign_flip_sampled_agrees_with_exact() -> None:
    data = np.random.default_rng(5).normal(0.4, 1, 14)
    assert sign_flip_test(data, permutations=16_000) == pytest.approx(
        sign_flip_test(data, permutations=2**14), abs=0.01
    )


def test_bootstrap_repeats_and_chunks_do_not_show() -> None:
    data = np.random.default_rng(0).normal(size=700)
    assert paired_bootstrap(data, seed=5) == paired_bootstrap(data, seed=5)
    assert paired_bootstrap(data, seed=5) != paired_bootstrap(data, seed=6)
    narrow, wide = paired_bootstrap(data, level=0.5), paired_bootstrap(data, level=0.99)
    assert wide.low < narrow.low < narrow.high < wide.high


def test_bootstrap_covers_the_truth() -> None:
    """95 % of intervals hold the true mean of paired outcomes in {-1, 0, 1}; 500 draws: sd 1 point."""
    rng = np.random.default_rng(11)
    hits = 0
    for trial in range(500):
        data = rng.choice([-1.0, 0.0, 1.0], p=[0.05, 0.78, 0.17], size=100)
        interval = paired_bootstrap(data, seed=trial, resamples=500)
        hits += interval.low <= 0.12 <= interval.high
    assert 0.91 <= hits / 500 <= 0.98


def test_bootstrap_of_one_value_has_no_interval() -> None:
    interval = paired_bootstrap([0.5])
    assert interval.mean == 0.5
    assert math.isnan(interval.low)
    assert math.isnan(interval.high)


def test_sign_flip_is_scipys_exact() -> None:
    rng = np.random.default_rng(4)
    for n in (3, 6, 9):
        a, b = rng.normal(0.5, 1, n), rng.normal(0, 1, n)
        expected = scipy.stats.permutation_test(
            (a, b), lambda x, y: np.mean(x - y), permutation_type="samples", vectorized=False
        ).pvalue
        assert sign_flip_test(a - b) == pytest.approx(expected, abs=1e-12)


def test_sign_flip_sampled_agrees_with_mcnemar() -> None:
    """With differences of -1, 0, 1 the test is the exact sign test: 40 won, 14 lost of 400."""
    data = np.r_[np.ones(40), -np.ones(14), np.zeros(346)]
    expected = scipy.stats.binomtest(14, 54).pvalue
    assert sign_flip_test(data, permutations=200_000) == pytest.approx(expected, abs=2e-4)


def test_sign_flip_extremes() -> None:
    assert sign_flip_test(np.zeros(50)) == 1.0
    assert sign_flip_test(np.full(60, 0.1)) == pytest.approx(1 / 10_001)
    assert sign_flip_test([1.0]) == 1.0


def test_sign_flip_is_uniform_under_the_null() -> None:
    rng = np.random.default_rng(8)
    p = [sign_flip_test(rng.normal(size=40), seed=i, permutations=400) for i in range(300)]
    assert scipy.stats.kstest(p, "uniform").pvalue > 0.001


def test_holm() -> None:
    assert holm([0.01, 0.04, 0.03, 0.005]) == pytest.approx([0.03, 0.06, 0.06, 0.02])
    assert holm([0.9, 0.8]) == [1.0, 1.0]
    assert holm([]) == []


def test_detectable_effect_has_the_power_it_says() -> None:
    rng = np.random.default_rng(2)
    data = rng.normal(0, 2, 100)
    effect = detectable_effect(data)
    assert effect == pytest.approx(2.8 * data.std(ddof=1) / 10)
    found = [scipy.stats.ttest_1samp(rng.normal(0.56, 2, 100), 0).pvalue < 0.05 for _ in range(1000)]
    assert 0.74 < np.mean(found) < 0.86  # 0.56 = 2.8 * 2 / sqrt(100)


@pytest.mark.parametrize(
    "call",
    [
        lambda: win_rate([1.0], [1.0, 2.0]),
        lambda: win_rate([], []),
        lambda: paired_bootstrap([1.0, math.nan]),
        lambda: sign_flip_test([]),
        lambda: frechet_distance([0.0], [[1.0]], [0.0, 1.0], np.eye(2)),
        lambda: frechet_distance([0.0], [[math.nan]], [0.0], [[1.0]]),
    ],
)
def test_bad_input_is_one_clear_error(call) -> None:
    with pytest.raises(InputError, match="Expected"):
        call()
