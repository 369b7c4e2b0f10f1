"""A collection whose scorer, model or memory fails on the way: that is not written down as a fault of the pairs."""

from __future__ import annotations

import dataclasses
from pathlib import Path

import numpy as np
import pytest
import torch

from noiseprompt.core.errors import InputError, ModelMismatchError, NoisepromptError, ScorerError, StoreError
from noiseprompt.core.types import Prompt
from noiseprompt.npd import Npd
from noiseprompt.npd.verify import verify
from noiseprompt.stages.collect.collect import collect
from tests.npd_fakes import CONFIG, PROMPTS, Brightness, FakePipeline, shards


class Failing(Brightness):
    """Raises from its nth call on."""

    def __init__(self, error: Exception, after: int) -> None:
        self.error, self.left = error, after

    def score(self, images: np.ndarray, prompts: list[Prompt]) -> np.ndarray:
        self.left -= 1
        if self.left < 0:
            raise self.error
        return super().score(images, prompts)


class Breaking(FakePipeline):
    """Breaks at every image or text from the nth call on."""

    def __init__(self, at: str, error: Exception, after: int) -> None:
        super().__init__()
        self.at, self.error, self.left = at, error, after

    def _count(self, at: str) -> None:
        self.left -= at == self.at
        if self.left < 0:
            raise self.error

    def encode(self, texts):
        self._count("encode")
        return super().encode(texts)

    def sample(self, *args, **kwargs):
        self._count("sample")
        return super().sample(*args, **kwargs)


def run(out: Path, pipeline=None, scorer=None, prompts=PROMPTS, **changes) -> None:
    config = dataclasses.replace(CONFIG, **changes)
    list(collect(pipeline or FakePipeline(), prompts, [scorer or Brightness()], config, out))


ERRORS = {
    "scorer": ScorerError("the scorer broke"),
    "any": RuntimeError("CUDA error: unspecified launch failure"),
    "file": FileNotFoundError(2, "No such file", "weights"),
    "store": StoreError("weights are damaged"),
    "memory": MemoryError("no room"),
    "cuda": torch.OutOfMemoryError("CUDA out of memory. Tried to allocate"),
    "mps": RuntimeError("MPS backend out of memory (MPS allocated: 9 GB)"),
    "cpu": RuntimeError("DefaultCPUAllocator: can't allocate memory: you tried to allocate 9 bytes"),
    "model": ModelMismatchError("another model"),
    "option": InputError("strength 3"),
}


@pytest.mark.parametrize("batch_size", [1, 3, 4])
@pytest.mark.parametrize("kind", ERRORS)
@pytest.mark.parametrize("where", ["scorer", "sample"])
def test_what_is_no_fault_of_the_pairs_is_tried_again(where: str, kind: str, batch_size: int, tmp_path: Path) -> None:
    run(tmp_path / "healthy", batch_size=batch_size)
    error = ERRORS[kind]
    broken = {"scorer": Failing(error, 4)} if where == "scorer" else {"pipeline": Breaking("sample", error, 4)}
    with pytest.raises(NoisepromptError):
        run(tmp_path / "broken", **broken, batch_size=batch_size)
    made = Npd(tmp_path / "broken")
    assert len(made) >= 2 and made.usable().all(), "what was made is kept, what failed is not written"
    run(tmp_path / "broken", batch_size=batch_size)
    assert shards(tmp_path / "broken") == shards(tmp_path / "healthy")
    assert verify(tmp_path / "broken") == []


@pytest.mark.parametrize("kind", ["memory", "cuda", "mps", "cpu"])
def test_full_memory_is_told_as_such(kind: str, tmp_path: Path) -> None:
    with pytest.raises(NoisepromptError, match=r"do not fit the memory of cpu. Lower batch_size"):
        run(tmp_path, Breaking("sample", ERRORS[kind], 0))
    with pytest.raises(NoisepromptError, match=r"pair .* does not fit the memory of cpu\. Free memory"):
        run(tmp_path, Breaking("sample", ERRORS[kind], 0), batch_size=1)


@pytest.mark.parametrize("batch_size", [1, 2, 3, 4, 8])
def test_a_text_encoder_that_breaks_on_the_way_stops_the_run(batch_size: int, tmp_path: Path) -> None:
    broken = Breaking("encode", RuntimeError("the encoder broke"), 3)  # one call is for the settings
    with pytest.raises(NoisepromptError, match=r"all of \d pairs in a row fail.*RuntimeError: the encoder broke"):
        run(tmp_path, broken, batch_size=batch_size, shard_size=3 if batch_size < 4 else 8)
    assert Npd(tmp_path).usable().all()


def test_a_few_bad_pairs_in_small_batches_are_rejected_once_another_succeeds(tmp_path: Path) -> None:
    texts = ["nan a", "boom", "nan b", "fine", "nan c", "nan d"]
    run(tmp_path, prompts=[Prompt(text) for text in texts], batch_size=1, shard_size=2)
    assert [p.text for p in Npd(tmp_path).prompts()] == texts
    assert Npd(tmp_path).usable().tolist() == [text == "fine" for text in texts]


@pytest.mark.parametrize("texts", [["boom"], ["nan"], ["nan 1", "nan 2"], ["nan 1", "boom", "nan 2"]])
def test_a_collection_without_a_usable_pair_is_an_error_and_no_record(texts: list[str], tmp_path: Path) -> None:
    with pytest.raises(NoisepromptError, match="fail"):
        run(tmp_path, prompts=[Prompt(text) for text in texts])
    assert shards(tmp_path) == {}


def test_a_prompt_that_a_scorer_cannot_read_is_a_fault_of_the_pair(tmp_path: Path) -> None:
    class Strict(Brightness):
        def score(self, images, prompts):
            if any(p.text == PROMPTS[4].text for p in prompts):
                raise InputError("this prompt is no sentence of the world")
            return super().score(images, prompts)

    run(tmp_path, scorer=Strict())
    assert np.flatnonzero(~Npd(tmp_path).usable()).tolist() == [4]


def test_a_folder_of_rejected_pairs_alone_is_told(tmp_path: Path) -> None:
    from noiseprompt.npd import NpdWriter

    run(tmp_path, prompts=PROMPTS[:1])
    made = next(iter(Npd(tmp_path)))
    settings = Npd(tmp_path).settings
    (tmp_path / "shard-000000.arrow").unlink()
    with NpdWriter(tmp_path, settings, settings["latent_shape"], shard_size=settings["shard_size"]) as writer:
        writer.add(dataclasses.replace(made, target=None, scores={}, rejected="ScorerError: of before"))
    with pytest.raises(StoreError, match=r"all 1 pairs .* were rejected"):
        run(tmp_path, prompts=PROMPTS[:1])
