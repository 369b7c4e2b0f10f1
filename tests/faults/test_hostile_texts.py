"""Prompts, categories, labels and file names of others: shown as text everywhere, and never a way out of a folder."""

from __future__ import annotations

import csv
import json
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from noiseprompt.cli import score as score_command
from noiseprompt.cli.progress import say
from noiseprompt.core.errors import StoreError
from noiseprompt.core.texts import in_csv, in_markdown, visible
from noiseprompt.core.types import Prompt
from noiseprompt.methods.base import MethodSpec
from noiseprompt.results.pictures import Pictures
from noiseprompt.results.words import text_table
from noiseprompt.stages.evaluate.evaluate import evaluate, summarize_run
from noiseprompt.stages.evaluate.plan import EvaluateConfig
from noiseprompt.stages.report.report import report
from tests.evaluation_fakes import FakePipeline, FakeScorer

pytestmark = pytest.mark.filterwarnings("ignore::noiseprompt.noise.guard.NoiseWarning")

HOSTILE = [
    "a | b || c",
    "a\\| b",
    "two\nlines\r\nand | more",
    "| --- |",
    "<script>alert(1)</script>",
    "<img src=http://evil.example/x>",
    "![x](http://evil.example/x.png)",
    "[x](javascript:alert(1))",
    "`code` and **bold** *it*",
    "&lt;b&gt; &amp; &#60;b&#62;",
    "\x1b]0;title\x07\x1b[31mred\x1b[0m",
    "\x9b31m\x00\x08\x7f",
    "\u202egnp.exe\u2066",
    "a\u2028b\u2029c\x85d",
    "=HYPERLINK(1)",
    "\\",
    "plain, with ünïcödé ✓ and 👩‍🎨",
]


class Seen(HTMLParser):
    """The tags of HTML and, of each table cell, its text."""

    def __init__(self, html: str) -> None:
        super().__init__(convert_charrefs=True)
        self.tags: set[str] = set()
        self.cells: list[str] = []
        self.feed(html)

    def handle_starttag(self, tag: str, attrs: object) -> None:
        self.tags.add(tag)
        self.cells += [""] if tag in ("td", "th") else []

    def handle_data(self, data: str) -> None:
        if self.cells:
            self.cells[-1] += data


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_a_cell_of_a_markdown_table_stays_text(text: str) -> None:
    """As a reader of Markdown other than ours understands it."""
    markdown = pytest.importorskip("markdown")
    written = text_table(["a", text, "c"], [["1", text, "3"], ["4", text, "6"]])
    assert written.count("\n") == 3
    seen = Seen(markdown.markdown(written, extensions=["tables"]))
    assert seen.tags == {"table", "thead", "tbody", "tr", "th", "td"}
    assert [cell.strip() for cell in seen.cells[:3]] == ["a", visible(text).strip(), "c"] and len(seen.cells) == 9


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_a_line_of_markdown_stays_text(text: str) -> None:
    markdown = pytest.importorskip("markdown")
    seen = Seen(markdown.markdown(f"- {in_markdown(text)}"))
    assert seen.tags <= {"ul", "li", "hr"} and "\n" not in in_markdown(text)


@pytest.mark.parametrize("text", HOSTILE, ids=ascii)
def test_a_terminal_gets_no_commands(text: str, capfd: pytest.CaptureFixture[str]) -> None:
    shown = visible(text)
    assert not any(ord(c) < 32 or 127 <= ord(c) < 160 or c in "\u202e\u2066\u2028\u2029" for c in shown)
    say(f"error: the category {text}")
    assert capfd.readouterr().err == f"noiseprompt: error: the category {shown}\n"


def test_what_can_be_read_is_left_alone() -> None:
    text = "plain, with ünïcödé ✓, a < b & c, [1, 2] and 👩‍🎨"
    assert visible(text) == in_markdown(text) == text


