"""Batches that are scored while the next is drawn: in which order, and that nothing else changes."""

from __future__ import annotations

import dataclasses
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import pytest
import torch

from noiseprompt.core.errors import NoisepromptError, ScorerError
from noiseprompt.core.types import Prompt
from noiseprompt.npd import Npd
from noiseprompt.pipelines import Pipeline
from noiseprompt.prompts.captions import load_captioned
from noiseprompt.shapes.model import build_pipeline
from noiseprompt.stages.collect.collect import collect
from noiseprompt.stages.collect.pictures import collect_pictures
from noiseprompt.stages.collect.scoring import is_apart
from noiseprompt.stages.collect.settings import CollectConfig
from tests.npd_fakes import CONFIG, PROMPTS, Brightness, Darkness, FakePipeline, shards
from tests.picture_fakes import PicturePipeline, config_of, write_folder

TEXTS = [*(p.text for p in PROMPTS[:8]), "boom", "nan", "crowd", "unjudged", "fine", "nan again", "boom"]
LONG = 30.0
"""Seconds after which what is waited for does not come."""


class OnGpu(FakePipeline):
    """Says that it is on a GPU."""

    device = torch.device("cuda")


def run(out: Path, texts: list[str] = TEXTS, pipeline: Any = None, scorer: Any = None, **given: Any) -> list:
    config = dataclasses.replace(CONFIG, **{k: given.pop(k) for k in ("batch_size", "shard_size") if k in given})
    judges = [scorer or Brightness(), Darkness()]
    return list(collect(pipeline or FakePipeline(), [Prompt(text) for text in texts], judges, config, out, **given))


def told(progress: list) -> list:
    return [dataclasses.replace(one, pairs_per_second=0, eta_seconds=None) for one in progress]


class Events:
    """What happened, in order; `wait` until something did."""

    def __init__(self) -> None:
        self.happened: list[tuple[str, int]] = []
        self._new = threading.Condition()

    def add(self, what: str, batch: int) -> None:
        with self._new:
            self.happened.append((what, batch))
            self._new.notify_all()

    def wait(self, what: str, batch: int) -> bool:
        with self._new:
            return self._new.wait_for(lambda: (what, batch) in self.happened, LONG)


class Watched(OnGpu):
    def __init__(self, events: Events) -> None:
        super().__init__()
        self.events, self.batch = events, -1

    def encode(self, texts):
        if texts != [""]:  # the settings ask for its shape
            self.batch += 1
            self.events.add("draw", self.batch)
        return super().encode(texts)


class Watching(Brightness):
    """Ends the scoring of a batch only once the next one is being drawn."""

    def __init__(self, events: Events, last: int) -> None:
        self.events, self.last, self.calls = events, last, 0

    def score(self, images, prompts):
        batch, first = divmod(self.calls, 2)
        self.calls += 1
        if first == 0:
            self.events.add("score", batch)
            assert batch == self.last or self.events.wait("draw", batch + 1), "the next is not drawn meanwhile"
        else:
            self.events.add("scored", batch)
        return super().score(images, prompts)


def test_a_batch_is_scored_while_the_next_is_drawn_and_none_further_ahead(tmp_path):
    events = Events()
    run(tmp_path, [p.text for p in PROMPTS[:12]], Watched(events), Watching(events, 2), batch_size=4)
    order = events.happened.index
    for batch in (0, 1):
        assert order(("score", batch)) < order(("scored", batch))
        assert order(("draw", batch + 1)) < order(("scored", batch)) < order(("score", batch + 1))
    assert order(("scored", 0)) < order(("draw", 2)), "two batches ahead"


@pytest.mark.parametrize(("size", "shard"), [(1, 2), (3, 4), (4, 3), (8, 8)])
def test_the_data_set_and_what_is_told_are_those_of_series(tmp_path, size, shard):
    sizes = {"batch_size": size, "shard_size": shard}
    series = run(tmp_path / "series", apart=False, **sizes)
    apart = run(tmp_path / "apart", apart=True, **sizes)
    assert shards(tmp_path / "apart") == shards(tmp_path / "series")
    assert told(apart) == told(series)
    assert 0 < series[-1].rejected < len(set(TEXTS))


def test_the_world_gives_the_same_bytes(tmp_path):
    torch.manual_seed(0)
    pipe = build_pipeline()
    pipe.set_progress_bar_config(disable=True)
    pipeline = Pipeline(pipe, name="tiny")
    config = CollectConfig(num_inference_steps=2, redenoise_steps=2, batch_size=2, shard_size=4)
    prompts = [Prompt(f"a red circle {i}") for i in range(6)]
    for apart in (False, True):
        list(collect(pipeline, prompts, [Brightness()], config, tmp_path / str(apart), apart=apart))
    assert shards(tmp_path / "True") == shards(tmp_path / "False")


def test_pictures_give_the_same_bytes(tmp_path):
    source = write_folder(tmp_path / "pictures")
    listed, config = load_captioned(source), config_of(source)
    for apart in (False, True):
        out = tmp_path / str(apart)
        list(collect_pictures(PicturePipeline(), listed, [Brightness()], config, out, apart=apart))
    assert shards(tmp_path / "True") == shards(tmp_path / "False")


