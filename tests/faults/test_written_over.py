"""What is of another kind is never written over: prompts, pictures, results, networks, devices."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Any

import pytest
import torch

from noiseprompt.cli import main
from noiseprompt.core.errors import ConfigError, InputError, NoisepromptWarning, StoreError
from noiseprompt.core.files import claim, replace
from noiseprompt.core.pictures import write_picture
from noiseprompt.npd.info import write_noise_figures
from noiseprompt.npnet import build, tokens_config
from noiseprompt.pipelines import Pipeline
from noiseprompt.shapes.settings import FeatureConfig
from noiseprompt.shapes.training import save_network
from noiseprompt.stages.train.start import BEGUN
from noiseprompt.stages.train.texts import cache_embeds
from tests.npd_fakes import write as write_pairs

GENERATE = ["generate", "a cat", "--methods=standard", "--seeds=0", "--num_inference_steps=1"]
EVALUATE = [
    "evaluate",
    "--prompts=shapes:test",
    "--n=2",
    "--scorers=brightness",
    "--methods=standard",
    "--batch_size=2",
]
SCORES = "score images --prompts prompts.csv --scorers shapes-checker --out"
REFUSED = {
    "the prompts": (f"{SCORES} prompts.csv", "prompts.csv", "the prompts"),
    "results": (f"{SCORES} results.json", "results.json", "holds no scores"),
    "another document": ("tables notes.md runs/shapes --recipes recipes", "notes.md", "no such document"),
    "a network": ("shapes features --out o --export net", "net/config.json", "holds a saved network (config.json)"),
    "prompts with more columns": (f"{SCORES} more.csv".replace("prompts.csv", "more.csv"), "more.csv", "the prompts"),
    "its own run": ("shapes features --out o --export ./o/", "images/a.png", "the run's own folder"),
    "a model": ("shapes preference --out model", "model/model_index.json", "holds a model (model_index.json)"),
    "another model": ("shapes train --out o --export model", "model/model_index.json", "holds a model"),
    "another network": ("shapes features --out o --export bert", "bert/config.json", "of something else"),
    "a training": ("shapes preference --out run", "run/settings.json", "holds settings.json of something else"),
}


@pytest.fixture(autouse=True)
def there(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    for folder in ("images", "run", "web", "model", "bert"):
        Path(folder).mkdir()
    write_picture(Path("images/a.png"), torch.zeros(64, 64, 3, dtype=torch.uint8).numpy())
    Path("prompts.csv").write_text("prompt,file\na red circle,a.png\n")
    Path("more.csv").write_text("file,prompt,seed\na.png,a red circle,3\n")
    Path("results.json").write_text('{"baseline": "standard"}')
    Path("web/report.html").write_text("<p>mine")
    Path("notes.md").write_text("# Mine\n")
    Path("run/settings.json").write_text("{}")
    Path("model/model_index.json").write_text('{"_class_name": "StableDiffusionPipeline"}')
    Path("bert/config.json").write_text('{"model_type": "bert"}')
    build(tokens_config((4, 8, 8), 3, 8)).save_pretrained("net")


@pytest.mark.parametrize("kind", REFUSED)
def test_a_file_of_another_kind_stays(kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    line, file, told = REFUSED[kind]
    before = Path(file).read_bytes()
    assert main(line.split()) == 2
    assert told in capfd.readouterr().err
    assert Path(file).read_bytes() == before and not Path("o").exists()


def test_scores_may_be_written_again(capfd: pytest.CaptureFixture[str]) -> None:
    for name in ("scores.csv", "scores.json"):
        assert main(f"{SCORES} {name}".split()) == 0
        assert main(f"{SCORES} {name}".split()) == 0


def test_a_pipe_is_not_replaced(tmp_path: Path) -> None:
    pipe = tmp_path / "pipe"
    os.mkfifo(pipe)
    with pytest.raises(StoreError, match="a device or a pipe"):
        replace(pipe, "text")
    assert pipe.is_fifo()


HOMES: dict[str, tuple[list[str], str]] = {
    "a grid": ([*GENERATE, "--out=there"], "grid.png"),
    "a run's account": ([*GENERATE, "--out=there"], "run.json"),
    "figures": ([*EVALUATE, "--out=there"], "results.json"),
    "a page": ([*EVALUATE, "--out=there"], "report.html"),
    "lines of noise": ([*EVALUATE, "--out=there"], "diagnostics.jsonl"),
    "more lines of noise": ([*GENERATE, "--out=there"], "noise.jsonl"),
}


@pytest.mark.parametrize("kind", HOMES)
def test_a_new_run_takes_no_folder_that_holds_a_file_it_would_write(kind: str, quick: None, capfd: Any) -> None:
    words, name = HOMES[kind]
    Path("there").mkdir()
    Path("there", name).write_bytes(b"mine")
    assert main(words) == 2
    assert f"there holds {name} without " in capfd.readouterr().err
    assert Path("there", name).read_bytes() == b"mine" and not list(Path("there").rglob("0*.png"))


@pytest.mark.parametrize("name", ["best/model.safetensors", "state.pt"])
def test_a_training_begins_in_no_folder_of_another(name: str, tmp_path: Path) -> None:
    file = tmp_path / name
    file.parent.mkdir(exist_ok=True)
    file.write_bytes(b"mine")
    beginning = claim(tmp_path / "settings.json", {"epochs": 1}, BEGUN)
    with pytest.raises(ConfigError, match=f"holds {name} without settings.json"), beginning:
        pytest.fail("it began")
    assert file.read_bytes() == b"mine" and not (tmp_path / "settings.json").exists()


def test_figures_of_noise_that_are_of_something_else_stay(tmp_path: Path) -> None:
    write_pairs(tmp_path)
    there = tmp_path / "noise.json"
    there.write_text('{"mine": 1}')
    with pytest.warns(NoisepromptWarning, match=r"noise\.json is of something else and stays"):
        write_noise_figures(tmp_path)
    assert there.read_text() == '{"mine": 1}'
    there.write_text("{")  # torn, which is no loss
    write_noise_figures(tmp_path)
    assert "target noise" in there.read_text()


def test_a_record_of_embeddings_that_is_of_something_else_stays(tmp_path: Path) -> None:
    record = tmp_path / "run" / "embeds.json"
    record.write_text('{"mine": 1}')
    with pytest.raises(ConfigError, match=r"embeds\.json is of something else"):
        cache_embeds(["a cat"], Pipeline.load("shapes"), record.with_suffix(".npy"))
    assert record.read_text() == '{"mine": 1}' and not {"embeds.npy", "embeds.part"} & {*os.listdir(record.parent)}


def test_settings_of_another_program_are_no_other_settings(tmp_path: Path) -> None:
    (tmp_path / "settings.json").write_text('{"editor.fontSize": 12}')
    beginning = claim(tmp_path / "settings.json", {"epochs": 1})
    with pytest.raises(ConfigError, match=r"settings\.json is of something else"), beginning:
        pytest.fail("it began")


def test_a_report_is_written_again_and_elsewhere(quick: None, capfd: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    """Also of an evaluation that lies where nothing may be written."""
    assert main([*EVALUATE, "--out=e"]) == 0
    before = Path("e/results.json").stat().st_mtime_ns
    access = os.access
    monkeypatch.setattr(os, "access", lambda path, mode, **k: str(path) != "e" and access(path, mode, **k))
    assert main(["report", "e", "--out=web"]) == 2
    assert "web/report.html is there and no report" in capfd.readouterr().err
    assert Path("web/report.html").read_text() == "<p>mine"
    for _ in range(2):
        assert main(["report", "e", "--out=new"]) == 0
    assert "e may not be written" in capfd.readouterr().err
    assert Path("e/results.json").stat().st_mtime_ns == before and Path("new/report.html").is_file()


def test_a_network_is_not_saved_over_another_model(tmp_path: Path) -> None:
    other = {"config.json": b'{"model_type": "bert"}', "model.safetensors": b"mine"}
    for name, content in other.items():
        (tmp_path / name).write_bytes(content)
    with pytest.raises(InputError, match=r"holds another model \(config\.json\)"):
        build(tokens_config((4, 8, 8), 3, 8)).save_pretrained(tmp_path)
    with pytest.raises(ConfigError, match=r"config\.json is of something else"):
        save_network(torch.nn.Linear(1, 1), FeatureConfig(), "", tmp_path)
    assert {name: (tmp_path / name).read_bytes() for name in other} == other


def test_a_demo_leaves_prompts_of_others(tmp_path: Path, capfd: Any) -> None:
    (tmp_path / "prompts.txt").write_text("a cat\n")
    assert main(["demo", "--n=1", "--out", str(tmp_path)]) == 2
    assert "holds other prompts" in capfd.readouterr().err
    assert (tmp_path / "prompts.txt").read_text() == "a cat\n"
