"""Options mean the same on the command line, in `--config` and in a recipe; all mistakes of a file are told at once."""

from __future__ import annotations

import functools
from pathlib import Path
from typing import Any

import pytest

from noiseprompt.cli import collecting, commands, evaluating, main, score
from noiseprompt.core.config import parse_yaml
from noiseprompt.core.errors import ConfigError
from noiseprompt.core.specs import split_specs
from noiseprompt.methods.table import METHODS
from noiseprompt.recipes.plan import make_plan
from noiseprompt.recipes.run import run


@pytest.fixture
def calls(monkeypatch: pytest.MonkeyPatch) -> list[dict[str, Any]]:
    """What each command was called with; none runs."""
    made: list[dict[str, Any]] = []

    def recorder(function: Any) -> Any:
        @functools.wraps(function)
        def record(**options: Any) -> None:
            made.append({**vars(options["settings"]), **options} if "settings" in options else options)

        return record

    for module, name in ((collecting, "collect"), (commands, "train"), (evaluating, "evaluate")):
        monkeypatch.setattr(module, name, recorder(getattr(module, name)))
    monkeypatch.setattr(score, "score", recorder(score.score))
    monkeypatch.setattr("noiseprompt.recipes.run.prompt_mistakes", lambda *_: [])  # there are none
    return made


LIST = ["hpsv2.1:path=a,device=cpu", "aes"]


@pytest.mark.parametrize(
    ("stage", "key", "word", "data", "value"),
    [
        ("train", "lr", "1e-3", "1e-3", 0.001),
        ("train", "margin", "0", "0", 0.0),
        ("train", "sizes", "{svd_heads: 2}", "{svd_heads: 2}", {"svd_heads": 2}),
        ("train", "filter_scorers", "aes,mps", "aes,mps", ("aes", "mps")),
        ("train", "filter_scorers", "[aes]", "[aes]", ("aes",)),
        ("evaluate", "filter_scorers", "aes", "aes", ("aes",)),
        ("evaluate", "seeds", "0-3,9", "0-3,9", (0, 1, 2, 3, 9)),
        ("evaluate", "seeds", "[4, 2]", "[4, 2]", (4, 2)),
        ("evaluate", "seeds", "5", "5", (5,)),
        ("evaluate", "seed_range", "[0, 9]", "[0, 9]", (0, 9)),
        ("evaluate", "save_images", "24", "24", 24),
        ("evaluate", "scorers", ",".join(LIST), ",".join(LIST), LIST),
        ("evaluate", "scorers", "['aes']", "['aes']", ["aes"]),
        ("collect", "scorers", "aes", "aes", ["aes"]),
        ("collect", "height", "null", "null", None),
        ("collect", "column", "2024-01-01", "2024-01-01", "2024-01-01"),
    ],
)
def test_one_spelling_everywhere(
    stage: str, key: str, word: str, data: str, value: Any, tmp_path: Path, calls: list[dict[str, Any]]
) -> None:
    needed = {"collect": {"prompts": "p", "out": "o"}, "train": {"npd": "n", "out": "o"}, "evaluate": {"out": "o"}}
    words = [part for name, text in needed[stage].items() for part in (f"--{name}", text)]
    assert main([stage, *words, f"--{key}", word]) == 0 and main([stage, *words, f"--{key}={word}"]) == 0
    file = tmp_path / "options.yaml"
    file.write_text(f"{key}: {data}\n")
    assert main([stage, *words, "--config", str(file)]) == 0
    prompts = "  prompts: p\n" if stage == "collect" else ""
    file.write_text(f"{stage}:\n  {key}: {data}\n{prompts}")
    run(file, out=tmp_path)
    assert [(call[key], type(call[key])) for call in calls] == [(value, type(value))] * 4


def test_scorers_of_a_folder_of_pictures_are_a_list_too(calls: list[dict[str, Any]]) -> None:
    for words in (["--scorers", ",".join(LIST)], ["--scorers", str(LIST)], [f"--scorers+={name}" for name in LIST]):
        assert main(["score", "images", "--prompts", "p.txt", *words]) == 0
    assert [list(call["scorers"]) for call in calls] == [LIST] * 3


