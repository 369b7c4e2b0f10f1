"""Several processes of one command, started by torchrun or `accelerate launch`, that speak as one."""

from __future__ import annotations

import os
from collections.abc import Sequence

from noiseprompt.core.errors import InputError

COMMANDS = ("train",)
"""Commands that several processes run together."""

_silent = False


def hush(silent: bool) -> None:
    """From here on standard output and error of the command are thrown away, for another process speaks; or not."""
    global _silent
    _silent = silent


def is_hushed() -> bool:
    """Whether another process speaks for this one."""
    return _silent


def spoken_for(words: Sequence[str]) -> bool:
    """Whether the process of rank 0 speaks for this one, until they meet: all of them read the same words.

    One whose own rank or their number makes no sense speaks for itself: nobody else would tell of that.
    """
    rank, size = (os.environ.get(name, "").strip() for name in ("RANK", "WORLD_SIZE"))
    there = all(text.isdecimal() and len(text) < 10 for text in (rank, size))
    return bool(words) and words[0] in COMMANDS and there and 0 < int(rank) < int(size)


def refuse_several(what: str, fix: str) -> None:
    """Refuse what one process does, where a launcher started several.

    Raises:
        InputError: there are several.
    """
    from noiseprompt.engines.processes import launched

    if found := launched():
        raise InputError(f"{what} in {found.size} processes", "one process", fix)
