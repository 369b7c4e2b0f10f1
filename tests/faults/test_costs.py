"""Numbers within a range of their own that nobody can wait for are refused at once, before anything is written."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from noiseprompt import Pipeline, winning_noise
from noiseprompt.core.errors import InputError, NoisepromptError, ShapeError
from noiseprompt.core.types import Prompt
from noiseprompt.methods.base import MethodSpec
from noiseprompt.npnet import build, tokens_config
from noiseprompt.shapes.settings import FeatureConfig, Phase, PreferenceConfig, WorldConfig
from noiseprompt.stages.collect.collect import collect
from noiseprompt.stages.collect.pictures import collect_pictures
from noiseprompt.stages.collect.settings import CollectConfig
from noiseprompt.stages.evaluate.evaluate import evaluate
from noiseprompt.stages.evaluate.plan import EvaluateConfig
from noiseprompt.stages.generate.generate import generate
from noiseprompt.stages.generate.settings import GenerateConfig
from noiseprompt.stages.train.settings import TrainConfig
from tests import tiny
from tests.evaluation_fakes import FakeScorer

ONE, STANDARD = [Prompt("a cat")], [MethodSpec.parse("standard")]
PHASE: dict[str, Any] = {"lr": 1e-3, "warmup": 0, "clean_share": 1.0, "unrelated": 0.0, "altered": 0.0}


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    return Pipeline(tiny.stable_diffusion())


def test_a_model_draws_up_to_eight_times_a_side(pipeline: Pipeline) -> None:
    height, width = pipeline.default_size
    unit = pipeline.family.multiple(pipeline.pipe)
    assert pipeline.latent_shape(8 * height, 8 * width)[1:] == tuple(8 * side for side in pipeline.latent_shape()[1:])
    for size in ((8 * height + unit, width), (height, 8 * width + unit), (16_384, None)):
        with pytest.raises(ShapeError, match=rf"made for {height} x {width} pixels.* {8 * height} x {8 * width}, 8"):
            pipeline.latent_shape(*size)


def test_a_model_that_does_not_tell_its_size_draws_what_is_asked(pipeline: Pipeline) -> None:
    own = Pipeline(tiny.stable_diffusion())
    own.pipe.unet.register_to_config(sample_size="x")
    assert own.latent_shape(1024, 1024)


def commands(pipeline: Pipeline, out: Path, **how: Any) -> dict[str, Any]:
    pictures = CollectConfig(pictures="drawn", **how)
    return {
        "collect": lambda: list(collect(pipeline, ONE, [FakeScorer()], CollectConfig(**how), out)),
        "pictures": lambda: list(collect_pictures(pipeline, ONE, [FakeScorer()], pictures, out)),
        "generate": lambda: list(generate(pipeline, ONE, [0], STANDARD, GenerateConfig(**how), out)),
        "evaluate": lambda: list(evaluate(pipeline, ONE, [FakeScorer()], STANDARD, EvaluateConfig(**how), out)),
    }


@pytest.mark.parametrize("how", [{"num_inference_steps": 1_000_000}, {"height": 16_384, "width": 16_384}])
@pytest.mark.parametrize("command", ["collect", "pictures", "generate", "evaluate"])
def test_it_is_told_before_anything_is_written(
    command: str, how: dict[str, Any], pipeline: Pipeline, tmp_path: Path
) -> None:
    with pytest.raises(InputError, match=r"num_inference_steps 1000000\. Exp|image size 16384 x 16384") as told:
        commands(pipeline, tmp_path / "o", **how)[command]()
    assert "in a row" not in str(told.value)
    assert not (tmp_path / "o").exists()


@pytest.mark.parametrize(
    ("kind", "name", "others"),
    [
        (TrainConfig, "epochs", {}),
        (WorldConfig, "vae_steps", {}),
        (WorldConfig, "num_scenes", {}),
        (PreferenceConfig, "steps", {}),
        (FeatureConfig, "steps", {}),
        (Phase, "steps", PHASE),
    ],
)
def test_a_training_has_an_end(kind: Any, name: str, others: dict[str, Any]) -> None:
    assert kind(**{name: 10_000}, **others)
    with pytest.raises(NoisepromptError, match=rf"{name} 1000000000. Expected a whole number from 1 to 1"):
        kind(**{name: 10**9}, **others)


def test_a_range_is_held_by_its_ends(pipeline: Pipeline) -> None:
    net = build(tokens_config((4, 8, 8), 3, 8))
    with pytest.raises(InputError, match="seeds"):
        winning_noise(pipeline, net, "a cat", seeds=range(10**12))
