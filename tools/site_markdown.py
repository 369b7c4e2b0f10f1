"""What the pages need beyond Markdown: formulas as MathML, which browsers draw without a script, from blocks of ```math
and $`...`$ in a text, as GitHub draws them; and gains with their intervals that stay on one line.
"""

from __future__ import annotations

import re
from typing import Any

from latex2mathml.converter import convert
from markdown import Extension, Markdown
from markdown.inlinepatterns import InlineProcessor
from markdown.postprocessors import Postprocessor


def formula(source: str, *_: Any, **__: Any) -> str:
    """The block of one formula; what superfences calls."""
    return f'<div class="formula">{convert(source, display="block")}</div>'


class _Formula(InlineProcessor):
    def handleMatch(self, m: Any, data: str) -> tuple[str, int, int]:  # type: ignore[override]
        return self.md.htmlStash.store(convert(m[1])), m.start(0), m.end(0)


class _Interval(Postprocessor):
    def run(self, text: str) -> str:
        """ "+5.5 [-2.5, +13.5]" with spaces that do not break."""
        return re.sub(r"(?<=\d) (?=\[[+-]?\d)|(?<=\[)([+-]?[\d.]+), (?=[+-]?[\d.]+\])", _unbroken, text)


def _unbroken(found: re.Match[str]) -> str:
    return f"{found[1]},&nbsp;" if found[1] else "&nbsp;"


class SiteMarkdown(Extension):
    """A Markdown extension."""

    def extendMarkdown(self, md: Markdown) -> None:
        md.inlinePatterns.register(_Formula(r"\$`([^`]+)`\$", md), "formula", 195)  # before code in a text
        md.postprocessors.register(_Interval(md), "interval", 5)


def makeExtension(**settings: Any) -> SiteMarkdown:
    """What Markdown calls where the extension is named by its module."""
    return SiteMarkdown(**settings)
