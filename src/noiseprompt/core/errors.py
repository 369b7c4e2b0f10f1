"""The tree of errors. Every message says what came, what was expected and what to do next.

::

    NoisepromptError            anything this package raises on purpose
    ├── InputError              a value, option or file given by the user (also a ValueError)
    │   ├── UnknownNameError    a name no registry knows; carries suggestions
    │   ├── ConfigError         a configuration that does not resolve, or differs from the one on disk
    │   ├── PromptError         a prompt file that cannot be read as prompts
    │   ├── ShapeError          a tensor of another shape than the network or pipeline takes
    │   └── ModelMismatchError  an NPNet used with a denoiser it was not made for
    ├── MissingDependencyError  an optional package is not installed (also an ImportError)
    ├── ModelLoadError          a model folder or hub id that cannot be loaded
    ├── HubError                the hub cannot be reached, refuses, or has nothing of that name
    ├── ScorerError             a scorer that fails, or gives something else than one number an image
    ├── MethodError             a method of another package that fails, or gives something else than noise
    ├── StoreError              files that are damaged, foreign, in use or cannot be written
    │   └── StoreLockedError    another process writes to the same folder
    ├── ProcessLostError        one of several processes that work together ended before the others
    └── NoiseError              latents that are not finite or not noise

The command line prints the message of a NoisepromptError and exits with status 2; anything else is a bug.

NoisepromptWarning is the base of what is only said: the command line prints it in one line and goes on.
"""

from __future__ import annotations

import math


class NoisepromptError(Exception):
    """Base class. ``str(error)`` is one paragraph: what came, what was expected, what to do.

    Args:
        came: what was received, with the offending value.
        expected: what would have been accepted.
        fix: what to do next.
    """

    def __init__(self, came: str, expected: str = "", fix: str = "") -> None:
        self.came, self.expected, self.fix = came, expected, fix
        sentences = [came, f"expected {expected}" if expected else "", fix]
        super().__init__(" ".join(_sentence(text, i > 0) for i, text in enumerate(sentences) if text))


def _sentence(text: str, capital: bool) -> str:
    """With a full stop, unless it ends as a sentence does; the first keeps its first letter, which may be a name."""
    text = text[0].upper() + text[1:] if capital else text
    return text if text.endswith((".", "?", "!")) else text + "."


class NoisepromptWarning(UserWarning):
    """Something the user should know; the work goes on."""


class InputError(NoisepromptError, ValueError):
    """A value, option or file given by the user is not usable."""


class UnknownNameError(InputError):
    """A name that no registry knows."""


class ConfigError(InputError):
    """A configuration that does not resolve, or is not the one a folder was made with."""


class PromptError(InputError):
    """A prompt source that cannot be read as prompts."""


class ShapeError(InputError):
    """A tensor of another shape than the network or pipeline takes."""


class ModelMismatchError(InputError):
    """An NPNet used with a denoiser it was not made for."""


class MissingDependencyError(NoisepromptError, ImportError):
    """An optional package is not installed."""


class ModelLoadError(NoisepromptError):
    """A model folder or hub id that cannot be loaded."""


class HubError(NoisepromptError):
    """The hub of models and data sets cannot be reached, refuses, or has nothing of that name."""


class ScorerError(NoisepromptError):
    """A scorer that fails, or gives something else than one number an image."""


class MethodError(NoisepromptError):
    """A method of another package that fails, or gives something else than noise."""


class StoreError(NoisepromptError):
    """Files that are damaged, foreign, in use or cannot be written."""


class StoreLockedError(StoreError):
    """Another process writes to the same folder."""


class ProcessLostError(NoisepromptError):
    """One of several processes that work together ended before the others."""


class NoiseError(NoisepromptError):
    """Latents that are not finite, or not noise."""


class DivergedError(NoisepromptError):
    """A training whose loss or gradient is not finite; what it saved before is untouched.

    Args:
        step: from 1.
        loss: of that step; where it is finite, what follows from it is not.
        fix: what to do next.
        what: follows, and is not finite.
    """

    def __init__(self, step: int, loss: float, fix: str, what: str = "gradient") -> None:
        what = what if math.isfinite(loss) else "loss"
        super().__init__(f"the {what} of step {step} is not finite (loss {loss:.3g})", "a finite one", fix)
