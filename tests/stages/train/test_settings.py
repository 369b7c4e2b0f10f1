"""Settings of a training: out of range, sizes, and the learning rate."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import pytest

from noiseprompt.core.errors import ConfigError, InputError
from noiseprompt.npd import Npd
from noiseprompt.stages.train.settings import TrainConfig, learning_rate
from noiseprompt.stages.train.train import train
from tests.train_fakes import CONFIG, FakePipeline


def test_learning_rate_warms_up_and_decays() -> None:
    config = replace(CONFIG, lr=1.0, warmup_steps=10)
    rates = [learning_rate(config, step, 110) for step in range(110)]
    assert rates[0] == pytest.approx(0.1) and rates[9] == pytest.approx(1.0)
    assert rates[60] == pytest.approx(0.505, abs=1e-6)
    assert 0.01 <= rates[-1] < 0.012


def test_unknown_size_is_refused(npd: Npd, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="wdith"):
        next(train(npd, FakePipeline(), replace(CONFIG, sizes={"wdith": 3}), tmp_path / "run"))


@pytest.mark.parametrize(
    "wrong",
    [
        {"validate_every": 0},
        {"checkpoint_every": 0},
        {"batch_size": 0},
        {"epochs": 0},
        {"lr": 0.0},
        {"lr": float("inf")},
        {"lr": "1e-3"},
        {"grad_clip": 0.0},
        {"ema_decay": 1.0},
        {"validation_share": 1.0},
        {"weight_decay": float("nan")},
        {"max_pairs": -1},
        {"seed": 2**32},
        {"mixed_precision": "fp8"},
        {"architecture": "big"},
        {"margin": float("nan")},
        {"combine": "most"},
    ],
    ids=str,
)
def test_a_setting_out_of_range_is_refused_when_it_is_made(wrong: dict) -> None:
    with pytest.raises(InputError, match=next(iter(wrong))):
        replace(CONFIG, **wrong)


def test_all_wrong_settings_are_told_at_once() -> None:
    with pytest.raises(
        ConfigError, match=r"epochs 0, lr -1.*epochs: a whole number from 1 to 10,000, lr: a number above 0"
    ):
        TrainConfig(epochs=0, lr=-1)
