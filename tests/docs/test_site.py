"""The site: it builds without a warning, asks for nothing outside, finds what is searched, and fits a phone."""

from __future__ import annotations

import functools
import http.server
import importlib.util
import re
import shutil
import subprocess
import sys
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest
import yaml

from tests.docs.pages import ROOT

pytestmark = pytest.mark.skipif(
    any(importlib.util.find_spec(name) is None for name in ("latex2mathml", "mkdocstrings", "zensical")),
    reason="the extra [docs] is not installed",
)
PAGES = sorted(path.stem for path in (ROOT / "docs").glob("*.md"))


def built(folder: Path) -> subprocess.CompletedProcess[str]:
    """Build a copy of the sources, as `make docs` does."""
    sources = ("docs", "tools", "src/noiseprompt", "mkdocs.yml", "README.md", "CHANGELOG.md", "CITATION.cff")
    for name in sources:
        (folder / name).parent.mkdir(parents=True, exist_ok=True)
        if (ROOT / name).is_dir():
            shutil.copytree(ROOT / name, folder / name, ignore=shutil.ignore_patterns("weights", "__pycache__"))
        else:
            shutil.copy(ROOT / name, folder / name)
    return again(folder)


def again(folder: Path) -> subprocess.CompletedProcess[str]:
    command = [sys.executable, "-m", "zensical", "build", "--clean", "--strict"]
    return subprocess.run(command, cwd=folder, capture_output=True, text=True)


@pytest.fixture(scope="module")
def site(tmp_path_factory: pytest.TempPathFactory) -> Path:
    folder = tmp_path_factory.mktemp("pages")
    done = built(folder)
    assert done.returncode == 0, done.stdout + done.stderr
    return folder / "out" / "site"


def named(entry: object) -> list[str]:
    """The files of a navigation."""
    if isinstance(entry, str):
        return [entry]
    inside = entry.values() if isinstance(entry, dict) else entry
    return [name for one in inside for name in named(one)]  # type: ignore[attr-defined]


def test_every_page_is_in_the_navigation() -> None:
    nav = re.search(r"^nav:\n(?:[ ].*\n)+", (ROOT / "mkdocs.yml").read_text(encoding="utf-8"), re.MULTILINE)
    assert nav and sorted(named(yaml.safe_load(nav[0])["nav"])) == [f"{name}.md" for name in PAGES]


def test_pages_are_built_and_load_nothing_from_outside(site: Path) -> None:
    for name in PAGES:
        text = (site / f"{name}.html").read_text(encoding="utf-8")
        assert not re.findall(r'<(?:script|img|iframe|source)\b[^>]*\bsrc="?(?:https?:)?//', text)
        assert not re.findall(r'<link\b[^>]*\bhref="?(?:https?:)?//', text)
        assert "--8&lt;--" not in text and "--8<--" not in text and "```" not in re.sub(r"<code.*?</code>", "", text)


def test_formulas_are_mathml_of_commands_it_knows(site: Path) -> None:
    text = (site / "method.html").read_text(encoding="utf-8")
    formulas = re.findall(r"<math.*?</math>", text, re.DOTALL)
    assert len(formulas) > 10 and sum("<mtable" in formula for formula in formulas) == 2
    assert not [formula for formula in formulas if "\\" in formula or re.search("<mi>&(amp;)?<", formula)]


def test_the_api_page_describes_every_public_name(site: Path) -> None:
    import noiseprompt

    text = (site / "api.html").read_text(encoding="utf-8")
    public = [name for name in noiseprompt.__all__ if name not in ("__version__", "NoisepromptError")]
    assert not [name for name in public if f'id="noiseprompt.{name}"' not in text]
    assert 'id="noiseprompt.core.errors.NoisepromptError"' in text


def test_a_link_that_leads_nowhere_fails(tmp_path: Path) -> None:
    for name in ("mkdocs.yml", "docs", "tools"):
        copy = shutil.copytree if (ROOT / name).is_dir() else shutil.copy
        copy(ROOT / name, tmp_path / name)
    config = (tmp_path / "mkdocs.yml").read_text(encoding="utf-8")
    (tmp_path / "mkdocs.yml").write_text(re.sub(r"nav:\n(?:[ ].*\n)+", "", config), encoding="utf-8")
    for page in (tmp_path / "docs").glob("*.md"):
        page.unlink()
    (tmp_path / "docs" / "index.md").write_text("# Start\n\n[x](index.md#nowhere)\n", encoding="utf-8")
    done = again(tmp_path)
    assert done.returncode != 0 and "anchor does not exist" in done.stdout + done.stderr


class _Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: object) -> None:
        pass


@pytest.fixture(scope="module")
def address(site: Path) -> Iterator[str]:
    server = http.server.ThreadingHTTPServer(("127.0.0.1", 0), functools.partial(_Quiet, directory=str(site)))
    threading.Thread(target=server.serve_forever, daemon=True).start()
    yield f"http://127.0.0.1:{server.server_port}/"
    server.shutdown()


@pytest.mark.browser
@pytest.mark.parametrize(
    ("width", "scheme", "names"), [(390, "dark", PAGES), (1200, "light", ("index", "method", "api", "reproduction"))]
)
def test_pages_fit_and_ask_for_nothing_outside(browser, address: str, width: int, scheme: str, names) -> None:
    context = browser.new_context(viewport={"width": width, "height": 844}, color_scheme=scheme)
    page = context.new_page()
    said, asked = [], []
    page.on("console", lambda message: said.append(message.text))
    page.on("pageerror", lambda error: said.append(str(error)))
    page.on("request", lambda request: asked.append(request.url))
    for name in names:
        page.goto(f"{address}{name}.html", wait_until="load")
        boxes = "article .md-typeset__scrollwrap, article pre, article .formula"  # each scrolls inside itself
        wide = page.evaluate(
            """boxes => [document.documentElement.scrollWidth,
                         ...[...document.querySelectorAll(boxes)].map(e => e.getBoundingClientRect().right)]""",
            boxes,
        )
        assert max(wide) <= width, name
    background = page.evaluate("getComputedStyle(document.body).backgroundColor")
    context.close()
    assert said == [] and [url for url in asked if not url.startswith((address, "data:"))] == []
    assert (max(map(int, re.findall(r"\d+", background)[:3])) < 60) == (scheme == "dark")


@pytest.mark.browser
def test_search_finds_a_word_of_another_page(browser, address: str) -> None:
    page = browser.new_page(viewport={"width": 1200, "height": 844})
    page.goto(f"{address}install.html", wait_until="load")
    page.locator("button", has_text="Search").first.click()
    page.keyboard.type("theorem")
    page.locator("a[href*='method.html']", has_text="The paper's recipe").first.click(timeout=10_000)
    page.wait_for_url("**/method.html*")
    page.close()
