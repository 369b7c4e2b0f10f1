"""`--help` is quick: no command imports what it would compute with."""

from __future__ import annotations

import json
import subprocess
import sys
import typing
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from noiseprompt.cli.annotations import settle
from noiseprompt.cli.entry import records
from noiseprompt.cli.table import COMMANDS

if TYPE_CHECKING:
    from email.message import Message as Machine

ALL = [[n, m] if m else [n] for n, c in COMMANDS.items() for m in (c if isinstance(c, dict) else ("",))]

ASK = """
import contextlib, io, json, sys
from noiseprompt.cli import main
heavy = {"torch", "diffusers", "transformers", "pyarrow", "accelerate", "gradio", "ray", "PIL"}
for words in json.loads(sys.argv[1]):
    with contextlib.redirect_stdout(io.StringIO()) as said, contextlib.suppress(SystemExit):
        main([*words, "--help"])
    assert "usage: noiseprompt" in said.getvalue(), words
    assert not heavy & set(sys.modules), (words, heavy & set(sys.modules))
"""


def test_the_help_of_no_command_imports_heavy_libraries() -> None:
    done = subprocess.run([sys.executable, "-c", ASK, json.dumps([[], *ALL])], capture_output=True, text=True)
    assert done.returncode == 0, done.stderr[-600:]


def some_command(folder: Path, names: Sequence[str] = (), loading: Machine | None = None, n: int | None = 3) -> None:
    """Of a file that has `Machine` for types alone."""


def test_annotations_become_types_and_what_is_not_imported_is_anything() -> None:
    settled = settle(some_command).__annotations__
    expected = {"folder": Path, "names": Sequence[str], "loading": Any | None, "n": int | None, "return": type(None)}
    assert settled == expected and settle(some_command).__annotations__ == expected


def test_records_are_listed_by_the_types_they_are_held_to() -> None:
    for command in (c for c in COMMANDS.values() if not isinstance(c, dict)):
        for record in records(command).values():
            hints = typing.get_type_hints(record)
            assert settle(record).__annotations__ == hints
            assert {n: k for n, k in record.__init__.__annotations__.items() if n != "return"}.items() <= hints.items()
