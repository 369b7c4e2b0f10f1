"""Pictures of several sizes: batches of one shape each, one network for all, bit-equal resuming, what is refused."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from noiseprompt.core.errors import ConfigError, InputError
from noiseprompt.core.types import Prompt, ScoredPair
from noiseprompt.npd import Npd, NpdWriter
from noiseprompt.npnet import NPNet, build, tokens_config
from noiseprompt.stages.train.order import batches_an_epoch, batches_of
from noiseprompt.stages.train.settings import TrainConfig
from noiseprompt.stages.train.train import train
from tests.train_fakes import CONFIG, FakePipeline, embedding, facts
from tests.train_fakes import write as write_pairs

PICTURES = replace(CONFIG, objective="picture", epochs=3)
SQUARE, WIDE, TALL = (4, 8, 8), (4, 8, 12), (4, 12, 8)


def write(folder: Path, shape: tuple[int, int, int], prompts: Sequence[int] = range(30), each: int = 4) -> Npd:
    """Pictures with the colour of their prompt, and a frame: one latent thick, all around."""
    frame = np.ones(shape[1:], np.float32)
    frame[1:-1, 1:-1] = -1
    with NpdWriter(folder, {"scorers": [], "targets": "pictures"}, shape) as writer:
        for i in range(len(prompts) * each):
            prompt = Prompt(f"prompt {prompts[i // each]}")
            latents = 0.1 * np.random.default_rng(i).standard_normal(shape).astype(np.float32)
            latents += 0.5 * embedding(prompt.text)[0, :4].reshape(4, 1, 1) + frame
            writer.add(ScoredPair(f"{prompt.id}-{i}", prompt, i, None, latents, {}))
    return Npd(folder)


@pytest.fixture
def both(tmp_path: Path) -> list[Npd]:
    """Two sizes, with some prompts that only one of them has."""
    return [write(tmp_path / "square", SQUARE), write(tmp_path / "wide", WIDE, range(20, 50), 3)]


def run(npds: Any, out: Path, config: TrainConfig = PICTURES, steps: int | None = None) -> list[Any]:
    records = []
    for record in train(npds, FakePipeline(), config, out):  # type: ignore[arg-type]
        records.append(record)
        if record.step == steps:
            break
    return records


def weights(out: Path) -> dict[str, torch.Tensor]:
    return NPNet.from_pretrained(out / "last").state_dict()


def test_a_batch_is_of_one_data_set_and_an_epoch_sees_every_row_once() -> None:
    rows = np.concatenate([np.arange(0, 40), np.arange(50, 75)])
    made = batches_of(rows, (0, 50), 8, 3, 1)
    assert batches_an_epoch(rows, (0, 50), 8) == len(made) == 8
    owners = [{int(row >= 50) for row in batch} for batch in made]
    assert all(len(owner) == 1 for owner in owners) and all(len(batch) == 8 for batch in made)
    seen = np.concatenate(made)
    assert len(np.unique(seen)) == len(seen) == 64 and set(seen) <= set(rows)
    flat = [owner.pop() for owner in owners]
    assert flat != sorted(flat)  # one size does not wait for the other
    assert not all(np.array_equal(a, b) for a, b in zip(made, batches_of(rows, (0, 50), 8, 3, 2), strict=True))


def test_one_data_set_is_seen_in_the_order_of_before() -> None:
    order = np.random.default_rng((5, 2)).permutation(np.arange(100, 137))
    made = batches_of(np.arange(100, 137), (0,), 8, 5, 2)
    assert [batch.tolist() for batch in made] == [order[i : i + 8].tolist() for i in range(0, 32, 8)]
    assert [len(batch) for batch in batches_of(np.arange(3), (0,), 8, 5, 2)] == [3]


def test_a_network_of_two_sizes_predicts_a_third(both: list[Npd], tmp_path: Path) -> None:
    """The frame stands where the edges are: also in a size that was never seen."""
    sizes = {"width": 32, "depth": 2, "heads": 2, "patch": 4}
    config = replace(PICTURES, sizes=sizes, epochs=15, lr=1e-2, coupling_sharpness=0.0, validate_every=60)
    records = run(both, tmp_path / "run", config)
    told = [record for record in records if record.explained is not None][-1]
    assert set(told.scores) == {"explained 8 x 8", "explained 8 x 12"} and min(told.scores.values()) > 0.7
    lines = [json.loads(line) for line in (tmp_path / "run" / "metrics.jsonl").read_text().splitlines()]
    assert lines[-1]["scores"] == pytest.approx(told.scores)
    net = NPNet.from_pretrained(tmp_path / "run" / "best")
    assert net.config.any_size and net.config.latent_shape == SQUARE and net.config.predicts == "picture"
    third = write(tmp_path / "tall", TALL)
    target = torch.from_numpy(third.targets(range(len(third)))).float()
    texts = torch.from_numpy(np.stack([embedding(prompt.text) for prompt in third.prompts()]))
    with torch.no_grad():
        error = (net.picture(torch.randn(target.shape), texts) - target).square().mean()
    assert error < 0.45 * target.square().mean()


def test_a_training_that_was_interrupted_ends_bit_equal_and_one_seed_gives_one_network(
    both: list[Npd], tmp_path: Path
) -> None:
    run(both, tmp_path / "whole")
    run(both, tmp_path / "parts", steps=7)
    run(both, tmp_path / "parts")
    whole, parts = weights(tmp_path / "whole"), weights(tmp_path / "parts")
    assert all(torch.equal(whole[name], parts[name]) for name in whole)
    run(both, tmp_path / "other", replace(PICTURES, seed=1))
    assert any(not torch.equal(value, whole[name]) for name, value in weights(tmp_path / "other").items())
    with pytest.raises(ConfigError, match="npd"):
        run(both[:1], tmp_path / "whole")
    with pytest.raises(ConfigError, match="npd"):
        run(both[::-1], tmp_path / "whole")


def test_one_data_set_in_a_list_is_that_data_set(both: list[Npd], tmp_path: Path) -> None:
    run(both[0], tmp_path / "alone")
    assert not run([both[0]], tmp_path / "alone")  # has ended: nothing is left to do
    assert not NPNet.from_pretrained(tmp_path / "alone" / "best").config.any_size


def test_a_network_of_one_size_is_tuned_for_several(both: list[Npd], tmp_path: Path) -> None:
    """It begins as it was, at its own size to the bit."""
    old = build(replace(tokens_config(SQUARE, 3, 8, "fake", predicts="picture"), width=16, depth=1, heads=2, patch=4))
    torch.nn.init.normal_(old.head.weight, std=0.1)  # type: ignore[union-attr,arg-type]
    old.save_pretrained(tmp_path / "old")
    config = replace(PICTURES, sizes={}, init=str(tmp_path / "old"), lr=1e-12, weight_decay=0.0)
    run(both, tmp_path / "run", config, steps=4)
    net = NPNet.from_pretrained(tmp_path / "run" / "best")
    assert net.config.any_size and net.config.positions == "both_corners"
    noise, embeds = torch.randn(3, *SQUARE), torch.randn(3, 3, 8)
    with torch.no_grad():
        expected, came = old.predict(noise, embeds), net.predict(noise, embeds)
    torch.testing.assert_close(came, expected, atol=1e-5, rtol=1e-5)


def test_what_cannot_be_mixed_is_refused_before_anything_is_written(both: list[Npd], tmp_path: Path) -> None:
    out = tmp_path / "run"
    noises = write_pairs(tmp_path / "noises", facts(FakePipeline()))
    again = write(tmp_path / "again", WIDE)
    with pytest.raises(InputError, match=r"again.*\(4, 8, 12\).*one data set a size"):
        run([*both, again], out)
    with pytest.raises(InputError, match="pairs of noises"):
        run([both[0], noises], out)
    with pytest.raises(InputError, match="several of pictures"):
        run([noises, noises], out, CONFIG)
    with pytest.raises(ConfigError, match=r"patch of 8 on latents of 8 x 12 .*wide"):
        run(both, out, replace(PICTURES, sizes={"patch": 8}))
    with pytest.raises(InputError, match="no data set"):
        run([], out)
    assert not out.exists()
