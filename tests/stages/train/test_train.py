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

from noiseprompt.core.errors import (
    ConfigError,
    DivergedError,
    InputError,
    ModelMismatchError,
    NoisepromptWarning,
    StoreLockedError,
)
from noiseprompt.core.types import Prompt, ScoredPair
from noiseprompt.noise import initial_noise
from noiseprompt.npd import Npd, NpdWriter, PairFilter
from noiseprompt.npnet import NPNet
from noiseprompt.pipelines.loading import weights_digest
from noiseprompt.stages.train.data import PairData, cache_embeds, select_pairs
from noiseprompt.stages.train.settings import TrainConfig, learning_rate
from noiseprompt.stages.train.train import train

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
    dtype = torch.float32
    long_prompts = "truncate"

    def __init__(self, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.denoiser, text_encoder = torch.nn.Linear(3, 3), torch.nn.Linear(3, 3)
        self.pipe = SimpleNamespace(components={"text_encoder": text_encoder, "text_encoder_2": None})
        self.encoded: list[str] = []

    def encode(self, texts):
        self.encoded += texts
        return SimpleNamespace(prompt_embeds=torch.from_numpy(np.stack([embedding(t) for t in texts])))


def write(folder: Path, facts: dict) -> Npd:
    """150 pairs of 75 prompts whose perturbation is a linear function of the prompt's first embedding values."""
    with NpdWriter(folder, {"scorers": ["judge"], **facts}, SHAPE) as writer:
        for i in range(150):
            prompt = Prompt(f"prompt {i % 75}")
            source = initial_noise(i, SHAPE).numpy()
            shift = 0.2 * embedding(prompt.text)[0, :4].reshape(4, 1, 1)
            scores = {"judge": (0.0, 1.0 if i % 3 else -1.0)}
            writer.add(ScoredPair(f"{prompt.id}-{i}", prompt, i, source, source + shift, scores))
    return Npd(folder)


@pytest.fixture
def npd(tmp_path: Path) -> Npd:
    """As data sets of the first version: they record nothing of the model."""
    return write(tmp_path / "npd", {})


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


# ------------------------------------------------------------------------------------------- what is refused, and when


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
    with pytest.raises(ConfigError, match=r"epochs 0, lr -1.*epochs: a whole number, 1 or more, lr: a number above 0"):
        TrainConfig(epochs=0, lr=-1)


def test_a_refused_training_writes_nothing(npd: Npd, tmp_path: Path) -> None:
    for config in (replace(CONFIG, sizes={"wdith": 3}), replace(CONFIG, filter_scorers=("judge",), margin=5.0)):
        with pytest.raises(InputError):
            next(train(npd, FakePipeline(), config, tmp_path / "run"))
    assert not (tmp_path / "run").exists()


def facts(pipeline: FakePipeline, **changed) -> dict:
    """What `collect` records of a model."""
    digest = weights_digest(pipeline.denoiser)
    return {"family": "fake", "weights": digest, "text_embeds": [3, 8], "dtype": "float32", **changed}


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"family": "sdxl"}, "has family fake.*family sdxl"),
        ({"weights": "0" * 12}, "has weights .*000000000000"),
        ({"text_embeds": [77, 8]}, r"has text_embeds \[3, 8\].*\[77, 8\]"),
    ],
)
def test_a_model_that_the_pairs_are_not_of_is_refused(tmp_path: Path, changed: dict, match: str) -> None:
    npd = write(tmp_path / "npd", {**facts(FakePipeline()), **changed})
    with pytest.raises(ModelMismatchError, match=match):
        next(train(npd, FakePipeline(), CONFIG, tmp_path / "run"))
    assert not (tmp_path / "run").exists()
    next(train(write(tmp_path / "right", facts(FakePipeline())), FakePipeline(), CONFIG, tmp_path / "run"))


def test_pairs_of_the_same_weights_in_lower_precision_are_accepted(tmp_path: Path) -> None:
    half = FakePipeline()
    half.denoiser.to(torch.bfloat16)
    npd = write(tmp_path / "npd", facts(half, dtype="bfloat16"))
    next(train(npd, FakePipeline(), CONFIG, tmp_path / "run"))
    with pytest.raises(ModelMismatchError, match="bfloat16"):
        next(train(npd, FakePipeline(seed=1), CONFIG, tmp_path / "other"))


def test_text_of_another_encoder_or_of_other_long_prompts_is_not_taken_over(npd: Npd, tmp_path: Path) -> None:
    next(train(npd, FakePipeline(), CONFIG, tmp_path / "run"))
    long = FakePipeline()
    long.long_prompts = "average"
    for pipeline, name in ((FakePipeline(seed=1), "text_encoders"), (long, "long_prompts")):
        with pytest.raises(ConfigError, match=rf"embeds\.npy was made with .*{name}"):
            next(train(npd, pipeline, CONFIG, tmp_path / "run"))
    (tmp_path / "run" / "embeds.json").unlink()  # a folder of an earlier version
    next(train(npd, long, CONFIG, tmp_path / "run"))


