"""One self-contained page about an evaluation: the table, the charts, and the pictures behind the figures, losses too.

results.json + results.jsonl + settings.json + images/ ──> report.html
"""

from __future__ import annotations

import base64
import hashlib
import io
import json
from collections.abc import Mapping, Sequence
from html import escape
from pathlib import Path
from typing import Any

from noiseprompt import report_html as html
from noiseprompt.errors import ConfigError, InputError
from noiseprompt.report_html import Mark
from noiseprompt.results import Key, read_results, read_settings, replace
from noiseprompt.summary import ACCURACY, BASELINE, CHECKER, interval_text, metric_name, number, p_text
from noiseprompt.types import EvalResult

EDGE = 256
"""Pictures with a longer edge are shrunk to it; small ones are embedded as they are."""


def report(folder: str | Path, *, examples: int = 3, random_examples: int = 8) -> Path:
    """Write `folder`/report.html from what an evaluation left there; returns its path.

    Args:
        examples: largest wins and largest losses shown for each method.
        random_examples: pairs shown whatever their scores.

    Raises:
        InputError: no evaluation there, or none summarised yet.
        ConfigError, StoreError: damaged files.
    """
    folder = Path(folder)
    settings, summary = read_settings(folder), _summary(folder / "results.json")
    styles = {label: i for i, label in enumerate(m for m in summary["methods"] if m != BASELINE)}
    table = _by_method(read_results(folder))
    body = [
        _headline(summary, settings),
        "<h2>Figures</h2>",
        *(_table(metric, summary) for metric in summary["metrics"]),
        f'<p class="note">{escape(_reading(summary))}</p>',
        f'<h2>Charts</h2><div class="charts">{"".join(_charts(summary, styles))}</div>',
        _pictures(folder, summary, table, examples, random_examples),
        _settings(settings),
    ]
    path = folder / "report.html"
    replace(path, html.page(f"Noise prompts on {settings['settings']['pipeline']['name']}", "\n".join(body)))
    return path


def _summary(path: Path) -> dict[str, Any]:
    try:
        summary = json.loads(path.read_text(encoding="utf-8"))
        return {**summary, "methods": dict(summary["methods"])}
    except OSError as error:
        raise InputError(f"there is no {path}", "a finished evaluation", "run the evaluation to its end") from error
    except (ValueError, TypeError, KeyError) as error:
        raise ConfigError(
            f"{path} is damaged: {error}", "what an evaluation writes", "run the evaluation again"
        ) from error


# --------------------------------------------------------------------------------------------------------------- words


def _headline(summary: Mapping[str, Any], settings: Mapping[str, Any]) -> str:
    config, metric = settings["settings"]["config"], summary["main_metric"]
    lines = [
        f"{summary['prompts']} prompts, {summary['images']} images, guidance {config['guidance_scale']:g}, "
        f"{config['num_inference_steps']} steps. Judge: {metric}."
    ]
    items = [
        _verdict(label, method["metrics"][metric]) for label, method in summary["methods"].items() if label != BASELINE
    ]
    return f"<p>{escape(lines[0])}</p><ul>{''.join(f'<li>{escape(item)}</li>' for item in items if item)}</ul>"


def _verdict(label: str, row: Mapping[str, Any]) -> str:
    """One sentence that says no more than the interval and the corrected p do."""
    if "gain" not in row:
        return ""
    gain = row["gain"]
    figures = f"{interval_text(gain, signed=True)}, p {p_text(row['p_holm'])}"
    if row["win"]["wins"] == row["win"]["losses"] == 0:
        return f"{label}: the same score as standard in every image."
    if gain["low"] is None or row["p_holm"] >= 0.05 or gain["low"] <= 0 <= gain["high"]:
        seen = (
            ""
            if row["detectable"] is None
            else f"; {gain['n']} prompts show a difference of {number(row['detectable'])}"
        )
        return f"{label}: no difference from standard shown ({figures}{seen} or more with power .8)."
    return f"{label}: {'better' if gain['mean'] > 0 else 'worse'} than standard ({figures})."


