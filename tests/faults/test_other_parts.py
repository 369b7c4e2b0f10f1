"""A folder is not continued with another model or scorer behind it than it was begun with: one line names the part."""

from __future__ import annotations

import copy
import json
import shutil
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from noiseprompt.core.config import fingerprint
from noiseprompt.core.errors import ConfigError
from noiseprompt.core.parts import PARTS, as_recorded
from noiseprompt.npd import Npd
from noiseprompt.npd.format import read_shard, shard_bytes, shard_path
from noiseprompt.pipelines.parts import parts_of
from noiseprompt.results.lines import read_results
from noiseprompt.scorers.parts import parts_of as scorer_parts
from noiseprompt.scorers.shapes_preference import ShapesPreference
from noiseprompt.stages.collect.collect import collect
from noiseprompt.stages.train.train import train
from tests import evaluation_fakes, evaluation_runs, npd_fakes, tiny, train_fakes

pytestmark = pytest.mark.filterwarnings("ignore::noiseprompt.noise.guard.NoiseWarning")


class Judge(npd_fakes.Brightness):
    """A scorer with an option that matters, some that do not, and weights."""

    def __init__(self, threshold: float = 0.5, device: str = "cpu", path: str = "") -> None:
        self.threshold, self.device, self.path = threshold, device, path
        self.network = torch.nn.Linear(2, 1)
        torch.nn.init.ones_(self.network.weight)
        torch.nn.init.zeros_(self.network.bias)
        self.seen = 0

    def score(self, images: np.ndarray, prompts: Any) -> np.ndarray:
        self.seen += len(images)  # what a scorer keeps for itself is none of its options
        return super().score(images, prompts)


def other_weights(judge: Judge) -> None:
    with torch.no_grad():
        judge.network.bias.add_(1)


OF_MODELS = {"vae": "aa", "text_encoder": "bb", "tokenizer": "cc", "scheduler": "dd", "controlnet": "ee"}
OTHER: dict[str, tuple[dict[str, str], Callable[[Judge], Any], str]] = {
    **{name: ({name: "ff"}, lambda judge: None, f"parts {name}: '{old}' there, 'ff' here")
       for name, old in OF_MODELS.items()},
    "schedule": ({"schedule": "ays"}, lambda judge: None, "parts schedule: None there, 'ays' here"),
    "option": ({}, lambda judge: setattr(judge, "threshold", 0.25), "brightness threshold: 0.5 there, 0.25 here"),
    "weights": ({}, other_weights, "parts scorer brightness weights: "),
}  # fmt: skip
SAME: dict[str, Callable[[Judge], Any]] = {
    "device": lambda judge: setattr(judge, "device", "cuda"),
    "path": lambda judge: setattr(judge, "path", "/elsewhere"),
    "seen": lambda judge: setattr(judge, "seen", 7),
}


def with_parts(pipeline: Any, parts: dict[str, str]) -> Any:
    pipeline.parts = lambda: parts
    return pipeline


def collected(out: Path, parts: dict[str, str], judge: Judge) -> None:
    pipeline = with_parts(npd_fakes.FakePipeline(), parts)
    for _ in collect(pipeline, npd_fakes.PROMPTS[:7], [judge], npd_fakes.CONFIG, out):
        pass


def evaluated(out: Path, parts: dict[str, str], judge: Judge) -> None:
    pipeline = with_parts(evaluation_fakes.FakePipeline(), parts)
    for _ in evaluation_runs.run(out, pipeline, methods=("standard",), scorers=[judge]):
        pass


def files(out: Path) -> dict[str, bytes]:
    return {str(p): p.read_bytes() for p in out.rglob("*") if p.is_file() and p.name != ".lock"}


@pytest.fixture(scope="module")
def begun(tmp_path_factory: pytest.TempPathFactory) -> Iterator[dict[Any, Path]]:
    made = {run: tmp_path_factory.mktemp("run") for run in (collected, evaluated)}
    for run, out in made.items():
        run(out, OF_MODELS, Judge())
    yield made


@pytest.mark.parametrize("run", [collected, evaluated])
@pytest.mark.parametrize("kind", OTHER)
def test_another_part_is_named(run: Any, kind: str, begun: dict[Any, Path]) -> None:
    parts, change, told = OTHER[kind]
    judge, out = Judge(), begun[run]
    change(judge)
    before = files(out)
    with pytest.raises(ConfigError) as caught:
        run(out, OF_MODELS | parts, judge)
    assert told in str(caught.value) and "other parts:" in str(caught.value) and "\n" not in str(caught.value)
    assert files(out) == before


@pytest.mark.parametrize("run", [collected, evaluated])
@pytest.mark.parametrize("kind", SAME)
def test_what_decides_nothing_does_not_matter(run: Any, kind: str, begun: dict[Any, Path]) -> None:
    judge, before = Judge(), files(begun[run])
    SAME[kind](judge)
    run(begun[run], OF_MODELS, judge)
    after = files(begun[run])
    assert {name: data for name, data in after.items() if "settings" in name or name.endswith("arrow")} == {
        name: data for name, data in before.items() if "settings" in name or name.endswith("arrow")
    }


