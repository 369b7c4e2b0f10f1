"""The page of a report: tables, style for screen, phone and print, and a policy that lets it load nothing."""

from __future__ import annotations

import re
from collections.abc import Sequence
from html import escape


def table(head: Sequence[str], rows: Sequence[Sequence[str]]) -> str:
    """A table of escaped cells; it scrolls sideways on a narrow screen."""
    cells = "".join(f"<th>{escape(c)}</th>" for c in head)
    first = (escape(row[0]).replace(":", ":<wbr>").replace(",", ",<wbr>") for row in rows)  # long names of methods
    body = "".join(
        f"<tr><td>{name}</td>{''.join(f'<td>{escape(c)}</td>' for c in row[1:])}</tr>"
        for name, row in zip(first, rows, strict=True)
    )
    return f'<div class="wide"><table><thead><tr>{cells}</tr></thead><tbody>{body}</tbody></table></div>'


STYLE = """
:root { color-scheme: light; }
body { font: 16px/1.5 system-ui, sans-serif; color: #222; background: white; }
body { max-width: 72rem; margin: 0 auto; padding: 1rem; overflow-wrap: anywhere; }
h1 { font-size: 1.6rem; line-height: 1.2; } h4 { font-size: 1rem; margin: 1.4rem 0 .4rem; }
h2 { font-size: 1.4rem; margin-top: 2.6rem; border-top: 3px solid #222; padding-top: .6rem; }
h3 { font-size: 1.2rem; margin-top: 2.2rem; border-bottom: 1px solid #ccc; }
ul { padding-left: 1.2rem; } li { margin: .2rem 0; }
.wide { overflow-x: auto; } table { border-collapse: collapse; font-size: .88rem; font-variant-numeric: tabular-nums; }
th, td { padding: .25rem .6rem; text-align: left; border-bottom: 1px solid #ddd; white-space: nowrap; }
th { vertical-align: bottom; } td:first-child, th:first-child { position: sticky; left: 0; background: white; }
td:first-child, th:first-child { min-width: 11rem; max-width: 16rem; white-space: normal; padding-left: 0; }
td:first-child { overflow-wrap: break-word; }
td.free { white-space: normal; overflow-wrap: anywhere; }
.charts { display: grid; gap: 1.6rem 1.2rem; align-items: start; }
.charts { grid-template-columns: repeat(auto-fit, minmax(min(100%, 24rem), 1fr)); }
figure { margin: 0; } .chart { max-width: 34rem; }
.chart figcaption { font-weight: 600; font-size: .95rem; line-height: 1.3; margin-bottom: .3rem; }
svg { width: 100%; height: auto; font: 12px system-ui, sans-serif; } svg .strong { font-weight: 700; }
svg .small { font-size: 11px; } svg .name { paint-order: stroke; stroke: white; stroke-width: 4px; }
.note { color: #555; font-size: .9rem; }
.row { margin: .5rem 0 1rem; break-inside: avoid; } .row p { margin: .1rem 0 .3rem; line-height: 1.3; }
.cards { display: grid; gap: .4rem 1.4rem; grid-template-columns: repeat(auto-fill, minmax(min(100%, 17rem), 1fr)); }
.pictures { display: grid; grid-template-columns: repeat(auto-fill, minmax(104px, 1fr)); gap: .5rem; }
.cards .pictures { grid-template-columns: 1fr 1fr; }
.pictures img { width: 100%; display: block; image-rendering: pixelated; }
.pictures figcaption { font-size: .78rem; line-height: 1.25; overflow-wrap: anywhere; }
@media (max-width: 30rem) { th, td { padding: .25rem .4rem; } body { padding: .7rem; }
  td:first-child, th:first-child { min-width: 6.5rem; max-width: 8rem; } }
@media print { body { max-width: none; font-size: 10pt; padding: 0; } .wide { overflow: visible; }
  table { font-size: 7.5pt; } th, td { white-space: normal; padding: .1rem .3rem; }
  td:first-child, th:first-child { position: static; min-width: 3cm; }
  svg, img, .chart, tr { break-inside: avoid; } h2, h3, h4 { break-after: avoid; }
  .charts { grid-template-columns: 1fr 1fr; }
  .pictures { grid-template-columns: repeat(auto-fill, minmax(2.2cm, 1fr)); }
  * { print-color-adjust: exact; -webkit-print-color-adjust: exact; } }
"""


_CONTROLS = re.compile("[\x00-\x08\x0b\x0c\x0e-\x1f\x7f]")
"""Characters that no HTML may hold."""


def page(title: str, body: str) -> str:
    """A whole document that may load nothing: its policy forbids it."""
    body = _CONTROLS.sub("\ufffd", body)
    policy = "default-src 'none'; img-src data:; style-src 'unsafe-inline'"
    return (
        '<!DOCTYPE html>\n<html lang="en"><head><meta charset="utf-8">'
        f'<meta http-equiv="Content-Security-Policy" content="{policy}">'
        '<meta name="viewport" content="width=device-width, initial-scale=1">'
        f"<title>{escape(title)}</title><style>{STYLE}</style></head><body>\n<h1>{escape(title)}</h1>\n{body}\n</body></html>\n"
    )