def test_data_sets_are_a_list_of_folders(tmp_path: Path, calls: list[dict[str, Any]]) -> None:
    """One or several: as texts, as lists, appended, and in a file; a path may hold what options of methods do."""
    file = tmp_path / "options.yaml"
    file.write_text("npd: [a/b, 'c:d=e']\nout: o\n")
    several = [["--npd", "a/b, c:d=e"], ["--npd=[a/b, 'c:d=e']"], ["--npd+", "a/b", "--npd+", "c:d=e"]]
    for words in (*several, ["--config", str(file)]):
        assert main(["train", "--out", "o", *words]) == 0
    assert main(["train", "--out", "o", "--npd", "one"]) == 0
    assert [call["npd"] for call in calls] == [[Path("a/b"), Path("c:d=e")]] * 4 + [[Path("one")]]


@pytest.mark.parametrize("word", ["", "[]"])
def test_no_data_set_is_refused(word: str, calls: list[dict[str, Any]], capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["train", "--out", "o", "--npd", word]) == 2 and not calls
    assert "--npd" in told(capfd)


def test_appended_names_keep_their_options(calls: list[dict[str, Any]]) -> None:
    assert main(["evaluate", "--scorers+", LIST[0], "--scorers+", "aes"]) == 0
    assert calls[0]["scorers"] == LIST


def test_an_option_without_its_value_does_not_take_the_next_one(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["evaluate", "--filter_scorers", "--seed", "1"]) == 2
    assert "--filter_scorers without a value" in told(capfd)


def test_flags_belong_to_the_method_before_them() -> None:
    assert split_specs("standard, npnet:path=a,swap,strength=2,redenoise", METHODS) == [
        "standard",
        "npnet:path=a,swap,strength=2",
        "redenoise",
    ]
    assert split_specs("npnet,path=a,mine") == ["npnet:path=a", "mine"]


MISTAKES = {
    "epochs: 2.5": "epochs: 2.5 (expected a whole number)",
    "lr: fast": 'lr: "fast" (expected a number)',
    "architecture: 3": "architecture: 3 (expected a text)",
    "combine: [all]": 'combine: ["all"] (expected a text)',
    "batch_size: true": "batch_size: true (expected a whole number)",
    "tensorboard: 1": "tensorboard: 1 (expected true or false)",
    "validation_share:": "validation_share: nothing (expected a number)",
    "filter_scorer: [a]": "no option filter_scorer (did you mean filter_scorers?)",
}


def test_an_option_of_another_name_names_it(
    tmp_path: Path, calls: list[dict[str, Any]], capfd: pytest.CaptureFixture[str]
) -> None:
    """`num_inference_steps` is the sampler's; for `collect` it was the grid of re-denoise."""
    file = tmp_path / "options.yaml"
    file.write_text("sampling_steps: 2\n")
    collect = ["collect", "--prompts", "p", "--out", "o"]
    for words in (["--sampling_steps", "2"], ["--sampling-steps=2"], ["--config", str(file)]):
        assert main([*collect, *words]) == 2
        error = told(capfd)
        assert "sampling_steps" in error and " num_inference_steps (" in error.replace("--", "")
        assert "is redenoise_steps" in error
    assert not calls


def told(capfd: pytest.CaptureFixture[str]) -> str:
    error = capfd.readouterr().err
    assert error.count("\n") == 1 and error.startswith("noiseprompt: error: ")
    assert not [word for word in ("Parser key", "class", "Union", "NoneType", "Got value") if word in error]
    return error


def test_all_mistakes_of_a_file_are_told_at_once(
    tmp_path: Path, calls: list[dict[str, Any]], capfd: pytest.CaptureFixture[str]
) -> None:
    file = tmp_path / "options.yaml"
    file.write_text("\n".join(MISTAKES))
    assert main(["train", "--npd", "n", "--out", "o", "--config", str(file)]) == 2
    error = told(capfd)
    assert str(file) in error and all(text in error for text in MISTAKES.values()), error
    lines = "".join(f"  {line}\n" for line in MISTAKES)
    file.write_text(f"out: 3\ncollect: {{n: 2.5}}\ntrain:\n{lines}  npd: elsewhere\nevaluate: {{methods: standrad}}\n")
    assert main(["run", str(file), "--out", str(tmp_path / "runs")]) == 2
    error = told(capfd)
    assert str(file) in error and all(f"train: {text}" in error for text in MISTAKES.values()), error
    for text in ("out: 3 (expected a text)", "collect: n: 2.5", "train: npd: folders come from", "'standard'?"):
        assert text in error
    assert calls == []


