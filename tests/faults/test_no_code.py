"""No key and no value of an option imports anything, on any of the three roads."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest

from noiseprompt.cli import main
from noiseprompt.cli.entry import option_parser
from noiseprompt.cli.options import option_types, read_options
from noiseprompt.cli.table import COMMANDS, Command

NAME = "noiseprompt_trap.Name"
SPECS: list[Any] = [
    NAME,
    [NAME],
    {"a": NAME},
    {"class_path": NAME},
    {"class_path": NAME, "init_args": {}},
    [{"class_path": NAME}],
    {"a": {"class_path": NAME}},
    {"a": [{"class_path": NAME}]},
]


@pytest.fixture
def trap(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Iterator[Path]:
    """A module that can be imported and writes a file when it is."""
    written = tmp_path / "imported"
    (tmp_path / "noiseprompt_trap.py").write_text(f"open({str(written)!r}, 'w').close()\nclass Name: pass\n")
    monkeypatch.syspath_prepend(tmp_path)
    yield written
    assert not written.exists() and "noiseprompt_trap" not in sys.modules


def commands() -> list[Command]:
    return [one for c in COMMANDS.values() for one in ([c] if isinstance(c, Command) else c.values())]


@pytest.mark.parametrize("command", commands(), ids=lambda command: command.function.split(":")[1])
def test_no_option_of_any_command_imports(command: Command, trap: Path) -> None:
    """The parser by itself is not asked to find classes, whatever stands guard before it."""
    parser = option_parser(command)
    for name in option_types(parser):
        for spec in SPECS:
            read_options(parser, {name: spec})
            with pytest.raises((Exception, SystemExit)):
                text = spec if isinstance(spec, str) else json.dumps(spec)
                parser.parse_args([f"--{name}={text}", "--no_such_option=1"])
    assert not trap.exists()


@pytest.mark.parametrize(
    "words",
    [
        "train --npd n --out o --sizes {spec}",
        "train --npd n --out o --sizes.a.class_path=NAME",
        "train --npd n --out o --settings.class_path=NAME",
        "train --npd n --out o --loading class_path",
        "train --npd n --out o --class_path=NAME",
        "shapes train --out o --phases [{spec}]",
        "shapes train --out o --phases.help=NAME",
        "train --npd n --out o --config {file}",
        "train --npd n --out o --config sizes:{spec}",
        "run {recipe}",
    ],
)
def test_naming_code_is_refused_in_one_line(
    words: str, trap: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.chdir(tmp_path)
    spec = json.dumps({"a": {"class_path": NAME}}).replace(" ", "")
    (tmp_path / "file.yaml").write_text(f"sizes: {spec}\nsettings: {spec}\nclass_path: {NAME}\n")
    (tmp_path / "recipe.yaml").write_text(f"collect: {{prompts: p}}\ntrain: {{sizes: {spec}}}\nclass_path: {NAME}\n")
    values = {"spec": spec, "file": str(tmp_path / "file.yaml"), "recipe": str(tmp_path / "recipe.yaml")}
    filled = [word.replace("NAME", NAME) for word in words.split()]
    for name, value in values.items():
        filled = [word.replace("{" + name + "}", value) for word in filled]
    assert main(filled) == 2
    error = capfd.readouterr().err
    assert error.count("\n") == 1 and error.startswith("noiseprompt: error: ") and "class '" not in error


PHASE = {"steps": 3, "lr": 1e-3, "warmup": 2, "clean_share": 1, "unrelated": 0.1, "altered": 0}


def test_phases_of_the_world_are_read_from_both_roads(tmp_path: Path) -> None:
    from noiseprompt.shapes.settings import Phase

    command = COMMANDS["shapes"]["train"]  # type: ignore[index]
    parser = option_parser(command)
    file = tmp_path / "o.yaml"
    file.write_text(f"phases: [{json.dumps(PHASE)}]\n")
    for words in ([f"--phases=[{json.dumps(PHASE)}]"], ["--config", str(file)]):
        [phase] = parser.parse_args(["--out", "o", *words]).phases
        assert phase == Phase(steps=3, lr=1e-3, warmup=2, clean_share=1.0, unrelated=0.1, altered=0.0)


@pytest.mark.parametrize(
    ("phases", "told"),
    [
        ([{**PHASE, "lr": "fast"}], 'number 1: lr: "fast" (expected a number)'),
        ([PHASE, {"steps": 1}], "number 2: warmup is missing"),
        ([{**PHASE, "step": 1}], "no option step (did you mean steps?)"),
        ("x", '"x". Expected a list of mappings of steps, lr'),
        ([3], "Expected a list of mappings of steps, lr"),
    ],
)
def test_wrong_phases_are_told_in_words(
    phases: Any, told: str, tmp_path: Path, capfd: pytest.CaptureFixture[str]
) -> None:
    assert main(["shapes", "train", "--out", str(tmp_path / "o"), "--phases", json.dumps(phases)]) == 2
    error = capfd.readouterr().err
    assert error.count("\n") == 1 and "--phases" in error and told in error, error
    assert not (tmp_path / "o").exists()
