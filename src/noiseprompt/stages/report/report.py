"""One self-contained page about one evaluation or several: verdicts, tables, charts, pictures (losses too), noise.

results.json + results.jsonl + diagnostics.jsonl + settings.json + images/ ──> report.html + report.md
"""

from __future__ import annotations

import warnings
from collections import Counter
from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from html import escape
from pathlib import Path
from typing import Any

from noiseprompt.core.arguments import held
from noiseprompt.core.errors import InputError, NoisepromptWarning, StoreError
from noiseprompt.core.places import Address, check_folder, expanded, is_address, place
from noiseprompt.core.ranges import NOT_NEGATIVE, check_value
from noiseprompt.core.store import Store
from noiseprompt.core.stores import store_of
from noiseprompt.core.texts import in_markdown
from noiseprompt.core.types import EvalResult
from noiseprompt.noise import figures as diagnostics
from noiseprompt.results import words
from noiseprompt.results.folder import iter_counted, read_settings
from noiseprompt.results.lines import FILE
from noiseprompt.results.names import display_names
from noiseprompt.results.summary import BASELINE, Summary, read_summary
from noiseprompt.stages.report import charts
from noiseprompt.stages.report.across import HEAD as ACROSS_HEAD
from noiseprompt.stages.report.across import Across, across
from noiseprompt.stages.report.page import page, table
from noiseprompt.stages.report.pictures import Album, galleries


@dataclass(frozen=True)
class _Run:
    """One evaluation: its folder, a short name, settings.json and results.json."""

    folder: Store
    name: str
    settings: dict[str, Any]
    summary: Summary

    @property
    def title(self) -> str:
        config, pipeline = self.settings["settings"]["config"], self.settings["settings"]["pipeline"]
        return f"{pipeline['name']}, {_sampling(config)}"


def _sampling(config: Mapping[str, Any]) -> str:
    """How images were drawn, in words."""
    guidance, steps = config.get("guidance_scale"), config.get("num_inference_steps")
    told = f"guidance {'not recorded' if guidance is None else f'{guidance:g}'}"
    return f"{told}, {'steps not recorded' if steps is None else f'{steps} steps'}"


@held
def report(
    folders: str | Path | Sequence[str | Path], out: str | Path | None = None, *, examples: int = 3,
    random_examples: int = 8,
) -> Path | Address:  # fmt: skip
    """Write report.html and report.md from what evaluations left behind; returns the path of the page.

    Args:
        folders: of one evaluation or several; each may be an address s3://BUCKET/FOLDER, and so may `out`.
        out: where to write; the evaluation's own folder unless given, needed for several.
        examples: largest wins and largest losses shown for each method.
        random_examples: rows of pictures shown whatever their scores.

    Raises:
        InputError: no evaluation there, none summarised yet, one twice, or several and no `out`.
        ConfigError, StoreError: damaged files.
    """
    check_value("examples", int, examples, NOT_NEGATIVE)
    check_value("random_examples", int, random_examples, NOT_NEGATIVE)
    given = [folders] if isinstance(folders, str | Path) else folders
    paths = [place(f if is_address(f) else expanded(f)) for f in given]
    if not paths or (len(paths) > 1 and out is None):
        raise InputError(f"{len(paths)} evaluations and no folder for the report", "a folder", "pass --out FOLDER")
    whole = [path if isinstance(path, Address) else path.resolve() for path in paths]
    if len({*whole}) < len(paths):
        raise InputError(f"an evaluation twice in {', '.join(map(str, paths))}", "each folder once")
    names = display_names([f"run:path={path}" for path in whole], depth=1)
    runs = [
        _Run(store, name.removeprefix("run (").removesuffix(")"), read_settings(store), read_summary(store))
        for store, name in zip(map(store_of, paths), names.values(), strict=True)
    ]
    for run in runs:
        _check_methods(run)
        _check_images(run)
        _check_noise(run)
    target = store_of(out) if out is not None else runs[0].folder
    if out is not None and not is_address(out):
        check_folder(out)
    target.make()
    if str(target) not in map(str, paths):
        _refuse_other(target)
    title = f"Noise prompts on {', '.join(dict.fromkeys(r.settings['settings']['pipeline']['name'] for r in runs))}"
    side = across([(run.name, run.folder, run.summary) for run in runs])
    body = [_overview(runs), _across_section(side)] if len(runs) > 1 else []
    body += [_section(run, i, len(runs) > 1, examples, random_examples) for i, run in enumerate(runs)]
    target.put("report.html", page(title, "\n".join(body)).encode())
    target.put("report.md", _markdown(title, runs, side).encode())
    return place(target.where("report.html"))


