"""Signals, closed streams and unforeseen errors: one line, the right exit status, nothing half told."""

from __future__ import annotations

import errno
import importlib
import io
import os
import signal
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch

from noiseprompt.cli import collecting, commands, entry, main, net
from noiseprompt.cli.net import account
from noiseprompt.cli.progress import AGAIN, Stopped, stopping
from noiseprompt.recipes import steps

ALL = [(signal.SIGINT, 130), (signal.SIGTERM, 143), (signal.SIGHUP, 129)]


@pytest.fixture(autouse=True)
def heard() -> Iterator[None]:
    """A suite that was started in the background ignores SIGINT, and so would the processes it starts."""
    before = signal.signal(signal.SIGINT, signal.default_int_handler)
    yield
    signal.signal(signal.SIGINT, before)


def one_line(capfd: pytest.CaptureFixture[str]) -> str:
    error = capfd.readouterr().err
    assert error.count("\n") == 1 and error.startswith("noiseprompt: "), error
    return error


@pytest.fixture
def acting(monkeypatch: pytest.MonkeyPatch) -> Any:
    """Makes `noiseprompt npd info FOLDER` do something else."""

    def act(function: Any) -> None:
        monkeypatch.setattr(entry, "resolve", lambda path: (lambda **_: function()) if ":npd_info" in path else None)
        monkeypatch.setattr(entry, "option_parser", lambda command: SimpleNamespace(_actions=[]))
        monkeypatch.setattr(entry, "records", lambda command: {})
        monkeypatch.setattr(entry, "refuse_words", lambda *_: None)
        monkeypatch.setattr(entry, "build_parser", lambda words: Parsed())

    return act


class Parsed:
    """What the parser of `npd info` gives."""

    def parse_args(self, words: list[str]) -> Any:
        return {"command": "npd", "npd": {"npd": "info", "info": SimpleNamespace(as_dict=lambda: {})}}


# ------------------------------------------------------------------------------------------------------------ signals


