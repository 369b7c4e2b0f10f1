"""What only a later stage of a recipe would find is told before its first one runs."""

from __future__ import annotations

from pathlib import Path

import pytest

from noiseprompt.cli import main
from noiseprompt.core.errors import ConfigError
from noiseprompt.recipes.run import story_calls

COLLECT = "collect:\n  prompts: prompts.txt\n"
EVALUATE = "evaluate:\n  prompts: prompts.txt\n  methods: "
ROWS = "rows: {Standard: {method: standard}}\n"

STORIES = {
    "settings that do not go together": (f"{COLLECT}  workers: 2\n", "collect: workers 2 without an engine. Expected"),
    "no baseline": (f"{EVALUATE}redenoise\n", "'standard' among them"),
    "a method twice": (f"{EVALUATE}'standard,redenoise,redenoise'\n", "different methods"),
    "a misspelled network": (f"{EVALUATE}'standard,npnet:path={{npent}}'\n", "{npent}. Expected {npnet}"),
    "a network as a shell has it": (
        f"{COLLECT}train: {{}}\n{EVALUATE}'standard,npnet:path=${{npnet}}'\n",
        "${npnet}. Ex",
    ),
    "a network in two braces": (
        f"{COLLECT}train: {{}}\n{EVALUATE}'standard,npnet:path={{{{npnet}}}}'\n",
        "{{npnet}}. Ex",
    ),
    "a training from itself": (f"{COLLECT}train: {{init: '{{npnet}}'}}\n", "train: init: {npnet} (expected a folder"),
    "a size in words": (
        f"{COLLECT}train: {{sizes: {{width: 16.5}}}}\n",
        "train: sizes: width 16.5. Expected a whole",
    ),
    "a size that is none": (
        f"{COLLECT}train: {{sizes: {{depth: two}}}}\n",
        'train: sizes: depth: "two" (expected a number, true or false',
    ),
    "a network that nobody trains": (f"{EVALUATE}'standard,npnet:path={{npnet}}'\n", "{npnet} without train"),
    "scores that nobody makes by default": (
        f"{COLLECT}train:\n  filter_scorers: [shapes-checker]\n",
        "filter_scorers shapes-checker (expected some of collect: shapes-preference)",
    ),
    "a network of a row": (f"{EVALUATE}'standard,npnet:path={{npnet:a}}'\n", "{npnet:a}"),
    "scores that nobody makes": (
        f"{COLLECT}  scorers: [shapes-checker]\ntrain:\n  filter_scorers: [shapes-preference]\n",
        "train: filter_scorers shapes-preference (expected some of collect: shapes-checker)",
    ),
    "prompts that are not there": (
        f"{COLLECT}evaluate: {{prompts: test.txt}}\n",
        "evaluate: prompts: there is no file",
    ),
    "places that are not there": (
        f"{COLLECT}train: {{init: ./gone}}\n{EVALUATE}'standard,npnet:path=/gone/a,swap'\n"
        "  scorers: ['pickscore:path=../gone']\n  model: ./m\n",
        "train: init: there is no ./gone; evaluate: model: there is no ./m; evaluate: scorers: there is no ../gone; "
        "evaluate: methods: there is no /gone/a. Nothing was run",
    ),
    "places that can be no id of the hub": (
        f"{COLLECT}train: {{init: gone}}\n{EVALUATE}'standard,npnet:path=<npnet>,npnet:path=shapes:redenoise'\n"
        "  reference: real/pictures\n",
        "train: init: there is no gone; evaluate: reference: there is no real/pictures; evaluate: methods: there is no "
        "<npnet>. Nothing was run",
    ),
    "a column that is not there": (
        f"{COLLECT}evaluate: {{prompts: a.csv, column: words}}\n",
        "evaluate: prompts: a.csv has no column 'words'",
    ),
    "pictures from pairs": (f"{COLLECT}train: {{objective: picture}}\n", "objective picture after a collect of pairs"),
    "pairs from pictures": (
        f"{COLLECT}  pictures: shapes\ntrain: {{}}\n",
        "objective noise after a collect of pictures",
    ),
    "about": (f"{COLLECT}about: [1]\n", "about: [1] (expected a text)"),
    "a folder that is a file": (f"{COLLECT}out: prompts.txt\n", "out: cannot write to prompts.txt"),
    "a folder in object storage": (f"{COLLECT}out: s3://b/f\n", "out: s3://b/f. Expected a path on a file system"),
    "a blank key": (f"{COLLECT}'': 1\n", "no setting ''"),
    "the settings of a training": (f"{COLLECT}epochs: 2\nlr: 0.1\n", "no setting epochs, lr (expected some of about"),
}
TABLES = {
    "another model": (ROWS.replace("}}", ", on: {nope: {}}}}"), "on: nope"),
    "a row of the paper": (f"{ROWS}paper: {{columns: [a], rows: {{Other: [1]}}}}\n", "paper: no row Other"),
    "a group of the paper": (
        f"{ROWS}paper: {{columns: [a], groups: {{Other: {{Standard: [1]}}}}}}\n",
        "paper: no group Other",
    ),
    "against whom": (f"{ROWS}paper: {{against: Other}}\n", "paper: no row Other"),
    "a metric without columns": (f"{ROWS}paper: {{metric: a}}\n", "there are no columns"),
}


