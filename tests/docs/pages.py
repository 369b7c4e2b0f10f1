"""What the pages hold: their blocks of Python, and every line that begins with `noiseprompt`."""

from __future__ import annotations

import re
import shlex
from pathlib import Path

ROOT = Path(__file__).parents[2]
PAGES = sorted([*(ROOT / "docs").glob("*.md"), ROOT / "README.md", ROOT / "CONTRIBUTING.md"])
NAMES = [str(path.relative_to(ROOT)) for path in PAGES]
TEXTS = dict(zip(NAMES, (path.read_text(encoding="utf-8") for path in PAGES), strict=True))

_FENCE = re.compile(r"^(<!-- run -->\n)?```(\w*)\n(.*?)^```$", re.DOTALL | re.MULTILINE)

_LINE = re.compile(r"^ {4,}(?:\w+ .*-m )?(noiseprompt [a-z].*)$", re.MULTILINE)


def fences(text: str, language: str) -> list[tuple[bool, str]]:
    """Each block of a language, and whether the comment before it says that it is run."""
    return [(bool(run), body) for run, name, body in _FENCE.findall(text) if name == language]


def commands(text: str) -> list[tuple[bool, list[str]]]:
    """Each `noiseprompt ...` as its words: of a line of code, whole, and of code in a sentence, where much is left out.

    A backslash continues a line; "..." in place of the rest is dropped.
    """
    fenced = "\n".join("    " + line for *_, body in _FENCE.findall(text) for line in body.splitlines())
    joined = f"{_FENCE.sub('', text)}\n{fenced}".replace("\\\n", " ")
    lines = [(True, one) for one in _LINE.findall(joined)]
    lines += [(False, one) for one in re.findall(r"`(noiseprompt [^`\n]+)`", joined) if "|" not in one]
    found = [(whole, shlex.split(line, comments=True)[1:]) for whole, line in dict.fromkeys(lines)]
    return [(whole and words[-1] != "...", words[:-1] if words[-1] == "..." else words) for whole, words in found]