_BEGIN = {
    "report.html": '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">',
    "report.md": "# Noise prompts on ",
}
"""How what is written here begins, whatever it is about."""


def _refuse_other(target: Store) -> None:
    """Refuse to write over a page that somebody else made, or over that of another evaluation.

    Raises:
        InputError: with the file.
    """
    if target.file(FILE).is_file():
        came = f"{target} holds another evaluation ({FILE}), with a page of its own"
        raise InputError(came, "a new folder", "choose another --out")
    for name, begin in _BEGIN.items():
        path = target.file(name)
        if not path.is_file():
            continue
        with path.open("rb") as file:
            found = file.read(len(begin))
        if found not in (begin.encode(), b""):
            raise InputError(f"{path} is there and no report", "a new folder", "choose another --out")


def _check_methods(run: _Run) -> None:
    """Refuse figures of another evaluation; tell of methods that have no image yet: the page is without them.

    Raises:
        StoreError: figures of methods that settings.json does not name.
    """
    told = run.settings
    strange = [label for label in run.summary.methods if label not in told["methods"]]
    if strange:
        came = (
            f"{run.folder.where('results.json')} has figures of {strange[0]!r:.80}, which settings.json does not name"
        )
        raise StoreError(came, "the figures of this evaluation", f"run `noiseprompt report {run.folder}`")
    missing = [label for label in told["methods"] if label not in {*run.summary.methods, *told["refused"]}]
    if missing:
        names = ", ".join(f"{label!r:.80}" for label in missing)
        came = f"{run.folder} holds no image of {names}, which its settings.json names: left out"
        warnings.warn(f"{came}. The same evaluate command draws them", NoisepromptWarning, stacklevel=3)


def _told(run: _Run) -> Iterator[EvalResult]:
    """The images of the methods that the figures are of: a run at work may have begun another since."""
    return (result for result in iter_counted(run.folder) if result.method in run.summary.methods)


def _check_images(run: _Run) -> None:
    """Refuse figures of other lines than those that are there; tell of lines that came since, as of a run at work.

    Raises:
        StoreError: figures of more images of a method than there are.
    """
    there = Counter(result.method for result in iter_counted(run.folder))
    for label in there | dict.fromkeys(run.summary.methods, 0):
        method = run.summary.methods.get(label)
        told = method.images if method else 0
        came = f"{run.folder.where('results.json')} has figures of {told} images of {label!r:.80}, and {FILE} tells"
        fix = f"run `noiseprompt report {run.folder}`"
        if told > there[label]:
            raise StoreError(f"{came} of {there[label]}", "figures of the lines that are there", fix)
        if told < there[label]:
            more = f"{came} of {there[label]}: the page is without those that came since"
            warnings.warn(f"{more}. Later {fix} again", NoisepromptWarning, stacklevel=3)