@pytest.fixture(autouse=True)
def here(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    Path("prompts.txt").write_text("a red circle\n")
    Path("a.csv").write_text("prompt\na red circle\n")


def refused(text: str, capfd: pytest.CaptureFixture[str]) -> str:
    Path("r.yaml").write_text(text)
    assert main(["run", "r.yaml", *([] if "\nout:" in text else ["--out", "o"])]) == 2
    assert not Path("o").exists()
    return capfd.readouterr().err


@pytest.mark.parametrize("kind", STORIES)
def test_a_story_is_refused_whole(kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    text, told = STORIES[kind]
    assert told in refused(text, capfd)


@pytest.mark.parametrize(
    ("out", "told"),
    [
        ("s3://bucket/x", "out: s3://bucket/x. Expected a path on a file system"),
        ("\"'o'\"", "out: cannot write to 'o': it is in quotes"),
        ("~/x", "out: cannot write to ~/x: no shell"),
    ],
)
def test_a_folder_that_cannot_be_meant_is_told_before_anything_runs(
    out: str, told: str, capfd: pytest.CaptureFixture[str]
) -> None:
    Path("r.yaml").write_text(f"out: {out}\n{COLLECT}")
    assert main(["run", "r.yaml"]) == 2
    said = capfd.readouterr().err
    assert told in said and "Nothing was run" in said


@pytest.mark.parametrize("kind", TABLES)
def test_a_table_is_refused_whole(kind: str, capfd: pytest.CaptureFixture[str]) -> None:
    text, told = TABLES[kind]
    Path("on").mkdir()
    Path("on/shapes.yaml").write_text("model: shapes\nevaluate: {prompts: prompts.txt}\n")
    assert told in refused(text, capfd)


def test_what_an_earlier_stage_makes_need_not_be_there_yet() -> None:
    story = {"collect": {"prompts": "prompts.txt"}, "train": {}}
    story["evaluate"] = {"prompts": "prompts.txt", "methods": "standard,npnet:path=./o/npnet/best"}
    assert [name for name, _ in story_calls(Path("r.yaml"), story, Path("o"))] == ["collect", "train", "evaluate"]
    with pytest.raises(ConfigError, match=r"there is no ./o/npnet/best"):
        story_calls(Path("r.yaml"), story, Path("other"))


def test_a_small_run_that_nobody_described(capfd: pytest.CaptureFixture[str]) -> None:
    Path("on").mkdir()
    Path("on/shapes.yaml").write_text("model: shapes\nevaluate: {prompts: prompts.txt}\n")
    Path("r.yaml").write_text(ROWS)
    assert main(["run", "r.yaml", "--out", "o", "--smoke"]) == 2 and not Path("o").exists()
    assert "no `smoke` in on/shapes.yaml or r.yaml" in capfd.readouterr().err


def test_rows_without_a_model_beside_them(capfd: pytest.CaptureFixture[str]) -> None:
    assert "there is no on/shapes.yaml" in refused(ROWS, capfd)
