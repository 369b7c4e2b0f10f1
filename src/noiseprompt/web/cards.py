"""The pictures of one click as HTML: a card a method and seed with its verdict, and a slider between two of them.

Every function that takes text escapes it. Pictures are named, and fetched from the album.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from html import escape
from typing import TYPE_CHECKING

from noiseprompt.core.texts import visible
from noiseprompt.results.summary import BASELINE
from noiseprompt.shapes import world

if TYPE_CHECKING:
    from noiseprompt.web.studio import Drawn
    from noiseprompt.web.verdicts import Verdict

SMALL = 160
"""Edge in pixels below which pictures are enlarged with their pixels to be seen."""


def text(words: str) -> str:
    """Words in HTML, on one line, with nothing in them that commands."""
    return escape(visible(words))


def gallery(pictures: Sequence[Drawn], names: Mapping[str, str], prompt: str, steered: Mapping[str, str]) -> str:
    """The slider and a row of cards a seed; "" without pictures.

    Args:
        pictures: so far; the baseline of each seed comes first.
        names: label -> short name.
        steered: label -> the scorer that chose its noise.
    """
    base = {p.seed: p for p in pictures if p.method == BASELINE}
    if not base:
        return ""
    shown = next((p for p in pictures if p.method != BASELINE and p.seed in base), None)
    seeds = list(base)
    rows = "".join(
        _row(seed, [p for p in pictures if p.seed == seed], base[seed], names, steered, shown) for seed in seeds
    )
    slider = _slider(base[shown.seed], shown, names) if shown else ""
    return (
        f'<div class="np-draw"><h2 class="np-said">{text(prompt)}</h2>{slider}<div class="np-rows">{rows}</div></div>'
    )


def _slider(before: Drawn, after: Drawn, names: Mapping[str, str]) -> str:
    """Two pictures over each other and a range input that uncovers one of them; `page.js` moves the cut."""
    name, kind = text(names[after.method]), _pixels(after)
    return (
        f'<section class="np-compare" aria-label="Before and after"><div class="np-slide{kind}" style="--cut:50%">'
        f'<img class="np-after" src="{after.png.url}" alt="{_alt(after, names)}">'
        f'<img class="np-before" src="{before.png.url}" alt="{_alt(before, names)}">'
        '<span class="np-cut" aria-hidden="true"></span>'
        '<input type="range" min="0" max="100" value="50" step="1" '
        'aria-label="How much of the standard picture covers the other one, in per cent"></div>'
        f'<p class="np-ends"><span>standard</span><span class="np-seed">seed {after.seed}</span>'
        f'<span class="np-name">{name}</span></p></section>'
    )


def _row(
    seed: int,
    pictures: Sequence[Drawn],
    base: Drawn,
    names: Mapping[str, str],
    steered: Mapping[str, str],
    shown: Drawn | None,
) -> str:
    cards = "".join(_card(picture, base, names, steered, picture is shown) for picture in pictures)
    inside = f'<h3>seed {seed}</h3><div class="np-cards">{cards}</div>'
    return f'<section class="np-row" aria-label="Seed {seed}">{inside}</section>'


def _card(picture: Drawn, base: Drawn, names: Mapping[str, str], steered: Mapping[str, str], pressed: bool) -> str:
    name, own = text(names[picture.method]), picture.method == BASELINE
    image = f'<img src="{picture.png.url}" alt="{_alt(picture, names)}">'
    if not own:
        label = f"Compare {name}, seed {picture.seed}, with standard"
        state = f'aria-pressed="{str(pressed).lower()}" aria-label="{label}"'
        image = f'<button type="button" class="np-pick" {state}>{image}</button>'
    moved = "" if own else f" · noise moved by {picture.perturbation:.0%}"
    cost = f"{picture.denoiser_calls:.0f} calls · {picture.seconds:.2g} s{moved}"
    lines = [
        _verdict(v, own, base.verdicts[i], steered.get(picture.method, "")) for i, v in enumerate(picture.verdicts)
    ]
    lines += [f'<p class="np-odd">noise unlike unit Gaussian: {text(problem)}</p>' for problem in picture.problems]
    which = ' data-base="1"' if own else f' data-name="{name}"'
    return (
        f'<figure class="np-card{_pixels(picture)}" data-seed="{picture.seed}"{which}>{image}'
        f'<figcaption><strong>{name}</strong>{"".join(lines)}<p class="np-cost">{cost}</p></figcaption></figure>'
    )


def _verdict(verdict: Verdict, own: bool, base: Verdict, steered: str) -> str:
    if verdict.judge == world.CHECKER:
        if verdict.correct:
            return '<p class="np-right">✓ shows the prompt</p>'
        seen = verdict.reason.partition(" instead of ")[0]  # what was asked for stands above
        return f'<p class="np-wrong">✗ {text(seen)}</p>'
    gain = "" if own else f" ({verdict.score - base.score:+.2f})"
    mark = " · it chose this noise" if steered == verdict.judge else ""
    return (
        f'<p class="np-score">{text(verdict.judge.removeprefix(f"{world.NAME}-"))} {verdict.score:.2f}{gain}{mark}</p>'
    )


def _alt(picture: Drawn, names: Mapping[str, str]) -> str:
    told = next((v for v in picture.verdicts if v.correct is not None), None)
    seen = "" if told is None else ": shows the prompt" if told.correct else f": {told.reason}"
    return text(f"{names[picture.method]}, seed {picture.seed}{seen}")


def _pixels(picture: Drawn) -> str:
    return " np-small" if max(picture.image.shape[:2]) < SMALL else ""


def status(words: str, done: int = 0, total: int = 0, wrong: bool = False) -> str:
    """One line for people and screen readers, with a bar where something is under way."""
    bar = (
        f'<progress max="{total}" value="{done}" aria-label="Progress"></progress>'
        if 0 < done < total or (total and not done)
        else ""
    )
    role, kind = ("alert", " np-error") if wrong else ("status", "")
    return f'<div class="np-status{kind}" role="{role}"><span>{text(words)}</span>{bar}</div>'