def test_a_data_set_of_before_continues_and_stays_as_it_was(tmp_path: Path, begun: dict[Any, Path]) -> None:
    """It has no parts: none are compared, and none are written, for what made its first rows is not known."""
    for _ in zip(range(2), begin_collection(tmp_path), strict=False):
        pass
    path = shard_path(tmp_path, 0)
    shard = read_shard(path)
    settings = {key: value for key, value in shard.settings.items() if key != PARTS}
    path.write_bytes(shard_bytes(shard.rows(), shard.batch.schema.remove_metadata(), settings))
    collected(tmp_path, OF_MODELS | {"vae": "other"}, Judge(0.25))
    npd = Npd(tmp_path)
    assert len(npd) == 7 and npd.settings == settings
    assert fingerprint(npd.settings) == fingerprint(Npd(begun[collected]).settings)


def begin_collection(out: Path) -> Any:
    pipeline = with_parts(npd_fakes.FakePipeline(), OF_MODELS)
    return collect(pipeline, npd_fakes.PROMPTS[:7], [Judge()], npd_fakes.CONFIG, out)


def test_an_evaluation_of_before_continues_and_stays_as_it_was(tmp_path: Path, begun: dict[Any, Path]) -> None:
    shutil.copytree(begun[evaluated], tmp_path / "old")
    path = tmp_path / "old" / "settings.json"
    data = json.loads(path.read_text())
    del data["settings"][PARTS]
    path.write_text(json.dumps(data, indent=1) + "\n")
    drawn = tmp_path / "old" / "results.jsonl"
    drawn.write_text("".join(json.dumps(json.loads(line) | {"settings": ""}) + "\n" for line in drawn.open()))
    evaluated(tmp_path / "old", OF_MODELS | {"vae": "other"}, Judge(0.25))
    assert json.loads(path.read_text()) == data
    assert read_results(tmp_path / "old") == [replace(one, settings="") for one in read_results(begun[evaluated])]


CHANGES: dict[str, Callable[[Any], Any]] = {
    "vae": lambda pipe: pipe.vae.decoder.conv_out.bias.data.add_(1),
    "text_encoder": lambda pipe: next(pipe.text_encoder.parameters()).data.add_(1),
    "unet": lambda pipe: pipe.unet.conv_out.bias.data.add_(1),
    "scheduler": lambda pipe: pipe.scheduler.register_to_config(steps_offset=0),
    "tokenizer": lambda pipe: pipe.tokenizer.add_tokens(["dragon"]),
    "pipeline": lambda pipe: pipe.register_to_config(requires_safety_checker=True),
}


@pytest.mark.parametrize("name", CHANGES)
def test_a_change_of_one_part_of_a_model_changes_its_digest_alone(name: str) -> None:
    pipe = tiny.stable_diffusion()
    before = parts_of(pipe)
    assert parts_of(pipe) == before
    CHANGES[name](pipe)
    after = parts_of(pipe)
    assert {key for key in after if after[key] != before[key]} == {name}


def test_the_scale_of_a_vae_is_a_part_of_it() -> None:
    pipe = tiny.stable_diffusion()
    before = parts_of(pipe)
    pipe.vae.register_to_config(scaling_factor=0.5)
    assert {key for key, value in parts_of(pipe).items() if value != before[key]} == {"vae"}


def test_the_world_s_scorer_is_told_by_its_weights() -> None:
    one, other = ShapesPreference(batch_size=3), ShapesPreference()
    assert scorer_parts([one]) == scorer_parts([other])
    other.network = copy.deepcopy(other.network)
    next(other.network.parameters()).data.add_(1)
    assert scorer_parts([one]) != scorer_parts([other])


def test_a_training_sees_other_pairs_another_start_and_another_tokenizer(tmp_path: Path) -> None:
    pipeline = train_fakes.FakePipeline()
    npd = train_fakes.write(tmp_path / "npd", train_fakes.facts(pipeline))
    out = tmp_path / "run"
    for _ in train(npd, pipeline, train_fakes.CONFIG, out):  # type: ignore[arg-type]
        pass
    npd.shards[0].__dict__["checksum"] = "0" * 64
    with pytest.raises(ConfigError, match=r"other parts: parts npd: '\w{12}' there, '\w{12}' here"):
        list(train(npd, pipeline, train_fakes.CONFIG, out))  # type: ignore[arg-type]
    npd = Npd(tmp_path / "npd")
    pipeline.parts = lambda: {"tokenizer": "ff"}  # type: ignore[method-assign]
    with pytest.raises(ConfigError, match="other parts: parts tokenizer: None there, 'ff' here"):
        list(train(npd, pipeline, train_fakes.CONFIG, out))  # type: ignore[arg-type]


def test_what_is_not_recorded_is_not_compared() -> None:
    here = {"a": 1, PARTS: {"vae": 1}, "inside": {PARTS: {"x": 1}, "b": 2}}
    assert as_recorded(here, {}) == {"a": 1, "inside": {PARTS: {"x": 1}, "b": 2}}
    assert as_recorded(here, {"inside": {}}) == {"a": 1, "inside": {"b": 2}}
    assert as_recorded(here, {PARTS: {}, "inside": {PARTS: 3}}) == here
    assert fingerprint(here) == fingerprint({"a": 1, "inside": {"b": 2}})
