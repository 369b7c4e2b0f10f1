"""An evaluation's folder: cut short, damaged, of other settings, of the same model in another place."""

from __future__ import annotations

import dataclasses
import json
from pathlib import Path

import pytest

from noiseprompt.core.config import fingerprint
from noiseprompt.core.errors import ConfigError, StoreError, StoreLockedError
from noiseprompt.results.folder import mark
from noiseprompt.results.lines import read_results
from noiseprompt.stages.evaluate.evaluate import summarize_run
from noiseprompt.stages.report.report import report
from tests.evaluation_fakes import FakePipeline
from tests.evaluation_runs import CONFIG, PROMPTS, run, timeless

pytestmark = pytest.mark.filterwarnings("ignore::noiseprompt.noise.guard.NoiseWarning")
"""The fake re-denoise moves noise farther than a real one."""


@pytest.mark.parametrize("stop", [0, 1, 5, 9, 15])
def test_stopped_between_batches_ends_the_same(whole: Path, tmp_path: Path, stop: int) -> None:
    steps = run(tmp_path)
    for _ in range(stop):
        next(steps)
    steps.close()
    pipeline = FakePipeline()
    rest = list(run(tmp_path, pipeline))
    assert len(rest) == 16 - stop
    assert pipeline.sampled == sum(len(s.results) for s in rest)
    assert timeless(read_results(tmp_path)) == timeless(read_results(whole))
    assert (tmp_path / "results.json").exists()


@pytest.mark.parametrize("keep", [0.0, 0.13, 0.5, 0.77, 0.999])
def test_killed_while_writing_ends_the_same(whole: Path, tmp_path: Path, keep: float) -> None:
    data = (whole / "results.jsonl").read_bytes()
    (tmp_path / "settings.json").write_bytes((whole / "settings.json").read_bytes())
    (tmp_path / "results.jsonl").write_bytes(data[: int(len(data) * keep)])
    list(run(tmp_path))
    assert timeless(read_results(tmp_path)) == timeless(read_results(whole))
    assert len((tmp_path / "results.jsonl").read_text().splitlines()) == 56


def test_a_last_line_that_lacks_only_its_newline_is_mended(whole: Path, tmp_path: Path) -> None:
    data = (whole / "results.jsonl").read_bytes()
    (tmp_path / "settings.json").write_bytes((whole / "settings.json").read_bytes())
    lines = data.splitlines(keepends=True)
    (tmp_path / "results.jsonl").write_bytes(b"".join(lines[:8])[:-1])
    list(run(tmp_path))
    assert timeless(read_results(tmp_path)) == timeless(read_results(whole))


def test_other_settings_are_refused_with_both_fingerprints(whole: Path) -> None:
    old = json.loads((whole / "settings.json").read_text())["fingerprint"]
    with pytest.raises(ConfigError, match=f"{old} there.*here.*guidance_scale") as error:
        list(run(whole, config=dataclasses.replace(CONFIG, guidance_scale=3.0)))
    assert "new folder" in str(error.value)
    with pytest.raises(ConfigError, match="prompts"):
        list(run(whole, prompts=PROMPTS[:-1]))
    pipeline = FakePipeline()
    pipeline.denoiser.bias.data.add_(1)
    with pytest.raises(ConfigError, match="denoiser"):
        list(run(whole, pipeline))
    assert (
        list(run(whole, config=dataclasses.replace(CONFIG, guidance_scale=2.0))) == []
    )  # the family's default, written out


