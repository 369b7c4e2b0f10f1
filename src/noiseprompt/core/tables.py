"""Tables in Markdown."""

from __future__ import annotations

from collections.abc import Iterable, Sequence


def table(titles: Sequence[str], body: Iterable[Sequence[object]], *, spaced: bool = False) -> str:
    """A table, without a last newline; rows shorter than the titles are filled up, and "|" in a cell stays text.

    Args:
        spaced: the rule below the titles is written "| --- |" instead of "|---|".
    """
    rule = " --- " if spaced else "---"
    return "\n".join([_row(titles), "|" + f"{rule}|" * len(titles), *(_row(row, len(titles)) for row in body)])


def _row(cells: Sequence[object], width: int = 0) -> str:
    texts = [str(cell).replace("|", "\\|") for cell in cells]
    return "| " + " | ".join(texts + [""] * (width - len(texts))) + " |"
