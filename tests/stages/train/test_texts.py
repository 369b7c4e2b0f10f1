"""Text of prompts: kept in a file that a killed run goes on with, or encoded when a batch needs it."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from noiseprompt.core.errors import ConfigError
from noiseprompt.npd import Npd
from noiseprompt.stages.train import texts as module
from noiseprompt.stages.train.texts import AT_ONCE, FreshTexts, KeptTexts, cache_embeds, is_kept, read_embeds
from noiseprompt.stages.train.train import train
from tests.train_fakes import CONFIG, FakePipeline, embedding

TEXTS = [f"prompt {i}" for i in range(4 * AT_ONCE + 10)]


class Killed(BaseException):
    pass


@pytest.mark.parametrize("batches", [0, 1, 3, 5])
def test_a_killed_run_goes_on_encoding_where_it_was(tmp_path: Path, batches: int) -> None:
    whole, first, rest = FakePipeline(), FakePipeline(), FakePipeline()
    cache_embeds(TEXTS, whole, tmp_path / "whole.npy")  # type: ignore[arg-type]
    path, told = tmp_path / "embeds.npy", []

    def killed(done: int, total: int) -> None:
        if done >= min(batches * AT_ONCE, total):
            raise Killed

    with pytest.raises(Killed):
        cache_embeds(TEXTS, first, path, killed)  # type: ignore[arg-type]
    part = path.with_suffix(".part")
    with part.open("ab") as file:
        file.write(b"torn")
    cache_embeds(TEXTS, rest, path, lambda *given: told.append(given))  # type: ignore[arg-type]
    assert path.read_bytes() == (tmp_path / "whole.npy").read_bytes() and not part.exists()
    made = max(0, batches - 1) * AT_ONCE  # the last batch is made again: a loss of power may have left it empty
    assert rest.encoded == TEXTS[min(made, 3 * AT_ONCE) :] and told[-1] == (len(TEXTS), len(TEXTS))
    found = read_embeds(path, len(TEXTS), [3, 8])
    np.testing.assert_array_equal(found[-1], embedding(TEXTS[-1]).astype(np.float16))


def test_a_part_of_another_encoder_is_begun_anew(tmp_path: Path) -> None:
    path, other = tmp_path / "embeds.npy", FakePipeline(seed=1)
    with pytest.raises(Killed):
        cache_embeds(TEXTS, other, path, lambda done, _: _raise() if done > 2 * AT_ONCE else None)  # type: ignore[arg-type]
    mine = FakePipeline()
    cache_embeds(TEXTS, mine, path)  # type: ignore[arg-type]
    assert mine.encoded == TEXTS
    with pytest.raises(ConfigError, match="text_encoders"):
        cache_embeds(TEXTS, other, path)  # type: ignore[arg-type]


def _raise() -> None:
    raise Killed


def test_text_is_kept_where_there_is_little_of_it(tmp_path: Path) -> None:
    path, many = tmp_path / "embeds.npy", range(module.MOST_KEPT + 1)
    few: Any = many[:-1]
    assert is_kept(path, few, None) and not is_kept(path, many, None)  # type: ignore[arg-type]
    assert is_kept(path, many, True) and not is_kept(path, few, False)  # type: ignore[arg-type]
    path.touch()  # of a run before this one
    assert is_kept(path, many, None)  # type: ignore[arg-type]


def test_fresh_text_is_encoded_once_a_distinct_prompt_of_the_batch() -> None:
    pipeline = FakePipeline()
    fresh = FreshTexts(TEXTS, pipeline)  # type: ignore[arg-type]
    batch = fresh.read(np.array([7, 3, 7]))
    found = fresh.embeds(batch)
    assert pipeline.encoded == [TEXTS[3], TEXTS[7]] and found.dtype == torch.float32
    for k, number in enumerate((7, 3, 7)):
        np.testing.assert_array_equal(found[k].numpy(), embedding(TEXTS[number]))
    kept = KeptTexts(np.stack([embedding(text) for text in TEXTS]).astype(np.float16))
    torch.testing.assert_close(kept.embeds(kept.read(np.array([7, 3, 7]))), found, atol=1e-2, rtol=1e-3)


def test_an_interrupted_run_with_fresh_text_ends_bit_equal(npd: Npd, tmp_path: Path) -> None:
    config = replace(CONFIG, keep_text=False, architecture="paper", sizes={"swin_drop_path": 0.5})  # drops at random
    whole = list(train(npd, FakePipeline(), config, tmp_path / "whole"))  # type: ignore[arg-type]
    for i, _ in enumerate(train(npd, FakePipeline(), config, tmp_path / "parts")):  # type: ignore[arg-type]
        if i == 6:
            break
    rest = list(train(npd, FakePipeline(), config, tmp_path / "parts"))  # type: ignore[arg-type]
    assert [r.loss for r in rest] == [r.loss for r in whole[4:]] and not (tmp_path / "whole" / "embeds.npy").exists()
    files = [tmp_path / run / "last" / "model.safetensors" for run in ("whole", "parts")]
    assert files[0].read_bytes() == files[1].read_bytes()
    with pytest.raises(ConfigError, match="text_encoders"):
        next(train(npd, FakePipeline(seed=1), config, tmp_path / "parts"))  # type: ignore[arg-type]
