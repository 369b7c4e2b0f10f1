"""The page stands alone, tells the truth in its words, and cannot be broken by a prompt."""

from __future__ import annotations

import base64
import dataclasses
import io
import json
import re
from html.parser import HTMLParser
from pathlib import Path

import numpy as np
import pytest
from PIL import Image

from noiseprompt.core.errors import ConfigError, InputError, StoreError
from noiseprompt.core.types import Prompt
from noiseprompt.methods.base import MethodSpec
from noiseprompt.results.lines import read_results
from noiseprompt.stages.evaluate.evaluate import evaluate, summarize_run
from noiseprompt.stages.evaluate.plan import EvaluateConfig
from noiseprompt.stages.report import svg
from noiseprompt.stages.report.report import report
from tests.evaluation_fakes import FakeChecker, FakePipeline, FakeScorer

pytestmark = pytest.mark.filterwarnings("ignore::noiseprompt.noise.guard.NoiseWarning")
"""The fake re-denoise moves noise farther than a real one."""

EVIL = "<script>alert('x')</script> \"quoted\" & <img src=http://evil.example/x>"
PROMPTS = [Prompt(EVIL, "<b>kind</b>"), *(Prompt(f"a thing numbered {i}", "plain") for i in range(11))]
METHODS = ("standard", "redenoise", "redenoise:strength=0", "redenoise:swap")
VOID = {"meta", "img", "br", "wbr"}


