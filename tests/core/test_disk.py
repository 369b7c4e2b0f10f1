"""Nothing changes the disk but through `core/disk.py`, so that tests of faults meet every change."""

from __future__ import annotations

import ast
from pathlib import Path

import pytest

from noiseprompt.core import disk
from tests.faulty_disk import CHANGES

SRC = Path(disk.__file__).parents[1]
WRITERS = {
    *("write_text", "write_bytes", "mkdir", "touch", "unlink", "rmdir", "symlink_to", "hardlink_to", "truncate"),
    *("fsync", "makedirs", "rmtree", "copytree", "copyfile", "tofile", "save_file", "write_csv", "to_csv"),
}
"""Functions and methods that change the disk, whatever they belong to."""
APART = {
    "core/disk.py": "here they belong",
    "cli/net.py": "the file about an unforeseen error, which may be one of the disk",
}


def written(path: Path) -> list[str]:
    """The lines of a file that change the disk by themselves."""
    found = []
    for node in ast.walk(ast.parse(path.read_text())):
        if not isinstance(node, ast.Call):
            continue
        name = node.func.attr if isinstance(node.func, ast.Attribute) else getattr(node.func, "id", "")
        texts = [a.value for a in node.args if isinstance(a, ast.Constant) and isinstance(a.value, str)]
        opens = name == "open" and any(set(text) <= set("rwaxbt+") and set(text) & set("wax+") for text in texts)
        if name in WRITERS or (opens and "devnull" not in ast.unparse(node)):
            found.append(f"line {node.lineno}: {ast.unparse(node)[:60]}")
    return found


@pytest.mark.parametrize("path", sorted(SRC.rglob("*.py")), ids=lambda path: path.relative_to(SRC).as_posix())
def test_no_file_writes_by_itself(path: Path) -> None:
    found = written(path)
    assert bool(found) == (path.relative_to(SRC).as_posix() in APART), found


def test_every_change_can_be_made_to_fail() -> None:
    functions = [node.name for node in ast.parse(Path(disk.__file__).read_text()).body if hasattr(node, "args")]
    assert sorted(functions) == sorted(CHANGES)
