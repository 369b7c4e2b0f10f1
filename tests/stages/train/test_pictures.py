"""Pictures as targets: what a noise aims at, what is learned, resuming, data sets and networks of the other kind."""

from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import pytest
import torch

from noiseprompt.core.errors import ConfigError, InputError, ModelMismatchError
from noiseprompt.core.types import Prompt, ScoredPair, StartLevel
from noiseprompt.npd import Npd, NpdWriter
from noiseprompt.npnet import NPNet
from noiseprompt.pipelines import Pipeline
from noiseprompt.shapes.splits import prompts_of
from noiseprompt.stages.collect.pictures import collect_pictures
from noiseprompt.stages.collect.settings import CollectConfig
from noiseprompt.stages.train.coupling import correlated, nearest
from noiseprompt.stages.train.data import PairData, select_pairs
from noiseprompt.stages.train.pictures import PictureObjective, pools
from noiseprompt.stages.train.settings import TrainConfig
from noiseprompt.stages.train.texts import KeptTexts, cache_embeds, distinct_texts, read_embeds
from noiseprompt.stages.train.train import train
from tests.train_fakes import CONFIG, SHAPE, FakePipeline, embedding
from tests.train_fakes import write as write_pairs

PICTURES = replace(CONFIG, objective="picture", epochs=4)
EACH = 4
SIDES = np.where(np.arange(8) < 4, 1.0, -1.0).astype(np.float32)
"""Of every row of latents."""


def write(folder: Path, each: int = EACH, prompts: int = 40, **settings: Any) -> Npd:
    """`each` pictures of each prompt: its colour (its embedding's first values), and one side or the other lit."""
    with NpdWriter(folder, {"scorers": ["judge"], "targets": "pictures", **settings}, SHAPE) as writer:
        for i in range(prompts * each):
            prompt = Prompt(f"prompt {i // each}")
            latents = 0.1 * np.random.default_rng(i).standard_normal(SHAPE).astype(np.float32)
            latents += 0.5 * embedding(prompt.text)[0, :4].reshape(4, 1, 1)
            latents += (-1) ** i * SIDES
            scores = {"judge": (float("nan"), float(i % each))}
            writer.add(ScoredPair(f"{prompt.id}-{i}", prompt, i, None, latents, scores))
    return Npd(folder)


@pytest.fixture
def pictures(tmp_path: Path) -> Npd:
    return write(tmp_path / "pictures")


def objective(npd: Npd, tmp_path: Path, **changed: Any) -> tuple[PictureObjective, np.ndarray, np.ndarray]:
    config = replace(PICTURES, **changed)
    listed = distinct_texts(npd)
    cache_embeds(listed, FakePipeline(), tmp_path / "embeds.npy")  # type: ignore[arg-type]
    texts = KeptTexts(read_embeds(tmp_path / "embeds.npy", len(listed), None))
    training, validation = select_pairs(npd, config.pair_filter, config.validation_share)
    return PictureObjective(config, PairData(npd, texts, npd.prompt_rows()), training, validation), training, validation


