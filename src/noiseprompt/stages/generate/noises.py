"""Figures of the noise of pictures, a line a unit in noise.jsonl: a run that continues tells of all of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from noiseprompt.core.json_lines import read_lines
from noiseprompt.core.store import Store
from noiseprompt.noise.guard import Guard, NoiseReport
from noiseprompt.stages.generate.folder import Unit

FILE = "noise.jsonl"


@dataclass(frozen=True)
class Line:
    """Fields:
    method: label.
    first: file of the unit's first picture.
    report: of all its noises.
    """

    method: str
    first: str
    report: NoiseReport


def note(out: Store, unit: Unit, report: NoiseReport) -> None:
    """Add the line of a unit; before its pictures, for without them it is drawn again and the last line counts."""
    line = Line(unit.label, unit.files[0], report)
    out.append(FILE, f"{json.dumps(asdict(line), ensure_ascii=False)}\n".encode())


def of_all(out: Store, units: Sequence[Unit]) -> Guard:
    """The figures of those units that have a line.

    Raises:
        StoreError: a damaged line.
    """
    lines = read_lines(out.file(FILE), Line, "delete the file: it tells of noises alone")
    reports = {line.first: line.report for _, line in lines}
    guard = Guard()
    for unit in units:
        if unit.files[0] in reports:
            guard.note(unit.label, reports[unit.files[0]])
    return guard
