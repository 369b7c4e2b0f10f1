"""The page in a real browser: it draws, its slider moves, it tells what is wrong, and nothing leaves the machine."""

from __future__ import annotations

import json
import re
import shutil
import socket
import urllib.error
import urllib.request
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import Any

import pytest

from noiseprompt.pipelines.options import ModelOptions
from noiseprompt.web.desk import Desk, Fields
from noiseprompt.web.folders import Reports
from noiseprompt.web.studio import Studio

pytest.importorskip("gradio")
pytestmark = pytest.mark.browser

QUEUE = 4


class Quick(Desk):
    """Draws with three steps."""

    def fields(self, model: str) -> Fields:
        return replace(super().fields(model), num_inference_steps=3)


@dataclass
class Served:
    """The page while it is served, and where its process connected to."""

    address: str
    blocks: Any
    connected: list[Any] = field(default_factory=list)

    def number(self, work: str) -> int:
        return next(i for i, function in self.blocks.fns.items() if function.name == work)


@pytest.fixture(scope="module")
def served(whole: Path, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Served]:
    from noiseprompt.web import page, serve

    root = tmp_path_factory.mktemp("reports")
    shutil.copytree(whole, root / "first evaluation")
    studio = Studio(["shapes"], "standard,npnet,redenoise:steps=4", None, ModelOptions(device="cpu"))
    desk = Quick(studio, Reports(root), lambda error: f"unforeseen {error!r}")
    blocks, connect = page.build(desk), socket.socket.connect
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port = probe.getsockname()[1]
    found = Served("", blocks)

    def noted(self: Any, address: Any) -> Any:
        found.connected.append(address)
        return connect(self, address)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(socket.socket, "connect", noted)
        with serve.serving(blocks, desk, "127.0.0.1", port, QUEUE) as address:
            found.address = address
            yield found


@pytest.fixture
def opened(browser, served: Served) -> Iterator[Any]:
    """A page that complained about nothing and asked nobody else, to the end of the test."""
    page = browser.new_page(viewport={"width": 1200, "height": 900})
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text) if message.type == "error" else None)
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(served.address)
    page.wait_for_selector("#np-draw")
    yield page
    page.close()
    assert said == []
    assert [url for url in asked if not url.startswith((served.address, "data:", "blob:"))] == []
    assert {address[0] for address in served.connected if isinstance(address, tuple)} <= {"127.0.0.1"}


def draw(page: Any, seeds: str = "0") -> None:
    page.get_by_label("Seeds").fill(seeds)
    page.click("#np-draw")
    page.wait_for_selector(f"[aria-label='Seed {seeds}']")
    page.wait_for_function("/pictures, /.test(document.querySelector('#np-draw-status').innerText)")


def test_a_click_draws_and_the_slider_moves(opened) -> None:
    draw(opened)
    assert opened.locator(".np-card").count() == 3
    assert opened.locator(".np-right, .np-wrong").count() == 3
    loaded = opened.evaluate("[...document.querySelectorAll('.np-draw img')].map(i => i.naturalWidth)")
    assert loaded == [64] * 5
    slider = opened.locator(".np-slide input")
    cut = "getComputedStyle(document.querySelector('.np-before')).clipPath"
    assert opened.evaluate(cut) == "inset(0px 50% 0px 0px)"
    box = slider.bounding_box()
    opened.mouse.click(box["x"] + box["width"] * 0.8, box["y"] + 20)
    assert float(re.findall(r"([\d.]+)%", opened.evaluate(cut))[0]) == pytest.approx(20, abs=3)
    slider.press("Home")  # by the keyboard
    assert opened.evaluate(cut) == "inset(0px 100% 0px 0px)"
    before = opened.get_attribute(".np-after", "src")
    opened.get_by_role("button", name="Compare redenoise:steps=4, seed 0, with standard").press("Enter")
    assert opened.inner_text(".np-name") == "redenoise:steps=4" and opened.get_attribute(".np-after", "src") != before
    assert opened.locator("[aria-pressed=true]").count() == 1


def test_a_wrong_prompt_shows_its_message_and_the_next_one_draws(opened) -> None:
    opened.get_by_label("Prompt").fill("a cat on a mat")
    opened.click("#np-draw")
    alert = opened.get_by_role("alert").filter(has_text="cannot read")
    alert.wait_for()
    assert "the world of shapes cannot read 'a cat on a mat'. Expected a sentence such as" in alert.inner_text()
    assert "Traceback" not in opened.content()
    opened.get_by_role("button", name="two white squares").click()
    opened.wait_for_function("document.querySelector('#np-prompt textarea').value === 'two white squares'")
    draw(opened)


