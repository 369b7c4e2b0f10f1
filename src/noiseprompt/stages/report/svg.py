"""Charts as inline SVG: plain strings, no script, nothing fetched.

Every function that takes text escapes it. Colours are Okabe and Ito's, which colour-blind readers tell apart; shape or
label always says the same as the colour. Charts are 440 units wide so that their text stays readable on a phone.
"""

from __future__ import annotations

import math
from collections.abc import Sequence
from dataclasses import dataclass
from html import escape

GREY = "#767676"
WIN, TIE, LOSS = "#0072B2", "#D9D9D9", "#D55E00"
PALETTE = ("#0072B2", "#D55E00", "#009E73", "#CC79A7", "#E69F00", "#56B4E9", "#000000", "#B8A900")
WIDTH = 440
"""Of a chart, in SVG units; about CSS pixels on a wide screen."""


@dataclass(frozen=True)
class Mark:
    """One method in a chart.

    Fields:
        label: of the method.
        value, low, high: in the chart's unit; low and high may be None.
        note: text at the end of the row.
        x: the other coordinate, in charts that have one.
        style: index of its colour and shape, -1 for the baseline.
    """

    label: str
    value: float
    low: float | None = None
    high: float | None = None
    note: str = ""
    x: float = 0.0
    style: int = -1


def colour(style: int) -> str:
    """Grey for the baseline, else an entry of the palette."""
    return GREY if style < 0 else PALETTE[style % len(PALETTE)]


def ticks(low: float, high: float, count: int = 6) -> list[float]:
    """Round numbers, about `count` of them, within [low, high]."""
    span = max(high - low, 1e-9)
    power = 10.0 ** math.floor(math.log10(span / count))
    step = next(power * f for f in (1, 2, 5, 10) if span / (power * f) <= count)
    first = math.ceil(low / step - 1e-9)
    return [round(i * step, 12) for i in range(first, math.floor(high / step + 1e-9) + 1)]


def log_ticks(low: float, high: float) -> list[float]:
    """1, 2 and 5 times powers of ten within [low, high], both above 0."""
    powers = range(math.floor(math.log10(low)), math.ceil(math.log10(high)) + 1)
    return [float(f"{f}e{p}") for p in powers for f in (1, 2, 5) if low <= float(f"{f}e{p}") <= high]


def _text(x: float, y: float, text: str, anchor: str = "start", extra: str = "") -> str:
    return f'<text x="{x:.1f}" y="{y:.1f}" text-anchor="{anchor}" {extra}>{escape(text)}</text>'


def _line(x1: float, y1: float, x2: float, y2: float, stroke: str = "#ddd", width: float = 1) -> str:
    return f'<line x1="{x1:.1f}" y1="{y1:.1f}" x2="{x2:.1f}" y2="{y2:.1f}" stroke="{stroke}" stroke-width="{width}"/>'


def _rect(x: float, y: float, width: float, height: float, fill: str) -> str:
    return f'<rect x="{x:.1f}" y="{y:.1f}" width="{max(0.0, width):.1f}" height="{height:.1f}" fill="{fill}"/>'


def _point(x: float, y: float, style: int, size: float = 5) -> str:
    """The shape of a method: circle, square, diamond, triangles, then again."""
    fill = colour(style)
    if style < 0:
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{size}" fill="white" stroke="{fill}" stroke-width="2"/>'
    s = size
    shapes = {
        1: [(-s, -s), (s, -s), (s, s), (-s, s)],
        2: [(0, -1.4 * s), (1.4 * s, 0), (0, 1.4 * s), (-1.4 * s, 0)],
        3: [(0, -1.2 * s), (1.2 * s, s), (-1.2 * s, s)],
        4: [(0, 1.2 * s), (1.2 * s, -s), (-1.2 * s, -s)],
    }
    corners = shapes.get(style % 5)
    if corners is None:
        return f'<circle cx="{x:.1f}" cy="{y:.1f}" r="{s}" fill="{fill}"/>'
    return f'<polygon points="{" ".join(f"{x + a:.1f},{y + b:.1f}" for a, b in corners)}" fill="{fill}"/>'


def _svg(title: str, height: float, parts: Sequence[str]) -> str:
    heading = escape(title)
    body = "".join(parts)
    return (
        f'<figure class="chart"><figcaption>{heading}</figcaption>'
        f'<svg viewBox="0 0 {WIDTH} {height:.0f}" role="img" aria-label="{heading}">{body}</svg></figure>'
    )


def _x_axis(
    low: float, high: float, left: float, right: float, top: float, bottom: float, unit: str, log: bool = False
) -> list[str]:
    """`low` and `high` as they are drawn: of a logarithmic axis the logarithms to base ten."""
    parts = []
    for tick in log_ticks(10**low, 10**high) if log else ticks(low, high):
        x = left + ((math.log10(tick) if log else tick) - low) / (high - low) * (right - left)
        label = f"{tick:g}"
        half = 4.0 * len(label)  # at most: digits of 12 px are 7 wide
        centre = min(max(x, half), WIDTH - half)  # a long label at the end of the axis stays inside
        parts += [_line(x, top, x, bottom), _text(centre, bottom + 14, label, "middle")]
    return [*parts, _text((left + right) / 2, bottom + 30, unit, "middle")]


