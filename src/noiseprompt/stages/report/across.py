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

Run = tuple[str, Store, Summary]
"""Name, folder and figures of an evaluation."""

HEAD = (
    "run",
    "method",
    "metric",
    "n",
    "mean",
    "gain over the first run's standard [95 %]",
    "p (Holm)",
    "won / lost / tied",
)


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
    judged = [run for run in runs if first.main_metric in run[2].metrics]
    scorers = {metric for metric in first.metrics if all(metric in run[2].metrics for run in judged)} - {ACCURACY}
    shared = {_key(r) for r in iter_counted(folder) if r.method == BASELINE}
    labels: dict[str, tuple[int, str]] = {}
    found = summarize(_results(judged, scorers, shared, labels))
    if len({run for run, _ in labels.values()}) < 2:
        return None
    rows = [
        _row(judged[run], method, metric, found.methods[label].metrics[metric])
        for metric in sorted(found.metrics, key=lambda metric: metric != first.main_metric)
        for label, (run, method) in labels.items()
    ]
    judge = words.metric_name(first.main_metric, first)
    note = (
        f"On the prompts and seeds that a run shares with {name}; runs that share none, or were not scored by {judge}, "
        "its main metric, are left out, and so are metrics that one of the others lacks. Gains are paired by prompt "
        "and seed, with a bootstrap over prompts; p by sign flips, corrected (Holm) over this table. The runs may "
        "differ in everything: read their settings."
    )
    return Across(f"Against standard of {name}", rows, note)


def _row(run: Run, method: str, metric: str, row: Row) -> list[str]:
    name, _, summary = run
    method = words.method_names(summary, metric)[method]
    cells = [name, method, words.metric_name(metric, summary), str(row.n), words.number(row.mean)]
    if found := row.against:
        won = f"{found.win.wins} / {found.win.losses} / {found.win.ties}"
        return [*cells, words.interval_text(found.gain, signed=True), words.p_text(found.p_holm), won]
    return [*cells, "", "", ""]


def _results(
    runs: Sequence[Run], scorers: set[str], shared: set[Key], labels: dict[str, tuple[int, str]]
) -> Iterator[EvalResult]:
    """The shared images of every run under labels of their own, which `labels` gets with (run, method)."""
    for number, (_, folder, summary) in enumerate(runs):
        own = {label: _label(number, at, label) for at, label in enumerate(summary.methods)}
        for result in iter_counted(folder):
            if result.method in own and _key(result) in shared and scorers <= {*result.scores}:
                label = own[result.method]
                labels.setdefault(label, (number, result.method))
                yield replace(result, method=label, scores={scorer: result.scores[scorer] for scorer in scorers})


def _label(run: int, method: int, label: str) -> str:
    return BASELINE if run == 0 and label == BASELINE else f"{run}-{method}"


def _key(result: EvalResult) -> Key:
    return result.prompt_id, result.seed
