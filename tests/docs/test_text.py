"""Figures stand in docs/results.md and are only quoted elsewhere; lists are lists for the site as for GitHub."""

from __future__ import annotations

import re

import pytest

from noiseprompt.methods.table import METHODS
from tests.docs.pages import NAMES, ROOT, TEXTS

GAIN = re.compile(r"[+-]\d+\.\d \[[+-]?\d+\.\d, [+-]?\d+\.\d\]")
QUOTING = [name for name in NAMES if not name.endswith(("results.md", "log.md", "reproduction.md"))]
TEXTS_OF_THE_SITE = {**TEXTS, "CHANGELOG.md": (ROOT / "CHANGELOG.md").read_text(encoding="utf-8")}


@pytest.mark.parametrize("name", QUOTING)
def test_gains_are_those_of_the_results(name: str) -> None:
    measured = set(GAIN.findall(TEXTS["docs/results.md"].replace(" points [", " [")))
    assert set(GAIN.findall(TEXTS[name])) <= measured


def test_choose_has_every_method_with_figures_of_the_results() -> None:
    page = TEXTS["docs/choose.md"]
    rows = re.findall(r"^\| `([a-z_]+)[^|]*\|[^|]*\| (\d+) \| ([^|]*) \| (\d*)", page, re.MULTILINE)
    assert {name for name, *_ in rows} == set(METHODS)
    assert all(calls and (name == "standard" or (GAIN.fullmatch(gain) and n)) for name, calls, gain, n in rows)


@pytest.mark.parametrize("name", TEXTS_OF_THE_SITE)
def test_a_list_begins_after_an_empty_line(name: str) -> None:
    """Without it GitHub shows a list, and Python-Markdown a paragraph with dashes."""
    text = re.sub(r"^```.*?^```", "", TEXTS_OF_THE_SITE[name], flags=re.DOTALL | re.MULTILINE)
    wrong = []
    for paragraph in re.split(r"\n\s*\n", text):
        lines = paragraph.strip("\n").splitlines()
        if lines and not re.match(r"\s*(?:[-*]|\d+\.) ", lines[0]) and not lines[0].startswith("#"):
            wrong += [line for line in lines[1:] if re.match(r"(?:[-*]|\d+\.) ", line)]
    assert not wrong


@pytest.mark.parametrize("name", ["README.md", "CONTRIBUTING.md", "CHANGELOG.md"])
def test_links_of_the_root_lead_somewhere(name: str) -> None:
    """Those of `docs/` are held by the build of the site."""
    text = TEXTS_OF_THE_SITE[name]
    links = re.findall(r"\]\(([^)\s#]+)", text) + re.findall(r"^\[[\w-]+\]: (\S+)$", text, re.MULTILINE)
    assert not [link for link in links if "://" not in link and not (ROOT / link).exists()]
    named = set(re.findall(r"\]\[([\w-]+)\]", text))
    assert named <= set(re.findall(r"^\[([\w-]+)\]: ", text, re.MULTILINE))