@pytest.mark.parametrize(("number", "status"), ALL)
def test_a_signal_ends_a_command_with_its_status(
    number: int, status: int, acting: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    before = [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]
    acting(lambda: signal.raise_signal(number))
    assert main(["npd", "info", "x"]) == status
    assert "the same command continues" in one_line(capfd)
    assert before == [signal.getsignal(one) for one in (signal.SIGINT, signal.SIGTERM, signal.SIGHUP)]


@pytest.mark.parametrize("module", ["argparse", "jsonargparse", "torch"])
@pytest.mark.parametrize(("number", "status"), ALL)
def test_a_signal_during_start_up(module: str, number: int, status: int) -> None:
    """In the middle of an import, where libraries swallow exceptions."""
    code = (
        "import sys, signal\n"
        "class Finder:\n"
        "    def find_spec(self, name, *_):\n"
        f"        if name == {module!r}: signal.raise_signal({int(number)})\n"
        "sys.modules.pop('argparse', None)\n"
        "sys.meta_path.insert(0, Finder())\n"
        "from noiseprompt.cli import main\n"
        "sys.exit(main(['npd', 'info', 'nowhere']) or main(['generate', 'x', '--out', 'o', '--help']))\n"
    )
    if module == "torch":
        code = code.replace("'npd', 'info', 'nowhere'", "'collect', '--prompts', 'none.txt', '--out', 'o'")
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.returncode == status and done.stdout == ""
    assert done.stderr == "noiseprompt: stopped; the same command continues where it was\n"


@pytest.mark.parametrize("module", ["start", "progress"])
def test_ctrl_c_before_signals_are_in_hands(module: str) -> None:
    code = (
        "import sys, signal\n"
        "class Finder:\n"
        "    def find_spec(self, name, *_):\n"
        f"        if name == 'noiseprompt.cli.{module}': signal.raise_signal(signal.SIGINT)\n"
        "sys.meta_path.insert(0, Finder())\n"
        "from noiseprompt.cli import main\n"
        "sys.exit(main(['npd', 'info', 'nowhere']))\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert (done.returncode, done.stdout) == (130, "")
    assert done.stderr == "noiseprompt: stopped; the same command continues where it was\n"


def test_ctrl_c_again_while_python_takes_itself_down() -> None:
    """What a library does at exit would be interrupted with a traceback."""
    code = (
        "import atexit, signal, sys\n"
        "atexit.register(lambda: signal.raise_signal(signal.SIGINT))\n"
        "sys.argv = ['noiseprompt', 'npd', 'info', 'nowhere']\n"
        "from noiseprompt.cli import main\n"
        "sys.exit(main())\n"
    )
    done = subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stderr.count("\n") == 1 and "Traceback" not in done.stderr
    assert done.returncode == -signal.SIGINT


def test_nothing_is_imported_before_that_but_this_package() -> None:
    """Until then Ctrl-C ends with a traceback."""
    source = Path(__file__).parents[2] / "src"
    code = (
        f"import sys; before = set(sys.modules); sys.path.insert(0, {str(source)!r}); import noiseprompt.cli\n"
        "print(*sorted(name for name in set(sys.modules) - before if not name.startswith('noiseprompt')))"
    )
    done = subprocess.run([sys.executable, "-S", "-c", code], capture_output=True, text=True, timeout=120)
    assert done.stdout.split() == ["__future__"], done


@pytest.mark.parametrize(("number", "status"), ALL)
def test_a_signal_where_nothing_can_be_raised_is_not_lost(
    number: int, status: int, acting: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    """In `__del__` Python writes what is raised to standard error and goes on."""

    class Library:
        def __del__(self) -> None:
            signal.raise_signal(number)

    def command() -> None:
        made = Library()
        del made
        time.sleep(5)
        raise AssertionError("went on")

    before, begun = sys.unraisablehook, time.monotonic()
    acting(command)
    assert main(["npd", "info", "x"]) == status and time.monotonic() - begun < 3
    assert "the same command continues" in one_line(capfd)
    assert sys.unraisablehook is before


def test_a_command_that_ends_before_a_lost_signal_is_sent_again_has_ended(acting: Any) -> None:
    class Library:
        def __del__(self) -> None:
            signal.raise_signal(signal.SIGTERM)

    acting(lambda: Library() and None)
    assert main(["npd", "info", "x"]) == 0
    time.sleep(2 * AGAIN)


@pytest.mark.parametrize(("number", "status"), ALL)
def test_a_batch_is_finished_and_then_it_is_told(number: int, status: int) -> None:
    finished = []
    with pytest.raises(Stopped) as stopped, stopping() as should_stop:
        for batch in range(3):
            if should_stop():
                break
            signal.raise_signal(number)
            finished.append(batch)
    assert finished == [0] and stopped.value.status == status


def test_a_second_signal_stops_at_once() -> None:
    reached = []
    with pytest.raises(Stopped), stopping():
        signal.raise_signal(signal.SIGINT)
        reached.append(1)
        signal.raise_signal(signal.SIGTERM)
        reached.append(2)
    assert reached == [1]


def test_a_recipe_stops_with_its_stage(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    called = []

    def collect(**_: Any) -> None:
        called.append("collect")
        with stopping():
            signal.raise_signal(signal.SIGINT)

    monkeypatch.setattr(collecting, "collect", collect)
    monkeypatch.setattr(commands, "train", lambda **_: called.append("train"))
    recipe = tmp_path / "r.yaml"
    recipe.write_text("collect: {prompts: p}\ntrain: {}\n")
    monkeypatch.setattr("noiseprompt.recipes.run.story_calls", lambda *_: [("collect", {}), ("train", {})])
    monkeypatch.setattr("noiseprompt.recipes.run.late_mistakes", lambda _: [])
    assert main(["run", str(recipe), "--out", str(tmp_path)]) == 130
    plan: Any = SimpleNamespace(name="t", stages={"a": SimpleNamespace(name="collect", folder=tmp_path, options={})})
    monkeypatch.setattr(steps, "_collect", lambda *_: collect())
    with pytest.raises(Stopped):
        steps.run_stages(plan)
    assert called == ["collect", "collect"]


# ------------------------------------------------------------------------------------------------------------ streams


class Broken(io.StringIO):
    """A stream that takes nothing."""

    def __init__(self, error: OSError) -> None:
        super().__init__()
        self._error = error

    def write(self, text: str) -> int:
        raise self._error

    def fileno(self) -> int:
        raise OSError("no file")


@pytest.mark.parametrize(
    ("error", "status"), [(BrokenPipeError(32, "Broken pipe"), 0), (OSError(28, "No space left on device"), 1)]
)
def test_output_that_nobody_takes_does_not_end_a_run(
    error: OSError, status: int, acting: Any, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    done = []

    def command() -> None:
        for _ in range(3):
            print("a line", flush=True)
        done.append(True)

    acting(command)
    monkeypatch.setattr(sys, "stdout", Broken(error))
    assert main(["npd", "info", "x"]) == status and done == [True]
    told = capfd.readouterr().err
    assert ("No space left on device" in told and told.count("\n") == 1) if status else told == ""


@pytest.mark.parametrize("closed", ["stdout", "stderr"])
def test_streams_that_are_closed_from_the_start(closed: str, acting: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    acting(lambda: print("a line") or print("a line", file=sys.stderr))
    monkeypatch.setattr(sys, closed, None)
    assert main(["npd", "info", "x"]) == 0
    assert getattr(sys, closed) is None


def test_a_plugin_that_closes_standard_output_ends_nothing(acting: Any, capfd: pytest.CaptureFixture[str]) -> None:
    acting(lambda: sys.stdout.close() or print("a line"))
    assert main(["npd", "info", "x"]) == 0
    assert capfd.readouterr() == ("a line\n", "")


def test_a_letter_that_the_terminal_lacks_is_shown_otherwise(acting: Any, monkeypatch: pytest.MonkeyPatch) -> None:
    raw = io.BytesIO()
    monkeypatch.setattr(sys, "stdout", io.TextIOWrapper(raw, encoding="ascii"))
    acting(lambda: print("a röd cirkel"))
    assert main(["npd", "info", "x"]) == 0
    assert raw.getvalue() == b"a r\\xf6d cirkel\n"


def test_a_full_disk_behind_standard_output() -> None:
    """A whole process: nothing is said at its end by the interpreter."""
    if not os.path.exists("/dev/full"):
        pytest.skip("no /dev/full")
    with open("/dev/full", "w") as full:
        words = [sys.executable, "-m", "noiseprompt", "tables", "--help"]
        done = subprocess.run(words, stdout=full, stderr=subprocess.PIPE, text=True, timeout=120)
    assert "Exception ignored" not in done.stderr and "Traceback" not in done.stderr
    assert done.returncode == 1 and "standard output cannot be written" in done.stderr  # a help that nobody got


# ---------------------------------------------------------------------------------------------------------- the memory


def told_of(error: BaseException, acting: Any, capfd: pytest.CaptureFixture[str]) -> str:
    """The line of a command that fails with this."""

    def command() -> None:
        raise error

    acting(command)
    assert main(["npd", "info", "x"]) == 2
    return one_line(capfd)


@pytest.mark.parametrize(
    "error", [MemoryError(), torch.OutOfMemoryError("CUDA out of memory. Tried\nto allocate 20 GiB")]
)
def test_a_full_memory_is_one_line_of_every_command(
    error: Exception, acting: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    told = told_of(error, acting, capfd)
    assert f"the memory is full ({type(error).__name__}" in told and "--batch_size" in told


@pytest.mark.parametrize(
    "error", [RuntimeError("can't start new thread"), BlockingIOError(errno.EAGAIN, "Resource temporarily unavailable")]
)
def test_a_system_that_starts_nothing_more_is_told(
    error: Exception, acting: Any, capfd: pytest.CaptureFixture[str]
) -> None:
    told = told_of(error, acting, capfd)
    assert "starts no further thread or process" in told and "ulimit -u" in told


def test_ctrl_c_before_anything_listens_is_one_line(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    def early() -> Any:
        raise KeyboardInterrupt

    monkeypatch.setattr("noiseprompt.cli.start._streams", early)
    assert main(["npd", "info", "x"]) == 130
    assert capfd.readouterr().err == "noiseprompt: stopped; the same command continues where it was\n"


def test_a_file_that_takes_the_place_of_a_module_is_named(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """As json.py in the folder where `python -m noiseprompt` is called."""
    monkeypatch.chdir(tmp_path)
    monkeypatch.syspath_prepend(tmp_path)
    monkeypatch.setattr(net, "_LIBRARIES", ("a_library", "another"))
    (tmp_path / "a_library.py").write_text("")
    (tmp_path / "another").mkdir()
    (tmp_path / "another" / "__init__.py").write_text("raise RuntimeError('mine')")
    library = importlib.import_module("a_library")
    with pytest.raises(AttributeError) as lacks:
        library.JSONEncoder  # noqa: B018
    with pytest.raises(RuntimeError) as raises:
        importlib.import_module("another")
    assert "a_library.py takes the place of a module" in account(lacks.value, "noiseprompt npd")
    assert "another takes the place of a module" in account(raises.value, "noiseprompt npd")
    assert "takes the place" not in account(AttributeError("x"), "noiseprompt npd")


def test_python_without_docstrings_is_refused(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    flags = {name: getattr(sys.flags, name) for name in dir(sys.flags) if name[0] != "_"}
    monkeypatch.setattr(sys, "flags", SimpleNamespace(**{**flags, "optimize": 2}))
    assert main(["npd", "info", "x"]) == 2
    assert "-OO" in one_line(capfd)


@pytest.mark.parametrize(
    ("error", "variable"),
    [
        (RuntimeError("Only a single TORCH_LIBRARY can be used to register the name"), ("TORCH_LOGS", "x")),
        (ValueError("invalid literal for int() with base 10: 'soon'"), ("HF_HUB_ETAG_TIMEOUT", "soon")),
        (ValueError("Port out of range 0-65535"), ("HF_ENDPOINT", "http://host:99999")),
        (
            ValueError("Invalid boolean value for environment variable JSONARGPARSE_DEBUG: 1"),
            ("JSONARGPARSE_DEBUG", "1"),
        ),
    ],
)
def test_a_variable_that_a_library_does_not_take_is_named(
    error: Exception, variable: tuple[str, str], monkeypatch: pytest.MonkeyPatch, tmp_path: Path
) -> None:
    assert "The environment says" not in account(error, "noiseprompt npd", tmp_path)
    monkeypatch.setenv(*variable)
    assert f"The environment says {variable[0]}={variable[1]!r}" in account(error, "noiseprompt npd", tmp_path)


def test_words_that_the_locale_cannot_read_are_told(
    monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    monkeypatch.setattr(sys, "getfilesystemencoding", lambda: "ascii")
    word = "a 🙂 ring".encode().decode("ascii", "surrogateescape")
    assert main(["generate", word, "--out=o"]) == 2
    told = one_line(capfd)
    assert "where the locale says ascii" in told and "PYTHONUTF8=1" in told


# -------------------------------------------------------------------------------------------------------- the last net


def unforeseen() -> None:
    raise KeyError("what\nnobody foresaw")


@pytest.mark.parametrize("there", [True, False])
def test_an_unforeseen_error_ends_in_one_line_and_a_file(
    there: bool, acting: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch, capfd: pytest.CaptureFixture[str]
) -> None:
    (tmp_path / "tmp").mkdir()
    monkeypatch.setattr("tempfile.tempdir", str(tmp_path / "tmp"))
    out = tmp_path / "out"
    if there:
        out.mkdir()
    acting(unforeseen)
    assert main(["npd", "info", "--out", str(out)]) == 1
    told = one_line(capfd)
    assert "error: noiseprompt npd: KeyError" in told and "report it in the issue tracker" in told
    [file] = (out if there else tmp_path / "tmp").iterdir()
    assert str(file) in told
    text = file.read_text()
    assert "in unforeseen" in text and "torch" in text and "'info'" in text


def test_debug_prints_the_traceback(acting: Any, tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    acting(unforeseen)
    assert main(["npd", "--debug", "info", "--out", str(tmp_path)]) == 1
    told = capfd.readouterr().err
    assert "Traceback" in told and "in unforeseen" in told and told.count("noiseprompt: error: KeyError") == 1
    assert list(tmp_path.iterdir()) == []


def test_debug_shows_where_an_error_in_words_came_from(capfd: pytest.CaptureFixture[str]) -> None:
    assert main(["npd", "info", "nowhere", "--debug"]) == 2
    told = capfd.readouterr().err
    assert "Traceback" in told and told.splitlines()[-1].startswith("noiseprompt: error: ")
