"""Each message that docs/troubleshooting.md explains is still one that the package says, and each has a remedy."""

from __future__ import annotations

import ast
import re
from pathlib import Path

import pytest

import noiseprompt
from tests.docs.pages import TEXTS

PAGE = TEXTS["docs/troubleshooting.md"]
ENTRIES = re.findall(r"^- (\*\*`.*?)(?=^- |^#|\Z)", PAGE, re.DOTALL | re.MULTILINE)
MESSAGES = re.findall(r"\*\*`(.+?)`\*\*", PAGE)
SRC = Path(noiseprompt.__file__).parent


def said() -> str:
    """Every text in the package, one after the other; docstrings are none."""
    texts = []
    for path in SRC.rglob("*.py"):
        tree = ast.parse(path.read_text(encoding="utf-8"))
        docs = {id(node.value) for node in ast.walk(tree) if isinstance(node, ast.Expr)}
        nodes = (node for node in ast.walk(tree) if isinstance(node, ast.Constant) and id(node) not in docs)
        texts += [node.value for node in nodes if isinstance(node.value, str)]
    return "\0".join(texts)


SAID = said()


def test_the_page_has_its_messages() -> None:
    assert len(MESSAGES) > 60 and len(set(MESSAGES)) == len(MESSAGES)


@pytest.mark.parametrize("message", MESSAGES)
def test_the_package_says_it(message: str) -> None:
    pieces = [piece.strip() for piece in message.split("…") if piece.strip()]
    assert pieces and all(len(piece) >= 5 for piece in pieces)
    assert not [piece for piece in pieces if piece not in SAID]


@pytest.mark.parametrize("entry", ENTRIES, ids=lambda entry: entry[4:40])
def test_each_has_a_remedy(entry: str) -> None:
    assert "*Do:*" in entry or "nothing is lost" in entry
