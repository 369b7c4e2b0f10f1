"""Methods are told how the run samples, by both stages that draw."""

from __future__ import annotations

import pytest

from noiseprompt.core.types import Prompt, Sampling
from noiseprompt.methods.base import MethodSpec
from noiseprompt.methods.standard import Standard
from noiseprompt.methods.table import METHODS
from noiseprompt.stages.evaluate.evaluate import evaluate
from noiseprompt.stages.evaluate.plan import EvaluateConfig
from noiseprompt.stages.generate.generate import generate
from noiseprompt.stages.generate.settings import GenerateConfig
from tests.methods.stubs import Brightness, pipeline


@pytest.mark.parametrize("stage", ["evaluate", "generate"])
def test_the_stage_tells(stage, monkeypatch, tmp_path) -> None:
    told = []

    class Witness(Standard):
        name = "witness"

        def prepare(self, pipeline, sampling) -> None:
            told.append(sampling)

    monkeypatch.setitem(METHODS._entries, "witness", Witness)
    specs = [MethodSpec.parse(name) for name in ("standard", "witness")]
    how = {"guidance_scale": 1.0, "num_inference_steps": 1, "height": 64, "width": 128}
    prompts = [Prompt("a red cat")]
    if stage == "evaluate":
        list(evaluate(pipeline(), prompts, [Brightness()], specs, EvaluateConfig(**how), tmp_path))
    else:
        list(generate(pipeline(), prompts, [0], specs, GenerateConfig(**how), tmp_path))
    assert told == [Sampling(1.0, 1, 64, 128)]
