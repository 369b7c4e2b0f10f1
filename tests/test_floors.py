"""The floors of the house: imports go down only, stages do not know each other, heavy packages stay in their rooms."""

from __future__ import annotations

import ast
import subprocess
import sys
from pathlib import Path

import pytest

SRC = Path(__file__).parents[1] / "src" / "noiseprompt"

FLOORS = [
    {"errors", "types", "registry", "config", "noise", "schedules", "files"},
    {"redenoise", "npnet", "statistics", "guard"},
    {
        "families",
        "drivers",
        "calls",
        "pipelines",
        "scorers",
        "prompts",
        "prompt_files",
        "prompt_sets",
        "text",
        "store",
        "npd_format",
        "npd_writer",
        "npd_tools",
        "shapes",
    },
    {"methods"},
    {
        "pairs",
        "winning",
        "results",
        "labels",
        "summary",
        "summarize",
        "wording",
        "diagnostics",
        "set_metrics",
        "evaluation_plan",
        "report_html",
        "report_page",
        "report_charts",
        "report_pictures",
        "train_data",
        "train_settings",
    },
    {"collect", "train", "generate", "evaluate", "report"},
    {
        "commands",
        "progress",
        "tool_commands",
        "score_command",
        "demo",
        "options_reading",
        "recipe",
        "recipes",
        "cli",
        "__main__",
        "engines",
    },
]
FLOOR = {room: level for level, rooms in enumerate(FLOORS) for room in rooms}
STAGES = FLOORS[5]


def imports(path: Path) -> set[str]:
    """Rooms of this package that a file imports, anywhere in it but under TYPE_CHECKING."""
    tree = ast.parse(path.read_text())
    skipped = {
        id(inner)
        for node in ast.walk(tree)
        if isinstance(node, ast.If) and "TYPE_CHECKING" in ast.unparse(node.test)
        for inner in ast.walk(node)
    }
    found: set[str] = set()
    for node in ast.walk(tree):
        if id(node) in skipped:
            continue
        if isinstance(node, ast.ImportFrom) and node.module and node.module.split(".")[0] == "noiseprompt":
            parts = node.module.split(".")
            found |= {parts[1]} if len(parts) > 1 else {alias.name for alias in node.names}
        if isinstance(node, ast.Import):
            found |= {a.name.split(".")[1] for a in node.names if a.name.startswith("noiseprompt.")}
    return found & set(FLOOR)


def room_of(path: Path) -> str:
    return path.relative_to(SRC).parts[0].removesuffix(".py")


FILES = sorted(p for p in SRC.rglob("*.py") if room_of(p) != "__init__")


@pytest.mark.parametrize("path", FILES, ids=lambda p: str(p.relative_to(SRC)))
def test_imports_go_down_only(path: Path) -> None:
    room = room_of(path)
    assert room in FLOOR, f"{room} stands on no floor: name it in this test and in the README"
    above = {other for other in imports(path) if FLOOR[other] > FLOOR[room]}
    assert not above
    if room in STAGES:
        assert not (imports(path) & STAGES - {room}), "stages meet in the types and on disk only"


def test_files_stay_small() -> None:
    long = {str(p.relative_to(SRC)): n for p in FILES if (n := len(p.read_text().splitlines())) > 350}
    assert not long


def test_importing_the_package_is_light() -> None:
    code = (
        "import sys, noiseprompt; "
        "heavy = {'torch', 'diffusers', 'transformers', 'gradio', 'ray', 'matplotlib', 'pyarrow'} & set(sys.modules); "
        "assert not heavy, heavy; noiseprompt.Prompt('a'); assert 'diffusers' not in sys.modules"
    )
    subprocess.run([sys.executable, "-c", code], check=True)


def test_no_pickle_and_no_eval() -> None:
    for path in FILES:
        for node in ast.walk(ast.parse(path.read_text())):
            if isinstance(node, ast.Call):
                called = ast.unparse(node.func)
                assert called not in ("eval", "exec", "pickle.load", "pickle.loads"), path
                if called == "torch.load":
                    assert any(k.arg == "weights_only" and ast.unparse(k.value) == "True" for k in node.keywords), path
                    where = [ast.unparse(k.value) for k in node.keywords if k.arg == "map_location"]
                    assert where == ["'cpu'"], f"{path}: a file written on another device must load"
                assert not any(k.arg == "trust_remote_code" for k in node.keywords), path
