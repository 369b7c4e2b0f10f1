"""Evaluations of the fake pipeline."""

from __future__ import annotations

import dataclasses
from pathlib import Path

from noiseprompt.core.types import EvalResult, Prompt
from noiseprompt.methods.base import MethodSpec
from noiseprompt.stages.evaluate.evaluate import evaluate
from noiseprompt.stages.evaluate.plan import EvaluateConfig
from tests.evaluation_fakes import FakeChecker, FakePipeline, FakeScorer

PROMPTS = [Prompt(f"a thing numbered {i}", kind="odd" if i % 2 else "even") for i in range(7)]
METHODS = ("standard", "redenoise", "redenoise:swap", "redenoise:strength=0")
CONFIG = EvaluateConfig(num_seeds=2, batch_size=4)


def run(out: Path, pipeline: FakePipeline | None = None, config=CONFIG, methods=METHODS, prompts=PROMPTS, scorers=None):
    specs = [MethodSpec.parse(m) for m in methods]
    return evaluate(pipeline or FakePipeline(), prompts, scorers or [FakeChecker(), FakeScorer()], specs, config, out)  # type: ignore[arg-type]


def timeless(results: list[EvalResult]) -> list[EvalResult]:
    return [dataclasses.replace(r, noise_seconds=0.0, sample_seconds=0.0) for r in results]
