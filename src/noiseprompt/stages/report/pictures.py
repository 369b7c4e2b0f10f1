"""The pictures of a report: largest wins and losses of each method beside standard, and whole rows drawn at random."""

from __future__ import annotations

import base64
import io
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from html import escape

from noiseprompt.core.fetched import AnyFile
from noiseprompt.core.pictures import open_picture
from noiseprompt.core.stores import Folder
from noiseprompt.core.types import EvalResult
from noiseprompt.results.lines import Key
from noiseprompt.results.names import control_of
from noiseprompt.results.pictures import Pictures
from noiseprompt.results.summary import ACCURACY, BASELINE, Summary
from noiseprompt.results.words import method_names, metric_name, number
from noiseprompt.shapes.world import CHECKER
from noiseprompt.stages.report.charts import shuffled

EDGE = 256
"""Pictures with a longer edge are shrunk to it; small ones are embedded as they are."""


@dataclass(frozen=True)
class Shot:
    """One image: file name or "", and its score by the gallery's scorer."""

    image: str
    score: float


@dataclass(frozen=True)
class Album:
    """What the galleries need of a run.

    Fields:
        pictures: of the evaluation.
        scorer: by which wins and losses are told.
        shots: label -> (prompt id, seed) -> image and score.
        texts: prompt id -> text.
    """

    pictures: Pictures
    scorer: str
    shots: Mapping[str, Mapping[Key, Shot]]
    texts: Mapping[str, str]

    @classmethod
    def open(cls, folder: Folder, results: Iterable[EvalResult], summary: Summary) -> Album:
        """Read the results once."""
        scorer = CHECKER if summary.main_metric == ACCURACY else summary.main_metric
        pictures = Pictures(folder)
        shots: dict[str, dict[Key, Shot]] = {}
        texts: dict[str, str] = {}
        for r in results:
            there = r.image and pictures.size(r.image) is not None
            key = (r.prompt_id, r.seed)
            shots.setdefault(r.method, {})[key] = Shot(r.image if there else "", r.scores[scorer])
            texts.setdefault(r.prompt_id, r.text)
        return cls(pictures, scorer, shots, texts)


def galleries(album: Album, summary: Summary, examples: int, random_examples: int) -> str:
    """HTML of all galleries.

    Args:
        examples: largest wins and largest losses shown for each method.
        random_examples: rows shown whatever their scores.
    """
    names, base = method_names(summary, album.scorer), album.shots.get(BASELINE, {})
    pictured = [key for key, shot in base.items() if shot.image]
    pictured.sort(key=shuffled)
    common = [key for key in pictured if all(key in s and s[key].image for s in album.shots.values())]
    name = metric_name(album.scorer, summary)
    parts = [
        f'<p class="note">Pictures side by side start from one seed. The figure below a picture is its {escape(name)} '
        f"score. Chosen among {len(pictured)} of {len(base)} prompt-seed pairs, those whose pictures were kept.</p>"
    ]
    for label, shots in album.shots.items():
        if label == BASELINE or control_of(label):
            continue
        both = [key for key in pictured if key in shots and shots[key].image]
        gain = {key: shots[key].score - base[key].score for key in both}
        wins = sorted((k for k in both if gain[k] > 0), key=lambda k: -gain[k])
        losses = sorted((k for k in both if gain[k] < 0), key=lambda k: gain[k])
        for word, keys in (("wins", wins), ("losses", losses)):
            if keys:
                cards = "".join(
                    _row(album, key, {BASELINE: "standard", label: names[label]}) for key in keys[:examples]
                )
                parts.append(f"<h4>{escape(names[label])}: largest {word} by {escape(name)} ({len(keys)} in all)</h4>")
                parts.append(f'<div class="cards">{cards}</div>')
    if common:
        parts.append("<h4>Drawn at random, all methods</h4>")
        parts += [_row(album, key, {label: names[label] for label in album.shots}) for key in common[:random_examples]]
    return "\n".join(parts)


def _row(album: Album, key: Key, names: Mapping[str, str]) -> str:
    figures, text = [], album.texts[key[0]]
    for label, name in names.items():
        shot = album.shots[label][key]
        tick = " ✓ correct" if album.scorer == CHECKER and shot.score == 1.0 else ""
        image = f'<img src="{_data_uri(album.pictures.file(shot.image))}" alt="{escape(f"{name}: {text}")}">'
        caption = f"{escape(name)}<br>{number(shot.score)}{tick}"
        figures.append(f"<figure>{image}<figcaption>{caption}</figcaption></figure>")
    head = f"<p><b>{escape(text)}</b> <span class=note>seed {key[1]}</span></p>"
    return f'<div class="row">{head}<div class="pictures">{"".join(figures)}</div></div>'


def _data_uri(file: AnyFile) -> str:
    """PNG as it is where small, else a JPEG of at most `EDGE` pixels."""
    image = open_picture(file)
    if max(image.size) <= EDGE // 2:
        return f"data:image/png;base64,{base64.b64encode(file.read_bytes()).decode()}"
    image.thumbnail((EDGE, EDGE))
    buffer = io.BytesIO()
    image.save(buffer, "JPEG", quality=88)
    return f"data:image/jpeg;base64,{base64.b64encode(buffer.getvalue()).decode()}"