def test_a_phone_shows_it_all_and_everything_has_a_name(opened) -> None:
    opened.set_viewport_size({"width": 390, "height": 844})
    draw(opened)
    for tab in ("Compare", "The noise", "Reports", "Draw"):
        opened.get_by_role("tab", name=tab).click()
        assert opened.evaluate("document.documentElement.scrollWidth") <= 390, tab
    right = "[...document.querySelectorAll('#np-main button')].map(b => b.getBoundingClientRect().right)"
    assert max(opened.evaluate(right)) <= 390
    nameless = """[...document.querySelectorAll('input, textarea, select, button, progress, iframe')].filter(e => {
        const labels = e.labels ? [...e.labels].map(l => l.innerText).join('') : '';
        return e.offsetParent && !(labels + (e.ariaLabel || '') + e.innerText + e.title).trim();
    }).map(e => e.outerHTML)"""
    assert opened.evaluate(nameless) == []
    assert opened.evaluate("[...document.images].filter(i => !i.alt).length") == 0


def test_a_comparison_can_be_stopped_and_keeps_what_it_has(opened) -> None:
    opened.get_by_role("tab", name="Compare").click()
    opened.get_by_label("How many seeds").fill("400")
    opened.click("#np-compare")
    opened.wait_for_selector("#np-compare-result svg")
    opened.click("#np-stop-compare")
    opened.get_by_text("Stopped. What was made stays.").wait_for()
    assert "look, not a test" in opened.inner_text("#np-compare-result")
    opened.get_by_role("tab", name="The noise").click()
    opened.click("#np-noise")
    opened.wait_for_selector("#np-noise-result svg")  # the model is free again


def test_a_report_opens_in_a_frame_that_may_do_nothing(opened, served: Served) -> None:
    opened.get_by_role("tab", name="Reports").click()
    opened.get_by_label("Evaluation").click()
    opened.get_by_role("option", name="first evaluation").click()
    frame = opened.frame_locator("iframe")
    frame.get_by_role("heading", name="Figures").wait_for()
    assert opened.get_attribute("iframe", "sandbox") == ""


def answer(url: str, data: bytes | None = None, kind: str = "application/json") -> tuple[int, Any]:
    try:
        with urllib.request.urlopen(urllib.request.Request(url, data, {"Content-Type": kind}), timeout=60) as found:
            return found.status, found.headers
    except urllib.error.HTTPError as error:
        return error.code, error.headers


def test_nothing_but_the_page_is_served(served: Served) -> None:
    status, headers = answer(served.address)
    assert status == 200 and "default-src 'self'" in headers["Content-Security-Policy"]
    for path in ("gradio_api/file=/etc/passwd", "file=/etc/passwd", "report?name=..", "report?name=/etc", "report"):
        assert answer(served.address + path)[0] in (403, 404), path
    status, headers = answer(f"{served.address}report?name=first%20evaluation")
    assert status == 200 and headers["Content-Security-Policy"].startswith("sandbox; default-src 'none'")
    body = b'--b\r\nContent-Disposition: form-data; name="files"; filename="a"\r\n\r\n' + b"x" * 5000 + b"\r\n--b--\r\n"
    assert answer(served.address + "gradio_api/upload", body, "multipart/form-data; boundary=b")[0] >= 400


def memory() -> int:
    """Of this process, in bytes."""
    return int(Path("/proc/self/statm").read_text().split()[1]) * 4096


@pytest.mark.skipif(not Path("/proc/self/statm").exists(), reason="counts memory as Linux tells it")
def test_fifty_requests_at_once_leave_it_answering(opened, served: Served) -> None:
    draw(opened)
    before = memory()
    fields = ["shapes", "two white squares", ["npnet"], 1, 3.5, 1, "0"]

    def join(number: int) -> int:
        data = {"data": fields, "fn_index": served.number("draw"), "session_hash": f"visitor{number}"}
        return answer(served.address + "gradio_api/queue/join", json.dumps(data).encode())[0]

    with ThreadPoolExecutor(50) as pool:
        codes = list(pool.map(join, range(50)))
    assert set(codes) == {200, 503} and QUEUE <= codes.count(200) <= QUEUE + 2
    assert answer(served.address)[0] == 200
    opened.wait_for_timeout(1000)
    for _ in range(60):
        if served.blocks._queue.event_queue_per_concurrency_id["model"].queue == []:
            break
        opened.wait_for_timeout(1000)
    draw(opened, "3")
    assert memory() - before < 60e6
