"""What training reads: each pair with its own prompt, split by prompt, of the model it was collected with."""

from __future__ import annotations

import warnings
from pathlib import Path

import numpy as np
import pytest
import torch

from noiseprompt.core.errors import ConfigError, InputError, ModelMismatchError
from noiseprompt.core.types import Prompt, ScoredPair
from noiseprompt.noise import initial_noise
from noiseprompt.npd import Npd, NpdWriter, PairFilter
from noiseprompt.pipelines.families.embeds import TextEmbeds
from noiseprompt.stages.train.data import PairData, select_pairs
from noiseprompt.stages.train.noises import NoiseObjective
from noiseprompt.stages.train.settings import TrainConfig
from noiseprompt.stages.train.texts import KeptTexts, cache_embeds, distinct_texts, read_embeds
from noiseprompt.stages.train.train import train
from tests.train_fakes import CONFIG, SHAPE, FakePipeline, embedding, facts, write


def test_each_pair_gets_its_own_prompt_encoded_once(npd: Npd, tmp_path: Path) -> None:
    pipeline = FakePipeline()
    cache_embeds(distinct_texts(npd), pipeline, tmp_path / "embeds.npy")
    assert len(pipeline.encoded) == len(set(pipeline.encoded)) == 75
    data = PairData(npd, KeptTexts(read_embeds(tmp_path / "embeds.npy", 75, None)), npd.prompt_rows())
    chosen = np.array([3, 140, 77])
    batch = data.batch(chosen)
    source, target, text = batch["source"], batch["target"], data.texts.embeds(batch)
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
    with pytest.raises(InputError, match="leave 0 training"):
        select_pairs(npd, PairFilter(("judge",), margin=5.0), 0.2)


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
    pipeline.encode = lambda texts: TextEmbeds({}, torch.full((len(texts), 3, 8), 7e4))
    with pytest.raises(InputError, match="'prompt 0' is not finite in float16"):
        cache_embeds(distinct_texts(npd), pipeline, tmp_path / "embeds.npy")
    assert not (tmp_path / "embeds.npy").exists()


def test_stored_sources_are_what_is_trained_on(tmp_path: Path) -> None:
    source = np.full(SHAPE, 0.5, np.float32)  # of no seed
    with NpdWriter(tmp_path / "npd", {"scorers": []}, SHAPE, store_source=True) as writer:
        writer.add(ScoredPair("a", Prompt("a"), 7, source, source + 1, {}))
    texts = KeptTexts(np.zeros((1, 3, 8), np.float16))
    batch = PairData(Npd(tmp_path / "npd"), texts, np.array([0])).batch(np.array([0]))
    assert (batch["source"] == 0.5).all() and batch["source"].dtype == torch.float32


@pytest.mark.parametrize("scale", [1.0, 0.18])
def test_targets_that_are_no_noise_are_told(scale: float, tmp_path: Path) -> None:
    with NpdWriter(tmp_path / "npd", {"scorers": []}, SHAPE) as writer:
        for i in range(4):
            source = initial_noise(i, SHAPE).numpy()
            writer.add(ScoredPair(f"a-{i}", Prompt("a"), i, source, scale * source + np.float32(0.01), {}))
    data = PairData(Npd(tmp_path / "npd"), KeptTexts(np.zeros((1, 3, 8), np.float16)), np.zeros(4, np.int64))
    with warnings.catch_warnings(record=True) as told:
        NoiseObjective(TrainConfig(), data, np.array([0, 1, 2]), np.array([3]))
    assert [str(one.message)[: len("the targets of")] for one in told] == ["the targets of"] * (scale != 1)
