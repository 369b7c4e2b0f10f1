"""What is written is taken as it is written, or refused: numbers, recipes, columns, places, names of shards."""

from __future__ import annotations

import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest

from noiseprompt.cli import common, main, rewards
from noiseprompt.cli.entry import option_parser
from noiseprompt.cli.options import read_option, read_options
from noiseprompt.cli.table import COMMANDS
from noiseprompt.core.config import parse_value
from noiseprompt.core.errors import NoisepromptError
from noiseprompt.core.json_files import read_json
from noiseprompt.core.pictures import read_picture
from noiseprompt.core.weights import read_header, read_state
from noiseprompt.methods.base import MethodSpec
from noiseprompt.npd import Npd, NpdWriter
from noiseprompt.npd.format import read_shard
from noiseprompt.npnet import build, tokens_config
from noiseprompt.prompts import load_prompts
from noiseprompt.stages.generate.settings import parse_seeds

NUMBERS: dict[str, int | float | None] = {
    "010": 10, "0x10": 16, "0o17": 15, "+3": 3, "1e3": 1000.0, ".5": 0.5, "1:30": None, "1_0": None, "0b11": None,
    "٣": None, "": None, "true": None, "9" * 5000: None,
}  # fmt: skip
"""A word -> the number it is, None for none."""

RECIPES = {
    "out: 3\nevaluate: {}\n": "out: 3 (expected a text)",
    "out: ''\nevaluate: {}\n": "out: '' (expected a name)",
    'out: "a\\0b"\nevaluate: {}\n': "without NUL",
    "model: ''\nevaluate: {}\n": "model: '' (expected a name)",
    "model: null\nevaluate: {}\n": "model: null (expected a text)",
    "about: nothing\n": "no stage (expected some of collect, train, evaluate)",
    "evaluate: 0\n": "evaluate: 0 (expected a mapping of options)",
    "evaluate: []\n": "evaluate: [] (expected a mapping of options)",
    "evaluate: true\n": "evaluate: true (expected",
    "evaluate: {n: 1:30}\n": "n: \"1:30\" (expected a whole number)",
}  # fmt: skip

ROWS = "rows: {A: {method: standard}}\n"
TABLES = {
    "rows: {A: {only: [nowhere]}}\n": "only: nowhere of row 'A'. Expected some of shapes",
    "rows: {}\n": "rows: none (expected at least one row)",
    "rows:\n": "rows: nothing (expected at least one row)",
    ROWS + "analyse: [nope]\n": "analysis 'nope'",
    ROWS + "analyse: [null]\n": "analyse: [null] (expected a list, each a text)",
    ROWS + "minutes: long\n": "minutes: 'long' (expected a number, 0 or more)",
    ROWS + "minutes: -3\n": "minutes: -3 (expected a number, 0 or more)",
    ROWS + "groups: [a]\n": "groups: ['a'] (expected a mapping of names)",
    "rows: {A: {method: standard}, B: }\n": "rows: B: nothing (expected a mapping, or {} for all as it is)",
    ROWS + "evaluate: {}\nеvaluate: {}\n": "no setting еvaluate ('\\u0435valuate')",
    "collect: {prompts: p.txt}\nevaluate: {prompts: p.txt}\n"
    'rows:\n  A: {method: "npnet:path={npnet}", train: {init: "{npnet:B}"}}\n'
    '  B: {method: "npnet:path={npnet}", train: {init: "{npnet:A}"}}\n': "begins with the next: A -> B -> A",
    ROWS + "paper: {colums: [a]}\n": "paper: no setting colums",
    ROWS + "paper: {columns: 3}\n": "paper: columns: 3",
    ROWS + "paper: {columns: [a], metric: b}\n": "metric: b (expected one of a, or none)",
    ROWS + "paper: {columns: [a], rows: {A: [1, 2]}}\n": "rows: A: [1, 2] (expected a list of 1",
    ROWS + "paper: {columns: [a], groups: {G: {A: [x]}}}\n": "groups: G: A: ['x']",
    ROWS + "paper: {show: nope}\n": "paper: show: 'nope' (expected one of win)",
    ROWS + "paper: {cost: maybe}\n": "paper: cost: 'maybe' (expected true or false)",
}


