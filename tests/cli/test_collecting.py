"""`collect` as a job for workers: options as plain data and back, and which GPU a numbered process takes."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch

from noiseprompt.cli.collecting import _judges, as_report, collect
from noiseprompt.cli.common import placed
from noiseprompt.cli.sharing import plain, typed
from noiseprompt.core.errors import ConfigError
from noiseprompt.engines.options import Sharing
from noiseprompt.pipelines.options import ModelOptions
from noiseprompt.stages.collect.settings import CollectConfig
from noiseprompt.stages.collect.work import CollectProgress


@pytest.mark.parametrize(
    ("settings", "loading"),
    [
        (CollectConfig(), ModelOptions()),
        (CollectConfig(seed_range=(3, 9), guidance_scale=2.0, store_source=True), None),
        (CollectConfig(pictures="shapes", seeds_per_prompt=4), ModelOptions(lora=("a:0.5", "b"), dtype="bfloat16")),
        (CollectConfig(method="nlg:rounds=3"), ModelOptions(scheduler="dpm++:use_karras_sigmas=true")),
    ],
)
def test_a_job_is_plain_and_means_the_same(settings: CollectConfig, loading: ModelOptions | None) -> None:
    given = {"out": Path("a b"), "prompts": "p.txt", "model": "m", "scorers": ["a:x=1", "b"], "n": 3, "column": None}
    said = json.loads(json.dumps(plain({**given, "settings": settings, "loading": loading})))
    call = typed("collect", {**said, "part": "2/3"})
    assert str(call.pop("sharing").chosen) == "2/3"
    assert call.pop("loading") == (loading or ModelOptions())
    assert call == {**{key: value for key, value in given.items() if value is not None}, "settings": settings}


@pytest.mark.parametrize(
    ("rank", "part", "device", "gpus", "expected"),
    [
        ("3", "auto", "auto", 2, "cuda:1"),
        ("3", "auto", "auto", 0, "auto"),
        ("3", "1/2", "auto", 2, "auto"),
        ("3", "auto", "cpu", 2, "cpu"),
        ("", "auto", "auto", 2, "auto"),
    ],
)
def test_each_process_of_torchrun_takes_its_gpu(
    monkeypatch: pytest.MonkeyPatch, rank: str, part: str, device: str, gpus: int, expected: Any
) -> None:
    for name, value in {"LOCAL_RANK": rank, "RANK": "0", "WORLD_SIZE": "4"}.items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(torch.cuda, "is_available", lambda: gpus > 0)
    monkeypatch.setattr(torch.cuda, "device_count", lambda: gpus)
    assert placed(ModelOptions(device=device), Sharing(part=part)).device == expected


def test_where_nothing_is_drawn_no_scorer_is_taken(tmp_path: Path) -> None:
    bare = CollectConfig(scored_share=0.0)
    assert _judges(None, "some/model", bare) is None and _judges(None, "shapes", bare) is None
    assert _judges(None, "shapes", CollectConfig(scored_share=0.5)) == ["shapes-preference"]
    with pytest.raises(ConfigError, match="scorers pickscore with scored_share 0"):
        collect(tmp_path / "npd", "shapes:train", settings=bare, scorers=["pickscore"])
    assert not (tmp_path / "npd").exists()


def test_the_bar_tells_the_share_that_is_kept_of_those_scored() -> None:
    progress = CollectProgress(10, 20, {"a": 3}, 1, 1.0, 10.0, scored=4)
    assert as_report(progress, pictures=False)["notes"] == {"kept": {"a": "75%"}, "rejected": 1}
    assert as_report(CollectProgress(10, 20, {}, 1, 1.0, 10.0), pictures=False)["notes"] == {"rejected": 1}


def test_a_part_that_makes_nothing_does_not_tell_of_a_data_set(
    tmp_path: Path, capsys: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "p.txt").write_text("a red circle\n")
    sharing = Sharing(part="2/2")
    settings = CollectConfig(scored_share=0.0)
    collect(tmp_path / "o", str(tmp_path / "p.txt"), settings=settings, sharing=sharing)
    told = capsys.readouterr()
    assert "no pair in" in told.out and "data set" not in told.out and "next" not in told.err
