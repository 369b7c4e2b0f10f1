"""The figures of an evaluation in words: numbers, verdicts that claim no more than the statistics, Markdown."""

from __future__ import annotations

from collections.abc import Sequence

from noiseprompt.core.tables import table
from noiseprompt.core.texts import in_markdown, visible
from noiseprompt.results.names import CONTROLS, control_of, display_names
from noiseprompt.results.prices import better_for_less, by_price
from noiseprompt.results.summary import (
    ACCURACY,
    BASELINE,
    Comparison,
    Diversity,
    Estimate,
    MethodSummary,
    Reference,
    Row,
    Summary,
    Wins,
)
from noiseprompt.shapes.world import CHECKER

LEVEL = 0.05
STEERED = " (steered by it)"
KIND_NOTE = "Mean; gain over standard [95 %]. The intervals of the categories are not corrected for their number."


def number(value: float | None, signed: bool = False) -> str:
    """Three decimals, or a dash for None."""
    return "–" if value is None else f"{value:+.3f}" if signed else f"{value:.3f}"


def interval_text(interval: Estimate | Diversity, signed: bool = False) -> str:
    """ "mean [low, high]"."""
    return f"{number(interval.mean, signed)} [{number(interval.low, signed)}, {number(interval.high, signed)}]"


def rate_text(win: Wins) -> str:
    """ "rate [low, high]"."""
    return f"{number(win.rate)} [{number(win.low)}, {number(win.high)}]"


def p_text(p: float | None) -> str:
    """A p with two digits, or "< .001"; a dash for None."""
    return "–" if p is None else "< .001" if p < 0.001 else f"{p:.2g}"


def metric_name(metric: str, summary: Summary) -> str:
    """The metric, marked if it filtered the training data."""
    scorer = CHECKER if metric == ACCURACY else metric
    return f"{metric} (filter)" if scorer in summary.filter_scorers else metric


def method_names(summary: Summary, metric: str = "") -> dict[str, str]:
    """Label -> its short name, controls marked, and methods that were steered by the scorer of `metric`."""
    names = display_names(list(summary.methods))
    scorer = CHECKER if metric == ACCURACY else metric
    marks = {
        label: " (control)" * bool(control_of(label)) + STEERED * bool(scorer and method.scorer == scorer)
        for label, method in summary.methods.items()
    }
    return {label: name + marks[label] for label, name in names.items()}


def shown(found: Comparison) -> bool:
    """Whether a difference stands: the interval leaves out 0, and so does the corrected test."""
    low, high, p = found.gain.low, found.gain.high, found.p_holm
    return low is not None and high is not None and p is not None and p < LEVEL and not low <= 0 <= high


def verdict(name: str, row: Row) -> str:
    """One sentence that says no more than the interval and the corrected p do; "" where there is nothing to compare."""
    found = row.against
    if found is None:
        return ""
    figures = f"{interval_text(found.gain, signed=True)}, p {p_text(found.p_holm)}"
    if found.win.wins == found.win.losses == 0:
        return f"{name}: the same score as standard in every image."
    if shown(found):
        return f"{name}: {'better' if found.gain.mean > 0 else 'worse'} than standard ({figures})."
    power = "" if found.detectable is None else f"; {found.gain.n} prompts would show {number(found.detectable)}"
    return f"{name}: no difference from standard shown ({figures}{power})."


def diversity_verdict(name: str, method: MethodSummary, main: Row) -> str:
    """A sentence where the images of one prompt became more alike; "" elsewhere."""
    found = method.diversity and method.diversity.against
    if found is None or found.gain.mean >= 0 or not shown(found):
        return ""
    share = found.gain.mean / found.baseline_mean if found.baseline_mean else 0.0
    figures = f"diversity {interval_text(found.gain, signed=True)}, {share:+.1%}, p {p_text(found.p_holm)}"
    bought = main.against is not None and shown(main.against) and main.against.gain.mean > 0
    words = "its gain is bought with diversity" if bought else "its images of one prompt are more alike"
    return f"{name}: {words} than standard's ({figures})." if not bought else f"{name}: {words} ({figures})."