class Page(HTMLParser):
    """Tags with their attributes, the text, and every tag closed in order."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.tags: list[tuple[str, dict[str, str | None]]] = []
        self.open: list[str] = []
        self.text: list[str] = []
        self.feed(text)
        self.close()

    def handle_starttag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))
        if tag not in VOID:
            self.open.append(tag)

    def handle_startendtag(self, tag, attrs):
        self.tags.append((tag, dict(attrs)))

    def handle_endtag(self, tag):
        assert self.open.pop() == tag

    def handle_data(self, data):
        if data.strip():
            self.text.append(data)

    def named(self, tag: str) -> list[dict[str, str | None]]:
        return [attributes for name, attributes in self.tags if name == tag]


def _evaluate(folder: Path, config: EvaluateConfig, methods=METHODS, scorers=(FakeChecker, FakeScorer)) -> None:
    specs = [MethodSpec.parse(m) for m in methods]
    list(evaluate(FakePipeline(), PROMPTS, [scorer() for scorer in scorers], specs, config, folder))  # type: ignore[arg-type]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("run")
    _evaluate(folder, EvaluateConfig(num_seeds=2, filter_scorers=("brightness",)))
    return folder


@pytest.fixture(scope="module")
def text(folder: Path) -> str:
    path = report(folder)
    assert path == folder / "report.html"
    return path.read_text(encoding="utf-8")


@pytest.fixture(scope="module")
def page(text: str) -> Page:
    return Page(text)


def test_it_parses_and_every_tag_is_closed(page: Page) -> None:
    assert page.open == []
    assert page.tags[0][0] == "html"
    assert {"table", "svg", "img", "title", "style"} <= {tag for tag, _ in page.tags}


def test_nothing_is_fetched(text: str, page: Page) -> None:
    for tag, attributes in page.tags:
        assert tag not in ("script", "link", "iframe", "object", "embed", "base")
        for name, value in attributes.items():
            assert not name.startswith("on")
            if name in ("src", "href", "xlink:href", "srcset", "action", "data", "poster"):
                assert (value or "").startswith("data:image/")
    style = re.search(r"<style>(.*?)</style>", text, re.S)
    assert style
    assert "url(" not in style[1]
    assert "@import" not in style[1]
    assert "url(" not in " ".join(str(v) for _, attributes in page.tags for v in attributes.values())


def test_a_prompt_cannot_write_html(text: str, page: Page) -> None:
    assert "<script" not in text
    assert "<b>kind" not in text
    assert any(attributes["alt"] == f"standard: {EVIL}" for attributes in page.named("img")) or EVIL not in "".join(
        page.text
    )
    assert not any("evil" in (attributes.get("src") or "")[:40] for attributes in page.named("img"))


def test_an_evil_prompt_is_shown_as_text(tmp_path: Path) -> None:
    _evaluate(tmp_path, EvaluateConfig())
    page = Page(report(tmp_path, random_examples=100).read_text(encoding="utf-8"))
    assert EVIL in page.text
    assert any(attributes["alt"] == f"redenoise:swap (control): {EVIL}" for attributes in page.named("img"))


def test_pictures_are_the_runs_own(folder: Path, page: Page) -> None:
    results = {(r.method, r.text): r for r in read_results(folder)}
    assert results
    saved = {base64.b64encode(p.read_bytes()).decode() for p in (folder / "images").rglob("*.png")}
    sources = [str(attributes["src"]) for attributes in page.named("img")]
    assert len(sources) >= 8 * len(METHODS)  # the rows drawn at random show every method
    assert all(s.removeprefix("data:image/png;base64,") in saved for s in sources)


def test_wins_and_losses_are_the_largest(folder: Path, text: str) -> None:
    rows = {
        m: {(r.prompt_id, r.seed): r.scores["shapes-checker"] for r in read_results(folder) if r.method == m}
        for m in METHODS
    }
    gain = sorted(rows["redenoise"][k] - rows["standard"][k] for k in rows["standard"])
    wins, losses = sum(g > 0 for g in gain), sum(g < 0 for g in gain)
    assert wins > 3
    assert f"redenoise: largest wins by shapes-checker ({wins} in all)" in text
    section = text.split("redenoise: largest wins")[1].split("<h4>")[0]
    shown = []
    for row in section.split('<div class="row">')[1:]:
        standard, method = (float(s) for s in re.findall(r"<br>(-?[\d.]+)", row))
        shown.append(method - standard)
    assert len(shown) == 3
    assert shown == pytest.approx(gain[::-1][:3], abs=2e-3)
    assert ("largest losses" in text) == (losses > 0)
    assert "redenoise:strength=0: largest" not in text  # nothing differs
    assert "redenoise:swap (control): largest" not in text


def test_figures_in_the_page_are_those_of_the_summary(folder: Path, page: Page) -> None:
    summary = json.loads((folder / "results.json").read_text())
    words = " ".join(page.text)
    for method in summary["methods"].values():
        for row in method["metrics"].values():
            assert f"{row['mean']:.3f}" in words
            if "gain" in row:
                assert f"{row['gain']['mean']:+.3f} [{row['gain']['low']:+.3f}, {row['gain']['high']:+.3f}]" in words
    assert "redenoise:strength=0: the same score as standard in every image." in words
    assert "brightness (filter)" in words
    assert "n = 12" in words
    assert summary["main_metric"] == "shapes-checker accuracy"
    for name in ("fingerprint", "environment / torch", "settings / config / num_seeds"):
        assert name in words


def test_verdicts_follow_interval_and_p(folder: Path, tmp_path: Path) -> None:
    summary = json.loads((folder / "results.json").read_text())
    row = summary["methods"]["redenoise"]["metrics"][summary["main_metric"]]
    row["win"].update(wins=5, losses=1)
    for name in ("settings.json", "results.jsonl"):
        (tmp_path / name).write_bytes((folder / name).read_bytes())
    cases = [
        ((0.2, 0.1, 0.3), 0.001, "redenoise: better than standard (+0.200 [+0.100, +0.300], p 0.001)."),
        ((-0.2, -0.3, -0.1), 0.001, "redenoise: worse than standard"),
        ((0.2, 0.1, 0.3), 0.06, "redenoise: no difference from standard shown"),
        ((0.2, -0.1, 0.3), 0.04, "redenoise: no difference from standard shown"),
    ]
    for (mean, low, high), p, words in cases:
        row["gain"], row["p_holm"] = {"mean": mean, "low": low, "high": high, "n": 12}, p
        (tmp_path / "results.json").write_text(json.dumps(summary))
        assert words in " ".join(Page(report(tmp_path).read_text(encoding="utf-8")).text)


def test_large_pictures_are_shrunk_and_few_are_enough(tmp_path: Path) -> None:
    _evaluate(tmp_path, EvaluateConfig(height=320, width=240, save_images=2, batch_size=4), METHODS[:2])
    page = Page(report(tmp_path).read_text(encoding="utf-8"))
    sources = [str(attributes["src"]) for attributes in page.named("img")]
    assert sources
    for source in sources:
        head, _, data = source.partition(",")
        assert head == "data:image/jpeg;base64"
        with Image.open(io.BytesIO(base64.b64decode(data))) as image:
            assert image.size == (192, 256)
    assert "among 2 of 12" in " ".join(page.text)


def test_no_pictures_is_fine(tmp_path: Path) -> None:
    _evaluate(tmp_path, EvaluateConfig(save_images="none"), ("standard",))
    page = Page(report(tmp_path).read_text(encoding="utf-8"))
    assert page.open == []
    assert page.named("img") == []


def test_an_unfinished_or_damaged_folder_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="no evaluation"):
        report(tmp_path)
    (tmp_path / "settings.json").write_bytes((folder / "settings.json").read_bytes())
    with pytest.raises(InputError, match="to its end"):
        report(tmp_path)
    (tmp_path / "results.json").write_text("{")
    with pytest.raises(StoreError, match="damaged"):
        report(tmp_path)
    (tmp_path / "settings.json").write_text("[]")
    with pytest.raises(ConfigError, match=r"settings\.json"):
        report(tmp_path)


def test_an_evaluation_named_twice_is_refused(folder: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match="an evaluation twice"):
        report([folder, folder / ".." / folder.name], tmp_path)


def test_the_summary_can_be_made_again(folder: Path) -> None:
    before = (folder / "results.json").read_text()
    summarize_run(folder)
    assert (folder / "results.json").read_text() == before


@pytest.mark.parametrize(("low", "high"), [(0, 1), (-0.037, 0.004), (20, 23), (0, 1e-6), (0, 12345)])
def test_ticks_are_round_and_inside(low: float, high: float) -> None:
    found = svg.ticks(low, high)
    assert 2 <= len(found) <= 7
    assert all(low - 1e-9 <= t <= high + 1e-9 for t in found)
    steps = np.diff(found)
    assert np.allclose(steps, steps[0])
    assert float(f"{steps[0]:.1g}") == pytest.approx(steps[0])


def test_charts_put_values_where_the_axis_says() -> None:
    marks = [svg.Mark("a", 0.1, 0.0, 0.2, style=0), svg.Mark("b", -0.1, -0.2, 0.0, style=1)]
    drawn = svg.gains("t", marks, "u")
    ticks = {
        float(t): float(x)
        for x, t in re.findall(r'<text x="([\d.]+)" y="98.0" text-anchor="middle" >(-?[\d.]+)<', drawn)
    }
    assert {-0.2, -0.1, 0.0, 0.1, 0.2} <= set(ticks)
    circle = re.search(r'<circle cx="([\d.]+)"', drawn)
    assert circle
    assert float(circle[1]) == pytest.approx(ticks[0.1], abs=0.2)
    bars = svg.win_bars("t", [("a", 30, 50, 20, "")])
    widths = [float(w) for w in re.findall(r'<rect [^>]*width="([\d.]+)" height="20.0"', bars)]
    assert [w / sum(widths) for w in widths] == pytest.approx([0.3, 0.5, 0.2], abs=1e-3)


def test_a_logarithmic_axis_puts_values_where_it_says_and_a_line_joins_the_front() -> None:
    marks = [svg.Mark("a", 0.1, x=20, style=0), svg.Mark("b", 0.2, x=200, style=1), svg.Mark("c", 0.0, x=63, style=2)]
    drawn = svg.scatter("t", marks, "x", "y", log=True, front=[0, 1])
    ticks = {
        float(t): float(x)
        for x, t in re.findall(r'<text x="([\d.]+)" y="254.0" text-anchor="middle" >([\d.]+)<', drawn)
    }
    assert {20, 50, 100, 200} <= set(ticks) <= {10, 20, 50, 100, 200, 500}
    assert ticks[200] - ticks[100] == pytest.approx(ticks[100] - ticks[50], abs=0.3)
    ends = re.search(r'<polyline points="([\d.]+),[\d.]+ ([\d.]+),[\d.]+"', drawn)
    assert ends and [float(x) for x in ends.groups()] == pytest.approx([ticks[20], ticks[200]], abs=0.2)
    assert "polyline" not in svg.scatter("t", marks, "x", "y", log=True)
    assert svg.log_ticks(3, 40) == [5, 10, 20]


def test_quality_against_calls_is_a_chart_and_a_table(folder: Path, page: Page) -> None:
    words = page.text
    place = next(i for i, text in enumerate(words) if text.startswith("Quality against denoiser calls: "))
    assert words[place + 1].startswith("Quality against denoiser calls, n = ")
    assert "better for no more calls" in words[place:]
    data = json.loads((folder / "results.json").read_text())["methods"]
    for label in METHODS:
        assert f"{data[label]['denoiser_calls']:.4g}" in words[place:]


def test_a_single_mark_or_equal_values_draw() -> None:
    mark = svg.Mark("only", 0.5, x=20)
    for drawn in (
        svg.scatter("t", [mark, dataclasses.replace(mark, style=3)], "x", "y"),
        svg.gains("t", [mark], "u"),
    ):
        assert "nan" not in drawn
        assert "inf" not in drawn
    assert "nan" not in svg.grouped_bars("t", [("k", [svg.Mark("zero", 0.0)])], "u")


def test_several_runs_on_one_page(folder: Path, tmp_path: Path) -> None:
    other = tmp_path / "other"
    _evaluate(other, EvaluateConfig(guidance_scale=5.0), METHODS[:2])
    with pytest.raises(InputError, match="--out"):
        report([folder, other])
    path = report([folder, other], tmp_path / "both")
    page = Page(path.read_text(encoding="utf-8"))
    assert page.open == []
    ids = [attributes["id"] for attributes in page.named("h2") if "id" in attributes]
    assert [attributes["href"] for attributes in page.named("a")] == [f"#{name}" for name in ids] == ["#run0", "#run1"]
    words = " ".join(page.text)
    assert "guidance 5" in words and "guidance 2" in words
    markdown = (tmp_path / "both" / "report.md").read_text(encoding="utf-8")
    for run in (folder, other):
        mean = json.loads((run / "results.json").read_text())["methods"]["redenoise"]["metrics"]["brightness"]["mean"]
        assert f"{mean:.3f}" in markdown and f"{mean:.3f}" in words
    assert markdown.count("### Settings and versions") == 2
    assert EVIL not in markdown


def _scores(folder: Path, method: str) -> dict[tuple[str, int], float]:
    return {(r.prompt_id, r.seed): r.scores["brightness"] for r in read_results(folder) if r.method == method}


def test_runs_are_compared_with_the_standard_of_the_first(tmp_path: Path) -> None:
    """Of the pairs that both have: the other run drew fewer prompts' seeds, and one seed more."""
    one, two = tmp_path / "one", tmp_path / "two"
    _evaluate(one, EvaluateConfig(num_seeds=1, seed=3), METHODS[:1], (FakeScorer,))
    _evaluate(two, EvaluateConfig(num_seeds=2, seed=3, guidance_scale=5.0), METHODS[:2], (FakeScorer,))
    report([one, two], tmp_path / "both")
    markdown = (tmp_path / "both" / "report.md").read_text(encoding="utf-8")
    table = markdown.partition("## Against standard of one")[2].partition("\n\n## ")[0].splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table if line[:1] == "|"]
    rows = {(run, method): rest for run, method, metric, *rest in cells if metric == "brightness"}
    base = _scores(one, "standard")
    for method in METHODS[:2]:
        own = _scores(two, method)
        assert set(base) < set(own)
        differences = [own[key] - value for key, value in base.items()]
        n, mean, gain, _, won = rows["two", method]
        assert (n, mean) == (str(len(base)), f"{np.mean([own[key] for key in base]):.3f}")
        assert gain.startswith(f"{np.mean(differences):+.3f} [")
        counts = [sum(d > 0 for d in differences), sum(d < 0 for d in differences), sum(d == 0 for d in differences)]
        assert won == " / ".join(map(str, counts))
    assert rows["one", "standard"][2:] == [""] * 3


