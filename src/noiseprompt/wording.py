"""The figures of `summary.summarize` in words: numbers, verdicts that claim no more than the statistics, Markdown."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any

from noiseprompt.labels import CONTROLS, control_of, display_names
from noiseprompt.summary import ACCURACY, BASELINE, CHECKER

LEVEL = 0.05
STEERED = " (steered by it)"
KIND_NOTE = "Mean; gain over standard [95 %]. The intervals of the categories are not corrected for their number."


def number(value: float | None, signed: bool = False) -> str:
    """Three decimals, or a dash for None."""
    return "–" if value is None else f"{value:+.3f}" if signed else f"{value:.3f}"


def interval_text(interval: Mapping[str, Any], signed: bool = False) -> str:
    """ "mean [low, high]"."""
    return f"{number(interval['mean'], signed)} [{number(interval['low'], signed)}, {number(interval['high'], signed)}]"


def p_text(p: float) -> str:
    """A p with two digits, or "< .001"."""
    return "< .001" if p < 0.001 else f"{p:.2g}"


def metric_name(metric: str, summary: Mapping[str, Any]) -> str:
    """The metric, marked if it filtered the training data."""
    scorer = CHECKER if metric == ACCURACY else metric
    return f"{metric} (filter)" if scorer in summary["filter_scorers"] else metric


def method_names(summary: Mapping[str, Any], metric: str = "") -> dict[str, str]:
    """Label -> its short name, controls marked, and methods that were steered by the scorer of `metric`."""
    names = display_names(list(summary["methods"]))
    scorer = CHECKER if metric == ACCURACY else metric
    marks = {
        label: " (control)" * bool(control_of(label)) + STEERED * bool(scorer and method.get("scorer") == scorer)
        for label, method in summary["methods"].items()
    }
    return {label: name + marks[label] for label, name in names.items()}


def shown(row: Mapping[str, Any]) -> bool:
    """Whether a difference stands: the interval leaves out 0, and so does the corrected test."""
    gain = row["gain"]
    return gain["low"] is not None and row["p_holm"] < LEVEL and not gain["low"] <= 0 <= gain["high"]


def verdict(name: str, row: Mapping[str, Any]) -> str:
    """One sentence that says no more than the interval and the corrected p do; "" where there is nothing to compare."""
    if "gain" not in row:
        return ""
    gain = row["gain"]
    figures = f"{interval_text(gain, signed=True)}, p {p_text(row['p_holm'])}"
    if row["win"]["wins"] == row["win"]["losses"] == 0:
        return f"{name}: the same score as standard in every image."
    if shown(row):
        return f"{name}: {'better' if gain['mean'] > 0 else 'worse'} than standard ({figures})."
    power = "" if row["detectable"] is None else f"; {gain['n']} prompts would show {number(row['detectable'])}"
    return f"{name}: no difference from standard shown ({figures}{power})."


def diversity_verdict(name: str, method: Mapping[str, Any], main: Mapping[str, Any]) -> str:
    """A sentence where the images of one prompt became more alike; "" elsewhere."""
    row = method.get("diversity")
    if not row or "gain" not in row or row["gain"]["mean"] >= 0 or not shown(row):
        return ""
    share = row["gain"]["mean"] / row["baseline_mean"] if row["baseline_mean"] else 0.0
    figures = f"diversity {interval_text(row['gain'], signed=True)}, {share:+.1%}, p {p_text(row['p_holm'])}"
    bought = "gain" in main and shown(main) and main["gain"]["mean"] > 0
    words = "its gain is bought with diversity" if bought else "its images of one prompt are more alike"
    return f"{name}: {words} than standard's ({figures})." if not bought else f"{name}: {words} ({figures})."


def headline(summary: Mapping[str, Any]) -> list[str]:
    """The verdict on each method by the main metric, then what diversity it cost, then who was left out."""
    main = summary["main_metric"]
    names = method_names(summary, main)
    others = {label: method for label, method in summary["methods"].items() if label != BASELINE}
    lines = [verdict(names[label], method["metrics"][main]) for label, method in others.items()]
    lines += [diversity_verdict(names[label], m, m["metrics"][main]) for label, m in others.items()]
    lines += [f"{label}: left out. {reason}" for label, reason in summary["refused"].items()]
    return [line for line in lines if line]


def power_sentence(summary: Mapping[str, Any]) -> str:
    """Which effect this n could have seen, over the methods that are no controls."""
    main = summary["main_metric"]
    effects = [
        row["detectable"]
        for label, method in summary["methods"].items()
        if not control_of(label) and (row := method["metrics"][main]).get("detectable")
    ]
    if not effects:
        return ""
    sizes = (
        number(min(effects)) if min(effects) == max(effects) else f"{number(min(effects))} to {number(max(effects))}"
    )
    return f"With {summary['prompts']} prompts, differences in {main} of {sizes} or more are seen with power .8."


def reading(summary: Mapping[str, Any]) -> str:
    """How the tables are to be read."""
    text = (
        "n counts prompts; seeds of a prompt are averaged first. Gains are paired by prompt and seed, with a bootstrap "
        "over prompts; p by sign flips, corrected (Holm) over methods and metrics. Won, lost and tied count images, "
        "a tie is half a win, and the interval of the win rate takes prompts as trials. "
        "Denoiser calls and seconds are per image, a guided step counts two calls."
    )
    if any(metric_name(m, summary) != m for m in summary["metrics"]):
        text += " (filter) marks a scorer that chose the training pairs: it is no independent judge."
    if any(STEERED in name for m in summary["metrics"] for name in method_names(summary, m).values()):
        text += f"{STEERED} marks a method that chose or made its noise by this scorer: there its gain is no evidence."
    flags = sorted({control_of(label) for label in summary["methods"]} - {""})
    text += "".join(f" (control) {flag}: {CONTROLS[flag]}." for flag in flags)
    if ACCURACY in summary["metrics"]:
        text += " Accuracy is the share of images that show exactly what the prompt asks."
    return text


def sets_reading(sets: Mapping[str, Any]) -> str:
    """What the set metrics are."""
    text = f"Features: {sets['features']}. "
    if sets["reference"]:
        text += (
            f"Frechet distance (lower is better), precision and recall against {sets['reference_images']} pictures: "
            f"{sets['reference']}. The distance falls with the number of images; compare only at the same number. "
        )
    return text + (
        "Diversity is the mean distance between the images of one prompt from different seeds, n counts prompts; "
        "preference bought with diversity shows as a negative gain."
    )


HEAD = ("method", "n", "mean", "gain over standard [95 %]", "p (Holm)", "won / lost / tied", "win rate [95 %]")
HEAD += ("denoiser calls", "seconds")
SETS_HEAD = ("method", "images", "Frechet distance", "precision", "recall", "n", "diversity [95 %]")
SETS_HEAD += ("gain in diversity [95 %]", "p (Holm)")


def metric_rows(metric: str, summary: Mapping[str, Any]) -> list[list[str]]:
    """Cells under `HEAD`, a row a method."""
    names, rows = method_names(summary, metric), []
    for label, method in summary["methods"].items():
        row = method["metrics"][metric]
        compared = [""] * 4
        if "gain" in row:
            win = row["win"]
            counts = f"{win['wins']} / {win['losses']} / {win['ties']}"
            rate = interval_text({**win, "mean": win["rate"]})
            compared = [interval_text(row["gain"], signed=True), p_text(row["p_holm"]), counts, rate]
        seconds = method["noise_seconds"] + method["sample_seconds"]
        cost = [f"{method['denoiser_calls']:.4g}", f"{seconds:.3g}"]
        rows.append([names[label], str(row["n"]), number(row["mean"]), *compared, *cost])
    return rows


def kind_head(summary: Mapping[str, Any]) -> list[str]:
    """Titles above `kind_rows`: the categories of prompts, with n."""
    main, sizes = summary["main_metric"], dict.fromkeys(summary["kinds"], 0)
    for method in summary["methods"].values():
        for kind, row in method["metrics"][main].get("kinds", {}).items():
            sizes[kind] = max(sizes[kind], row["n"])
    return ["method", *(f"{kind}, n = {n}" for kind, n in sizes.items())]


def kind_rows(summary: Mapping[str, Any]) -> list[list[str]]:
    """A row a method, a cell a category: the mean of the main metric, and the gain with its interval."""
    main, rows = summary["main_metric"], []
    for label, name in method_names(summary, main).items():
        cells = []
        for kind in summary["kinds"]:
            row = summary["methods"][label]["metrics"][main].get("kinds", {}).get(kind)
            gain = "; " + interval_text(row["gain"], signed=True) if row and "gain" in row else ""
            cells.append(number(row["mean"]) + gain if row else "")
        rows.append([name, *cells])
    return rows


def sets_rows(summary: Mapping[str, Any]) -> list[list[str]]:
    """Cells under `SETS_HEAD`, a row a method that has set metrics."""
    names, rows = method_names(summary), []
    for label, method in summary["methods"].items():
        figures, row = method.get("sets"), method.get("diversity", {})
        if figures is None:
            continue
        cells = [names[label], str(figures["images"])]
        cells += [number(figures[name]) for name in ("fid", "precision", "recall")]
        cells += [str(row["n"]), interval_text(row)] if row else ["–", "–"]
        cells += [interval_text(row["gain"], signed=True), p_text(row["p_holm"])] if "gain" in row else ["", ""]
        rows.append(cells)
    return rows


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A Markdown table."""
    lines = [head, ["---"] * len(head), *rows]
    return "\n".join("| " + " | ".join(cell.replace("|", "\\|") for cell in line) + " |" for line in lines)


def markdown(summary: Mapping[str, Any]) -> str:
    """The headline and every table."""
    parts = ["\n".join(f"- {line}" for line in headline(summary)), power_sentence(summary)]
    for metric in summary["metrics"]:
        parts += [f"### {metric_name(metric, summary)}", table(HEAD, metric_rows(metric, summary))]
    if summary["kinds"]:
        title = f"### By category of prompt: {metric_name(summary['main_metric'], summary)}"
        parts += [title, table(kind_head(summary), kind_rows(summary)), KIND_NOTE]
    if summary["sets"]:
        parts += ["### Distance and diversity", table(SETS_HEAD, sets_rows(summary)), sets_reading(summary["sets"])]
    parts.append(f"{summary['prompts']} prompts, {summary['images']} images. {reading(summary)}")
    renamed = {name: label for label, name in display_names(list(summary["methods"])).items() if name != label}
    parts += ["\n".join(f"- {name}: `{label}`" for name, label in renamed.items())] if renamed else []
    return "\n\n".join(part for part in parts if part) + "\n"