def headline(summary: Summary) -> list[str]:
    """The verdict on each method by the main metric, then what diversity it cost, then who was left out."""
    main = summary.main_metric
    names = method_names(summary, main)
    others = {label: method for label, method in summary.methods.items() if label != BASELINE}
    lines = [verdict(names[label], method.metrics[main]) for label, method in others.items()]
    lines += [diversity_verdict(names[label], m, m.metrics[main]) for label, m in others.items()]
    lines += [f"{label}: left out. {reason}" for label, reason in summary.refused.items()]
    return [line for line in lines if line]


def power_sentence(summary: Summary) -> str:
    """Which effect this n could have seen, over the methods that are no controls."""
    main = summary.main_metric
    effects = [
        found.detectable
        for label, method in summary.methods.items()
        if not control_of(label) and (found := method.metrics[main].against) and found.detectable
    ]
    if not effects:
        return ""
    sizes = (
        number(min(effects)) if min(effects) == max(effects) else f"{number(min(effects))} to {number(max(effects))}"
    )
    return f"With {summary.prompts} prompts, differences in {main} of {sizes} or more are seen with power .8."


def reading(summary: Summary) -> str:
    """How the tables are to be read."""
    text = (
        "n counts prompts; seeds of a prompt are averaged first. Gains are paired by prompt and seed, with a bootstrap "
        "over prompts; p by sign flips, corrected (Holm) over methods and metrics. Won, lost and tied count images, "
        "a tie is half a win, and the interval of the win rate takes prompts as trials. "
        "Denoiser calls and seconds are per image, a guided step counts two calls."
    )
    if any(metric_name(m, summary) != m for m in summary.metrics):
        text += " (filter) marks a scorer that chose the training pairs: it is no independent judge."
    if any(STEERED in name for m in summary.metrics for name in method_names(summary, m).values()):
        text += f"{STEERED} marks a method that chose or made its noise by this scorer: there its gain is no evidence."
    flags = sorted({control_of(label) for label in summary.methods} - {""})
    text += "".join(f" (control) {flag}: {CONTROLS[flag]}." for flag in flags)
    if ACCURACY in summary.metrics:
        text += " Accuracy is the share of images that show exactly what the prompt asks."
    return text


def sets_reading(sets: Reference) -> str:
    """What the set metrics are."""
    text = f"Features: {sets.features}. "
    if sets.reference:
        text += (
            f"Frechet distance (lower is better), precision and recall against {sets.reference_images} pictures: "
            f"{sets.reference}. The distance falls with the number of images; compare only at the same number. "
        )
    return text + (
        "Diversity is the mean distance between the images of one prompt from different seeds, n counts prompts; "
        "preference bought with diversity shows as a negative gain."
    )


HEAD = ("method", "n", "mean", "gain over standard [95 %]", "p (Holm)", "won / lost / tied", "win rate [95 %]")
HEAD += ("denoiser calls", "seconds")
PRICE_HEAD = ("method", "denoiser calls", "mean", "gain over standard [95 %]", "better for no more calls")
PRICE_NOTE = (
    "Denoiser calls of an image, all of them: for its noise, for drawings that were thrown away, for itself. The last "
    "column names the best method of those that cost no more, by the mean alone; where it is empty none is better."
)
SETS_HEAD = ("method", "images", "Frechet distance", "precision", "recall", "n", "diversity [95 %]")
SETS_HEAD += ("gain in diversity [95 %]", "p (Holm)")


def metric_rows(metric: str, summary: Summary) -> list[list[str]]:
    """Cells under `HEAD`, a row a method."""
    names, rows = method_names(summary, metric), []
    for label, method in summary.methods.items():
        row = method.metrics[metric]
        compared = [""] * 4
        if found := row.against:
            counts = f"{found.win.wins} / {found.win.losses} / {found.win.ties}"
            gain = interval_text(found.gain, signed=True)
            compared = [gain, p_text(found.p_holm), counts, rate_text(found.win)]
        cost = [f"{method.denoiser_calls:.4g}", f"{method.seconds:.3g}"]
        rows.append([names[label], str(row.n), number(row.mean), *compared, *cost])
    return rows


