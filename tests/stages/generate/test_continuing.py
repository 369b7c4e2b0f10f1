"""Pictures are made once, with the same bytes whoever makes them and wherever a run was stopped."""

from __future__ import annotations

import gc
import json
import weakref
from collections.abc import Sequence
from pathlib import Path

import numpy as np
import pytest
import torch
from PIL import Image

from noiseprompt.cli import main
from noiseprompt.core.errors import ConfigError, NoiseError
from noiseprompt.core.part import Part
from noiseprompt.core.types import Prompt
from noiseprompt.methods.base import MethodSpec
from noiseprompt.methods.redenoise import Redenoise
from noiseprompt.pipelines import Pipeline
from noiseprompt.shapes.model import build_pipeline
from noiseprompt.stages.generate.generate import Picture, generate
from noiseprompt.stages.generate.grid import MOST_ROWS, grid
from noiseprompt.stages.generate.settings import GenerateConfig

PROMPTS = (Prompt("a red circle"), Prompt("two blue rings"), Prompt("a green square"))
CONFIG = GenerateConfig(num_inference_steps=1, batch_size=2)


@pytest.fixture(scope="module")
def pipeline() -> Pipeline:
    torch.manual_seed(0)
    pipe = build_pipeline()
    pipe.set_progress_bar_config(disable=True)
    return Pipeline(pipe)


def specs(*texts: str) -> list[MethodSpec]:
    return [MethodSpec.parse(text) for text in texts or ("standard", "redenoise")]


def draw(pipeline: Pipeline, out: Path, seeds: Sequence[int] = (3,), config: GenerateConfig = CONFIG, **how):
    return generate(pipeline, PROMPTS, seeds, how.pop("methods", specs()), config, out, **how)


def files(out: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in sorted(out.glob("*.png"))}


@pytest.fixture(scope="module")
def whole(pipeline, tmp_path_factory) -> Path:
    out = tmp_path_factory.mktemp("whole")
    assert len([p for batch in draw(pipeline, out) for p in batch]) == 6
    return out


@pytest.mark.parametrize("batches", [0, 1, 2, 3])
def test_a_stopped_run_continues_with_the_same_bytes(pipeline, whole, tmp_path, batches) -> None:
    run = draw(pipeline, tmp_path)
    first = [picture.file for _, batch in zip(range(batches), run, strict=False) for picture in batch]
    run.close()
    assert "run.json" not in {path.name for path in tmp_path.iterdir()}
    rest = [picture.file for batch in draw(pipeline, tmp_path) for picture in batch]
    assert not set(first) & set(rest) and len(first) + len(rest) == 6
    assert files(tmp_path) == files(whole)
    assert (
        json.loads((tmp_path / "run.json").read_text())["images"]
        == json.loads((whole / "run.json").read_text())["images"]
    )


def test_of_a_batch_only_what_is_missing_is_written(pipeline, whole, tmp_path) -> None:
    list(draw(pipeline, tmp_path))
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("0*.png")}
    gone = tmp_path / "001-3-redenoise.png"
    gone.unlink()
    (tmp_path / "002-3-redenoise.png.0123abcd.tmp").write_bytes(b"of a killed run")
    [[picture]] = draw(pipeline, tmp_path)
    assert picture.file == gone.name and files(tmp_path) == files(whole)
    after = {path.name: path.stat().st_mtime_ns for path in tmp_path.glob("0*.png")}
    assert {name for name in before if before[name] != after[name]} == {gone.name}
    assert not list(tmp_path.glob("*.tmp"))


def test_what_is_complete_is_left_alone(pipeline, tmp_path) -> None:
    list(draw(pipeline, tmp_path))
    before = {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()}
    assert list(draw(pipeline, tmp_path)) == []
    assert {path.name: path.stat().st_mtime_ns for path in tmp_path.iterdir()} == before


@pytest.mark.parametrize("torn", [b"", b"\x89PNG\r\n\x1a\n half", b"hello"])
def test_a_torn_grid_is_drawn_again(pipeline, tmp_path, torn: bytes) -> None:
    list(draw(pipeline, tmp_path))
    whole = (tmp_path / "grid.png").read_bytes()
    (tmp_path / "grid.png").write_bytes(torn)
    assert list(draw(pipeline, tmp_path)) == [] and (tmp_path / "grid.png").read_bytes() == whole


@pytest.mark.parametrize("of", [2, 3, 5])
def test_parts_together_are_the_whole(pipeline, whole, tmp_path, of) -> None:
    for number in reversed(range(1, of + 1)):
        assert not (tmp_path / "grid.png").exists()
        list(draw(pipeline, tmp_path, part=Part(number, of)))
    assert files(tmp_path) == files(whole)
    assert json.loads((tmp_path / "run.json").read_text())["seeds"] == [3]


