"""Intervals as they come: the numbers of the formulas, and silence where nothing is known."""

from __future__ import annotations

import numpy as np
import pytest

from noiseprompt.results.summary import ACCURACY
from noiseprompt.web.charts import standings
from noiseprompt.web.standings import CAUTION, Standings
from noiseprompt.web.studio import Drawn
from noiseprompt.web.verdicts import Verdict

EMPTY = np.zeros((2, 2, 3), np.uint8)


def drawn(method: str, seed: int, score: float, correct: bool | None = None) -> Drawn:
    checked = () if correct is None else (Verdict("shapes-checker", float(correct), correct),)
    return Drawn(method, seed, EMPTY, (*checked, Verdict("judge", score)), 0.1, (), 20, 0.1)


def test_gains_are_paired_by_seed_and_the_interval_is_that_of_the_mean() -> None:
    rng, found = np.random.default_rng(0), Standings()
    base, gains = rng.normal(0, 5, 200), rng.normal(0.5, 1, 200)
    for seed in range(200):
        found.add([drawn("standard", seed, base[seed]), drawn("a", seed, base[seed] + gains[seed])])
    found.add([drawn("a", 999, 1e6)])  # has no partner and counts nowhere
    standard, row = found.of("judge")
    half = 1.96 * gains.std(ddof=1) / np.sqrt(200)
    assert (row.n, standard.n) == (200, 200)
    assert row.gain == pytest.approx(gains.mean()) and row.mean == pytest.approx((base + gains).mean())
    assert row.low == pytest.approx(gains.mean() - half, abs=0.03)
    assert row.high == pytest.approx(gains.mean() + half, abs=0.03)
    assert row.win is not None and (row.win.wins, row.win.losses) == ((gains > 0).sum(), (gains < 0).sum())


def test_no_interval_where_nothing_is_known_of_the_spread() -> None:
    found = Standings()
    found.add([drawn("standard", 0, 1, False), drawn("a", 0, 2, True)])
    assert found.metrics == (ACCURACY, "judge")
    assert (found.of(ACCURACY)[1].gain, found.of(ACCURACY)[1].low) == (1.0, None)
    for seed in range(1, 9):
        found.add([drawn("standard", seed, 1, False), drawn("a", seed, 2 + seed, True)])
    assert found.of(ACCURACY)[1].low is None, "nine equal differences say nothing of the spread"
    assert found.of("judge")[1].low is not None
    html = standings(found, {"standard": "standard", "a": "<a>"}, {"a": "judge"})
    assert "no interval yet" in html and "&lt;a&gt;" in html and "<a>" not in html
    assert "chosen by this scorer: no evidence" in html and CAUTION[:30] in html
