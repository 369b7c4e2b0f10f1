"""Figures of the noise of pictures, a line a unit in noise.jsonl: a run that continues tells of all of them."""

from __future__ import annotations

import json
from collections.abc import Sequence
from dataclasses import asdict, dataclass

from noiseprompt.core.json_lines import damaged, read_lines
from noiseprompt.core.ranges import SUMMABLE
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
    path, fix = out.file(FILE), "delete the file: it tells of noises alone"
    reports: dict[str, NoiseReport] = {}
    for number, line in read_lines(path, Line, fix):
        before = next(iter(reports.values()), line.report)
        if not _sound(line.report) or len(line.report.mean) != len(before.mean):
            raise damaged(path, number, "its figures are of no noise, or of another model's", fix)
        reports[line.first] = line.report
    guard = Guard()
    for unit in units:
        if unit.files[0] in reports:
            guard.note(unit.label, reports[unit.files[0]])
    return guard


def _sound(report: NoiseReport) -> bool:
    """Whether figures are those of some images, and none of a size that sums have no room for."""
    figures = (*report.mean, *report.std, report.horizontal, report.vertical, report.perturbation or 0.0)
    of_channels = len(report.mean) == len(report.std) > 0
    return report.images > 0 and of_channels and all(abs(figure) <= SUMMABLE for figure in figures)