def _check_noise(run: _Run) -> None:
    """Refuse noise figures of another evaluation; tell of methods without any.

    Raises:
        StoreError: figures of a method that settings.json does not name.
    """
    figures, name = diagnostics.read(run.folder), run.folder.where(diagnostics.FILE)
    strange = [label for label in figures if label not in {*run.settings["methods"], *run.settings["refused"]}]
    if strange:
        came = f"{name} tells of the method {strange[0]!r:.80}, which settings.json does not name"
        raise StoreError(came, "the lines of this evaluation alone", "delete those lines")
    missing = [label for label in run.summary.methods if label not in figures]
    if missing:
        names = ", ".join(f"{label!r:.80}" for label in missing)
        warnings.warn(f"{name} tells nothing of {names}: the page is without", NoisepromptWarning, stacklevel=3)
    for label, method in run.summary.methods.items():
        told = figures[label]["images"] if label in figures else method.images
        if told != method.images:
            came = f"{name} tells of the noise of {told} images by {label!r:.80}, and {method.images} were drawn"
            warnings.warn(f"{came}: the page tells of those", NoisepromptWarning, stacklevel=3)


def _markdown(title: str, runs: Sequence[_Run], side: Across | None) -> str:
    parts = [f"# {in_markdown(title)}"]
    if side is not None:
        parts += [f"## {in_markdown(side.title)}", words.text_table(ACROSS_HEAD, side.rows), in_markdown(side.note)]
    for run in runs:
        parts += [f"## {in_markdown(f'{run.name}: {run.title}')}", words.markdown(run.summary).rstrip()]
        rows = "\n".join(f"- {in_markdown(f'{name}: {value}')}" for name, value in _flat_settings(run.settings))
        parts += [f"### Settings and versions\n\n{rows}"]
    return "\n\n".join(parts) + "\n"


def _overview(runs: Sequence[_Run]) -> str:
    """Every method of every run in one table, and where each run is further down."""
    rows = []
    for run in runs:
        names, main = words.method_names(run.summary), run.summary.main_metric
        for label, method in run.summary.methods.items():
            row = method.metrics[main]
            found = row.against
            gain = [words.interval_text(found.gain, True), words.p_text(found.p_holm)] if found else []
            metric = words.metric_name(main, run.summary)
            rows.append([run.name, names[label], metric, str(row.n), words.number(row.mean), *gain])
    rows = [row + [""] * (7 - len(row)) for row in rows]
    links = "".join(
        f'<li><a href="#run{i}">{escape(run.name)}</a>: {escape(run.title)}</li>' for i, run in enumerate(runs)
    )
    head = ("run", "method", "metric", "n", "mean", "gain over standard [95 %]", "p (Holm)")
    return f"<h2>Runs</h2><ul>{links}</ul>{table(head, rows)}"


def _across_section(side: Across | None) -> str:
    """The runs against the first one's standard; nothing where they share no image."""
    if side is None:
        return ""
    return f'<h3>{escape(side.title)}</h3>{table(ACROSS_HEAD, side.rows)}<p class="note">{escape(side.note)}</p>'


def _section(run: _Run, index: int, several: bool, examples: int, random_examples: int) -> str:
    summary = run.summary
    album = Album.open(run.folder, _told(run), summary)
    facts = (
        f"{summary.prompts} prompts, {summary.images} images, {_sampling(run.settings['settings']['config'])}. "
        f"Judge: {words.metric_name(summary.main_metric, summary)}. "
        f"{words.power_sentence(summary)}"
    )
    items = "".join(f"<li>{escape(line)}</li>" for line in words.headline(summary))
    parts = [f'<h2 id="run{index}">{escape(run.name)}</h2>'] if several else []
    parts += [f"<p>{escape(facts)}</p><ul>{items}</ul>", "<h3>Figures</h3>"]
    for metric in summary.metrics:
        name = escape(words.metric_name(metric, summary))
        parts.append(f"<h4>{name}</h4>{table(words.HEAD, words.metric_rows(metric, summary))}")
    parts.append(f'<p class="note">{escape(words.reading(summary))}</p>')
    parts.append(_price_section(summary))
    if summary.kinds:
        name = escape(words.metric_name(summary.main_metric, summary))
        parts.append(f"<h4>By category of prompt: {name}</h4>")
        parts.append(table(words.kind_head(summary), words.kind_rows(summary)))
        parts.append(f'<p class="note">{escape(words.KIND_NOTE)}</p>')
    if summary.sets:
        parts.append(f"<h4>Distance and diversity</h4>{table(words.SETS_HEAD, words.sets_rows(summary))}")
        parts.append(f'<p class="note">{escape(words.sets_reading(summary.sets))}</p>')
    parts.append(f'<h3>Charts</h3><div class="charts">{"".join(charts.charts(summary))}</div>')
    parts.append(_score_section(run))
    parts.append(f"<h3>Pictures</h3>{galleries(album, summary, examples, random_examples)}")
    parts += [_noise_section(run), _settings_section(run)]
    return "\n".join(parts)