def test_embeddings_that_float16_cannot_hold_are_refused(npd: Npd, tmp_path: Path) -> None:
    pipeline = FakePipeline()
    pipeline.encode = lambda texts: SimpleNamespace(prompt_embeds=torch.full((len(texts), 3, 8), 7e4))
    with pytest.raises(InputError, match="'prompt 0' is not finite in float16"):
        cache_embeds(npd, pipeline, tmp_path / "embeds.npy")
    assert not (tmp_path / "embeds.npy").exists()


def test_stored_sources_are_what_is_trained_on(tmp_path: Path) -> None:
    source = np.full(SHAPE, 0.5, np.float32)  # of no seed
    with NpdWriter(tmp_path / "npd", {"scorers": []}, SHAPE, store_source=True) as writer:
        writer.add(ScoredPair("a", Prompt("a"), 7, source, source + 1, {}))
    batch = PairData(Npd(tmp_path / "npd"), np.zeros((1, 3, 8), np.float16), np.array([0])).batch(np.array([0]))
    assert (batch[0] == 0.5).all() and batch[0].dtype == torch.float32


def test_a_second_training_in_the_same_folder_is_refused(npd: Npd, tmp_path: Path) -> None:
    first = train(npd, FakePipeline(), CONFIG, tmp_path / "run")
    next(first)
    with pytest.raises(StoreLockedError, match="another process"):
        next(train(npd, FakePipeline(), CONFIG, tmp_path / "run"))
    first.close()
    next(train(npd, FakePipeline(), CONFIG, tmp_path / "run"))


# ---------------------------------------------------------------------------------------------- what is no success


def test_a_loss_that_is_not_finite_stops_and_the_best_network_stays(
    npd: Npd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    training = train(npd, FakePipeline(), CONFIG, tmp_path / "run")
    for _ in range(4):  # validated and saved
        record = next(training)
    files = {
        path: path.read_bytes() for path in (tmp_path / "run").rglob("*") if path.suffix in (".pt", ".safetensors")
    }
    assert len(files) == 3 and record.explained is not None
    whole = PairData.batch

    def broken(self: PairData, rows: np.ndarray) -> tuple[torch.Tensor, ...]:
        return *whole(self, rows)[:2], torch.full((len(rows), 3, 8), torch.nan)

    monkeypatch.setattr(PairData, "batch", broken)
    with pytest.raises(DivergedError, match=r"step 5 .*lower lr"):
        list(training)
    assert {path: path.read_bytes() for path in files} == files


def test_a_training_that_had_learned_nothing_does_not_end_as_a_success_later(npd: Npd, tmp_path: Path) -> None:
    list(train(npd, FakePipeline(), CONFIG, tmp_path / "run"))
    state = torch.load(tmp_path / "run" / "state.pt", weights_only=True)
    torch.save({**state, "best": float("-inf")}, tmp_path / "run" / "state.pt")  # as NaN left it
    with pytest.raises(Exception, match="learned nothing"):
        list(train(npd, FakePipeline(), CONFIG, tmp_path / "run"))


def test_a_network_no_better_than_the_noise_unchanged_is_warned_about(npd: Npd, tmp_path: Path) -> None:
    with pytest.warns(NoisepromptWarning, match="no better than the noise unchanged"):
        list(train(npd, FakePipeline(), replace(CONFIG, lr=3.0, epochs=1, warmup_steps=0), tmp_path / "run"))


def test_metrics_are_json(npd: Npd, tmp_path: Path) -> None:
    def refuse(word: str) -> None:
        raise AssertionError(word)

    list(train(npd, FakePipeline(), replace(CONFIG, epochs=3, validate_every=12), tmp_path / "run"))
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    records = [json.loads(line, parse_constant=refuse) for line in lines]
    assert "best" not in records[0] and records[-1]["best"] == records[-1]["explained"]


def test_what_is_published_names_no_folder_of_a_machine(npd: Npd, tmp_path: Path) -> None:
    pipeline = FakePipeline()
    pipeline.name = str(tmp_path / "models" / "mine")  # gone since, or on another machine
    list(train(npd, pipeline, CONFIG, tmp_path / "run"))
    for name in ("config.json", "README.md"):
        text = (tmp_path / "run" / "best" / name).read_text()
        assert "mine" in text and str(tmp_path) not in text and "base_model" not in text
    pipeline.name = "owner/model"
    list(train(npd, pipeline, CONFIG, tmp_path / "hub"))
    assert "base_model: owner/model\n" in (tmp_path / "hub" / "best" / "README.md").read_text()
