"""A word about what is waited for, before somebody takes the silence for a hang."""

from __future__ import annotations

import time
import warnings
from collections.abc import Callable, Mapping

from noiseprompt.core.errors import NoisepromptWarning
from noiseprompt.core.holders import Holder

SILENT = 5.0
"""Seconds of waiting before it is told."""


class Waiting:
    """Told once, when nothing but what others hold was left for `SILENT` seconds.

    Args:
        where: the folder.
        patience: seconds after which what a dead holder left is taken over.
        holders: unit -> who holds it, as of now; asked once.
    """

    def __init__(self, where: str, patience: float, holders: Callable[[], Mapping[str, Holder]]) -> None:
        self._where, self._patience, self._holders = where, patience, holders
        self._since, self._told = 0.0, False

    def on(self) -> None:
        """It is waited still."""
        now = time.monotonic()
        self._since = self._since or now
        if self._told or now - self._since < SILENT:
            return
        self._told = True
        held = {unit: holder for unit, holder in self._holders().items() if not holder.own}
        if held:
            unit, holder = next(iter(held.items()))
            came = f"{self._where}: waiting for {unit}, which {holder} holds"
            told = f"{came}; where it has ended, that is taken over within {self._patience:.0f} s"
            warnings.warn(told, NoisepromptWarning, stacklevel=2)

    def over(self) -> None:
        """There was something to do."""
        self._since = 0.0
