"""Numbers that are allowed come to an end, and a guidance scale is one that a picture can be drawn with."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from noiseprompt.cli import common, main
from noiseprompt.core.errors import NoisepromptError
from noiseprompt.core.types import Prompt, Redenoising, Sampling, StartLevel
from noiseprompt.engines.options import Sharing
from noiseprompt.methods.base import MethodSpec
from noiseprompt.shapes.settings import FeatureConfig, Phase, PreferenceConfig, WorldConfig
from noiseprompt.stages.collect.collect import pair_seeds
from noiseprompt.stages.collect.settings import CollectConfig
from noiseprompt.stages.evaluate.plan import EvaluateConfig
from noiseprompt.stages.generate.settings import GenerateConfig, check
from noiseprompt.stages.train.settings import TrainConfig

COUNTS = [
    "search:rounds", "search:n", "prune:n", "best_of_n:n", "redenoise:rounds", "repaint:rounds", "nlg:rounds",
    "initno:rounds", "initno:iterations", "initno:final_iterations", "reward_gradient:iterations",
]  # fmt: skip
SCALES = [
    "redenoise:denoise_guidance_scale", "redenoise:invert_guidance_scale", "closed_form:denoise_guidance_scale",
    "closed_form:invert_guidance_scale", "repaint:guidance_scale", "reward_gradient:guidance_scale",
]  # fmt: skip
RECORDS: dict[str, Any] = {
    "guidance_scale": (Sampling, CollectConfig, EvaluateConfig, GenerateConfig, TrainConfig),
    "denoise_guidance_scale": (Redenoising, CollectConfig),
    "invert_guidance_scale": (Redenoising, CollectConfig),
}

FACTORS = [
    "nlg:step", "nlg:max_move", "reward_gradient:lr", "reward_gradient:norm_weight", "initno:lr", "initno:kl_limit",
    "initno:kl_weight",
]  # fmt: skip
PHASE = {"steps": 1, "lr": 1e-3, "warmup": 0, "clean_share": 1.0, "unrelated": 0.0, "altered": 0.0}
PICTURE, REWARD = {"objective": "picture", "architecture": "tokens"}, {"objective": "reward"}
OVERFLOWING: list[Any] = [
    (TrainConfig, "lr", {}), (TrainConfig, "weight_decay", {}), (TrainConfig, "coupling_sharpness", PICTURE),
    (TrainConfig, "reward_hinge", REWARD), (TrainConfig, "anchor_weight", REWARD), (Phase, "lr", PHASE),
    (Phase, "snr_floor", PHASE), (Phase, "layout_weight", PHASE), (WorldConfig, "vae_lr", {}),
    (PreferenceConfig, "lr", {}), (FeatureConfig, "lr", {}), (StartLevel, "signal", {"noise": 1.0}),
]  # fmt: skip
"""Record, a setting that multiplies, and what else it takes: beyond 32 bits the blame falls on something else."""


@pytest.mark.parametrize("option", COUNTS)
@pytest.mark.parametrize("number", [10_001, 99999999999999999])
def test_what_a_method_does_again_and_again_has_an_end(option: str, number: int) -> None:
    assert MethodSpec.parse(f"{option}=10000").options
    with pytest.raises(NoisepromptError, match=f"{option}.*{number}.*to 10,000"):
        MethodSpec.parse(f"{option}={number}")


@pytest.mark.parametrize("number", ["-1e308", "1e308", "1001", "-1000.5"])
@pytest.mark.parametrize("option", SCALES)
def test_a_guidance_scale_of_a_method(option: str, number: str) -> None:
    with pytest.raises(NoisepromptError, match=f"{option}.*from (-1,000|1) to 1,000"):
        MethodSpec.parse(f"{option}={number}")


@pytest.mark.parametrize("option", FACTORS)
def test_a_factor_of_a_method_does_not_overflow(option: str) -> None:
    assert MethodSpec.parse(f"{option}=1000000").options
    with pytest.raises(NoisepromptError, match=rf"{option}=1e\+39.* to 1,000,000"):
        MethodSpec.parse(f"{option}=1e39")


@pytest.mark.parametrize(("kind", "name", "others"), OVERFLOWING)
def test_a_factor_of_a_training_does_not_overflow(kind: Any, name: str, others: dict[str, Any]) -> None:
    kind(**{**others, name: 1000})
    with pytest.raises(NoisepromptError, match=rf"{name} 1e\+39.* to 1,000"):
        kind(**{**others, name: 1e39})


def test_a_loss_of_initno_lies_in_0_to_1() -> None:
    for option in ("response_limit", "conflict_limit"):
        assert MethodSpec.parse(f"initno:{option}=1").options
        with pytest.raises(NoisepromptError, match=f"initno:{option}=2.0. Expected a number from 0 to 1"):
            MethodSpec.parse(f"initno:{option}=2")


def test_noises_that_a_picture_is_offered_have_an_end() -> None:
    how: dict[str, Any] = {"objective": "picture", "architecture": "tokens", "coupling": "nearest"}
    with pytest.raises(NoisepromptError, match=r"nearest_noises 100000000.* from 2 to 1,000"):
        TrainConfig(**how, nearest_noises=100_000_000)


@pytest.mark.parametrize("name", RECORDS)
def test_a_guidance_scale_of_a_run(name: str) -> None:
    for record in RECORDS[name]:
        with pytest.raises(NoisepromptError, match=rf"{name} -1e\+308.*from (-1,000|1) to 1,000"):
            record(**{name: -1e308})


@pytest.mark.parametrize("command", [["collect", "--prompts=shapes:train"], ["generate", "a red circle"], ["evaluate"]])
def test_a_guidance_scale_on_the_command_line(
    command: list[str], tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(common, "load_model", lambda *_: pytest.fail("a model was loaded"))
    assert main([*command, f"--out={tmp_path / 'o'}", "--guidance_scale=-1e308"]) == 2
    told = capsys.readouterr().err
    assert "guidance_scale" in told and "from -1,000 to 1,000" in told and told.count("\n") == 1


@pytest.mark.parametrize(("kind", "name"), [(CollectConfig, "seeds_per_prompt"), (EvaluateConfig, "num_seeds")])
def test_seeds_of_a_prompt_have_an_end(kind: Any, name: str) -> None:
    assert kind(**{name: 10_000})
    with pytest.raises(NoisepromptError, match=rf"{name} 10001. Expected a whole number from 1 to 10,000"):
        kind(**{name: 10_001})


def test_many_seeds_of_a_prompt_are_distinct_and_of_its_range() -> None:
    seeds = pair_seeds(Prompt("a cat", seed=7), CollectConfig(seeds_per_prompt=1000, seed_range=(0, 1024)))
    assert seeds[0] == 7 and len({*seeds}) == 1000 and max(seeds) <= 1024


def test_a_range_is_a_list() -> None:
    assert EvaluateConfig(seeds=range(3)).seeds == [0, 1, 2]  # type: ignore[arg-type]
    check([Prompt("a cat")], range(2), [MethodSpec.parse("standard")])
    for endless in (range(10**15), range(-1, 1)):
        with pytest.raises(NoisepromptError, match="seed"):
            EvaluateConfig(seeds=endless)  # type: ignore[arg-type]


def test_workers_have_an_end() -> None:
    with pytest.raises(NoisepromptError, match=r"workers 99999999999.*to 1,024"):
        Sharing(engine="local", workers=99999999999)