def _table(metric: str, summary: Mapping[str, Any]) -> str:
    head = (
        "method",
        "n",
        "mean",
        "gain over standard [95 %]",
        "p (Holm)",
        "won / lost / tied",
        "win rate [95 %]",
        "denoiser calls",
        "seconds",
    )
    rows = []
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
        rows.append([label, str(row["n"]), number(row["mean"]), *compared, *cost])
    return f"<h3>{escape(metric_name(metric, dict(summary)))}</h3>{html.table(head, rows)}"


def _reading(summary: Mapping[str, Any]) -> str:
    text = (
        "n counts prompts; seeds of a prompt are averaged first. Gains are paired by prompt and seed, with a bootstrap "
        "over prompts; p by sign flips, corrected over all methods and metrics. Won, lost and tied count images; a tie "
        "is half a win, and the interval of the win rate takes prompts as trials. "
        "Denoiser calls and seconds are per image, a guided step counts two calls."
    )
    if summary["filter_scorer"] in summary["metrics"]:
        text += " (filter) marks the scorer that chose the training pairs: it is no independent judge."
    if ACCURACY in summary["metrics"]:
        text += " Accuracy is the share of images that show exactly what the prompt asks."
    return text


# -------------------------------------------------------------------------------------------------------------- charts


def _charts(summary: Mapping[str, Any], styles: Mapping[str, int]) -> list[str]:
    main, methods = summary["main_metric"], summary["methods"]
    charts = []
    for metric in summary["metrics"]:
        marks = [
            Mark(
                label,
                row["gain"]["mean"],
                row["gain"]["low"],
                row["gain"]["high"],
                f"n = {row['gain']['n']}",
                style=style,
            )
            for label, style in styles.items()
            if "gain" in (row := methods[label]["metrics"][metric])
        ]
        if marks:
            name = metric_name(metric, dict(summary))
            charts.append(html.gains(f"Gain over standard: {name}", marks, f"difference in {name}, 95 % interval"))
    charts.insert(1, _cost_chart(summary, styles))
    rows = []
    for label in styles:
        win = methods[label]["metrics"][main].get("win")
        if win:
            text = f"win rate {interval_text({**win, 'mean': win['rate']})}"
            rows.append((label, win["wins"], win["ties"], win["losses"], text))
    if rows:
        total = sum(rows[0][1:4])
        charts.append(html.win_bars(f"Won, tied and lost by {main}, n = {total} images", rows))
    if summary["kinds"]:
        charts.append(_kind_chart(summary, styles))
    return charts


def _cost_chart(summary: Mapping[str, Any], styles: Mapping[str, int]) -> str:
    main, marks = summary["main_metric"], []
    for label, method in summary["methods"].items():
        row = method["metrics"][main]
        gain, start = row.get("gain"), row.get("baseline_mean", 0.0)
        low, high = (gain["low"], gain["high"]) if gain else (None, None)
        ends = (None if low is None else start + low, None if high is None else start + high)
        note = f"{number(row['mean'])} at {method['denoiser_calls']:.4g} calls"
        marks.append(Mark(label, row["mean"], *ends, note, method["denoiser_calls"], styles.get(label, -1)))
    n = max(method["metrics"][main]["n"] for method in summary["methods"].values())
    title = f"Quality and cost, n = {n} prompts (bars: interval of the paired gain)"
    return html.scatter(title, marks, "denoiser calls per image", f"mean {main}")


def _kind_chart(summary: Mapping[str, Any], styles: Mapping[str, int]) -> str:
    main, groups = summary["main_metric"], []
    for kind in summary["kinds"]:
        rows = {label: method["metrics"][main]["kinds"].get(kind) for label, method in summary["methods"].items()}
        present = {label: row for label, row in rows.items() if row}
        marks = [
            Mark(label, row["mean"], note=number(row["mean"]), style=styles.get(label, -1))
            for label, row in present.items()
        ]
        groups.append((f"{kind}, n = {max(row['n'] for row in present.values())} prompts", marks))
    return html.grouped_bars("By kind of prompt", groups, f"mean {main}")


# ------------------------------------------------------------------------------------------------------------ pictures


def _by_method(results: Sequence[EvalResult]) -> dict[str, dict[Key, EvalResult]]:
    table: dict[str, dict[Key, EvalResult]] = {}
    for result in results:
        table.setdefault(result.method, {})[result.prompt_id, result.seed] = result
    return table


