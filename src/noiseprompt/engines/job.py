"""What every engine has to do: hand a job to workers, and add up what they report."""

from __future__ import annotations

import importlib
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any

from noiseprompt.core.errors import InputError
from noiseprompt.core.machine import host

Report = dict[str, Any]
"""Of a worker, as plain data: done, total, made, unsaved (as of `CollectProgress`), and notes to show beside them."""


@dataclass(frozen=True)
class Job:
    """Work for any number of workers, which share it through a folder.

    Fields:
        target: "module:function" of (options, should_stop) that yields reports and ends when nothing is left to do.
        options: plain data.
        folder: that all workers write to.
        mark: name of a file in it by which a worker sees that it is the same folder; "" where that is certain.
    """

    target: str
    options: dict[str, Any]
    folder: str
    mark: str = ""

    def work(self, should_stop: Callable[[], bool]) -> Iterator[Report]:
        """What a worker does.

        Raises:
            InputError: another folder than the one meant.
            NoisepromptError: as the target.
        """
        if self.mark and not Path(self.folder, self.mark).exists():
            came = f"{self.folder} on {host()} is another folder than where the command was given"
            raise InputError(came, "one that all workers see", "use a shared file system for --out")
        module, _, name = self.target.partition(":")
        yield from getattr(importlib.import_module(module), name)(self.options, should_stop)


@dataclass
class Total:
    """Reports of several workers, added up.

    Fields:
        latest: worker -> its latest report.
    """

    latest: dict[int, Report] = field(default_factory=dict)
    _begun: int | None = None
    _lost: int = 0

    def note(self, worker: int, report: Report) -> Report:
        """A report of one; that of all together. What one has not committed counts, and is lost with it."""
        first = report["done"] - report["made"]
        self._begun = first if self._begun is None else min(self._begun, first)
        self.latest[worker] = report
        return self.report()

    def lose(self, worker: int) -> None:
        """A worker died: what it did not commit is made again."""
        last = self.latest.get(worker)
        if last:
            self._lost += last["unsaved"]

    def report(self) -> Report:
        """Of all together."""
        newest = max(self.latest.values(), key=lambda report: report["done"])
        made = sum(report["made"] for report in self.latest.values()) - self._lost
        done = max(min((self._begun or 0) + made, newest["total"]), 0)
        unsaved = sum(report["unsaved"] for report in self.latest.values())
        return {**newest, "done": done, "made": made, "unsaved": unsaved}