def pooled(latents: np.ndarray, side: int) -> np.ndarray:
    c, h, w = latents.shape
    return latents.reshape(c, h // side, side, w // side, side).mean((2, 4)).ravel()


@pytest.mark.parametrize(("side", "sharpness"), [(1, 1.0), (2, 0.0), (2, 1.0), (2, 1e6), (4, 3.0)])
def test_a_noise_aims_at_a_weighted_mean_of_the_pictures_of_its_prompt(
    pictures: Npd, tmp_path: Path, side: int, sharpness: float
) -> None:
    made, training, _ = objective(pictures, tmp_path, low_pass=side, coupling_sharpness=sharpness)
    rows = training[[3, 30, 31, 77]]
    batch = made.batch(rows, 5)
    chosen = set()
    for k, row in enumerate(rows):
        mine = [i for i, prompt in enumerate(pictures.prompts()) if prompt == pictures.prompts()[row]]
        latents = pictures.targets(mine).astype(np.float64)
        products = np.array([pooled(x, side) @ pooled(batch["noise"][k, 0].double().numpy(), side) for x in latents])
        weights = np.exp(sharpness * ((products - products.mean()) / products.std() - 10))
        if sharpness == 1e6:
            weights = (products == products.max()).astype(float)
        np.testing.assert_allclose(
            batch["target"][k], np.tensordot(weights / weights.sum(), latents, 1), atol=1e-5 if sharpness < 1e6 else 0
        )
        np.testing.assert_allclose(
            batch["prompt_embeds"][k], embedding(pictures.prompts()[row].text).astype(np.float16), atol=1e-6
        )
        chosen.add(int(np.argmax(products)))
    assert len(chosen) > 1


def test_batches_are_functions_of_row_and_step(pictures: Npd, tmp_path: Path) -> None:
    made, training, _ = objective(pictures, tmp_path)
    rows = training[:6]
    whole, part, later = made.batch(rows, 3), made.batch(rows[2:4], 3), made.batch(rows, 4)
    for name, value in part.items():
        assert torch.equal(whole[name][2:4], value)
    assert not torch.equal(whole["noise"], later["noise"])
    assert torch.equal(made.batch(rows, None)["noise"], made.batch(rows, None)["noise"])
    assert abs(float(whole["noise"].std()) - 1) < 0.05


def test_candidates_of_different_numbers() -> None:
    noise = torch.tensor([[[[1.0]]], [[[-1.0]]]])
    candidates = torch.tensor([-1.0, 2.0, 1.0, 5.0, -3.0]).view(5, 1, 1, 1)
    assert correlated(noise, candidates, [3, 2], 1, 1e6).flatten().tolist() == [2.0, -3.0]
    torch.testing.assert_close(correlated(noise, candidates, [3, 2], 1, 0).flatten(), torch.tensor([2 / 3, 1.0]))
    assert correlated(noise, candidates[:2], [1, 1], 1, 1.0).flatten().tolist() == [-1.0, 2.0]
    found = pools(np.array([0, 1, 0, 2, 1]), np.array([4, 0, 1, 2]))
    assert {prompt: rows.tolist() for prompt, rows in found.items()} == {0: [0, 2], 1: [1, 4]}


def test_the_nearest_of_several_noises_is_trained() -> None:
    noises = torch.arange(6.0).view(2, 3, 1, 1, 1)
    target = torch.tensor([1.9, 3.1]).view(2, 1, 1, 1)
    found = nearest(lambda noise, embeds: noise, noises, torch.zeros(2, 1, 1), target)
    assert found.flatten().tolist() == [2.0, 3.0]


@pytest.mark.parametrize(("coupling", "below"), [("correlation", 0.5), ("nearest", 0.7), ("any", 1.0)])
def test_sides_come_from_the_noise_where_it_is_coupled(
    pictures: Npd, tmp_path: Path, coupling: str, below: float
) -> None:
    sizes = {"width": 32, "depth": 1, "heads": 2, "patch": 8}
    slow = {"validate_every": 100, "checkpoint_every": 400}
    config = replace(PICTURES, coupling=coupling, sizes=sizes, epochs=30, lr=1e-2, **slow)
    records = list(train(pictures, FakePipeline(), config, tmp_path / "run"))  # type: ignore[arg-type]
    loss = float(np.mean([record.loss for record in records[-20:]]))
    sides = 1 / 1.26  # share of the power that the mean of a prompt's pictures does not hold
    assert loss < below and (coupling != "any" or loss > 0.9 * sides)
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["explained"] == pytest.approx(records[-1].explained)
    net = NPNet.from_pretrained(tmp_path / "run" / "best")
    assert net.config.predicts == "picture"


def test_scenes_of_the_world_are_learned(tmp_path: Path) -> None:
    pipeline = Pipeline.load("shapes")
    collecting = CollectConfig(pictures="shapes", seeds_per_prompt=8, batch_size=64)
    list(collect_pictures(pipeline, prompts_of("train")[:24], [], collecting, tmp_path / "npd"))
    sizes = {"width": 32, "depth": 2, "heads": 2}
    config = replace(PICTURES, sizes=sizes, batch_size=48, epochs=30, lr=5e-3, validate_every=45, checkpoint_every=90)
    losses = [record.loss for record in train(Npd(tmp_path / "npd"), pipeline, config, tmp_path / "run")]
    assert np.mean(losses[:5]) > 0.97 and np.mean(losses[-15:]) < 0.93


def test_explained_is_the_share_of_the_power_on_held_out_prompts(pictures: Npd, tmp_path: Path) -> None:
    records = list(train(pictures, FakePipeline(), replace(PICTURES, ema_decay=0.0), tmp_path / "run"))  # type: ignore[arg-type]
    net = NPNet.from_pretrained(tmp_path / "run" / "last")
    made, training, validation = objective(pictures, tmp_path)
    texts = {kind: {pictures.prompts()[i].text for i in rows} for kind, rows in (("t", training), ("v", validation))}
    assert not texts["t"] & texts["v"]
    batch = made.batch(validation, None)
    with torch.no_grad():
        scaled = net.picture(batch["noise"][:, 0], batch["prompt_embeds"])
        level = StartLevel(noise=0.8, signal=0.6)
        carried = net(batch["noise"][:, 0], batch["prompt_embeds"], level)
    torch.testing.assert_close(carried, 0.8 * batch["noise"][:, 0] + 0.6 * scaled)
    targets = pictures.targets(training).astype(np.float64)
    mean = targets.mean(0)
    torch.testing.assert_close(net.mean_picture.double(), torch.from_numpy(mean), atol=1e-5, rtol=0)
    deviation = (scaled.double().numpy() - mean) / net.config.picture_scale  # the factor leaves the mean as it is
    scale = min((np.square(targets - mean).mean() / np.square(deviation).mean()) ** 0.5, 10.0)  # as much as pictures do
    assert net.config.picture_scale == pytest.approx(scale, rel=1e-3)
    predicted = torch.from_numpy(mean + deviation).float()
    left = (predicted - batch["target"]).square().sum() / batch["target"].square().sum()
    assert records[-1].explained == pytest.approx(1 - float(left), abs=1e-5)


@pytest.mark.parametrize("coupling", ["correlation", "nearest"])
def test_interrupted_run_ends_bit_equal(pictures: Npd, tmp_path: Path, coupling: str) -> None:
    config = replace(PICTURES, epochs=1, coupling=coupling)
    whole = list(train(pictures, FakePipeline(), config, tmp_path / "whole"))  # type: ignore[arg-type]
    for i, _ in enumerate(train(pictures, FakePipeline(), config, tmp_path / "parts")):  # type: ignore[arg-type]
        if i == 5:  # after the checkpoint of step 4, before that of step 8
            break
    rest = list(train(pictures, FakePipeline(), config, tmp_path / "parts"))  # type: ignore[arg-type]
    assert [r.loss for r in rest] == [r.loss for r in whole[4:]]
    for name in ("best", "last"):
        files = [tmp_path / run / name / "model.safetensors" for run in ("whole", "parts")]
        assert files[0].read_bytes() == files[1].read_bytes()


def test_winners_and_a_few_of_each_prompt(pictures: Npd) -> None:
    config = replace(PICTURES, filter_scorers=("judge",), best_share=0.5)
    kept = np.concatenate(select_pairs(pictures, config.pair_filter, 0.2))
    assert sorted(kept) == [i for i in range(160) if i % 4 >= 2]
    few = np.concatenate(select_pairs(pictures, PICTURES.pair_filter, 0.2, per_prompt=3))
    assert sorted(few) == [i for i in range(160) if i % 4 < 3]


def test_too_few_pictures_a_prompt_for_the_coupling(tmp_path: Path) -> None:
    npd = write(tmp_path / "single", each=1)
    with pytest.raises(InputError, match=r"coupling correlation with \d+ pictures of \d+ prompts.*--coupling any"):
        next(train(npd, FakePipeline(), PICTURES, tmp_path / "run"))  # type: ignore[arg-type]
    assert not (tmp_path / "run").exists()
    next(train(npd, FakePipeline(), replace(PICTURES, coupling="any"), tmp_path / "run"))  # type: ignore[arg-type]


def test_data_sets_and_networks_of_the_other_kind_are_refused(pictures: Npd, tmp_path: Path) -> None:
    pairs = write_pairs(tmp_path / "pairs", {})
    cases = [(pairs, PICTURES, "pairs of noises.*collect --pictures"), (pictures, CONFIG, "--objective picture")]
    for npd, config, match in cases:
        with pytest.raises(InputError, match=match):
            next(train(npd, FakePipeline(), config, tmp_path / "run"))  # type: ignore[arg-type]
    list(train(pairs, FakePipeline(), replace(CONFIG, epochs=1), tmp_path / "noise"))  # type: ignore[arg-type]
    config = replace(PICTURES, init=str(tmp_path / "noise" / "best"))
    with pytest.raises(ModelMismatchError, match="predicts a noise"):
        next(train(pictures, FakePipeline(), config, tmp_path / "run"))  # type: ignore[arg-type]
    assert not (tmp_path / "run").exists()


def test_pictures_of_another_autoencoder_are_refused(tmp_path: Path) -> None:
    npd = write(tmp_path / "pictures", autoencoder="0" * 12, text_embeds=[3, 8], family="fake")
    pipeline = FakePipeline()
    pipeline.pipe = SimpleNamespace(**vars(pipeline.pipe), vae=torch.nn.Linear(2, 2))
    with pytest.raises(ModelMismatchError, match=r"has autoencoder .*000000000000"):
        next(train(npd, pipeline, PICTURES, tmp_path / "run"))  # type: ignore[arg-type]


def test_squares_larger_than_the_latents(pictures: Npd, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"low_pass 1000 of latents of side \d+"):
        next(train(pictures, FakePipeline(), replace(PICTURES, low_pass=1000), tmp_path / "run"))  # type: ignore[arg-type]


TOKENS = {"objective": "picture", "architecture": "tokens"}


@pytest.mark.parametrize(
    ("changed", "match"),
    [
        ({"objective": "picture"}, "architecture 'paper'.*--architecture tokens"),
        ({"coupling": "any"}, "coupling with objective 'noise'"),
        ({"objective": "images"}, "noise, picture"),
        ({"objective": "picture", "architecture": "tokens", "coupling": "best"}, "correlation, any, nearest"),
        ({**TOKENS, "coupling": "any", "low_pass": 4}, "low_pass with coupling 'any'"),
        ({**TOKENS, "nearest_noises": 8}, "nearest_noises with coupling 'correlation'"),
        ({"best_share": 0.5}, "no scorers"),
        ({"filter_scorers": ("judge",), "best_share": 0.5, "margin": 0.1}, r"margin 0\.1 and best_share 0\.5"),
        ({"filter_scorers": ("judge",), "best_share": 0.0}, "best_share"),
        ({"nearest_noises": 1}, "nearest_noises"),
    ],
)
def test_settings_that_do_not_fit(changed: dict, match: str) -> None:
    with pytest.raises(ConfigError, match=match):
        TrainConfig(**changed)


def test_a_training_of_before_there_were_objectives_continues(tmp_path: Path) -> None:
    npd = write_pairs(tmp_path / "pairs", {})
    next(train(npd, FakePipeline(), CONFIG, tmp_path / "run"))  # type: ignore[arg-type]
    recorded = json.loads((tmp_path / "run" / "settings.json").read_text())
    assert not {"objective", "coupling", "best_share", "low_pass"} & set(recorded)