@pytest.mark.parametrize("text", ["=1+1", "+1", "-1", "@SUM(A1)", "\t=1", "\r=1", "=cmd|' /C calc'!A0"])
def test_a_spreadsheet_gets_no_formula(text: str, tmp_path: Path) -> None:
    pairs = [(Path(f"{text.strip()[:3]}.png"), Prompt(text)), (Path("b.png"), Prompt("a cat = a dog"))]
    for name in ("s.csv", "s.json"):
        score_command.write(tmp_path / name, pairs, ["mine"], np.array([[-1.0], [2.0]]), [])
    with (tmp_path / "s.csv").open(newline="") as file:
        first, second = csv.DictReader(file)
    assert first["prompt"] == in_csv(text) == "'" + text and second["prompt"] == "a cat = a dog"
    assert first["file"][0] not in "=+-@" and float(first["mine"]) == -1
    assert json.loads((tmp_path / "s.json").read_text())["images"][0]["prompt"] == text


def run(out: Path, prompts: list[Prompt]) -> None:
    methods = [MethodSpec.parse(name) for name in ("standard", "redenoise")]
    config = EvaluateConfig(batch_size=8, save_images="all", features="none")
    for _ in evaluate(FakePipeline(), prompts, [FakeScorer()], methods, config, out):  # type: ignore[arg-type]
        pass


def test_reports_escape_prompts_and_categories(tmp_path: Path) -> None:
    texts = [text.replace("\0", "") for text in HOSTILE]  # NUL is in no prompt
    run(tmp_path, [Prompt(f"{text} {i}", text) for i, text in enumerate(texts)])
    summarize_run(tmp_path)
    report(tmp_path)
    for name in ("results.md", "report.md"):
        text = (tmp_path / name).read_text(encoding="utf-8")
        assert "<script" not in text and "<img" not in text and "](http" not in text and "](java" not in text
        assert not any((ord(c) < 32 and c != "\n") or 127 <= ord(c) < 160 or c == "\u202e" for c in text)
    page = (tmp_path / "report.html").read_text(encoding="utf-8")
    assert "<script" not in page and "evil.example/x>" not in page
    assert not any((ord(c) < 32 and c not in "\n\t") or ord(c) == 127 for c in page)
    for file in tmp_path.rglob("*"):
        assert file.resolve().is_relative_to(tmp_path.resolve()) and "evil" not in file.name


OUTSIDE = ["../../x.png", "../secret.png", "/etc/passwd", "a/../../../x.png", "link/x.png", "x\x00.png", "loop/x.png"]


@pytest.mark.parametrize("image", OUTSIDE, ids=ascii)
def test_a_picture_elsewhere_does_not_reach_the_report(image: str, tmp_path: Path) -> None:
    out, secret = tmp_path / "runs" / "e", tmp_path / "x.png"
    run(out, [Prompt("a cat"), Prompt("a dog")])
    for place in (secret, out / "secret.png", tmp_path / "elsewhere" / "x.png"):
        place.parent.mkdir(exist_ok=True)
        Image.new("RGB", (8, 8), "red").save(place)
    (out / "images" / "link").symlink_to(tmp_path / "elsewhere")
    (out / "images" / "loop").symlink_to("loop")
    lines = [json.loads(line) for line in (out / "results.jsonl").read_text().splitlines()]
    lines[0]["image"] = image
    (out / "results.jsonl").write_text("".join(json.dumps(line) + "\n" for line in lines))
    with pytest.raises(StoreError, match=r"results\.jsonl names the picture .*pictures in .*images alone"):
        Pictures(out).file(image)
    with pytest.raises(StoreError, match="names the picture"):
        report(out)


def test_pictures_of_a_folder_that_is_itself_a_link_are_read(tmp_path: Path) -> None:
    run(tmp_path / "e", [Prompt("a cat"), Prompt("a dog")])
    (tmp_path / "e" / "images").rename(tmp_path / "big-disk")
    (tmp_path / "e" / "images").symlink_to(tmp_path / "big-disk")
    assert "data:image/png" in report(tmp_path / "e").read_text(encoding="utf-8")