class Failing(Brightness):
    """Raises at its nth call and after it."""

    def __init__(self, error: Exception, after: int) -> None:
        self.error, self.left = error, after

    def score(self, images, prompts):
        self.left -= 1
        if self.left < 0:
            raise self.error
        return super().score(images, prompts)


ERRORS = [ScorerError("the scorer broke"), RuntimeError("any"), MemoryError("no room"), FileNotFoundError(2, "weights")]


@pytest.mark.parametrize("size", [1, 3])
@pytest.mark.parametrize("error", ERRORS, ids=lambda error: type(error).__name__)
def test_a_scorer_that_fails_in_the_middle_is_told_as_in_series(tmp_path, error, size):
    texts = [p.text for p in PROMPTS]
    found = {}
    for apart in (False, True):
        with pytest.raises(NoisepromptError) as raised:
            run(tmp_path / str(apart), texts, scorer=Failing(error, 5), batch_size=size, apart=apart)
        found[apart] = (type(raised.value), str(raised.value), shards(tmp_path / str(apart)))
    assert found[True] == found[False] and found[True][2]
    run(tmp_path / "True", texts, batch_size=size, apart=True)
    run(tmp_path / "whole", texts, batch_size=size)
    assert shards(tmp_path / "True") == shards(tmp_path / "whole")


class Stopping(FakePipeline):
    """Raises in the middle of its nth batch."""

    def __init__(self, error: BaseException, batch: int) -> None:
        super().__init__()
        self.error, self.left = error, batch

    def sample(self, *args, **kwargs):
        self.left -= 1
        if self.left == 0:
            raise self.error
        return super().sample(*args, **kwargs)


@pytest.mark.parametrize("error", [KeyboardInterrupt(), MemoryError("no room")], ids=["Ctrl-C", "memory"])
def test_what_was_drawn_before_a_batch_that_cannot_be_is_recorded(tmp_path, error):
    for apart in (False, True):
        with pytest.raises((KeyboardInterrupt, NoisepromptError)):
            run(tmp_path / str(apart), pipeline=Stopping(error, 5), apart=apart)  # two images a batch: in the third
    assert len(Npd(tmp_path / "True")) == 4
    assert shards(tmp_path / "True") == shards(tmp_path / "False")


@pytest.mark.parametrize("batches", [1, 2, 3, 5])
def test_a_stop_scores_what_is_drawn_and_ends(tmp_path, batches):
    answers = {apart: iter([False] * (batches - 1) + [True]) for apart in (False, True)}
    ends = [run(tmp_path / str(a), should_stop=lambda a=a: next(answers[a]), apart=a) for a in (False, True)]
    assert told(ends[1]) == told(ends[0])
    assert shards(tmp_path / "True") == shards(tmp_path / "False")


def test_a_caller_that_breaks_off_loses_nothing(tmp_path):
    generator = collect(FakePipeline(), PROMPTS, [Brightness()], CONFIG, tmp_path, apart=True)
    next(generator), next(generator)
    generator.close()
    assert len(Npd(tmp_path)) == 4  # a batch of three that was told, one of one that was drawn
    assert not [thread for thread in threading.enumerate() if thread.name.startswith("scoring")]


def test_a_run_in_which_everything_fails_records_nothing(tmp_path):
    pipeline = FakePipeline()
    pipeline.sample = lambda *args, **kwargs: 1 / 0  # type: ignore[method-assign]
    with pytest.raises(NoisepromptError, match="ZeroDivisionError"):
        run(tmp_path, [p.text for p in PROMPTS], pipeline, batch_size=4, apart=True)
    with pytest.raises(NoisepromptError, match=r"all of 4 pairs in a row fail"):
        run(tmp_path, ["nan 1", "nan 2", "nan 3", "nan 4", "fine"], batch_size=2, shard_size=4, apart=True)
    assert shards(tmp_path) == {}


def test_the_device_decides():
    at = {kind: type("At", (FakePipeline,), {"device": kind})() for kind in ("cpu", "cuda", "cuda:1", "xpu", "mps")}
    assert {kind for kind, pipeline in at.items() if is_apart(pipeline, [Brightness()])} == {"cuda", "cuda:1", "xpu"}  # type: ignore[arg-type]
    assert not is_apart(at["cuda"], [])  # type: ignore[arg-type]


def test_the_thread_uses_what_the_caller_does(tmp_path, monkeypatch):
    used: list[Any] = []

    @contextmanager
    def device(index: int) -> Iterator[None]:
        used.append(index)
        yield

    class Telling(Brightness):
        def score(self, images, prompts):
            used.append((torch.is_grad_enabled(), threading.current_thread() is threading.main_thread()))
            return super().score(images, prompts)

    monkeypatch.setattr(torch.cuda, "is_initialized", lambda: True)
    monkeypatch.setattr(torch.cuda, "current_device", lambda: 3)
    monkeypatch.setattr(torch.cuda, "device", device)
    with torch.no_grad():
        run(tmp_path, [PROMPTS[0].text], scorer=Telling(), apart=True)
    assert used == [3, (False, False), (False, False)]
