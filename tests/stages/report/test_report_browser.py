"""The page in a real browser: it loads nothing, complains about nothing, fits a phone, and prints.

Needs Playwright and a Chromium: Debian's (`chromium` on the path), or the one Playwright downloads.
"""

from __future__ import annotations

from pathlib import Path

import pytest

from noiseprompt.core.types import Prompt
from noiseprompt.methods.base import MethodSpec
from noiseprompt.stages.evaluate.evaluate import evaluate
from noiseprompt.stages.evaluate.plan import EvaluateConfig
from noiseprompt.stages.report import svg
from noiseprompt.stages.report.page import STYLE
from noiseprompt.stages.report.report import report
from tests.evaluation_fakes import FakeChecker, FakePipeline, FakeScorer

pytestmark = [pytest.mark.browser, pytest.mark.filterwarnings("ignore::noiseprompt.noise.guard.NoiseWarning")]

METHODS = ("standard", "redenoise", "redenoise:rounds=2", "redenoise:swap", "redenoise:strength=0")


@pytest.fixture(scope="module")
def path(tmp_path_factory) -> Path:
    """Two runs on one page, with a prompt that would like to be a script."""
    folders = []
    for guidance in (1.0, 2.0):
        folder = tmp_path_factory.mktemp(f"guidance-{guidance:g}")
        evil = Prompt("<script>console.error('x')</script><img src=http://example.invalid/x.png>", "<b>kind</b>")
        prompts = [evil, *(Prompt(f"a thing numbered {i}", "plain") for i in range(9))]
        config = EvaluateConfig(num_seeds=2, guidance_scale=guidance, filter_scorers=("brightness",))
        specs = [MethodSpec.parse(m) for m in METHODS]
        list(evaluate(FakePipeline(), prompts, [FakeChecker(), FakeScorer()], specs, config, folder))  # type: ignore[arg-type]
        folders.append(folder)
    return report(folders, tmp_path_factory.mktemp("page"))


@pytest.mark.parametrize("width", [390, 1200])
def test_it_opens_without_a_complaint_and_asks_for_nothing(browser, path: Path, width: int) -> None:
    page = browser.new_page(viewport={"width": width, "height": 844})
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    page.goto(path.as_uri(), wait_until="load")
    assert said == []
    assert [url for url in asked if not url.startswith("data:")] == [path.as_uri()]
    assert page.evaluate("document.documentElement.scrollWidth") <= width  # tables scroll, the page does not
    pictures = page.evaluate("[...document.images].map(i => i.complete && i.naturalWidth > 0)")
    assert pictures and all(pictures)
    assert page.locator("svg").count() >= 2 * 6
    boxes = page.evaluate("[...document.querySelectorAll('svg')].map(s => s.getBoundingClientRect().width)")
    assert all(0 < box <= width for box in boxes)
    page.close()


def test_the_words_of_charts_lie_inside_them(browser, path: Path) -> None:
    page = browser.new_page(viewport={"width": 1200, "height": 844})
    page.goto(path.as_uri())
    outside = page.evaluate(
        """[...document.querySelectorAll('svg text')].filter(t => {
             const a = t.getBoundingClientRect(), b = t.ownerSVGElement.getBoundingClientRect();
             return a.left < b.left - 1 || a.right > b.right + 1 || a.top < b.top - 1 || a.bottom > b.bottom + 1;
           }).map(t => t.textContent)"""
    )
    page.close()
    assert outside == []


def test_it_prints(browser, path: Path, tmp_path: Path) -> None:
    page = browser.new_page()
    page.goto(path.as_uri())
    page.pdf(path=tmp_path / "page.pdf", format="A4")
    page.close()
    assert (tmp_path / "page.pdf").read_bytes().startswith(b"%PDF")


@pytest.mark.parametrize("high", [2.1e-4, 6.1e-5, 1e-9, 0.31, 200.0, 1.3e6])
def test_the_last_label_of_an_axis_lies_inside_whatever_its_length(browser, high: float) -> None:
    axis = svg._x_axis(0, high, 40, svg.WIDTH - 12, 0, 40, "seconds")
    page = browser.new_page(viewport={"width": 600, "height": 400})
    page.set_content(f"<style>{STYLE}</style>{svg._svg('an axis', 80, axis)}")
    outside = page.evaluate(
        """[...document.querySelectorAll('svg text')].filter(t => {
             const a = t.getBoundingClientRect(), b = t.ownerSVGElement.getBoundingClientRect();
             return a.left < b.left || a.right > b.right;
           }).map(t => t.textContent)"""
    )
    page.close()
    assert outside == []