def _y_axis(low: float, high: float, left: float, right: float, top: float, bottom: float, unit: str) -> list[str]:
    parts = [_text(4, 14, unit)]
    for tick in ticks(low, high):
        y = bottom - (tick - low) / (high - low) * (bottom - top)
        parts += [_line(left, y, right, y), _text(left - 5, y + 4, f"{tick:g}", "end")]
    return parts


def _range(values: Sequence[float], include: float | None = None) -> tuple[float, float]:
    every = [*values, *([] if include is None else [include])]
    low, high = min(every), max(every)
    pad = max(0.08 * (high - low) or 0.05, 1e-12 * max(-low, high))  # beside 1e21 nothing is left of 0.05
    return low - pad, high + pad


def gains(title: str, marks: Sequence[Mark], unit: str) -> str:
    """A row a method: the gain with its interval, and a line at 0."""
    ends = [v for m in marks for v in (m.value, m.low, m.high) if v is not None]
    low, high = _range(ends, 0.0)
    left, right, row, bottom = 12.0, WIDTH - 12.0, 38, 8.0 + 38 * len(marks)

    def at(value: float) -> float:
        return left + (value - low) / (high - low) * (right - left)

    parts = _x_axis(low, high, left, right, 4, bottom, unit)
    parts.append(_line(at(0), 4, at(0), bottom, "#333", 1.5))
    for i, mark in enumerate(marks):
        y = 16 + i * row
        parts += [
            _text(left, y, _short(mark.label, 56), extra='class="name"'),
            _text(right, y, mark.note, "end", 'class="name"'),
        ]
        if mark.low is not None and mark.high is not None:
            parts.append(_line(at(mark.low), y + 12, at(mark.high), y + 12, colour(mark.style), 3))
        parts.append(_point(at(mark.value), y + 12, mark.style))
    return _svg(title, bottom + 38, parts)


def scatter(
    title: str, marks: Sequence[Mark], x_unit: str, y_unit: str, log: bool = False, front: Sequence[int] = ()
) -> str:
    """A point a method, with its interval upright, and a key below; points of one x stand side by side.

    Args:
        log: x grows by factors; every x is above 0.
        front: marks that a dashed line connects, by their place in `marks`, from left to right.
    """
    xs = [math.log10(m.x) if log else m.x for m in marks]
    x_low, x_high = _range(xs)
    x_low, x_high = x_low - 0.08 * (x_high - x_low), x_high + 0.08 * (x_high - x_low)
    y_low, y_high = _range([v for m in marks for v in (m.value, m.low, m.high) if v is not None])
    left, right, top, bottom = 56.0, WIDTH - 12.0, 24.0, 240.0

    def at(x: float, y: float) -> tuple[float, float]:
        across = left + (x - x_low) / (x_high - x_low) * (right - left)
        return across, bottom - (y - y_low) / (y_high - y_low) * (bottom - top)

    parts = _x_axis(x_low, x_high, left, right, top, bottom, x_unit, log)
    parts += _y_axis(y_low, y_high, left, right, top, bottom, y_unit)
    places = []
    for i, mark in enumerate(marks):
        same = [j for j, other in enumerate(marks) if other.x == mark.x]  # side by side, or they would hide each other
        x, y = at(xs[i], mark.value)
        places.append((x + 9 * (same.index(i) - (len(same) - 1) / 2), y))
    if len(front) > 1:
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in (places[i] for i in front))
        parts.append(f'<polyline points="{path}" fill="none" stroke="{GREY}" stroke-dasharray="4 4"/>')
    for i, (mark, (x, y)) in enumerate(zip(marks, places, strict=True)):
        if mark.low is not None and mark.high is not None:
            parts.append(_line(x, at(0, mark.low)[1], x, at(0, mark.high)[1], colour(mark.style), 1.5))
        parts += [_point(x, y, mark.style), *_key(mark, left, right, bottom + 52 + 19 * i)]
    return _svg(title, bottom + 46 + 19 * len(marks), parts)


def scores(title: str, points: Sequence[tuple[float, float]], style: int, x_unit: str, y_unit: str) -> str:
    """A dot an image, the baseline's score across and the method's upright; above the diagonal the method won."""
    low, high = _range([v for point in points for v in point])
    left, right, top, bottom = 56.0, WIDTH - 60.0, 24.0, 348.0

    def at(x: float, y: float) -> tuple[float, float]:
        scale = (high - low) or 1.0
        return left + (x - low) / scale * (right - left), bottom - (y - low) / scale * (bottom - top)

    parts = _x_axis(low, high, left, right, top, bottom, x_unit)
    parts += _y_axis(low, high, left, right, top, bottom, y_unit)
    parts.append(_line(*at(low, low), *at(high, high), "#333", 1.5))
    dots = "".join(f'<circle cx="{x:.1f}" cy="{y:.1f}" r="3"/>' for x, y in (at(*point) for point in points))
    parts.append(f'<g fill="{colour(style)}" fill-opacity=".4">{dots}</g>')
    return _svg(title, bottom + 38, parts)


