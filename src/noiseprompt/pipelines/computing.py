"""What fails inside the libraries of a model while it computes, told in a line."""

from __future__ import annotations

import sys
import traceback
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any

from noiseprompt.core.devices import is_out_of_memory
from noiseprompt.core.errors import ModelLoadError, NoisepromptError
from noiseprompt.core.model_files import AGAIN
from noiseprompt.core.part_settings import strange_settings
from noiseprompt.core.texts import reason_of
from noiseprompt.pipelines.soundness import LIBRARIES

_BELOW = ("torch", "numpy", "jinja2", "tokenizers", "sentencepiece", "PIL")
"""What the model's libraries ask in their turn."""


@contextmanager
def computing(pipe: Any, what: str) -> Iterator[None]:
    """While it lasts, what fails inside the model's own libraries is told in a line: its parts or their configurations
    do not belong together. What fails here is not, nor is a full memory.

    Args:
        pipe: of diffusers.
        what: it does, for the message.

    Raises:
        NoisepromptError: it fails there.
    """
    try:
        yield
    except Exception as error:
        if isinstance(error, NoisepromptError) or is_out_of_memory(error) or _root(error) not in LIBRARIES:
            raise
        _refuse_template(error)
        for name, part in pipe.components.items():
            config = getattr(part, "config", None)
            as_plain = getattr(config, "to_dict", None) if what.startswith("encodes") else None
            told = as_plain() if as_plain else config
            strange, usual = strange_settings(error, dict(told) if isinstance(told, Mapping) else {}, type(part))
            if strange:
                came, expected = f"{name} of the model fails with {strange}", f"what it takes (it begins with {usual})"
                raise ModelLoadError(came, expected, f"mend its configuration ({AGAIN})") from error
        config = getattr(getattr(pipe, "vae", None), "config", None) or {}
        if isinstance(error, TypeError) and "NoneType" in str(error) and config.get("shift_factor", 0) is None:
            came, expected = (
                "vae of the model has no shift_factor",
                f"a number: a {type(pipe).__name__} adds it to latents",
            )
            raise ModelLoadError(came, expected, f"take all parts of one model ({AGAIN})") from error
        came = f"the {type(pipe).__name__} fails while it {what} ({type(error).__name__}: {reason_of(error)[:300]})"
        fix = "load another copy; where diffusers alone draws with this one, please report it"
        raise NoisepromptError(came, "parts that belong together, each with its own config", fix) from error


def _root(error: Exception) -> str:
    """The package of the innermost line of code that is not of `_BELOW`: who asked for what failed. (Lines of a
    template are of no module.)"""
    frames = [frame.f_globals.get("__name__", "") for frame, _ in traceback.walk_tb(error.__traceback__)]
    roots = [name.partition(".")[0] for name in reversed(frames)]
    return next((root for root in roots if root in sys.modules and root not in _BELOW), "")


def _refuse_template(error: Exception) -> None:
    """Name the chat template of a tokenizer, which it renders with jinja2 alone, where there is none or it fails."""
    of_jinja = type(error).__module__.startswith("jinja2")
    if of_jinja or "chat_template" in str(error):
        fails = f"fails ({type(error).__name__}: {reason_of(error)[:200]})" if of_jinja else "is not there"
        expected = "chat_template.jinja of this model, or a chat_template in its tokenizer_config.json"
        raise ModelLoadError(f"the chat template of the model's tokenizer {fails}", expected, AGAIN) from error
