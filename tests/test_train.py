"""Training: what is learned, what is read, and that an interrupted run ends as an uninterrupted one."""

from __future__ import annotations

import hashlib
import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from noiseprompt.errors import ConfigError, InputError
from noiseprompt.noise import initial_noise
from noiseprompt.npd_writer import NpdWriter
from noiseprompt.npnet import NPNet
from noiseprompt.store import Npd, PairFilter
from noiseprompt.train import TrainConfig, learning_rate, train
from noiseprompt.train_data import PairData, cache_embeds, select_pairs
from noiseprompt.types import Prompt, ScoredPair

SHAPE = (4, 8, 8)
CONFIG = TrainConfig(
    architecture="tokens",
    sizes={"width": 16, "depth": 1, "heads": 2, "patch": 4},
    epochs=2,
    batch_size=16,
    lr=3e-3,
    warmup_steps=2,
    ema_decay=0.9,
    validation_share=0.2,
    checkpoint_every=4,
    validate_every=4,
)


def embedding(text: str) -> np.ndarray:
    seed = int(hashlib.sha256(text.encode()).hexdigest()[:8], 16)
    return np.random.default_rng(seed).standard_normal((3, 8)).astype(np.float32)


class FakePipeline:
    name = "fake"
    family = SimpleNamespace(name="fake")
    device = torch.device("cpu")

    def __init__(self) -> None:
        self.encoded: list[str] = []

    def encode(self, texts):
        self.encoded += texts
        return SimpleNamespace(prompt_embeds=torch.from_numpy(np.stack([embedding(t) for t in texts])))


@pytest.fixture
def npd(tmp_path: Path) -> Npd:
    """150 pairs of 75 prompts whose perturbation is a linear function of the prompt's first embedding values."""
    with NpdWriter(tmp_path / "npd", {"scorers": ["judge"]}, SHAPE) as writer:
        for i in range(150):
            prompt = Prompt(f"prompt {i % 75}")
            source = initial_noise(i, SHAPE).numpy()
            shift = 0.2 * embedding(prompt.text)[0, :4].reshape(4, 1, 1)
            scores = {"judge": (0.0, 1.0 if i % 3 else -1.0)}
            writer.add(ScoredPair(f"{prompt.id}-{i}", prompt, i, source, source + shift, scores))
    return Npd(tmp_path / "npd")


def test_learns_a_perturbation_that_depends_on_the_prompt(npd: Npd, tmp_path: Path) -> None:
    records = list(train(npd, FakePipeline(), replace(CONFIG, epochs=15, lr=1e-2), tmp_path / "run"))
    assert records[-1].step == records[-1].steps == len(records)
    assert records[-1].best > 0.3  # the mean perturbation alone explains nothing here: shifts have mean 0
    net = NPNet.from_pretrained(tmp_path / "run" / "best")
    gained = lost = 0.0
    for i in range(40):
        pair = npd[i]
        with torch.no_grad():
            predicted = net(torch.from_numpy(pair.source)[None], torch.from_numpy(embedding(pair.prompt.text))[None])
        gained += float((predicted[0] - torch.from_numpy(pair.target)).square().sum())
        lost += float((torch.from_numpy(pair.source) - torch.from_numpy(pair.target)).square().sum())
    assert gained < 0.7 * lost


def test_interrupted_run_ends_bit_equal(npd: Npd, tmp_path: Path) -> None:
    whole = list(train(npd, FakePipeline(), CONFIG, tmp_path / "whole"))
    for i, _ in enumerate(train(npd, FakePipeline(), CONFIG, tmp_path / "parts")):
        if i == 6:  # after the checkpoint of step 4, before that of step 8
            break
    rest = list(train(npd, FakePipeline(), CONFIG, tmp_path / "parts"))
    assert rest[0].step == 5
    assert [r.loss for r in rest] == [r.loss for r in whole[4:]]
    for name in ("best", "last"):
        files = [tmp_path / run / name / "model.safetensors" for run in ("whole", "parts")]
        assert files[0].read_bytes() == files[1].read_bytes()


def test_other_settings_in_the_same_folder_are_refused(npd: Npd, tmp_path: Path) -> None:
    next(train(npd, FakePipeline(), CONFIG, tmp_path / "run"))
    with pytest.raises(ConfigError, match="lr"):
        next(train(npd, FakePipeline(), replace(CONFIG, lr=1e-2), tmp_path / "run"))


def test_each_pair_gets_its_own_prompt_encoded_once(npd: Npd, tmp_path: Path) -> None:
    pipeline = FakePipeline()
    embeds, rows = cache_embeds(npd, pipeline, tmp_path / "embeds.npy")
    assert len(pipeline.encoded) == len(set(pipeline.encoded)) == 75
    data = PairData(npd, embeds, rows)
    chosen = np.array([3, 140, 77])
    source, target, text = data.batch(chosen)
    for k, i in enumerate(chosen):
        pair = npd[int(i)]
        np.testing.assert_array_equal(source[k].numpy(), initial_noise(pair.seed, SHAPE).numpy())
        np.testing.assert_allclose(target[k].numpy(), pair.target)
        np.testing.assert_allclose(text[k].numpy(), embedding(pair.prompt.text).astype(np.float16), atol=1e-6)


def test_validation_shares_no_prompt_with_training(npd: Npd) -> None:
    training, validation = select_pairs(npd, PairFilter(), 0.2)
    prompts = npd.prompts()
    assert not {prompts[i].text for i in training} & {prompts[i].text for i in validation}
    assert len(training) + len(validation) == 150 and len(validation) > 10


def test_filter_is_a_view_chosen_at_training(npd: Npd) -> None:
    training, validation = select_pairs(npd, PairFilter(("judge",)), 0.2)
    assert len(training) + len(validation) == 100
    with pytest.raises(InputError, match="keeps 0 training"):
        select_pairs(npd, PairFilter(("judge",), margin=5.0), 0.2)


def test_fine_tuning_starts_from_the_given_network(npd: Npd, tmp_path: Path) -> None:
    list(train(npd, FakePipeline(), replace(CONFIG, epochs=6), tmp_path / "first"))
    fresh = list(train(npd, FakePipeline(), CONFIG, tmp_path / "fresh"))
    tuned = list(train(npd, FakePipeline(), replace(CONFIG, init=str(tmp_path / "first" / "best")), tmp_path / "tuned"))
    assert tuned[0].loss < fresh[0].loss


def test_metrics_file_tells_the_share_explained(npd: Npd, tmp_path: Path) -> None:
    records = list(train(npd, FakePipeline(), CONFIG, tmp_path / "run"))
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["step"] == records[-1].step
    assert lines[-1]["explained"] == pytest.approx(records[-1].explained)


def test_learning_rate_warms_up_and_decays() -> None:
    config = replace(CONFIG, lr=1.0, warmup_steps=10)
    rates = [learning_rate(config, step, 110) for step in range(110)]
    assert rates[0] == pytest.approx(0.1) and rates[9] == pytest.approx(1.0)
    assert rates[60] == pytest.approx(0.505, abs=1e-6)
    assert 0.01 <= rates[-1] < 0.012


def test_unknown_size_is_refused(npd: Npd, tmp_path: Path) -> None:
    with pytest.raises(ConfigError, match="wdith"):
        next(train(npd, FakePipeline(), replace(CONFIG, sizes={"wdith": 3}), tmp_path / "run"))
