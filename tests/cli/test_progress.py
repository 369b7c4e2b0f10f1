"""What a long command tells on standard error: its plan, how long it takes, what comes next; colours on a terminal."""

from __future__ import annotations

import io
import os
import pty
import subprocess
import sys
from pathlib import Path

import pytest

from noiseprompt.cli import main, progress
from noiseprompt.cli.progress import Bar, conducted, duration, say, say_next


class Clock:
    def __init__(self, monkeypatch: pytest.MonkeyPatch) -> None:
        self.now = 0.0
        monkeypatch.setattr(progress.time, "monotonic", lambda: self.now)


class Terminal(io.StringIO):
    def isatty(self) -> bool:
        return True


def test_a_log_gets_the_plan_the_time_and_a_line_a_minute(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    clock = Clock(monkeypatch)
    with Bar("collect", "pair", "1,000 pairs into npd") as bar:
        for done in range(0, 1001, 10):  # 2 s a pair, the first 100 are there already
            clock.now = 2.0 * done
            if done >= 100:
                bar.show(done, 1000)
    said = capsys.readouterr()
    lines = said.err.splitlines()
    assert lines[0] == "noiseprompt: collect: 1,000 pairs into npd"
    assert lines[1] == "noiseprompt: collect: 110 of 1,000 pairs, about 30 minutes to go (2 s each)"
    assert said.out == "" and 20 < len(lines) < 32 and "\r" not in said.err and "\x1b" not in said.err


def test_short_work_says_no_time(monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture) -> None:
    clock = Clock(monkeypatch)
    with Bar("generate", "image", "8 images") as bar:
        for done in range(9):
            clock.now = done / 10
            bar.show(done, 8)
        bar.say("a result")
    assert capsys.readouterr() == ("a result\n", "noiseprompt: generate: 8 images\n")


def test_an_error_before_the_first_result_stands_alone(capsys: pytest.CaptureFixture) -> None:
    with pytest.raises(ValueError), Bar("collect", "pair", "a plan"):
        raise ValueError
    assert capsys.readouterr().err == ""


def test_a_plan_that_takes_long_is_told_before_its_first_result(
    monkeypatch: pytest.MonkeyPatch, capsys: pytest.CaptureFixture
) -> None:
    monkeypatch.setattr(progress, "PATIENCE", 0.01)
    with Bar("collect", "pair", "a plan") as bar:
        bar._timer.join()
        assert capsys.readouterr().err == "noiseprompt: collect: a plan\n"
        bar.show(0, 1)
    assert capsys.readouterr().err == ""


def test_a_terminal_has_a_bar(monkeypatch: pytest.MonkeyPatch) -> None:
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    with Bar("collect", "pair", "a plan") as bar:
        bar.show(1, 4)
        bar.show(4, 4)
    assert "a plan\n" in terminal.getvalue() and "collect: 100%" in terminal.getvalue()


def test_durations() -> None:
    texts = [duration(seconds) for seconds in (40, 119, 600, 7200, 36_000, 400_000)]
    assert texts == ["40 seconds", "119 seconds", "10 minutes", "2.0 hours", "10.0 hours", "4.6 days"]


def test_steps_of_a_story_do_not_say_what_comes_next(capsys: pytest.CaptureFixture) -> None:
    with conducted():
        say_next("one")
    say_next("two")
    assert capsys.readouterr().err == "noiseprompt: next: two\n"


@pytest.mark.parametrize(("variables", "coloured"), [({}, True), ({"NO_COLOR": "1"}, False), ({"TERM": "dumb"}, False)])
def test_colours(monkeypatch: pytest.MonkeyPatch, variables: dict[str, str], coloured: bool) -> None:
    for name in ("NO_COLOR", "TERM"):
        monkeypatch.delenv(name, raising=False)
    for name, value in variables.items():
        monkeypatch.setenv(name, value)
    terminal = Terminal()
    monkeypatch.setattr(sys, "stderr", terminal)
    say("error: \x1b[2J what came")
    word = "\x1b[31merror:\x1b[0m" if coloured else "error:"
    assert terminal.getvalue() == f"noiseprompt: {word} \\x1b[2J what came\n"


def test_a_process_on_a_terminal_and_in_a_log(tmp_path: Path) -> None:
    words = [sys.executable, "-m", "noiseprompt", "npd", "info", str(tmp_path)]
    env = {name: value for name, value in os.environ.items() if name != "NO_COLOR"} | {"TERM": "xterm"}
    log = subprocess.run(words, capture_output=True, text=True, env=env)
    assert log.stderr.startswith("noiseprompt: error: ") and "\x1b" not in log.stderr
    ours, theirs = pty.openpty()
    subprocess.run(words, stdout=subprocess.PIPE, stderr=theirs, env=env)
    os.close(theirs)
    assert b"noiseprompt: \x1b[31merror:\x1b[0m " in os.read(ours, 4096)
    os.close(ours)


def test_commands_tell_their_plan_and_what_comes_next(model: str, tmp_path: Path, capfd: pytest.CaptureFixture) -> None:
    out = tmp_path / "npd"
    words = f"collect --prompts shapes:train --n 4 --num_inference_steps 1 --out {out} --model {model}"
    assert main([*words.split(), "--scorers", "shapes-checker"]) == 0
    said = capfd.readouterr()
    assert f"noiseprompt: collect: pairs for 4 texts, scored by shapes-checker, into {out}" in said.err
    assert said.err.endswith(f"noiseprompt: next: noiseprompt train --npd {out} --out npnet\n")
    assert said.out == f"noise prompt data set in {out}\n"
    words = f"generate circle --model {model} --methods standard --seeds 0-1 --num_inference_steps 1 --out {tmp_path}/g"
    assert main(words.split()) == 0
    said = capfd.readouterr()
    assert "noiseprompt: generate: 2 images, 2 by each of standard, into" in said.err
    assert "next: look at" in said.err and said.out == f"images and grid.png in {tmp_path}/g\n"