def test_more_seeds_and_methods_come_to_those_that_are_there(pipeline, tmp_path) -> None:
    list(draw(pipeline, tmp_path, methods=specs("standard")))
    before = files(tmp_path)
    new = [p.file for batch in draw(pipeline, tmp_path, (3, 4)) for p in batch]
    assert len(new) == 9 and not set(new) & set(before)
    assert all(files(tmp_path)[name] == data for name, data in before.items() if name != "grid.png")
    assert set(json.loads((tmp_path / "pictures.json").read_text())["methods"]) == {"standard", "redenoise"}
    record = json.loads((tmp_path / "run.json").read_text())
    assert record["seeds"] == [3, 4] and len(record["images"]) == 12


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"config": GenerateConfig(num_inference_steps=2, batch_size=2)}, "num_inference_steps: 1 there, 2 here"),
        ({"prompts": PROMPTS[:2]}, "prompts count: 3 there, 2 here"),
        ({"prompts": (*PROMPTS[:2], Prompt("a cat"))}, "prompts fingerprint"),
    ],
)
def test_other_settings_are_refused_and_nothing_is_touched(pipeline, tmp_path, change, says) -> None:
    list(draw(pipeline, tmp_path))
    before = {path.name: path.read_bytes() for path in tmp_path.iterdir()}
    given = {"prompts": PROMPTS, "config": CONFIG, **change}
    with pytest.raises(ConfigError, match=f"made with other settings .*{says}.*choose a new folder"):
        list(generate(pipeline, given["prompts"], (9,), specs(), given["config"], tmp_path))
    assert {path.name: path.read_bytes() for path in tmp_path.iterdir()} == before


def test_another_batch_size_continues(pipeline, tmp_path) -> None:
    next(draw(pipeline, tmp_path))
    drawn = [p for batch in draw(pipeline, tmp_path, config=GenerateConfig(num_inference_steps=1)) for p in batch]
    assert len(drawn) == 4


def test_another_model_is_refused(pipeline, tmp_path) -> None:
    list(draw(pipeline, tmp_path))
    torch.manual_seed(1)
    pipe = build_pipeline()
    pipe.set_progress_bar_config(disable=True)
    with pytest.raises(ConfigError, match="pipeline denoiser"):
        list(draw(Pipeline(pipe), tmp_path, (9,)))


def test_pictures_whose_settings_nobody_knows_are_not_taken_for_ours(pipeline, tmp_path) -> None:
    (tmp_path / "000-3-standard.png").write_bytes(b"somebody's")
    with pytest.raises(ConfigError, match=r"holds 000-3-standard\.png without pictures\.json.*new folder"):
        list(draw(pipeline, tmp_path))
    assert [path.name for path in tmp_path.iterdir()] == ["000-3-standard.png"]
    list(draw(pipeline, tmp_path, (4,)))  # none of these is there


@pytest.mark.parametrize("text", ["{", "[]", '{"settings": 1, "methods": {}}'])
def test_damaged_settings_are_told(pipeline, tmp_path, text) -> None:
    (tmp_path / "pictures.json").write_text(text)
    with pytest.raises(ConfigError, match=r"pictures\.json"):
        list(draw(pipeline, tmp_path))


def test_a_run_that_made_nothing_leaves_no_settings(pipeline, tmp_path, monkeypatch) -> None:
    def fail(*_: object) -> torch.Tensor:
        raise NoiseError("no noise")

    monkeypatch.setattr(Redenoise, "perturb", fail)
    with pytest.raises(NoiseError):
        list(draw(pipeline, tmp_path / "none", methods=specs("redenoise")))
    assert not list((tmp_path / "none").iterdir())
    with pytest.raises(NoiseError):
        list(draw(pipeline, tmp_path / "some"))
    assert (tmp_path / "some" / "pictures.json").exists() and len(files(tmp_path / "some")) == 3


def test_no_picture_is_kept(pipeline, tmp_path) -> None:
    alive: list[weakref.ref[np.ndarray]] = []
    for batch in draw(pipeline, tmp_path, (1, 2)):
        gc.collect()
        assert not any(old() is not None for old in alive)
        alive = [weakref.ref(picture.image) for picture in batch]
        del batch


def test_a_grid_shows_the_first_rows(tmp_path) -> None:
    Image.new("RGB", (64, 64), "red").save(tmp_path / "one.png")
    rows = {(f"prompt {i}", i): ["one.png"] for i in range(MOST_ROWS + 1)}
    fewer = dict(list(rows.items())[:-1])
    assert grid(tmp_path, rows, ["standard"]).size == grid(tmp_path, fewer, ["standard"]).size


def test_parts_on_the_command_line(tmp_path, capsys) -> None:
    words = ["generate", "a red circle", "--out", str(tmp_path), "--methods", "standard", "--seeds", "0-3"]
    words += ["--num_inference_steps", "1", "--batch_size", "2"]
    assert main([*words, "--part", "3/2"]) == 2 and "part 3/2" in capsys.readouterr().err
    assert main([*words, "--part", "2/2"]) == 0
    assert "part 2/2" in capsys.readouterr().out and len(files(tmp_path)) == 2
    assert main([*words, "--part", "1/2"]) == 0
    assert "images and grid.png" in capsys.readouterr().out and len(files(tmp_path)) == 5
    assert main([*words, "--guidance_scale", "9"]) == 2
    assert "guidance_scale" in capsys.readouterr().err


def test_a_picture_is_what_its_file_holds(pipeline, tmp_path) -> None:
    pictures: list[Picture] = [p for batch in draw(pipeline, tmp_path) for p in batch]
    for picture in pictures:
        np.testing.assert_array_equal(np.asarray(Image.open(tmp_path / picture.file)), picture.image)
