"""The page's work on an accelerator that is pretended: what is drawn there and looked at here."""

from __future__ import annotations

import pytest

from noiseprompt.pipelines import Pipeline
from noiseprompt.pipelines.options import ModelOptions
from noiseprompt.web.desk import Desk
from noiseprompt.web.folders import Reports
from noiseprompt.web.studio import Studio
from tests import tiny
from tests.devices import DEVICE, accelerator


def test_pictures_and_noises_come_back(monkeypatch: pytest.MonkeyPatch) -> None:
    with accelerator():
        pipe = Pipeline(tiny.stable_diffusion().to(DEVICE))
        monkeypatch.setattr(Pipeline, "load", lambda *_: pipe)
        studio = Studio(["there"], "redenoise,closed_form:strength=0.5", None, ModelOptions(device="cpu"))
        desk = Desk(studio, Reports(None), repr)
        form = ("there", "a cat", ["redenoise", "closed_form:strength=0.5"], 1.0, 3.0, 2)
        drawn, looked = list(desk.draw(*form, "0-1"))[-1], list(desk.look(*form, 0))[-1]
    assert "6 pictures" in drawn.status and drawn.result.count("<figure") == 6
    assert "Done" in looked.status and len(looked.pictures) == 5
