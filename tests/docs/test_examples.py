"""The Python of the pages: blocks after `<!-- run -->` are run, in order; the others compile and name what exists."""

from __future__ import annotations

import ast
import importlib
import inspect
import math
import re
from pathlib import Path
from typing import Any

import pytest

from tests.docs.pages import NAMES, TEXTS, fences

WITH_CODE = [name for name in NAMES if fences(TEXTS[name], "python")]
RUN = [name for name in WITH_CODE if any(run for run, _ in fences(TEXTS[name], "python"))]


def resolve(path: str) -> Any:
    """The object behind "noiseprompt.a.b".

    Raises:
        ImportError, AttributeError: there is none.
    """
    found = importlib.import_module(path.split(".")[0])
    for i, part in enumerate(path.split(".")[1:], 2):
        try:
            found = getattr(found, part)
        except AttributeError:
            if not inspect.ismodule(found):
                raise
            found = importlib.import_module(".".join(path.split(".")[:i]))
    return found


def check_names(source: str) -> None:
    """Hold what a block imports, reads and calls of this package to the package itself.

    Raises:
        SyntaxError, ImportError, AttributeError, TypeError: it does not fit.
    """
    tree, known = ast.parse(source), {"noiseprompt": "noiseprompt"}
    for node in ast.walk(tree):
        if isinstance(node, ast.ImportFrom) and (node.module or "").startswith("noiseprompt"):
            known |= {alias.asname or alias.name: f"{node.module}.{alias.name}" for alias in node.names}
    for path in known.values():
        resolve(path)
    for node in ast.walk(tree):
        text = ast.unparse(node) if isinstance(node, ast.Attribute) else ""
        if re.fullmatch(r"[\w.]+", text) and text.split(".")[0] in known:
            resolve(known[text.split(".")[0]] + text[len(text.split(".")[0]) :])
        if isinstance(node, ast.Call) and re.fullmatch(r"[\w.]+", called := ast.unparse(node.func)):
            first, dot, rest = called.partition(".")
            if first in known:
                named = {keyword.arg: None for keyword in node.keywords if keyword.arg}
                inspect.signature(resolve(known[first] + dot + rest)).bind_partial(*node.args, **named)


@pytest.mark.parametrize("name", WITH_CODE)
def test_python_names_what_exists(name: str) -> None:
    for _, block in fences(TEXTS[name], "python"):
        check_names(block)


@pytest.mark.parametrize(
    "source",
    [
        "noiseprompt.winning_nose(1)",
        "from noiseprompt.npd import Npdd",
        "noiseprompt.winning_noise(pipe, net, 'a', strengh=1)",
        "from noiseprompt import NPNet as N\nN.from_pretraned('x')",
    ],
)
def test_a_wrong_name_would_be_found(source: str) -> None:
    with pytest.raises((ImportError, AttributeError, TypeError)):
        check_names(source)


@pytest.mark.parametrize("name", RUN)
def test_python_runs(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(tmp_path)
    space: dict[str, Any] = {"__name__": "page"}
    for run, block in fences(TEXTS[name], "python"):
        if run:
            exec(compile(block, name, "exec"), space)
    if name == "docs/quickstart.md":  # the picture of re-denoised noise is one of the world's: some colours, no grey
        assert (tmp_path / "better.png").stat().st_size > 200 and space["image"].size == (64, 64)
        assert math.isclose(float(space["latents"].std()), 1, abs_tol=0.1)
    if name == "docs/formats.md":
        assert len(space["data"]) == 2 and (tmp_path / "npd" / "shard-000000.arrow").is_file()
