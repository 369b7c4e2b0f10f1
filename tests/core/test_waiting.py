"""What is waited for is told once, after a while, and only where somebody else holds it."""

from __future__ import annotations

import warnings

import pytest

from noiseprompt.core import waiting
from noiseprompt.core.errors import NoisepromptWarning
from noiseprompt.core.holders import Holder
from noiseprompt.core.waiting import Waiting

OTHER, OWN = Holder("", 0, "", False), Holder("here", 7, "now", False, own=True)


def test_it_is_told_once_and_only_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    clock = [100.0]
    monkeypatch.setattr(waiting.time, "monotonic", lambda: clock[0])
    told = Waiting("out", 120, lambda: {"mine": OWN, "batch-000003": OTHER})
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        told.on()
        clock[0] += 4
        told.on()
        told.over()
        told.on()
        clock[0] += 4
        told.on()
    clock[0] += 2
    with pytest.warns(
        NoisepromptWarning, match="out: waiting for batch-000003, which an unknown process holds; .*120 s"
    ):
        told.on()
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        clock[0] += 100
        told.on()


def test_nobody_is_named_where_nobody_holds_anything(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(waiting, "SILENT", -1.0)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Waiting("out", 120, lambda: {"mine": OWN}).on()