def _price_section(summary: Summary) -> str:
    """The chart of quality against denoiser calls, and the same as a table; nothing for one method alone."""
    if len(summary.methods) < 2:
        return ""
    rows = table(words.PRICE_HEAD, words.price_rows(summary))
    chart = charts.cost(summary, "denoiser_calls")
    note = f"{words.PRICE_NOTE} The dashed line of the chart joins the methods whose last column is empty."
    title = escape(words.price_title(summary))
    return f'<h4>{title}</h4><div class="charts">{chart}</div>{rows}<p class="note">{escape(note)}</p>'


def _score_section(run: _Run) -> str:
    metric = charts.scatter_metric(run.summary)
    scores: dict[str, dict[Any, float]] = {}
    for r in _told(run):
        scores.setdefault(r.method, {})[r.prompt_id, r.seed] = r.scores[metric]
    drawn = charts.score_charts(run.summary, scores)
    if not drawn:
        return ""
    note = "A dot is a prompt and seed; above the line the method scored higher than standard."
    return f'<h3>Scores one by one</h3><p class="note">{note}</p><div class="charts">{"".join(drawn)}</div>'


def _noise_section(run: _Run) -> str:
    """What the methods did to the noise; nothing for a run that recorded none."""
    figures, names = diagnostics.read(run.folder), words.method_names(run.summary)
    if not figures:
        return ""
    head = ("method", "images", "perturbation norm [5 %, 95 %]", "standard deviation", "neighbour correlation")
    rows = []
    for label in (label for label in names if label in figures):
        f = figures[label]
        moved = "{:.4f} [{:.4f}, {:.4f}]".format(*f["perturbation"])
        rows.append([names[label], str(f["images"]), moved, f"{f['std']:.4f}", f"{f['neighbour']:+.4f}"])
    note = (
        "Perturbation norm: norm of the change over the norm of the source noise, mean of the images. White noise has "
        "a standard deviation of 1, no correlation between neighbours and power 1 at every frequency; what differs is "
        "structure the method wrote into the noise."
    )
    chart = charts.spectrum(run.summary, figures)
    return f'<h3>Noise</h3>{table(head, rows)}<p class="note">{note}</p><div class="charts">{chart}</div>'


def _settings_section(run: _Run) -> str:
    names = display_names(list(run.summary.methods))
    rows = [(f"method {name}", label) for label, name in names.items() if name != label and label != BASELINE]
    rows += _flat_settings(run.settings)
    body = "".join(f'<tr><td>{escape(name)}</td><td class="free">{escape(value)}</td></tr>' for name, value in rows)
    return f'<h3>Settings and versions</h3><div class="wide"><table><tbody>{body}</tbody></table></div>'


def _flat_settings(settings: Mapping[str, Any]) -> list[tuple[str, str]]:
    rows = [("fingerprint", str(settings["fingerprint"]))]
    for group in ("settings", "judging", "methods", "environment"):
        rows += _flat(group, settings[group])
    return rows


def _flat(name: str, value: Any) -> list[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        return [pair for key, inner in value.items() for pair in _flat(f"{name} / {key}", inner)]
    if isinstance(value, list) and value:
        return [(name, ", ".join(map(str, value)))]
    return [(name, "" if value in ({}, []) else "default" if value is None else str(value))]
