"""Labels of methods: short names for readers, names of their files, and which methods are controls."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Sequence

from noiseprompt.core.files import public_name
from noiseprompt.core.specs import split_spec

CONTROLS = {
    "swap": "made for a wrong prompt: a gain that survives this has nothing to do with the prompt",
    "shuffle": "made for another source noise: a gain that survives this has nothing to do with the noise at hand",
}
"""Flag in a method's label -> what the control shows."""


def control_of(label: str) -> str:
    """The control a label names ("swap", "shuffle"), or ""."""
    words = {word for word, _, _ in split_spec(label)[1]}
    return next((name for name in CONTROLS if name in words), "")


def display_names(labels: Sequence[str], depth: int = 2) -> dict[str, str]:
    """Label -> short name: "npnet:path=/a/b/c/best,strength=2" -> "npnet:strength=2 (c/best)"; all different.

    Args:
        depth: parts of a path that are shown, from its end; more where two names would be the same.
    """
    names: dict[str, str] = {}
    for label in labels:
        shown, name = depth, _short(label, depth)
        while any(_short(other, shown) == name for other in labels if other != label) and shown < 64:
            shown += 1
            name = _short(label, shown)
        names[label] = name
    taken = list(names.values())
    return {label: label if taken.count(name) > 1 else name for label, name in names.items()}


def slug(label: str) -> str:
    """The name of a method's files and folders: at most 67 bytes, different for different labels on any disk."""
    plain = re.sub(r"[^a-z0-9._=-]+", "-", label.lower())[:60]
    return plain if plain == label else f"{plain}-{hashlib.sha256(label.encode()).hexdigest()[:6]}"


def public_spec(text: str) -> str:
    """A spec without folders of a machine: "inception:path=/a/b.pth" -> "inception:path=b.pth"."""
    name, options = split_spec(text)
    told = [part if value is None else f"{key}={public_name(value)}" for part, key, value in options]
    return name + (":" + ",".join(told) if told else "")


def _short(label: str, depth: int) -> str:
    name, options = split_spec(label)
    kept, paths = [], []
    for word, key, value in options:
        if value and _NESTED.match(value):  # "noise=npnet:path=/a/b/c+strength=2", "scorer=aes:path=/a/b"
            inner, _, folders = _short(value.replace("+", ","), depth).partition(" (")
            kept.append(f"{key}={inner.replace(',', '+')}")
            paths += [folders.removesuffix(")")] if folders else []
            continue
        parts = [part for part in re.split(r"[/\\]+", value or "") if part not in ("", ".")]
        if len(parts) > 1:
            paths.append("/".join(parts[-depth:]))
        else:
            kept.append(word)
    short = name + (":" + ",".join(kept) if kept else "")
    return short + (f" ({', '.join(paths)})" if paths else "")


_NESTED = re.compile(r"[A-Za-z][\w.-]+:\w+(=|\+|$)")
"""A value that is a spec itself; not "C:\\folder"."""