def test_the_same_model_in_another_place_continues_and_no_path_is_published(tmp_path: Path) -> None:
    pipeline, moved = FakePipeline(), FakePipeline()
    pipeline.name, moved.name = str(tmp_path / "a" / "model"), "/elsewhere/model"
    (tmp_path / "a" / "model").mkdir(parents=True)
    out = tmp_path / "out"
    list(run(out, pipeline))
    before = (out / "settings.json").read_text()
    assert list(run(out, moved)) == []
    assert (out / "settings.json").read_text() == before
    report(out)
    for name in ("settings.json", "results.json", "results.md", "report.html", "report.md"):
        assert str(tmp_path) not in (out / name).read_text(), name
        assert tmp_path.name not in (out / name).read_text(), name
    moved.name = "/elsewhere/other"
    with pytest.raises(ConfigError, match=r"pipeline name: 'model' there, 'other'"):
        list(run(out, moved))


@pytest.mark.parametrize("recorded", ["/long/ago/model", "runs/model", "owner/model"])
def test_a_folder_that_names_the_models_path_continues(whole: Path, tmp_path: Path, recorded: str) -> None:
    old = json.loads((whole / "settings.json").read_text())
    old["settings"]["pipeline"]["name"] = recorded
    old["fingerprint"] = fingerprint(old["settings"])
    (tmp_path / "settings.json").write_text(json.dumps(old))
    (tmp_path / "results.jsonl").write_bytes((whole / "results.jsonl").read_bytes())
    pipeline = FakePipeline()
    pipeline.name = "/now/model"
    assert list(run(tmp_path, pipeline)) == []
    assert json.loads((tmp_path / "settings.json").read_text())["settings"]["pipeline"]["name"] == "model"


@pytest.mark.parametrize("exchanged", ["settings.json", "results.jsonl"])
def test_files_of_two_evaluations_of_one_size_are_told_apart(whole: Path, tmp_path: Path, exchanged: str) -> None:
    mixed, other = tmp_path / "mixed", dataclasses.replace(CONFIG, guidance_scale=7.0)
    list(run(mixed, config=other))
    (mixed / exchanged).write_bytes((whole / exchanged).read_bytes())
    told = r"results\.jsonl was drawn with other settings or weights \(mark \w{12}\)"
    for use in (
        lambda: summarize_run(mixed),
        lambda: list(run(mixed, config=CONFIG if exchanged == "settings.json" else other)),
    ):
        with pytest.raises(StoreError, match=told):
            use()


def test_lines_of_earlier_releases_have_no_mark_and_are_read(whole: Path, tmp_path: Path) -> None:
    lines = [json.loads(line) for line in (whole / "results.jsonl").read_text().splitlines()]
    assert all(len(line.pop("settings")) == 12 for line in lines)
    (tmp_path / "settings.json").write_bytes((whole / "settings.json").read_bytes())
    (tmp_path / "results.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    assert list(run(tmp_path)) == []
    assert summarize_run(tmp_path) == summarize_run(whole)


def test_other_weights_or_parts_give_another_mark_and_another_name_does_not() -> None:
    settings = {"pipeline": {"name": "a", "denoiser": "1"}, "config": {}, "parts": {"vae": "2"}}
    own = mark(settings, {"weights": "3"})
    assert own == mark({**settings, "pipeline": {"name": "b", "denoiser": "1"}}, {"weights": "3"})
    assert own != mark(settings, {"weights": "4"})
    assert own != mark({**settings, "parts": {"vae": "5"}}, {"weights": "3"})


def test_a_second_run_of_one_process_is_refused(tmp_path: Path) -> None:
    steps = run(tmp_path)
    next(steps)
    with pytest.raises(StoreLockedError, match="another run of this process"):
        next(run(tmp_path))
    steps.close()
    next(run(tmp_path))


def test_damage_inside_the_file_is_named(whole: Path, tmp_path: Path) -> None:
    lines = (whole / "results.jsonl").read_bytes().splitlines(keepends=True)
    (tmp_path / "settings.json").write_bytes((whole / "settings.json").read_bytes())
    (tmp_path / "results.jsonl").write_bytes(b"".join([*lines[:2], b"{oops\n", *lines[3:]]))
    with pytest.raises(StoreError, match="line 3"):
        list(run(tmp_path))
