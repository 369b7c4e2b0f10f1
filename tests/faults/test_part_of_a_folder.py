"""Folders of which a part is missing, another's or edited where no line of it is damaged: told, not taken as whole."""

from __future__ import annotations

import json
import shutil
import warnings
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from noiseprompt.core.errors import ConfigError, InputError, ModelLoadError, NoisepromptWarning, StoreError
from noiseprompt.core.json_lines import mend, read_lines
from noiseprompt.core.pictures import is_whole_png, write_picture
from noiseprompt.core.stores import store_of
from noiseprompt.core.weights import read_checkpoint
from noiseprompt.npd.claim import read_claim
from noiseprompt.npd.state import state
from noiseprompt.results import sets
from noiseprompt.results.folder import read_judging, settle
from noiseprompt.shapes.training import average_of, loop
from noiseprompt.stages.evaluate.evaluate import summarize_run
from noiseprompt.stages.generate.folder import settle as settle_pictures
from noiseprompt.stages.report.report import report
from noiseprompt.stages.train.checkpoint import check_metrics, check_state
from tests import evaluation_runs


@pytest.fixture
def evaluation(tmp_path: Path) -> Path:
    out = tmp_path / "evaluation"
    list(evaluation_runs.run(out, methods=["standard", "redenoise"]))
    return out


def edit(path: Path, change: Callable[[dict[str, Any]], Any]) -> None:
    data = json.loads(path.read_text())
    change(data)
    path.write_text(json.dumps(data))


def lines(path: Path, change: Callable[[list[dict[str, Any]]], Any]) -> None:
    rows = [json.loads(line) for line in path.read_text().splitlines()]
    change(rows)
    path.write_text("".join(json.dumps(row) + "\n" for row in rows))


# -------------------------------------------------------------------------------------------------------- evaluations


def test_figures_of_a_part_of_the_images_say_so(evaluation: Path) -> None:
    lines(evaluation / "results.jsonl", lambda rows: rows.pop())
    with pytest.warns(NoisepromptWarning, match=r"holds (\d+) of \d+ images by '\w+': figures are of these alone"):
        summarize_run(evaluation)


