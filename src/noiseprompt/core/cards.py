"""README.md of what is published: the YAML at its head, which the hub reads, and its sections."""

from __future__ import annotations

import re
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any

from noiseprompt.core.config import YAML_BYTES, parse_yaml
from noiseprompt.core.errors import ConfigError, InputError
from noiseprompt.core.json_files import read_bytes

CARD_FILE = "README.md"

_HEAD = re.compile(r"\A---\n(.*?)^---\n", re.DOTALL | re.MULTILINE)
_SECTION = re.compile(r"^(?=## )", re.MULTILINE)


def head(data: Mapping[str, Any]) -> str:
    """The YAML block at the head of a card; what is empty is left out."""
    import yaml

    kept = {key: value for key, value in data.items() if value not in ("", None, [], (), {})}
    return f"---\n{yaml.safe_dump(kept, sort_keys=False, allow_unicode=True, width=1000)}---\n"


def read_card(path: Path) -> str:
    """The text of a card; "" where there is none.

    Raises:
        InputError: it is no text, or too long for a card.
    """
    if not path.is_file():
        return ""
    try:
        return read_bytes(path, YAML_BYTES).decode()
    except (ValueError, OSError) as error:  # UnicodeDecodeError is a ValueError
        raise InputError(f"cannot read {path}: {error}", "a card in Markdown, UTF-8") from error


def head_of(text: str) -> dict[str, Any]:
    """The YAML at the head of a card, empty where there is none that can be read."""
    found = _HEAD.match(text)
    try:
        return parse_yaml(found[1], "the head of a card") if found else {}
    except ConfigError:
        return {}


def sections(text: str, but: Collection[str] = ()) -> str:
    """The sections ("## TITLE") of a card as they are, less those of some titles."""
    parts = _SECTION.split(_HEAD.sub("", text))[1:]
    kept = [part.strip() for part in parts if part.partition("\n")[0].removeprefix("## ").strip() not in but]
    return "\n\n".join(kept)
