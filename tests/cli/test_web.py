"""`noiseprompt web`: every mistake in one line before a model is loaded, and an end when it is told to."""

from __future__ import annotations

import socket
import sys
import types
from collections.abc import Iterator
from pathlib import Path

import pytest

import noiseprompt.web
from noiseprompt.cli import main

pytest.importorskip("gradio")


@pytest.fixture
def taken() -> Iterator[int]:
    with socket.socket() as other:
        other.bind(("127.0.0.1", 0))
        other.listen()
        yield other.getsockname()[1]


def refused(words: list[str], capfd: pytest.CaptureFixture[str]) -> str:
    assert main(["web", *words]) == 2
    out = capfd.readouterr()
    lines = [line for line in out.err.splitlines() if "error" in line]
    assert len(lines) == 1 and "Traceback" not in out.err
    return lines[0]


def test_without_gradio(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    for name in ("page", "serve"):
        monkeypatch.delitem(sys.modules, f"noiseprompt.web.{name}", raising=False)
        monkeypatch.delattr(noiseprompt.web, name, raising=False)
    monkeypatch.setitem(sys.modules, "gradio", None)
    assert 'Install it: pip install "noiseprompt[web]"' in refused([], capfd)


def test_addresses(taken: int, capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    from noiseprompt.web.studio import Studio

    monkeypatch.setattr(Studio, "open", lambda *_: pytest.fail("a model was loaded"))
    told = refused(["--port", str(taken)], capfd)
    assert f"cannot serve at 127.0.0.1:{taken} (Address already in use)" in told and f"--port {taken + 1}" in told
    assert "--host 'no such host' is no address" in refused(["--host", "no such host"], capfd)
    assert "cannot serve at 192.0.2.1:7860" in refused(["--host", "192.0.2.1"], capfd)
    assert "--port 70000. Expected a whole number from 1 to 65,535" in refused(["--port", "70000"], capfd)
    assert "--queue 0" in refused(["--queue", "0"], capfd)


@pytest.mark.parametrize(
    ("words", "told"),
    [
        ("--models /no/such/folder", "/no/such/folder"),
        ("--models shapes,shapes", "models shapes, shapes. Expected at least one, and each once"),
        ("--methods npnett", "npnet"),
        ("--methods redenoise:swap", "the control redenoise:swap on a page"),
        ("--scorers nobody", "nobody"),
        ("--reports /no/such/folder", "--reports /no/such/folder is no folder"),
        ("--models shapes --methods npnet:path=/no/such/folder", "/no/such/folder"),
    ],
)
def test_what_cannot_be_loaded(words: str, told: str, capfd: pytest.CaptureFixture[str]) -> None:
    assert told in refused([*words.split(), "--port", str(free())], capfd)


def free() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return probe.getsockname()[1]


def test_it_serves_until_it_is_told_to_end(capfd: pytest.CaptureFixture[str], monkeypatch: pytest.MonkeyPatch) -> None:
    port, served = free(), []

    def interrupted() -> None:
        with socket.create_connection(("127.0.0.1", port)) as other:
            other.sendall(b"GET / HTTP/1.0\r\n\r\n")
            served.append(other.recv(15))
        raise KeyboardInterrupt

    from noiseprompt.cli import web

    monkeypatch.setattr(web, "wait", interrupted)
    assert main(["web", "--port", str(port), "--methods", "redenoise"]) == 130
    assert served[0].startswith(b"HTTP/1.") and b"200" in served[0]
    out = capfd.readouterr()
    assert f"noiseprompt is at http://127.0.0.1:{port}/" in out.out and "Traceback" not in out.err
    with socket.socket() as probe:
        assert probe.connect_ex(("127.0.0.1", port)) != 0


def test_the_space_borrows_a_gpu_for_what_computes(monkeypatch: pytest.MonkeyPatch) -> None:
    borrowed: list[str] = []

    class Spaces(types.ModuleType):
        def GPU(self, duration: int):
            return lambda work: (borrowed.append(work.__name__), work)[1]

    monkeypatch.setitem(sys.modules, "spaces", Spaces("spaces"))
    monkeypatch.setenv("NOISEPROMPT_METHODS", "standard,redenoise")
    space: dict = {"__name__": "app"}
    file = Path(__file__).parents[2] / "spaces" / "app.py"
    exec(compile(file.read_text(), str(file), "exec"), space)
    assert borrowed == ["draw", "compare", "look"] and space["demo"].title == "noiseprompt"
    front = file.with_name("README.md").read_text().split("---")[1]
    import gradio
    import yaml

    told = yaml.safe_load(front)
    assert (told["sdk"], told["app_file"], told["sdk_version"]) == ("gradio", "app.py", gradio.__version__)
