"""The page of `noiseprompt web` as a Space of the Hub; settings are variables of the Space, see README.md."""

from __future__ import annotations

import os
import traceback
from typing import Any

try:
    import spaces  # ZeroGPU: before torch, which it changes
except ImportError:
    spaces = None

from noiseprompt.core.specs import split_specs
from noiseprompt.pipelines.options import ModelOptions
from noiseprompt.web.desk import Desk
from noiseprompt.web.folders import Reports
from noiseprompt.web.page import build
from noiseprompt.web.serve import launch_anywhere
from noiseprompt.web.studio import Studio

SECONDS = 120
"""For which a click may hold the GPU."""


def around(work: Any) -> Any:
    """Borrows the GPU while it runs, where there is one to borrow."""
    return spaces.GPU(duration=SECONDS)(work) if spaces is not None else work


def account(error: Exception) -> str:
    """One line for the visitor; the rest is in the Space's log."""
    traceback.print_exception(error)
    return f"{type(error).__name__}. This was not foreseen: please report it with what you asked for."


def setting(name: str) -> str | None:
    return os.environ.get(f"NOISEPROMPT_{name}", "").strip() or None


def page() -> tuple[Any, Desk]:
    models, scorers = setting("MODELS") or "shapes", setting("SCORERS")
    studio = Studio(
        [model.strip() for model in models.split(",")],
        setting("METHODS"),
        split_specs(scorers) if scorers else None,
        ModelOptions(dtype=setting("DTYPE") or "float32"),
    )
    desk = Desk(studio, Reports(None), account)
    return build(desk, around), desk


demo, desk = page()

if __name__ == "__main__":
    launch_anywhere(demo, desk)
