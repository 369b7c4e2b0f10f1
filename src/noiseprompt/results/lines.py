"""The lines of an evaluation's images, of one process or of several that share its folder.

    results.jsonl, results-2.jsonl, ...      a line an image (`EvalResult`)
    diagnostics.jsonl, diagnostics-2.jsonl   a line a batch and method (`noise/figures.py`)

Readers take the files as one; a batch's lines are in one of them. Who writes which: `results/book.py`.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping

from noiseprompt.core.errors import StoreError
from noiseprompt.core.fetched import AnyFile
from noiseprompt.core.json_lines import damaged, files_of_all, read_lines
from noiseprompt.core.ranges import SUMMABLE
from noiseprompt.core.stores import Folder
from noiseprompt.core.texts import LONGEST
from noiseprompt.core.types import EvalResult

FILE = "results.jsonl"

NEW = "evaluate into a new folder"

Key = tuple[str, int]
"""(prompt id, seed): one image of every method."""


def iter_results(folder: Folder) -> Iterator[EvalResult]:
    """Every image of an evaluation, one at a time; torn last lines, left by killed runs, are dropped.

    Raises:
        StoreError: a damaged line before the last, or one that tells of the same method, prompt and seed as another.
    """
    return (result for _, _, result in iter_numbered(folder))


def iter_numbered(folder: Folder) -> Iterator[tuple[AnyFile, int, EvalResult]]:
    """As `iter_results`, each with its file and the number of its line.

    Raises:
        StoreError: as `iter_results`.
    """
    seen: dict[tuple[str, str, int], tuple[str, int]] = {}
    for file in files_of_all(folder, FILE):
        for number, result in read_lines(file, EvalResult, NEW):
            key = (result.method, result.prompt_id, result.seed)
            if wrong := _wrong(result):
                raise damaged(file, number, wrong, NEW)
            if key in seen:
                other, line = seen[key]
                where = "" if other == file.name else f" of {other}"
                raise damaged(file, number, f"it tells of the same image as line {line}{where}", NEW)
            seen[key] = (file.name, number)
            yield file, number, result


def _wrong(result: EvalResult) -> str:
    """What no image is told with; "" for nothing."""
    spent = (result.denoiser_calls, result.noise_seconds, result.sample_seconds)
    if not all(0 <= number <= SUMMABLE for number in spent):
        return f"calls and seconds of {', '.join(f'{number:g}' for number in spent)}"
    if not all(abs(score) <= SUMMABLE for score in result.scores.values()):
        return "a score beyond 1e30"
    if len(result.text) > LONGEST:
        return f"a text of {len(result.text):,} characters"
    return "" if 0 <= result.seed < 2**63 else f"the seed {result.seed}"


def check_mark(where: str, result: EvalResult, marks: Mapping[str, str]) -> None:
    """Refuse an image that was drawn with other settings than the folder's.

    Args:
        where: for the message, as in "line 3 of results.jsonl".
        marks: label -> mark of the folder's settings; lines of earlier releases have none.

    Raises:
        StoreError: with both.
    """
    own = marks.get(result.method, "")
    if own and result.settings and result.settings != own:
        came = (
            f"{where} was drawn with other settings or weights (mark {result.settings}) than settings.json has ({own})"
        )
        raise StoreError(came, "the files of one evaluation", f"restore them together, or {NEW}")


def read_results(folder: Folder) -> list[EvalResult]:
    """All of `iter_results` at once.

    Raises:
        StoreError: a damaged line before the last.
    """
    return list(iter_results(folder))
