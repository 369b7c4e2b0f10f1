"""Evaluations side by side: every method of each against the first one's standard, paired by prompt and seed.

Models, samplers and start levels differ between evaluations, never within one; what they are worth is told here.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass, replace

from noiseprompt.core.store import Store
from noiseprompt.core.types import EvalResult
from noiseprompt.results import words
from noiseprompt.results.folder import iter_counted
from noiseprompt.results.lines import Key
from noiseprompt.results.summarize import summarize
from noiseprompt.results.summary import ACCURACY, BASELINE, Row, Summary
from noiseprompt.shapes.world import CHECKER

Run = tuple[str, Store, Summary]
"""Name, folder and figures of an evaluation."""

HEAD = ("run", "method", "n", "mean", "gain over the first run's standard [95 %]", "p (Holm)", "won / lost / tied")


@dataclass(frozen=True)
class Across:
    """A table of several evaluations: its title, cells under `HEAD`, a row a method, and how to read them."""

    title: str
    rows: Sequence[Sequence[str]]
    note: str


def across(runs: Sequence[Run]) -> Across | None:
    """The runs against the first one's standard; None where it has none or shares no image with another.

    Raises:
        StoreError: damaged files.
    """
    name, folder, first = runs[0]
    if first.baseline is None or len(runs) < 2:
        return None
    scorer = CHECKER if first.main_metric == ACCURACY else first.main_metric
    shared = {_key(r) for r in iter_counted(folder) if r.method == BASELINE}
    labels: dict[str, tuple[str, str]] = {}
    found = summarize(_results(runs, scorer, shared, labels))
    if len({run for run, _ in labels.values()}) < 2:
        return None
    title = f"Against standard of {name}: {words.metric_name(first.main_metric, first)}"
    rows = [_row(*names, found.methods[label].metrics[first.main_metric]) for label, names in labels.items()]
    note = (
        f"On the prompts and seeds that a run shares with {name}; runs that share none, or were not scored by its main "
        "metric, are left out. Gains are paired by prompt and seed, with a bootstrap over prompts; p by sign flips, "
        "corrected (Holm) over this table. The runs may differ in everything: read their settings."
    )
    return Across(title, rows, note)


def _row(run: str, method: str, row: Row) -> list[str]:
    cells = [run, method, str(row.n), words.number(row.mean)]
    if found := row.against:
        won = f"{found.win.wins} / {found.win.losses} / {found.win.ties}"
        return [*cells, words.interval_text(found.gain, signed=True), words.p_text(found.p_holm), won]
    return [*cells, "", "", ""]


def _results(
    runs: Sequence[Run], scorer: str, shared: set[Key], labels: dict[str, tuple[str, str]]
) -> Iterator[EvalResult]:
    """The shared images of every run under labels of their own, which `labels` gets with (run, method)."""
    for number, (name, folder, summary) in enumerate(runs):
        names = words.method_names(summary, summary.main_metric)
        own = {label: _label(number, at, label) for at, label in enumerate(names)}
        for result in iter_counted(folder):
            if _key(result) in shared and scorer in result.scores:
                label = own[result.method]
                labels.setdefault(label, (name, names[result.method]))
                yield replace(result, method=label, scores={scorer: result.scores[scorer]})


def _label(run: int, method: int, label: str) -> str:
    return BASELINE if run == 0 and label == BASELINE else f"{run}-{method}"


def _key(result: EvalResult) -> Key:
    return result.prompt_id, result.seed