@pytest.fixture(autouse=True)
def nothing_is_loaded(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    monkeypatch.setattr(common, "load_model", lambda *_: pytest.fail("a model was loaded"))


def refused(words: list[str], told: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert main(words) == 2
    error = capfd.readouterr().err.strip()
    assert told in error and "\n" not in error, error


@pytest.mark.parametrize("word", NUMBERS, ids=lambda word: word[:6])
def test_a_number_is_one_on_every_road(word: str) -> None:
    """A decimal, octal or hexadecimal number as YAML 1.2 has it; nothing is counted in sixties, nor in eights."""
    parser, wanted = option_parser(COMMANDS["collect"]), NUMBERS[word]  # type: ignore[arg-type]
    given, mistakes = read_options(parser, {"guidance_scale": word})
    if wanted is None:
        assert mistakes and not given
        with pytest.raises(NoisepromptError, match=r"guidance_scale|Expected a number"):
            read_option(parser, "guidance_scale", word)
        with pytest.raises(NoisepromptError):
            MethodSpec.parse(f"redenoise:strength={word}")
        return
    assert read_option(parser, "guidance_scale", word) == given["guidance_scale"] == wanted
    assert parse_value(f"- {word}", "a list") == [wanted]
    assert MethodSpec.parse(f"redenoise:strength={word}").strength == wanted


def test_words_of_yaml_1_1_are_texts() -> None:
    words = "[yes, no, on, off, 2024-01-01, =]"
    assert parse_value(words, "a list") == ["yes", "no", "on", "off", "2024-01-01", "="]
    assert parse_value("{on: 1}", "a mapping") == {"on": 1}


def test_a_seed_has_at_most_nineteen_digits() -> None:
    with pytest.raises(NoisepromptError, match="seeds") as caught:
        parse_seeds("9" * 5000)
    assert len(str(caught.value)) < 300


@pytest.mark.parametrize("text", RECIPES)
def test_a_recipe_that_says_nothing_usable(text: str, capfd: pytest.CaptureFixture[str]) -> None:
    Path("r.yaml").write_text(text)
    refused(["run", "r.yaml"], RECIPES[text], capfd)


@pytest.mark.parametrize("text", TABLES)
def test_a_recipe_with_rows_that_says_nothing_usable(text: str, capfd: pytest.CaptureFixture[str]) -> None:
    Path("on").mkdir()
    Path("on/shapes.yaml").write_text(
        "model: shapes\nevaluate: {prompts: 'shapes:test', n: 2, scorers: shapes-checker}"
    )
    Path("r.yaml").write_text(text)
    refused(["run", "r.yaml", "--out=o"], TABLES[text], capfd)


COMMAND_LINES = {
    "a recipe without a name": (["run", ""], "recipe ''. Expected a name or path"),
    "half a character": (["npd", "info", "\ud800"], "a text without halves of characters"),
    "a column where there is none": (["evaluate", "--column=x"], "column 'x' of shapes:test, which has none"),
    "no prompts of a demo": (["demo", "--out=o", "--n=0"], "--n 0. Expected a whole number, 1 or more"),
}


@pytest.mark.parametrize("kind", COMMAND_LINES)
def test_a_command_line_is_refused(kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    refused(*COMMAND_LINES[kind], capfd)
    assert not list(Path().iterdir())


PLACES: dict[str, Callable[[Path], Any]] = {
    "a file": lambda out: out.write_text("x"),
    "a loop of links": lambda out: out.symlink_to(out.name),
    "a link that leads nowhere": lambda out: out.symlink_to("nowhere"),
    "a named pipe": os.mkfifo,
}


@pytest.mark.parametrize("kind", PLACES)
@pytest.mark.parametrize("inside", ["", "x"])
def test_an_output_that_cannot_be_is_told_before_a_model_is_loaded(
    kind: str, inside: str, capfd: pytest.CaptureFixture[str]
) -> None:
    PLACES[kind](Path("o"))
    lines = [["collect", "--prompts=shapes:train"], ["train", "--npd=n"], ["generate", "a cat"], ["evaluate"]]
    for words in [*lines, ["shapes", "features"]]:
        refused([*words, f"--out={Path('o') / inside}"], f"cannot write to {Path('o') / inside}", capfd)


READERS: dict[str, Callable[[Path], Any]] = {
    "a.json": read_json,
    "a.txt": lambda path: load_prompts(str(path)),
    "a.jsonl": lambda path: load_prompts(str(path)),
    "a.png": read_picture,
    "a.safetensors": read_header,
    "a.pt": read_state,
    "a.arrow": read_shard,
}


@pytest.mark.parametrize("name", READERS)
def test_a_named_pipe_is_no_file(name: str, tmp_path: Path) -> None:
    """Whoever opens one waits for somebody at its other end."""
    os.mkfifo(tmp_path / name)
    with pytest.raises(NoisepromptError, match=r"named pipe|there is no file"):
        READERS[name](tmp_path / name)


def test_a_shard_of_a_far_number_is_refused_at_once(tmp_path: Path) -> None:
    settings: dict[str, Any] = {"scorers": []}
    NpdWriter(tmp_path / "npd", settings, (4, 2, 2)).close()
    shutil.copy(__file__, tmp_path / "npd" / "shard-99999999999.arrow")
    for use in (Npd, lambda folder: NpdWriter(folder, settings, (4, 2, 2))):
        with pytest.raises(NoisepromptError, match="numbers without gaps"):
            use(tmp_path / "npd")


def test_a_network_damaged_since_its_training_is_told(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    build(tokens_config((4, 8, 8), 3, 8)).save_pretrained(tmp_path / "best")
    rewards.tell(tmp_path, "shapes")
    assert "NPNet in" in capfd.readouterr().out
    (tmp_path / "best" / "model.safetensors").write_bytes(b"")
    with pytest.raises(NoisepromptError, match=r"best/model\.safetensors"):
        rewards.tell(tmp_path, "shapes")


def test_a_recipe_makes_no_place_of_several_lines(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    (tmp_path / "p.txt").write_text("a red circle\n")
    (tmp_path / "r.yaml").write_text(f'out: "D:\\new"\nevaluate: {{prompts: {tmp_path}/p.txt}}\n')
    assert main(["run", str(tmp_path / "r.yaml")]) == 2
    assert "a place in one line" in capfd.readouterr().err
