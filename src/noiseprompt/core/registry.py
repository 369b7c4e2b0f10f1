"""Names that users type -> objects, imported when asked for. The tables: `scorers/table.py`, `methods/table.py`."""

from __future__ import annotations

import difflib
import importlib
from collections.abc import Iterator
from typing import Any

from noiseprompt.core.errors import InputError, UnknownNameError
from noiseprompt.core.ranges import shown


class Registry:
    """A table of lazily imported objects.

    Args:
        noun: what an entry is, for messages ("scorer").
        entries: name -> "module:attribute".
    """

    def __init__(self, noun: str, entries: dict[str, str]) -> None:
        self.noun = noun
        self._entries: dict[str, Any] = dict(entries)
        self._own = frozenset(entries)

    def __iter__(self) -> Iterator[str]:
        return iter(sorted(self._entries))

    def __contains__(self, name: object) -> bool:
        return name in self._entries

    def register(self, name: str, target: Any) -> None:
        """Add an entry: "module:attribute" or the object itself.

        Raises:
            InputError: the name is taken.
        """
        if name in self._entries:
            raise InputError(f"the {self.noun} {name!r} is registered already", "a new name")
        self._entries[name] = target

    def is_own(self, name: str) -> bool:
        """Whether an entry is of the table itself, registered by nobody."""
        return name in self._own

    def package(self, name: str) -> str:
        """The package that an entry is from, "" where that cannot be told; nothing is imported."""
        target = self._entries.get(name, "")
        module = target.partition(":")[0] if isinstance(target, str) else getattr(target, "__module__", None) or ""
        return str(module).partition(".")[0]

    def get(self, name: str) -> Any:
        """The object behind a name.

        Raises:
            UnknownNameError: with the closest names and the whole list.
        """
        if not isinstance(name, str):
            raise UnknownNameError(f"the {self.noun} {shown(name)}", "a name")
        if name not in self._entries:
            close = difflib.get_close_matches(name, self._entries, n=3)
            hint = f"did you mean {' or '.join(map(repr, close))}?" if close else ""
            raise UnknownNameError(f"unknown {self.noun} {name!r}", f"one of {', '.join(self)}", hint)
        target = self._entries[name]
        if isinstance(target, str):
            module, _, attribute = target.partition(":")
            target = getattr(importlib.import_module(module), attribute)
        return target