def test_a_missing_option_of_a_recipe_is_told_before_anything_runs(tmp_path: Path, calls: list[Any]) -> None:
    file = tmp_path / "story.yaml"
    file.write_text("collect: {n: 2}\nevaluate: {}\n")
    with pytest.raises(ConfigError, match="collect: prompts is missing"):
        run(file, out=tmp_path / "runs")
    assert calls == []


def test_all_mistakes_of_a_table_are_told_at_once(tmp_path: Path) -> None:
    (tmp_path / "on").mkdir()
    (tmp_path / "on" / "shapes.yaml").write_text("reuse: runs\nsmoke: {collect: {n: many}}\n")
    recipe = tmp_path / "table.yaml"
    recipe.write_text(
        "analyse: scalars\ntrain: {lr: 1e-3, epochs: null, seed: 1.5}\n"
        "rows: {a: {method: 3, only: sdxl, on: {shapes: {evaluate: {methods: standard, n: x}}}}, b: 3}\n"
    )
    with pytest.raises(ConfigError) as told:
        make_plan(recipe)
    for text in (
        "analyse: 'scalars' (expected a list, each a text)",
        "train: seed: 1.5 (expected a whole number)",
        "rows: a: method: 3 (expected a text)",
        "rows: a: only: 'sdxl' (expected a list, each a text)",
        "rows: a: on: shapes: evaluate: methods: the methods of a table are those of its rows",
        'rows: a: on: shapes: evaluate: n: "x" (expected a whole number)',
        "rows: b: 3 (expected a mapping of settings)",
        "shapes.yaml: reuse: 'runs' (expected a list, each a text)",
        'shapes.yaml: smoke: collect: n: "many"',
    ):
        assert text in str(told.value)
    assert "epochs" not in str(told.value) and "lr" not in str(told.value)


@pytest.mark.parametrize(
    ("text", "message"),
    [
        ("a: 1\nb: {c: 1, c: 2}\na: 2\n", r"file gives c \(line 2\), a \(line 3\) twice"),
        ("a: [1, 2\nb: {", "cannot read file, line 2"),
        ("- a\n", "file holds no settings"),
        ("a: \x00", "cannot read file"),
        ("a: 0000-00-00T99:99:99Z\nb: !!int x", "cannot read file"),
        ("a: {methods: npnet:path={npnet}}\nb: 1", r"line 1: neither a comma nor } .*\. Expected YAML\.$"),
        ("a: 1\n=======\nb: 2", r"line 3: a line that names no key with a colon\. Expected YAML\.$"),
        ("a: 1\nvalidati", r"line 2: a line that names no key with a colon.* may be torn\.$"),
        ('a: "C:\\Users"', "line 1: a backslash in double quotes"),
        ("a: *b", r"line 1: \*b, and no &b before it"),
        ("a: - b", "line 1: a dash where no list is"),
        ("a: | b\n c", r"line 1: more behind \| or >"),
        ("<<: 3", "line 1: << of what is no mapping"),
    ],
)
def test_a_file_that_cannot_be_read_is_told_in_one_line(text: str, message: str) -> None:
    with pytest.raises(ConfigError, match=message) as told:
        parse_yaml(text, "file")
    assert "\n" not in str(told.value)


def test_a_merged_key_may_be_given_again() -> None:
    text = "a: &a {x: 1, y: 1}\nb: &b {<<: *a, x: 2}\nc: {<<: *b, y: 3}\nd: *b\n"
    data = parse_yaml(text, "file")
    assert data["b"] == data["d"] == {"x": 2, "y": 1} and data["c"] == {"x": 2, "y": 3}


def test_numbers_are_those_of_the_command_line() -> None:
    text = "a: 1e-3\nb: 1.5E+2\nc: -2e3\nd: 1e\ne: 12e3x\nf: 2024-01-01\n"
    values = {"a": 0.001, "b": 150.0, "c": -2000.0, "d": "1e", "e": "12e3x", "f": "2024-01-01"}
    assert parse_yaml(text, "file") == values