def _pictures(
    folder: Path,
    summary: Mapping[str, Any],
    table: Mapping[str, Mapping[Key, EvalResult]],
    examples: int,
    random_examples: int,
) -> str:
    scorer = CHECKER if summary["main_metric"] == ACCURACY else summary["main_metric"]
    base = table.get(BASELINE, {})
    shown = [key for key in base if all(key in rows and _exists(folder, rows[key]) for rows in table.values())]
    shown.sort(key=_shuffled)
    parts = [
        "<h2>Pictures</h2>",
        f'<p class="note">Each row starts from one seed. The figure below a picture is its {escape(scorer)} score; the '
        f"outlined method is the one the row is about. Chosen among {len(shown)} of {len(base)} prompt-seed pairs, "
        "those whose pictures were kept.</p>",
    ]
    for label, rows in table.items():
        if label == BASELINE or label.endswith("swap"):
            continue
        gain = {key: rows[key].scores[scorer] - base[key].scores[scorer] for key in shown}
        wins = sorted((k for k in shown if gain[k] > 0), key=lambda k: -gain[k])
        losses = sorted((k for k in shown if gain[k] < 0), key=lambda k: gain[k])
        for word, keys in (("wins", wins), ("losses", losses)):
            if keys:
                parts.append(f"<h3>{escape(label)}: largest {word} ({len(keys)} in all)</h3>")
                parts += [_row(folder, key, table, scorer, label) for key in keys[:examples]]
    if shown:
        parts.append("<h3>Drawn at random</h3>")
        parts += [_row(folder, key, table, scorer) for key in shown[:random_examples]]
    return "\n".join(parts)


def _exists(folder: Path, result: EvalResult) -> bool:
    return bool(result.image) and (folder / "images" / result.image).is_file()


def _shuffled(key: Key) -> str:
    """An order that has nothing to do with the scores and is the same every time."""
    return hashlib.sha256(f"{key[0]}/{key[1]}".encode()).hexdigest()


def _row(folder: Path, key: Key, table: Mapping[str, Mapping[Key, EvalResult]], scorer: str, focus: str = "") -> str:
    figures = []
    for label, rows in table.items():
        result = rows[key]
        css = ' class="focus"' if label == focus else ""
        source = _data_uri(folder / "images" / result.image)
        caption = f"{escape(label)}<br>{number(result.scores[scorer])}{_tick(result, scorer)}"
        image = f'<img src="{source}" alt="{escape(f"{label}: {result.text}")}">'
        figures.append(f"<figure{css}>{image}<figcaption>{caption}</figcaption></figure>")
    first = next(iter(table.values()))[key]
    head = f"<p><b>{escape(first.text)}</b> <span class=note>seed {first.seed}</span></p>"
    return f'<div class="row">{head}<div class="pictures">{"".join(figures)}</div></div>'


def _tick(result: EvalResult, scorer: str) -> str:
    if scorer != CHECKER:
        return ""
    return " ✓ correct" if result.scores[scorer] == 1.0 else ""


def _data_uri(path: Path) -> str:
    """PNG as it is where small, else a JPEG of at most `EDGE` pixels."""
    from PIL import Image

    with Image.open(path) as image:
        if max(image.size) <= EDGE // 2:
            return f"data:image/png;base64,{base64.b64encode(path.read_bytes()).decode()}"
        image.thumbnail((EDGE, EDGE))
        buffer = io.BytesIO()
        image.convert("RGB").save(buffer, "JPEG", quality=88)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"


# ------------------------------------------------------------------------------------------------------------ settings


def _settings(settings: Mapping[str, Any]) -> str:
    rows = [("fingerprint", str(settings["fingerprint"]))]
    for group in ("settings", "methods", "environment"):
        rows += _flat(group, settings[group])
    body = "".join(f'<tr><td>{escape(name)}</td><td class="free">{escape(value)}</td></tr>' for name, value in rows)
    return f'<h2>Settings and versions</h2><div class="wide"><table><tbody>{body}</tbody></table></div>'


def _flat(name: str, value: Any) -> list[tuple[str, str]]:
    if isinstance(value, Mapping) and value:
        return [pair for key, inner in value.items() for pair in _flat(f"{name} / {key}", inner)]
    if isinstance(value, list) and value:
        return [(name, ", ".join(map(str, value)))]
    return [(name, "" if value in ({}, []) else "default" if value is None else str(value))]
