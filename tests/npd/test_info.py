"""What a data set holds, in figures."""

from __future__ import annotations

import pytest

from noiseprompt.npd import Npd
from noiseprompt.npd.info import filter_rates, info
from tests.npd_fakes import write


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