def test_runs_are_compared_by_every_metric_that_they_share(tmp_path: Path) -> None:
    class Second(FakeScorer):
        name = "second"

    one, two, three = tmp_path / "one", tmp_path / "two", tmp_path / "three"
    _evaluate(one, EvaluateConfig(seed=3), METHODS[:1], (FakeScorer, Second))
    _evaluate(two, EvaluateConfig(seed=3, guidance_scale=5.0), METHODS[:1], (FakeScorer, Second))
    _evaluate(three, EvaluateConfig(seed=3, guidance_scale=4.0), METHODS[:1], (FakeScorer,))
    assert _compared([one, two], tmp_path / "a") == [
        ("one", "brightness"),
        ("two", "brightness"),
        ("one", "second"),
        ("two", "second"),
    ]
    assert _compared([one, two, three], tmp_path / "b") == [(name, "brightness") for name in ("one", "two", "three")]


def _compared(runs: list[Path], out: Path) -> list[tuple[str, str]]:
    """(run, metric) of every row of the table of several runs."""
    markdown = report(runs, out).with_suffix(".md").read_text(encoding="utf-8")
    table = markdown.partition("## Against standard of one")[2].partition("\n\n## ")[0].splitlines()
    cells = [[cell.strip() for cell in line.split("|")[1:-1]] for line in table if line[:1] == "|"]
    return [(run, metric) for run, _, metric, *_ in cells[2:]]


