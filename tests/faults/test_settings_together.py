"""Settings that are right alone and wrong together, numbers of NumPy, and arguments that there are not."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from noiseprompt import PairFilter, initial_noise, mix_noise, perturb_noise, register_scorer, winning_noise
from noiseprompt.cli import common, main
from noiseprompt.cli.entry import option_parser
from noiseprompt.cli.options import read_options
from noiseprompt.cli.table import COMMANDS
from noiseprompt.core.config import parse_yaml, to_dict
from noiseprompt.core.errors import ConfigError, InputError, NoiseError, NoisepromptError, ShapeError
from noiseprompt.core.pictures import png
from noiseprompt.core.types import Prompt, Sampling
from noiseprompt.methods.base import MethodSpec
from noiseprompt.modular import NoiseBlock, with_noise
from noiseprompt.noise.figures import noise_spectrum
from noiseprompt.pipelines.options import ModelOptions
from noiseprompt.pipelines.samplers import parse_scheduler
from noiseprompt.prompts import load_prompts
from noiseprompt.shapes.settings import Phase, WorldConfig
from noiseprompt.stages.collect.collect import find_teacher
from noiseprompt.stages.collect.settings import CollectConfig
from noiseprompt.stages.evaluate.plan import EvaluateConfig
from noiseprompt.stages.generate.grid import grid
from noiseprompt.stages.train.settings import TrainConfig
from tests.pipelines.tiny_pair import tiny_pipeline

PHASE = {"steps": 1, "lr": 0.1, "warmup": 0, "clean_share": 0.0}

TOGETHER: dict[str, tuple[Callable[[], Any], str]] = {
    "shares of captions": (lambda: Phase(**PHASE, unrelated=0.7, altered=0.7), "at most 1 together"),
    "shares of captions and empty ones": (
        lambda: WorldConfig(phases=(Phase(**PHASE, unrelated=0.5, altered=0.4),), empty=0.2),
        "empty 0.2, unrelated 0.5, altered 0.4 of phase 1",
    ),
    "seeds and their number": (lambda: EvaluateConfig(seeds=(0, 1), num_seeds=3), "2 seeds with num_seeds 3"),
    "seeds and their range": (lambda: EvaluateConfig(seeds=(0,), seed_range=(5, 9)), "seeds with seed_range 5-9"),
    "scores that nothing combines": (lambda: TrainConfig(combine="any"), "combine any and no scorers"),
    "a size of the data": (lambda: TrainConfig(sizes={"latent_shape": [4, 8, 8]}), "sizes: latent_shape.*follows from"),
    "half a size": (lambda: TrainConfig(sizes={"width": 16.5}), r"sizes: width 16\.5.*a whole number from 1"),
    "a size that there is not": (lambda: TrainConfig(sizes={"widht": 16}), "sizes: widht.*some of .*width"),
    "an edge beyond all models": (lambda: CollectConfig(height=100_000), "from 1 to 16,384"),
}


@pytest.mark.parametrize("kind", TOGETHER)
def test_what_is_wrong_together_is_refused(kind: str) -> None:
    make, told = TOGETHER[kind]
    with pytest.raises(ConfigError, match=told):
        make()
    assert EvaluateConfig(seeds=(0, 1), num_seeds=2).num_seeds == 2


def test_numbers_of_numpy_are_numbers(tmp_path: Path) -> None:
    config = TrainConfig(epochs=np.int64(3), lr=np.float32(0.5), tensorboard=np.bool_(True))  # type: ignore[arg-type]
    assert to_dict(config)["epochs"] == 3 and type(config.epochs) is int and config.tensorboard is True
    assert EvaluateConfig(seeds=np.arange(3)).seeds == [0, 1, 2]  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"epochs 2\.0"):
        TrainConfig(epochs=np.float64(2))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="a whole number"):
        EvaluateConfig(seeds=np.array([0.0, 1.0]))  # type: ignore[arg-type]
    (tmp_path / "p.txt").write_text("a\nb\nc\n")
    assert len(load_prompts(tmp_path / "p.txt", limit=np.int64(2)).prompts) == 2  # type: ignore[arg-type]


@pytest.mark.parametrize("call", [NoiseBlock, lambda **k: with_noise(None, **k), lambda **k: winning_noise(1, "", **k)])
def test_an_argument_that_there_is_not_is_told_with_those_there_are(call: Callable[..., Any]) -> None:
    with pytest.raises(InputError, match=r"\(\): .*'strenght'.*Expected the arguments .*strength"):
        call(strenght=1.0)


@pytest.mark.parametrize(
    "method", ["redenoise:steps=5000", "closed_form:steps=5000", "repaint:steps=5000", "nlg:num_inference_steps=5000"]
)
def test_a_grid_that_the_model_lacks_is_told_by_its_option(
    method: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(common, "load_model", lambda *_: tiny_pipeline("stable_diffusion"))
    assert main(["generate", "a cat", "--methods", method, "--seeds=0", "--out", str(tmp_path / "o")]) == 2
    assert f"error: {method}. Expected 1 to 1,000." in capfd.readouterr().err


def test_a_method_of_no_strength_teaches_nothing() -> None:
    with pytest.raises(InputError, match=r"strength=0.*an NPNet can learn from"):
        find_teacher(tiny_pipeline("stable_diffusion"), CollectConfig(method="redenoise:strength=0"))
    assert MethodSpec.parse("redenoise:strength=0.5").strength == 0.5


@pytest.mark.parametrize(
    ("scheduler", "told"),
    [
        ("ddpm:variance_type=huge", "variance_type 'huge'. Expected one of fixed_small"),
        ("euler:sigma_min=5,sigma_max=1", "sigma_min 5 with sigma_max 1"),
        ("dpm++:dynamic_thresholding_ratio=5", "dynamic_thresholding_ratio 5"),
        ("lcm:original_inference_steps=0", "original_inference_steps 0"),
        ("ddim:num_train_timesteps=10000000000", "from 1 to 10,000"),
        ("ddim:num_train_timesteps=1000000", "num_train_timesteps 1000000. Expected a whole number from 1 to 10,000"),
        ("ddim:clip_sample_range=0", "clip_sample_range 0. Expected a number above 0"),
    ],
)
def test_settings_of_a_scheduler_that_it_would_take_in_silence(scheduler: str, told: str) -> None:
    with pytest.raises(NoisepromptError, match=told):
        parse_scheduler(scheduler)


def test_numbers_of_numpy_reach_functions_and_prompts() -> None:
    noise = torch.randn(1, 1, 2, 2)
    assert torch.equal(mix_noise(noise, -noise, np.float32(0)), noise)  # type: ignore[arg-type]
    assert type(Prompt("a", seed=np.int64(3)).seed) is int  # type: ignore[arg-type]
    with pytest.raises(InputError, match=r"mix_noise\(\): missing a required argument: 'amount'"):
        mix_noise(noise, noise)  # type: ignore[call-arg]
    with pytest.raises(InputError, match=r"initial_noise\(\): .*Expected the arguments seed, shape"):
        initial_noise(sead=0, shape=(1,))  # type: ignore[call-arg]


def test_a_step_down_of_another_shape_is_refused() -> None:
    pipeline = tiny_pipeline("stable_diffusion")
    latents = torch.randn(1, *pipeline.latent_shape())
    with pytest.raises(ShapeError, match="one shape for both"):
        pipeline.redenoise(pipeline.encode(["a"]), latents, lower=latents[:, :, :4])


def test_subjects_are_words() -> None:
    with pytest.raises(InputError, match=r"initno:tokens=cat\+\. Expected words"):
        MethodSpec.parse("initno:tokens=cat+")


@pytest.mark.parametrize(("height", "width"), [(8, 4096), (4096, 8)])
def test_strips_have_a_place_in_the_grid(height: int, width: int, tmp_path: Path) -> None:
    (tmp_path / "a.png").write_bytes(png(np.zeros((height, width, 3), np.uint8)))
    made = grid(tmp_path, {("a cat", 0): ["a.png"]}, ["standard"])
    assert 50 < made.height <= 8 * 160 + 100


def test_a_spectrum_is_of_finite_noise() -> None:
    with pytest.raises(NoiseError, match="1 of 16 values"):
        noise_spectrum(np.where(np.arange(16) == 3, np.inf, 0.0).reshape(1, 1, 4, 4))


def test_the_entry_of_a_mapping_that_is_wrong_is_named() -> None:
    command: Any = COMMANDS["train"]
    sizes = {"width": 16, "depth": 1, "swin_depths": [2, 2, 6, 2], "family": "flux"}
    _, mistakes = read_options(option_parser(command), {"sizes": sizes})
    assert mistakes[0].startswith('sizes: family: "flux" (expected ')
    _, mistakes = read_options(option_parser(command), {"sizes": "{width: 16, architecture: paper}"})
    assert mistakes[0].startswith('sizes: architecture: "paper" (expected ')


@pytest.mark.parametrize(
    "tag", ["!!set {a}", "!!binary aGk=", "!!omap [a: 1]", "!!pairs [a: 1]", "!!timestamp 2024-01-01"]
)
def test_values_of_yaml_alone_are_refused(tag: str) -> None:
    with pytest.raises(ConfigError, match=r"line 1: the tag !!.*plain"):
        parse_yaml(f"a: {tag}\n", "c.yaml")


def test_a_model_of_tables_is_named_and_no_path(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "on").mkdir()
    (tmp_path / "on" / "shapes.yaml").write_text("model: shapes\n")
    (tmp_path / "r.yaml").write_text("rows: {A: {method: standard}}\n")
    assert main(["run", str(tmp_path / "r.yaml"), "--on=../on/shapes", "--out", str(tmp_path / "o")]) == 2
    assert "--on ../on/shapes. Expected one of shapes" in capfd.readouterr().err
    assert sorted(path.name for path in tmp_path.iterdir()) == ["on", "r.yaml"]


@pytest.mark.parametrize("record", [Prompt, PairFilter, ModelOptions, EvaluateConfig, TrainConfig, Sampling])
def test_a_word_that_a_record_has_not_is_told_with_those_it_has(record: Any) -> None:
    with pytest.raises(InputError, match=rf"{record.__name__}\(\): .*'(nosuch|text)'.* Expected the arguments \w+, "):
        record(nosuch=1)


def test_a_call_tells_of_a_word_that_it_has_not() -> None:
    with pytest.raises(InputError, match="missing a required argument: 'factory'"):
        register_scorer("x")  # type: ignore[call-arg]
    with pytest.raises(InputError, match=r"perturb_noise\(\): no argument 'strenght'.* Did you mean 'strength'\?"):
        perturb_noise(strenght=1)  # type: ignore[call-arg]
