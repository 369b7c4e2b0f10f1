"""What a data set holds, in figures."""

from __future__ import annotations

import pytest

from noiseprompt.core.errors import StoreError
from noiseprompt.npd import Npd, NpdWriter
from noiseprompt.npd.info import filter_rates, info
from noiseprompt.npd.sample import is_scored
from tests.npd_fakes import SETTINGS, SHAPE, pair, write


def test_info(tmp_path):
    found = info(write(tmp_path))
    assert (found["pairs"], found["usable"], found["shards"]) == (6, 5, 2)
    assert found["rejected"] == {"target noise is not finite": 1}
    assert found["scores"]["a"]["gain"] == pytest.approx((0.125 - 0.25 + 0 + 0.0625 + 2) / 5)
    rates = found["filter_rates"]
    assert rates["a"] == pytest.approx({0.0: 0.4, 0.005: 0.4, 0.01: 0.4, 0.02: 0.4})
    assert filter_rates(Npd(tmp_path), [0.0625])["a"] == pytest.approx({0.0625: 0.6})
    assert rates["a+b"][0.0] == pytest.approx(1.0)
    assert rates["any of a, b"][0.0] == pytest.approx(0.2)


def test_of_a_sample_the_figures_are_those_of_the_sample(tmp_path):
    settings = {**SETTINGS, "scored_share": 0.5}
    every = {"a": (0.0, 1.0), "b": (1.0, 0.0)}
    wanted = [is_scored(pair(i).id, settings) for i in range(12)]
    assert 0 < sum(wanted) < 12
    with NpdWriter(tmp_path, settings, SHAPE, shard_size=5) as writer:
        for i, one in enumerate(wanted):
            with pytest.raises(StoreError, match="scores of"):
                writer.add(pair(i, {} if one else every))
            writer.add(pair(i, every if one else {}))
        writer.add(pair(12, rejected="why not"))
    found = info(tmp_path)
    assert (found["usable"], found["scored"]) == (12, sum(wanted))
    assert found["scores"]["a"] == {"source": 0.0, "target": 1.0, "gain": 1.0}
    assert found["filter_rates"]["a"][0.0] == 0.0 and found["filter_rates"]["b"][0.0] == 1.0
