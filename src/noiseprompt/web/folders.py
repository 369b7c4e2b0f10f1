"""Evaluations that the page may open: those below one folder, by names that it lists itself, never by a path."""

from __future__ import annotations

import os
import tempfile
from pathlib import Path

from noiseprompt.core.errors import InputError
from noiseprompt.core.ranges import shown
from noiseprompt.stages.report.report import report

DEPTH = 4
"""Folders below the root that are searched."""

MOST = 500
"""Evaluations that are listed."""


class Reports:
    """The evaluations below a folder.

    Args:
        root: the folder; None for none.

    Raises:
        InputError: no folder.
    """

    def __init__(self, root: Path | None) -> None:
        if root is not None and not Path(root).is_dir():
            raise InputError(f"--reports {root} is no folder", "a folder with evaluations in it")
        self.root = None if root is None else Path(os.path.realpath(root))

    def names(self) -> list[str]:
        """Paths below the root of every folder with results.json and settings.json, "." for the root; links are not
        followed."""
        found: list[str] = []
        if self.root is None:
            return found
        for folder, inner, files in os.walk(self.root):
            below = Path(folder).relative_to(self.root)
            inner[:] = [] if len(below.parts) >= DEPTH else sorted(n for n in inner if not n.startswith("."))
            if {"results.json", "settings.json"} <= set(files):
                found.append(below.as_posix())
            if len(found) >= MOST:
                break
        return found

    def page(self, name: str) -> str:
        """The HTML of an evaluation's report, made afresh from its figures; nothing is written there.

        Raises:
            InputError: a name that `names` does not list.
            StoreError, ConfigError: damaged files.
        """
        if self.root is None or name not in self.names():
            raise InputError(f"no evaluation {shown(name)} here", "one of those listed")
        with tempfile.TemporaryDirectory(prefix="noiseprompt-") as folder:
            report(self.root / name, folder)
            return Path(folder, "report.html").read_text(encoding="utf-8")
