"""All mistakes of a command line and of its `--config` file in one line: option, value, what was expected."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from noiseprompt.cli import common, main

WRONG: dict[str, tuple[str, list[str]]] = {
    "two types": (
        "train --npd n --out o --epochs two --lr fast",
        ["--epochs 'two' (expected a whole number)", "--lr 'fast' (expected a number)"],
    ),
    "type and range": (
        "train --npd n --out o --epochs two --ema_decay 2",
        ["--epochs 'two'", "--ema_decay 2 (expected a number from 0 to below 1)"],
    ),
    "with an equals sign": ("train --npd=n --out=o --epochs=2.5 --lr=", ["--epochs 2.5", "--lr ''"]),
    "two records": (
        "generate x --out o --batch_size 0 --dtype int8",
        ["--batch_size 0 (expected a whole number, 1 or more)", "--dtype 'int8' (expected one of float32"],
    ),
    "missing too": ("train --epochs two", ["--epochs 'two'", "required: --out"]),
    "unknown too": (
        "train --npd n --out o --epoch 3 --lr no",
        ["no option --epoch 3 (did you mean --epochs?)", "--lr 'no'"],
    ),
    "a word too many": ("generate x y --out o --seed 3", ["the word 'y'", "no option --seed 3"]),
    "no value": ("train --npd n --out o --epochs --lr no", ["--epochs: expected one argument", "--lr 'no'"]),
    "a former name": (
        "collect --prompts p --out o --sampling_steps 3 --seed no",
        ["option --sampling_steps (expected its new name --num_inference_steps", "--seed 'no'"],
    ),
    "lists": (
        "evaluate --seeds 7-0 --seed_range [3] --scorers []",
        ["--seeds seeds '7-0' (expected", "--seed_range '[3]' (expected", "--scorers '[]' (expected at least one)"],
    ),
    "empty paths": ("train --npd= --out=", ["--npd '' (expected a path)", "--out '' (expected a path)"]),
    "dashes": (
        "generate x --out o --batch-size no --num-inference-steps no",
        ["--batch_size", "--num_inference_steps"],
    ),
    "a flag": ("train --npd n --out o --tensorboard maybe --seed x", ["--tensorboard 'maybe' (expected true or"]),
    "records": (
        "shapes train --out o --seed x --phases [{steps:0}]",
        ["--seed 'x' (expected a whole number", "--phases number 1: "],
    ),
    "a file too": (
        "train --npd n --config o.yaml --lr fast",
        ["--lr 'fast'", "o.yaml: epochs: 2.5 (expected", "--out"],
    ),
    "a file that is not there": (
        "train --npd n --out o --config none.yaml --lr fast",
        ["--lr 'fast'", "cannot read none.yaml"],
    ),
    "yaml itself": ("train --npd n --out o --config {epochs:two,lr:fast}", ["--config: epochs:", "lr: "]),
}


@pytest.fixture(autouse=True)
def nothing_is_done(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[None]:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(common, "load_model", lambda *_: pytest.fail("a model was loaded"))
    Path("o.yaml").write_text("epochs: 2.5\n")
    yield
    assert [path.name for path in tmp_path.rglob("*")] == ["o.yaml"]


@pytest.mark.parametrize("kind", WRONG)
def test_everything_is_told_in_one_line(kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    line, texts = WRONG[kind]
    words = [word.replace(":", ": ") if word[:1] in "{[" else word for word in line.split()]
    assert main(words) == 2
    error = capfd.readouterr().err
    assert error.count("\n") == 1 and error.startswith("noiseprompt: error: ")
    assert not [text for text in texts if text not in error], error
    assert not [word for word in ("<class", "Parser key", "None", "Union", "indices") if word in error], error


def test_one_mistake_is_told_as_ever(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--npd=n", "--out=o", "--epochs", "two"]) == 2
    expected = "--epochs 'two'. Expected a whole number. `noiseprompt train --help` lists what there is.\n"
    assert capfd.readouterr().err == f"noiseprompt: error: {expected}"


@pytest.mark.parametrize("value", ["-0.5", "-3", "1e-3", "0"])
def test_numbers_that_begin_with_a_dash_are_values(value: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--npd=n", "--out=o", "--margin", value, "--epochs", "two"]) == 2
    assert capfd.readouterr().err.startswith("noiseprompt: error: --epochs 'two'. Expected")