def price_rows(summary: Summary) -> list[list[str]]:
    """Cells under `PRICE_HEAD`, a row a method, the cheapest first: the main metric against denoiser calls."""
    main, rows, better = summary.main_metric, [], better_for_less(summary)
    names = method_names(summary, main)
    for label in by_price(summary):
        method = summary.methods[label]
        row = method.metrics[main]
        gain = interval_text(row.against.gain, signed=True) if row.against else ""
        cells = [names[label], f"{method.denoiser_calls:.4g}", number(row.mean), gain]
        rows.append([*cells, names[better[label]] if better[label] else ""])
    return rows


def price_title(summary: Summary) -> str:
    """Above `price_rows` and their chart."""
    return f"Quality against denoiser calls: {metric_name(summary.main_metric, summary)}"


def kind_head(summary: Summary) -> list[str]:
    """Titles above `kind_rows`: the categories of prompts, with n."""
    main, sizes = summary.main_metric, dict.fromkeys(summary.kinds, 0)
    for method in summary.methods.values():
        for kind, row in (method.metrics[main].kinds or {}).items():
            sizes[kind] = max(sizes[kind], row.n)
    return ["method", *(f"{kind}, n = {n}" for kind, n in sizes.items())]


def kind_rows(summary: Summary) -> list[list[str]]:
    """A row a method, a cell a category: the mean of the main metric, and the gain with its interval."""
    main, rows = summary.main_metric, []
    for label, name in method_names(summary, main).items():
        cells = []
        for kind in summary.kinds:
            row = (summary.methods[label].metrics[main].kinds or {}).get(kind)
            gain = "; " + interval_text(row.against.gain, signed=True) if row and row.against else ""
            cells.append(number(row.mean) + gain if row else "")
        rows.append([name, *cells])
    return rows


def sets_rows(summary: Summary) -> list[list[str]]:
    """Cells under `SETS_HEAD`, a row a method that has set metrics."""
    names, rows = method_names(summary), []
    for label, method in summary.methods.items():
        figures, row = method.sets, method.diversity
        if figures is None:
            continue
        cells = [names[label], str(figures.images)]
        cells += [number(value) for value in (figures.fid, figures.precision, figures.recall)]
        cells += [str(row.n), interval_text(row)] if row else ["–", "–"]
        found = row and row.against
        cells += [interval_text(found.gain, signed=True), p_text(found.p_holm)] if found else ["", ""]
        rows.append(cells)
    return rows


def text_table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """Nothing in a cell is markup."""
    return table([in_markdown(title) for title in head], [[in_markdown(c) for c in row] for row in rows], spaced=True)


def markdown(summary: Summary) -> str:
    """The headline and every table."""
    parts = ["\n".join(f"- {in_markdown(line)}" for line in headline(summary)), power_sentence(summary)]
    for metric in summary.metrics:
        parts += [f"### {in_markdown(metric_name(metric, summary))}", text_table(HEAD, metric_rows(metric, summary))]
    if len(summary.methods) > 1:
        parts += [f"### {in_markdown(price_title(summary))}", text_table(PRICE_HEAD, price_rows(summary)), PRICE_NOTE]
    if summary.kinds:
        title = f"### By category of prompt: {in_markdown(metric_name(summary.main_metric, summary))}"
        parts += [title, text_table(kind_head(summary), kind_rows(summary)), KIND_NOTE]
    if summary.sets:
        parts += [
            "### Distance and diversity",
            text_table(SETS_HEAD, sets_rows(summary)),
            in_markdown(sets_reading(summary.sets)),
        ]
    parts.append(f"{summary.prompts} prompts, {summary.images} images. {reading(summary)}")
    renamed = {name: label for label, name in display_names(list(summary.methods)).items() if name != label}
    parts += ["\n".join(f"- {in_markdown(name)}: {_code(label)}" for name, label in renamed.items())] if renamed else []
    return "\n\n".join(part for part in parts if part) + "\n"


def _code(text: str) -> str:
    return f"`{visible(text).replace('`', chr(39))}`"