def test_more_images_than_were_asked_for_are_refused(evaluation: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    list(evaluation_runs.run(other, methods=["standard", "redenoise"], prompts=evaluation_runs.PROMPTS[:2]))
    shutil.copy(other / "settings.json", evaluation / "settings.json")
    lines(evaluation / "results.jsonl", lambda rows: [row.update(settings="") for row in rows])  # as before marks
    with pytest.raises(StoreError, match=r"14 images of 7 .*\. Expected the 4 images of 2 prompts that settings"):
        summarize_run(evaluation)


@pytest.mark.parametrize("text", ["", "[1, 2]", "{"])
def test_an_evaluation_without_an_image_is_named(text: str, evaluation: Path) -> None:
    (evaluation / "results.jsonl").write_text(text)
    with pytest.raises((InputError, StoreError), match=r"evaluation.results\.jsonl"):
        summarize_run(evaluation)


def test_a_picture_of_another_method_is_refused(evaluation: Path) -> None:
    first = json.loads((evaluation / "results.jsonl").read_text().splitlines()[0])
    others = {"standard": "redenoise", "redenoise": "standard"}[first["method"]]
    change = {"image": first["image"].replace(first["method"], others)}
    lines(evaluation / "results.jsonl", lambda rows: rows[0].update(change))
    with pytest.raises(StoreError, match=f"line 1 of .* names the picture '{others}/"):
        summarize_run(evaluation)


def test_settings_that_were_edited_are_not_continued(evaluation: Path) -> None:
    told = json.loads((evaluation / "settings.json").read_text())
    edit(evaluation / "settings.json", lambda data: data.update(fingerprint=12))
    with pytest.raises(StoreError, match=r"settings\.json were changed after writing"):
        settle(evaluation, told["settings"], told["methods"], told["judging"])


def test_reasons_and_judging_have_to_be_what_was_written(evaluation: Path) -> None:
    edit(evaluation / "settings.json", lambda data: data["judging"].update(features="dino"))
    (evaluation / ".judging.json").write_text('{"features": "shapes-features"}')
    with pytest.raises(ConfigError, match=r"judging\.json tells of features 'shapes-features', and settings\.json of"):
        read_judging(evaluation)
    edit(evaluation / "settings.json", lambda data: data.update(refused={"npnet": 7}))
    with pytest.raises(ConfigError, match=r"settings\.json is damaged: why 'npnet' was left out is 7"):
        summarize_run(evaluation)


def test_noise_figures_that_are_missing_or_of_others_are_told(evaluation: Path) -> None:
    figures = evaluation / "diagnostics.jsonl"
    lines(figures, lambda rows: rows.__setitem__(slice(None), [r for r in rows if r["method"] == "standard"]))
    with pytest.warns(NoisepromptWarning, match=r"diagnostics\.jsonl tells nothing of 'redenoise'"):
        report(evaluation)
    lines(figures, lambda rows: rows[0].update(method="dance"))
    with pytest.raises(StoreError, match=r"diagnostics\.jsonl tells of the method 'dance'"):
        report(evaluation)


def test_a_page_takes_not_the_place_of_another_evaluations(evaluation: Path, tmp_path: Path) -> None:
    shutil.copytree(evaluation, tmp_path / "other")
    before = (tmp_path / "other" / "report.html").read_bytes() if (tmp_path / "other" / "report.html").exists() else b""
    with pytest.raises(InputError, match="holds another evaluation"):
        report(evaluation, out=tmp_path / "other")
    there = tmp_path / "other" / "report.html"
    assert (there.read_bytes() if there.exists() else b"") == before


def test_pictures_that_the_features_do_not_take_are_named(tmp_path: Path) -> None:
    network = sets._Extractor("shapes-features")
    with pytest.raises(StoreError, match=r"refs/a\.png and those beside it are images of shape"):
        sets._cached(store_of(tmp_path), "x.npz", network, {}, [np.zeros((8, 8, 3), np.uint8)], 1, "refs/a.png")


# ----------------------------------------------------------------------------------------------------- lines of others


@pytest.mark.parametrize("text", ['{"a": 1}\n[1, 2]', '{"a": 1}\nthe end'])
def test_a_last_line_that_no_run_left_torn_is_kept_and_told(text: str, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_text(text)
    with pytest.raises(StoreError, match=r"line 2 of .*a\.jsonl is damaged"):
        list(read_lines(path, dict, ""))
    with pytest.raises(StoreError, match=r"last line of .*a\.jsonl is no JSON object"):
        mend(path)
    assert path.read_text() == text


@pytest.mark.parametrize("tail", [b'{"b": ', bytes(9)])
def test_what_a_kill_or_a_crash_left_is_cut_off(tail: bytes, tmp_path: Path) -> None:
    path = tmp_path / "a.jsonl"
    path.write_bytes(b'{"a": 1}\n' + tail)
    assert [row for _, row in read_lines(path, dict, "")] == [{"a": 1}]
    mend(path)
    assert path.read_bytes() == b'{"a": 1}\n'


# ------------------------------------------------------------------------------------------------ trainings, pictures


@pytest.mark.parametrize("step", [0, 9, "two", None, True])
def test_metrics_of_no_step_are_told(step: Any, tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(json.dumps({"step": 1}) + "\n" + json.dumps({"step": step}) + "\n")
    with pytest.raises(StoreError, match=r"line 2 of .*metrics\.jsonl is damaged: its step is"):
        check_metrics(path, 8)


def test_metrics_of_another_training_are_told(tmp_path: Path) -> None:
    (tmp_path / "metrics.jsonl").write_text('{"step": 1, "steps": 8}\n{"step": 2, "steps": 9}\n')
    with pytest.raises(StoreError, match=r"line 2 of .* of a training of 9 steps, and this one has 8"):
        check_metrics(tmp_path / "metrics.jsonl", 8)


@pytest.mark.parametrize(("last", "step", "lost"), [(0, 12, True), (4, 12, True), (10, 12, False), (0, 8, False)])
def test_metrics_that_are_gone_are_told(last: int, step: int, lost: bool, tmp_path: Path) -> None:
    path = tmp_path / "metrics.jsonl"
    path.write_text(json.dumps({"step": last}) + "\n" if last else "")
    with warnings.catch_warnings(record=True) as told:
        warnings.simplefilter("always")
        check_metrics(path, 20, step)
    assert [f"tells of no step after {last}" in str(one.message) for one in told] == [True] * lost


def test_a_state_of_another_network_is_told_in_words() -> None:
    net = torch.nn.Linear(2, 3)
    state = {"net": {"weight": torch.zeros(3, 2)}, "step": 1, "best": 0.0}
    with pytest.raises(ValueError, match=r"it is of another network: 1 missing \(bias\)"):
        check_state(state, net, 4, "")
    with pytest.raises(ValueError, match="it holds no names"):
        check_state([1], net, 4, "")


def test_a_checkpoint_beyond_the_last_step_is_told(tmp_path: Path) -> None:
    net = torch.nn.Linear(1, 1)
    parts = {"model": net, "ema": average_of(net, 0.5)}
    list(loop(tmp_path, "net", 4, parts, lambda step: 0.0, 0))
    with pytest.raises(ModelLoadError, match=r"net\.pt is of step 4\. Expected 0 to 2"):
        list(loop(tmp_path, "net", 2, parts, lambda step: 0.0, 0))
    with (tmp_path / "metrics.jsonl").open("a") as file:
        file.write("{oops\n")
    with pytest.raises(StoreError, match=r"line 2 of .*metrics\.jsonl is damaged"):
        list(loop(tmp_path, "net", 4, parts, lambda step: 0.0, 0))


def test_a_file_of_zeros_is_told_as_one(tmp_path: Path) -> None:
    (tmp_path / "state.pt").write_bytes(bytes(5000))
    with pytest.raises(ModelLoadError, match="it begins with zeros"):
        read_checkpoint(tmp_path / "state.pt", own=True)


def test_settings_of_pictures_that_were_edited_are_told(tmp_path: Path) -> None:
    store = store_of(tmp_path)
    settle_pictures(store, {"pipeline": {}}, {}, [])
    edit(tmp_path / "pictures.json", lambda data: data.update(fingerprint="000000000000"))
    with pytest.raises(ConfigError, match=r"the settings in .*pictures\.json were changed after writing"):
        settle_pictures(store, {"pipeline": {}}, {}, [])


def test_a_picture_that_may_not_be_read_is_not_called_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    write_picture(tmp_path / "a.png", np.zeros((8, 8, 3), np.uint8))

    def refuse(*_: Any) -> Any:
        raise PermissionError(13, "Permission denied")

    monkeypatch.setattr(Path, "open", refuse)
    with pytest.raises(InputError, match=r"cannot read .*a\.png: Permission denied"):
        is_whole_png(tmp_path / "a.png")


@pytest.mark.parametrize("text", ["{", "[]", "", '{"settings": {}, "plan": "", "pairs": 3, "shards": -1}'])
def test_a_damaged_plan_of_a_data_set_is_told(text: str, tmp_path: Path) -> None:
    (tmp_path / ".claim.json").write_text(text)
    with pytest.warns(NoisepromptWarning, match=r"claim\.json cannot be read, or is damaged: how many shards"):
        state(tmp_path)
    assert read_claim(store_of(tmp_path)) == {}