Line = tuple[Mark, Sequence[float | None]]


def curves(title: str, lines: Sequence[Line], xs: Sequence[float], x_unit: str, y_unit: str) -> str:
    """A line a method over common x values, with its shape at every point, and a key below; None breaks a line."""
    values = [v for _, ys in lines for v in ys if v is not None]
    if not values:
        return ""
    (y_low, y_high), (x_low, x_high) = _range(values, 1.0), _range(xs)
    left, right, top, bottom = 56.0, WIDTH - 12.0, 24.0, 240.0

    def at(x: float, y: float) -> tuple[float, float]:
        across = left + (x - x_low) / (x_high - x_low) * (right - left)
        return across, bottom - (y - y_low) / (y_high - y_low) * (bottom - top)

    parts = _x_axis(x_low, x_high, left, right, top, bottom, x_unit)
    parts += _y_axis(y_low, y_high, left, right, top, bottom, y_unit)
    for i, (mark, ys) in enumerate(lines):
        points = [at(x, y) for x, y in zip(xs, ys, strict=True) if y is not None]
        path = " ".join(f"{x:.1f},{y:.1f}" for x, y in points)
        parts.append(f'<polyline points="{path}" fill="none" stroke="{colour(mark.style)}" stroke-width="1.5"/>')
        parts += [_point(x, y, mark.style, 3.5) for x, y in points]
        parts += _key(mark, left, right, bottom + 52 + 19 * i)
    return _svg(title, bottom + 46 + 19 * len(lines), parts)


def _key(mark: Mark, left: float, right: float, y: float) -> list[str]:
    return [
        _point(left - 40, y - 4, mark.style),
        _text(left - 26, y, _short(mark.label, 44)),
        _text(right, y, mark.note, "end"),
    ]


def grouped_bars(title: str, groups: Sequence[tuple[str, Sequence[Mark]]], unit: str) -> str:
    """Bars from 0: a group a kind, a bar a method, its name and value beside it."""
    high = max([m.value for _, marks in groups for m in marks] + [1e-9])
    low = min(0.0, *(m.value for _, marks in groups for m in marks))
    left, right = 196.0, WIDTH - 50.0
    scale = (right - left) / (high - low)
    parts, y = [], 4.0
    for name, marks in groups:
        parts.append(_text(4, y + 13, name, extra='class="strong"'))
        y += 20
        parts.append(_line(left - low * scale, y - 3, left - low * scale, y + 15 * len(marks), "#333", 1.5))
        for mark in marks:
            start = left + (min(0.0, mark.value) - low) * scale
            parts += [_rect(start, y, abs(mark.value) * scale, 11, colour(mark.style))]
            parts.append(_text(left - 6, y + 10, _short(mark.label, 33), "end", 'class="small"'))
            parts.append(_text(start + abs(mark.value) * scale + 4, y + 10, mark.note, extra='class="small"'))
            y += 15
        y += 6
    parts.append(_text((left + right) / 2, y + 16, unit, "middle"))
    return _svg(title, y + 24, parts)


def win_bars(title: str, rows: Sequence[tuple[str, int, int, int, str]]) -> str:
    """A bar a method, divided into wins, ties and losses; rows are (label, wins, ties, losses, note)."""
    parts, y = [], 4.0
    for label, wins, ties, losses, note in rows:
        parts += [
            _text(4, y + 12, _short(label, 34), extra='class="name"'),
            _text(WIDTH - 4, y + 12, note, "end", 'class="name"'),
        ]
        total, x = max(1, wins + ties + losses), 4.0
        for count, word, fill, ink in (
            (wins, "won", WIN, "white"),
            (ties, "tied", TIE, "black"),
            (losses, "lost", LOSS, "black"),
        ):
            width = (WIDTH - 8) * count / total
            parts.append(_rect(x, y + 17, width, 20, fill))
            if width > 62:
                parts.append(_text(x + width / 2, y + 31, f"{count} {word}", "middle", f'fill="{ink}"'))
            x += width
        y += 48
    key, x = [], 4.0
    for word, fill in (("won", WIN), ("tied", TIE), ("lost against standard (images)", LOSS)):
        key += [_rect(x, y + 2, 12, 12, fill), _text(x + 17, y + 12, word)]
        x += 70
    return _svg(title, y + 20, [*parts, *key])


def _short(text: str, length: int) -> str:
    return text if len(text) <= length else text[: length - 1] + "…"
