"""What is learned, that an interrupted run ends as an uninterrupted one, and what is no success."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import pytest
import torch

from noiseprompt.core.averages import Average
from noiseprompt.core.errors import DivergedError, NoisepromptWarning
from noiseprompt.npd import Npd
from noiseprompt.npnet import NPNet
from noiseprompt.stages.train.texts import KeptTexts
from noiseprompt.stages.train.train import train
from tests.train_fakes import CONFIG, FakePipeline, embedding


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


def test_fine_tuning_starts_from_the_given_network(npd: Npd, tmp_path: Path) -> None:
    list(train(npd, FakePipeline(), replace(CONFIG, epochs=6), tmp_path / "first"))
    fresh = list(train(npd, FakePipeline(), CONFIG, tmp_path / "fresh"))
    tuned = list(train(npd, FakePipeline(), replace(CONFIG, init=str(tmp_path / "first" / "best")), tmp_path / "tuned"))
    assert tuned[0].loss < fresh[0].loss


def test_the_network_to_start_from_is_loaded_once(npd: Npd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    list(train(npd, FakePipeline(), replace(CONFIG, epochs=1), tmp_path / "first"))
    loaded: list[object] = []
    whole = NPNet.from_pretrained
    monkeypatch.setattr(NPNet, "from_pretrained", lambda source: loaded.append(source) or whole(source))
    init = str(tmp_path / "first" / "best")
    next(train(npd, FakePipeline(), replace(CONFIG, init=init), tmp_path / "tuned"))
    assert loaded == [init]


def test_checkpoints_do_not_follow_each_other_at_once(npd: Npd, tmp_path: Path) -> None:
    for name, seconds, kept in (("none", 3600.0, False), ("all", 0.0, True)):
        training = train(npd, FakePipeline(), replace(CONFIG, checkpoint_seconds=seconds), tmp_path / name)
        for _ in range(5):
            next(training)
        assert (tmp_path / name / "state.pt").exists() == kept
        list(training)
        assert (tmp_path / name / "state.pt").exists()  # at the end in any case


def test_metrics_file_tells_the_share_explained(npd: Npd, tmp_path: Path) -> None:
    records = list(train(npd, FakePipeline(), CONFIG, tmp_path / "run"))
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["step"] == records[-1].step
    assert lines[-1]["explained"] == pytest.approx(records[-1].explained)


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
    whole = KeptTexts.embeds
    monkeypatch.setattr(KeptTexts, "embeds", lambda self, batch: whole(self, batch) * torch.nan)
    with pytest.raises(DivergedError, match=r"step 5 .*lower lr"):
        list(training)
    assert {path: path.read_bytes() for path in files} == files


def test_averaged_weights_that_are_not_finite_are_no_network(
    npd: Npd, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    update = Average.update

    def overflow(self: Average, step: int) -> None:
        update(self, step)
        next(iter(self.values.values())).fill_(torch.inf)

    monkeypatch.setattr(Average, "update", overflow)
    with pytest.raises(DivergedError, match=r"the average of the weights of step \d+ is not finite .*lower lr"):
        list(train(npd, FakePipeline(), CONFIG, tmp_path / "run"))
    assert not list((tmp_path / "run").glob("best"))


def test_a_training_that_had_learned_nothing_does_not_end_as_a_success_later(npd: Npd, tmp_path: Path) -> None:
    list(train(npd, FakePipeline(), CONFIG, tmp_path / "run"))
    state = torch.load(tmp_path / "run" / "state.pt", weights_only=True)
    torch.save({**state, "best": float("-inf")}, tmp_path / "run" / "state.pt")  # as NaN left it
    with pytest.raises(Exception, match="learned nothing"):
        list(train(npd, FakePipeline(), CONFIG, tmp_path / "run"))


def test_a_network_no_better_than_the_noise_unchanged_is_warned_about(npd: Npd, tmp_path: Path) -> None:
    with pytest.warns(NoisepromptWarning, match="no better than the noise unchanged"):
        list(train(npd, FakePipeline(), replace(CONFIG, lr=3.0, epochs=1, warmup_steps=0), tmp_path / "run"))


def test_a_learning_rate_that_never_rises_is_told_of(npd: Npd, tmp_path: Path) -> None:
    config = replace(CONFIG, epochs=1, warmup_steps=1000)
    with pytest.warns(NoisepromptWarning, match=r"warmup_steps 1,000 of a training of \d+ steps: .* never reaches lr"):
        list(train(npd, FakePipeline(), config, tmp_path / "run"))


def test_metrics_are_json(npd: Npd, tmp_path: Path) -> None:
    def refuse(word: str) -> None:
        raise AssertionError(word)

    list(train(npd, FakePipeline(), replace(CONFIG, epochs=3, validate_every=12), tmp_path / "run"))
    lines = (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()
    records = [json.loads(line, parse_constant=refuse) for line in lines]
    assert "best" not in records[0] and records[-1]["best"] == records[-1]["explained"]
