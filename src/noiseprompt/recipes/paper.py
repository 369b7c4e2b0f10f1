"""What is wrong with the paper's figures in a recipe with rows (`recipes/document.py` says how they are written)."""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

from noiseprompt.core.ranges import Limits, misfit, shown

_KINDS: dict[str, Any] = {"columns": list[str], "metric": str, "against": str, "show": str, "cost": bool}
_LIMITS = {"show": Limits(words=("win",))}
_KNOWN = {*_KINDS, "rows", "groups"}


def paper_mistakes(paper: Mapping[str, Any], where: str) -> list[str]:
    """Settings of `paper:` that there are not, or of another kind, and rows with other figures than the columns."""
    found = [f"{where}no setting {key} (expected some of {', '.join(sorted(_KNOWN))})" for key in paper.keys() - _KNOWN]
    for key, kind in _KINDS.items():
        expected = misfit(kind, paper[key], _LIMITS.get(key, Limits())) if paper.get(key) is not None else ""
        found += [f"{where}{key}: {shown(paper[key])} (expected {expected})"] if expected else []
    if found:
        return found
    columns = list(paper.get("columns") or ())
    metric = paper.get("metric")
    if metric not in (None, "none", *columns):
        wanted = f"one of {', '.join(columns)}, or none" if columns else "none: there are no columns"
        found.append(f"{where}metric: {metric} (expected {wanted})")
    found += _rows(paper.get("rows"), f"{where}rows: ", len(columns))
    groups = paper.get("groups") or {}
    if not isinstance(groups, Mapping):
        return [*found, f"{where}groups: {shown(groups)} (expected a mapping of groups)"]
    return found + [
        text for name, rows in groups.items() for text in _rows(rows, f"{where}groups: {name}: ", len(columns))
    ]


def _rows(rows: Any, where: str, columns: int) -> list[str]:
    if not isinstance(rows or {}, Mapping):
        return [f"{where}{shown(rows)} (expected a mapping of rows)"]
    wanted = f"a list of {columns}, a number or null for each of the columns"
    return [
        f"{where}{name}: {shown(figures)} (expected {wanted})"
        for name, figures in (rows or {}).items()
        if misfit(list[float | None], figures) or len(figures) != columns
    ]
