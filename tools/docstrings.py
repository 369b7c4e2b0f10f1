"""The package's docstrings as mkdocstrings reads them: its "Fields:" are attributes, and "::" only marks a block."""

from __future__ import annotations

from typing import Any

import griffe


class Docstrings(griffe.Extension):
    """Rewrites each docstring as it is loaded."""

    def on_object(self, *, obj: griffe.Object, **_: Any) -> None:
        if obj.docstring:
            text = obj.docstring.value.replace("\nFields:\n", "\nAttributes:\n")
            obj.docstring.value = text.replace("\n\n::\n\n", "\n\n")
