"""Pictures in object storage: those that a run on a disk draws."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from noiseprompt.core.errors import ConfigError, StoreError
from noiseprompt.core.part import WHOLE, Part
from noiseprompt.pipelines import Pipeline
from noiseprompt.stages.generate.settings import GenerateConfig
from tests.object_server import Bucket
from tests.stages.collect.test_many_writers import ended, fork
from tests.stages.generate.test_continuing import draw, files, pipeline, whole

__all__ = ["pipeline", "whole"]


def run(pipeline: Pipeline, out: str, part: Part = WHOLE, **how: Any) -> list[str]:
    return [picture.file for batch in draw(pipeline, out, part=part, **how) for picture in batch]  # type: ignore[arg-type]


def check(bucket: Bucket, whole: Path) -> None:
    there = bucket.files()
    assert {name: data for name, data in there.items() if name.endswith(".png")} == files(whole)
    assert there["pictures.json"] == (whole / "pictures.json").read_bytes()
    assert sorted(there["noise.jsonl"].splitlines()) == sorted((whole / "noise.jsonl").read_bytes().splitlines())
    one, other = json.loads(there["run.json"]), json.loads((whole / "run.json").read_bytes())
    assert {**one, "seconds": 0} == {**other, "seconds": 0}
    assert not bucket.files(hidden=True)


def test_what_is_drawn_there_is_what_is_drawn_here(pipeline: Pipeline, whole: Path, bucket: Bucket) -> None:
    assert len(run(pipeline, bucket.folder)) == 6
    check(bucket, whole)
    before = bucket.files()
    bucket.server.log.clear()
    assert run(pipeline, bucket.folder) == []
    assert {method for method, _ in bucket.server.log} == {"GET"} and bucket.files() == before
    with pytest.raises(ConfigError, match=rf"{bucket.folder} was made with other settings"):
        run(pipeline, bucket.folder, config=GenerateConfig(num_inference_steps=2, batch_size=2))


@pytest.mark.parametrize("refused", ["noise.jsonl", "001-3-redenoise.png"])
def test_a_store_that_refuses_meanwhile_ends_it_and_the_same_call_continues(
    pipeline: Pipeline, whole: Path, bucket: Bucket, refused: str
) -> None:
    bucket.server.forbids = lambda method, path: method == "PUT" and path.endswith(refused)
    with pytest.raises(StoreError, match=rf"no rights on {bucket.folder}/{refused}.*AccessDenied"):
        run(pipeline, bucket.folder)
    bucket.server.forbids = lambda method, path: False
    drawn = [name for name in bucket.files() if name.endswith(".png")]
    assert (refused == "noise.jsonl") == (not bucket.files()), "settings of a run that drew nothing are taken back"
    assert sorted([*drawn, *run(pipeline, bucket.folder)]) == sorted(name for name in files(whole) if name[0] == "0")
    assert {name: data for name, data in bucket.files().items() if name.endswith(".png")} == files(whole)


def test_parts_at_once_are_the_whole(pipeline: Pipeline, whole: Path, bucket_apart: Bucket) -> None:
    works = [lambda number=number: run(pipeline, bucket_apart.folder, Part(number, 2)) for number in (1, 2)]
    assert [ended(number) for number in [fork(work) for work in works]] == [0, 0]
    check(bucket_apart, whole)