def test_runs_without_a_common_image_are_not_compared(folder: Path, tmp_path: Path) -> None:
    _evaluate(tmp_path / "other", EvaluateConfig(seed=77), METHODS[:2])
    report([folder, tmp_path / "other"], tmp_path / "both")
    assert "Against standard" not in (tmp_path / "both" / "report.md").read_text(encoding="utf-8")


def test_paths_of_methods_are_shortened_and_told_in_the_settings(folder: Path, tmp_path: Path) -> None:
    label = "npnet:path=/somewhere/far/away/best"
    for name in ("settings.json", "results.jsonl", "results.json"):
        text = (folder / name).read_text().replace('"redenoise"', f'"{label}"')
        (tmp_path / name).write_text(text)
    text = report(tmp_path, examples=0).read_text(encoding="utf-8")
    before, _, after = text.partition("Settings and versions")
    assert label not in before
    assert "npnet (away/best)" in before
    assert label in after


@pytest.mark.parametrize("value", [1e30, -1e30, 2.0**70, 1e16, 0.0])
def test_equal_figures_of_any_size_have_a_chart(value: float) -> None:
    marks = [svg.Mark("a", value, value, value, x=20), svg.Mark("b", value, x=40, style=0)]
    for chart in (svg.scatter("title", marks, "calls", "score"), svg.gains("title", marks, "score")):
        assert "nan" not in chart and "inf" not in chart and chart.count("<circle") >= 2
