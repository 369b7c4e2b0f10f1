"""Folders of evaluations, pictures and trainings in which something was changed, taken away or exchanged: told."""

from __future__ import annotations

import dataclasses
import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from noiseprompt.cli.score import match
from noiseprompt.core.errors import ConfigError, InputError, ModelLoadError, NoisepromptWarning, StoreError
from noiseprompt.core.pictures import write_picture
from noiseprompt.core.stores import store_of
from noiseprompt.npd import Npd
from noiseprompt.recipes.document import tables
from noiseprompt.results import sets
from noiseprompt.results.pictures import Pictures
from noiseprompt.stages.evaluate.evaluate import summarize_run
from noiseprompt.stages.generate.folder import check_sizes
from noiseprompt.stages.generate.noises import of_all
from noiseprompt.stages.report.report import report
from noiseprompt.stages.train.train import train
from tests import evaluation_runs, train_fakes

evaluate_module = "noiseprompt.stages.evaluate.evaluate"

# -------------------------------------------------------------------------------------------------------- evaluations


@pytest.fixture
def evaluation(tmp_path: Path) -> Path:
    out = tmp_path / "evaluation"
    list(evaluation_runs.run(out, methods=["standard"]))
    return out


def edit(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def edit_line(evaluation: Path, **changes: Any) -> None:
    lines = (evaluation / "results.jsonl").read_text().splitlines()
    lines[1] = json.dumps(json.loads(lines[1]) | changes)
    (evaluation / "results.jsonl").write_text("\n".join(lines) + "\n")


def test_settings_that_were_edited_are_not_reported(evaluation: Path) -> None:
    edit(evaluation / "settings.json", lambda data: data["settings"]["config"].update(num_inference_steps=50))
    for read in (summarize_run, report):
        with pytest.raises(StoreError, match=r"settings\.json were changed after writing"):
            read(evaluation)


@pytest.mark.parametrize(
    ("change", "says"),
    [
        ({"text": "another"}, r"line 2 of .*results\.jsonl tells of prompt \w{16} with the text 'another'"),
        ({"seed": 7}, r"line 2 of .* names the picture 'standard/\w{16}-\d+\.png'\. Expected a file \w{16}-7\.png"),
        ({"image": "standard/other.png"}, "names the picture 'standard/other.png'"),
    ],
)
def test_an_image_of_another_text_seed_or_picture_is_told(change: Any, says: str, evaluation: Path) -> None:
    edit_line(evaluation, **change)
    with pytest.raises(StoreError, match=says):
        summarize_run(evaluation)


@pytest.mark.parametrize(
    ("name", "value"), [("features", 5), ("reference", []), ("filter_scorers", "a"), ("world", "yes")]
)
def test_a_judging_of_another_kind_is_told(name: str, value: Any, evaluation: Path) -> None:
    edit(evaluation / "settings.json", lambda data: data["judging"].update({name: value}))
    (evaluation / ".judging.json").unlink()
    for read in (summarize_run, report):
        with pytest.raises(ConfigError, match=rf"{name} in .*settings\.json"):
            read(evaluation)


def test_settings_that_are_a_folder_are_told(evaluation: Path) -> None:
    (evaluation / "settings.json").unlink()
    (evaluation / "settings.json").mkdir()
    for read in (summarize_run, report, lambda out: list(evaluation_runs.run(out, methods=["standard"]))):
        with pytest.raises(ConfigError, match=r"cannot read .*settings\.json: Is a directory"):
            read(evaluation)


def test_a_picture_that_cannot_be_read_is_told_with_a_remedy(evaluation: Path) -> None:
    next((evaluation / "images" / "standard").glob("*.png")).write_text("hello")
    with pytest.raises(
        StoreError, match=r"is not a readable picture.* delete it: distances and diversity are then without"
    ):
        sets.measure(evaluation, "shapes-features")


def test_a_reference_is_found_from_another_folder(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    asked: list[str] = []
    monkeypatch.setattr(f"{evaluate_module}.measure", lambda out, name, reference, world: asked.append(reference))
    (tmp_path / "real/deep").mkdir(parents=True)
    (tmp_path / "elsewhere").mkdir()
    write_picture(tmp_path / "real/deep/a.png", np.zeros((8, 8, 3), np.uint8))
    monkeypatch.chdir(tmp_path)
    config = dataclasses.replace(evaluation_runs.CONFIG, reference="real/deep", features="shapes-features")
    list(evaluation_runs.run(Path("evaluation"), config=config, methods=["standard"]))
    monkeypatch.chdir("elsewhere")
    summarize_run(Path("../evaluation"))
    assert asked == [str(tmp_path / "real/deep")] * 2
    assert json.loads(Path("../evaluation/settings.json").read_text())["judging"]["reference"] == "deep"


def test_pictures_that_are_gone_are_told(evaluation: Path) -> None:
    gone = next((evaluation / "images" / "standard").glob("*.png"))
    gone.unlink()
    with pytest.warns(NoisepromptWarning, match=rf"1 pictures gone \(standard/{gone.name}\) from .*images"):
        sets._saved(store_of(evaluation), Pictures(evaluation))


def test_pictures_of_two_sizes_are_named(tmp_path: Path) -> None:
    for name, edge in (("a.png", 8), ("b.png", 8), ("c.png", 9)):
        write_picture(tmp_path / name, np.zeros((edge, edge, 3), np.uint8))
    with pytest.raises(StoreError, match="a has 8 x 8 pixels, c has 9 x 9"):
        list(sets._of_one_size("abc", [np.zeros((edge, edge, 3), np.uint8) for edge in (8, 8, 9)]))
    with pytest.raises(StoreError, match=r"c\.png has 9 x 9 pixels, a\.png 8 x 8"):
        check_sizes(store_of(tmp_path), ["a.png", "gone.png", "b.png", "c.png"])
    check_sizes(store_of(tmp_path), ["a.png", "b.png"])


def test_a_report_says_which_methods_it_is_without(evaluation: Path) -> None:
    edit(evaluation / "settings.json", lambda data: data["methods"].update(redenoise={}))
    with pytest.warns(NoisepromptWarning, match="holds no image of 'redenoise'"):
        report(evaluation)


def test_figures_of_another_evaluation_are_not_reported(evaluation: Path) -> None:
    edit(evaluation / "results.json", lambda data: data["methods"].update(nlg=data["methods"]["standard"]))
    with pytest.raises(StoreError, match=r"results\.json has figures of 'nlg'"):
        report(evaluation)


def test_a_page_is_not_made_of_figures_of_other_lines(evaluation: Path) -> None:
    lines = (evaluation / "results.jsonl").read_text().splitlines(keepends=True)
    (evaluation / "results.jsonl").write_text("".join(lines[:-1]))
    with pytest.raises(StoreError, match=f"has figures of {len(lines)} images of 'standard'.* of {len(lines) - 1}"):
        report(evaluation)


def test_a_page_of_an_evaluation_that_goes_on_meanwhile_is_without_the_images_that_came_since(evaluation: Path) -> None:
    path = evaluation / "results.jsonl"
    whole = path.read_text()
    path.write_text("".join(whole.splitlines(keepends=True)[:-2]))
    with warnings.catch_warnings(action="ignore"):
        images = summarize_run(evaluation).methods["standard"].images
    path.write_text(whole)
    with pytest.warns(NoisepromptWarning, match=f"has figures of {images} images of 'standard'.* of {images + 2}: the"):
        assert Path(report(evaluation)).is_file()


def test_a_page_is_without_a_method_that_was_begun_meanwhile(tmp_path: Path) -> None:
    list(evaluation_runs.run(tmp_path, methods=["standard", "redenoise"]))
    path = tmp_path / "results.jsonl"
    whole = path.read_text()
    path.write_text("".join(line for line in whole.splitlines(keepends=True) if '"redenoise"' not in line))
    with warnings.catch_warnings(action="ignore"):
        assert list(summarize_run(tmp_path).methods) == ["standard"]
    path.write_text(whole)
    with pytest.warns(NoisepromptWarning, match="figures of 0 images of 'redenoise'"):
        assert Path(report(tmp_path)).is_file()


def test_noise_figures_of_some_images_alone_are_told(evaluation: Path) -> None:
    path = evaluation / "diagnostics.jsonl"
    path.write_text(path.read_text().splitlines(keepends=True)[0])
    with pytest.warns(NoisepromptWarning, match="tells of the noise of 4 images by 'standard', and 14 were drawn"):
        report(evaluation)


def test_a_judging_that_lacks_something_is_told(evaluation: Path) -> None:
    edit(evaluation / ".judging.json", lambda data: data.pop("reference"))
    with pytest.raises(ConfigError, match=r"tells of reference null, and settings\.json of ''"):
        summarize_run(evaluation)


def test_a_folder_that_is_emptied_under_an_evaluation_is_told(tmp_path: Path) -> None:
    with pytest.raises(StoreError, match="was emptied or moved while it was evaluated"):
        for _ in evaluation_runs.run(tmp_path / "out", methods=["standard"]):
            (tmp_path / "out" / "settings.json").unlink(missing_ok=True)


def test_runs_of_no_known_model_are_told(tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"runs in a folder 'mine' .*the name of one of sdxl, shapes"):
        tables(tmp_path / "doc.md", tmp_path / "mine")


def test_the_grid_of_generate_needs_no_prompt(tmp_path: Path) -> None:
    for name in ("000-0-standard.png", "grid.png"):
        write_picture(tmp_path / name, np.zeros((8, 8, 3), np.uint8))
    (tmp_path / "prompts.txt").write_text("a red circle\n")
    with pytest.raises(InputError, match="2 pictures"):
        match(tmp_path, tmp_path / "prompts.txt")
    (tmp_path / "pictures.json").write_text("{}")
    assert [path.name for path, _ in match(tmp_path, tmp_path / "prompts.txt")] == ["000-0-standard.png"]


# ---------------------------------------------------------------------------------------------------------- trainings


def trained(out: Path, npd: Npd) -> None:
    for _ in train(npd, train_fakes.FakePipeline(), train_fakes.CONFIG, out):  # type: ignore[arg-type]
        pass


@pytest.fixture(scope="module")
def pairs(tmp_path_factory: pytest.TempPathFactory) -> Npd:
    return train_fakes.write(tmp_path_factory.mktemp("npd"), train_fakes.facts(train_fakes.FakePipeline()))


@pytest.fixture(scope="module")
def ended(pairs: Npd, tmp_path_factory: pytest.TempPathFactory) -> Path:
    out = tmp_path_factory.mktemp("run")
    trained(out, pairs)
    return out


@pytest.fixture
def run(ended: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(ended, tmp_path / "run"))


def test_a_best_network_that_is_gone_or_another_is_told(run: Path, pairs: Npd) -> None:
    shutil.rmtree(run / "best")
    with pytest.raises(StoreError, match=r"best holds no model\.safetensors\. Expected the best network of"):
        trained(run, pairs)
    from noiseprompt.npnet import build, tokens_config

    build(tokens_config((4, 16, 16), 3, 8)).save_pretrained(run / "best")
    with pytest.raises(StoreError, match="best holds another network"):
        trained(run, pairs)
    shutil.rmtree(run / "best")
    shutil.copytree(run / "last", run / "best")
    edit(run / "best/config.json", lambda data: data.update(predicts="picture"))
    with pytest.raises(StoreError, match="another network, which predicts a picture"):
        trained(run, pairs)


def test_a_best_network_that_is_gone_is_told_before_the_training_goes_on(run: Path, pairs: Npd) -> None:
    state = torch.load(run / "state.pt", weights_only=True)
    torch.save({**state, "step": 1}, run / "state.pt")
    shutil.rmtree(run / "best")
    with pytest.raises(StoreError, match=r"best holds no model\.safetensors"):
        trained(run, pairs)
    assert torch.load(run / "state.pt", weights_only=True)["step"] == 1


def test_numbers_of_another_optimizer_are_told_in_our_words(run: Path, pairs: Npd) -> None:
    state = torch.load(run / "state.pt", weights_only=True)
    first = next(iter(state["optimizer"]["state"].values()))
    first["step"] = "four"
    torch.save(state, run / "state.pt")
    with pytest.raises(ModelLoadError, match=r"its optimizer's numbers are not of this network \(\w+\)"):
        trained(run, pairs)


def test_a_training_that_begins_anew_over_its_networks_says_so(run: Path, pairs: Npd) -> None:
    (run / "state.pt").unlink()
    with pytest.warns(NoisepromptWarning, match="begins at step 0, and its networks are written over"):
        trained(run, pairs)


def test_a_state_that_lacks_something_says_what(run: Path, pairs: Npd) -> None:
    import torch

    state = torch.load(run / "state.pt", weights_only=True)
    del state["best"]
    torch.save(state, run / "state.pt")
    with pytest.raises(ModelLoadError, match="it lacks 'best'"):
        trained(run, pairs)
    (run / "state.pt").write_bytes(b"")
    with pytest.raises(ModelLoadError, match=r"is empty.*delete it: the same command begins anew"):
        trained(run, pairs)


def test_a_training_is_not_begun_in_another_kind_of_folder(tmp_path: Path, pairs: Npd) -> None:
    (tmp_path / "results.jsonl").write_text("")
    with pytest.raises(InputError, match=r"holds an evaluation \(results\.jsonl\)"):
        trained(tmp_path, pairs)
    assert [path.name for path in tmp_path.iterdir()] == ["results.jsonl"]


# ------------------------------------------------------------------------------------------------------------- noises


REPORT = {"images": 2, "mean": [0.0], "std": [1.0], "horizontal": 0.0, "vertical": 0.0, "perturbation": None} | {
    "finite": True,
    "problems": [],
}


@pytest.mark.parametrize(
    "change",
    [{"images": 0}, {"std": []}, {"mean": [], "std": []}, {"std": [1e300]}, {"mean": [0.0] * 2, "std": [1.0] * 2}],
)
def test_figures_of_no_noise_are_told(change: dict[str, Any], tmp_path: Path) -> None:
    lines = [{"method": "standard", "first": f"{i}.png", "report": REPORT} for i in range(2)]
    lines[1]["report"] = REPORT | change
    (tmp_path / "noise.jsonl").write_text("".join(f"{json.dumps(line)}\n" for line in lines))
    with pytest.raises(StoreError, match=r"line 2 of .*noise\.jsonl is damaged: its figures are of no noise"):
        of_all(store_of(tmp_path), [])
