"""The last net: an error that nobody foresaw ends in one line; its traceback goes to a file."""

from __future__ import annotations

import os
import sys
import tempfile
import time
import traceback
from collections.abc import Sequence
from pathlib import Path

from noiseprompt.cli.progress import say
from noiseprompt.core.places import current_folder


def caught(error: Exception, words: Sequence[str], debug: bool = False) -> int:
    """Tell of an error that is none of ours.

    Args:
        words: of the command line.
        debug: print the traceback and write no file.

    Returns:
        the exit status, 1.
    """
    if debug:
        traceback.print_exception(error)
        say(f"error: {_kind(error)}")
    else:
        doing = " ".join(["noiseprompt", *(word for word in words[:1] if not word.startswith("-"))])
        say(f"error: {account(error, doing, _folder(words), words)}")
    return 1


def account(error: Exception, doing: str, folder: Path | None = None, words: Sequence[str] = ()) -> str:
    """One line about an error that nobody foresaw; the whole of it is written to a file first.

    Args:
        doing: what ended with it.
        folder: of the run; the file goes there if it exists, else to the temporary folder.
        words: of the command line, for the file.
    """
    text = f"{doing}: {_kind(error)}"
    if file := _in_the_way(error):
        return f"{text}. {file} takes the place of a module of Python or of a library: rename it, or run this elsewhere"
    if said := _variable(error):
        return f"{text}. The environment says {said}, which a library does not take: mend or unset it"
    whole = "".join(traceback.format_exception(error))
    for place in (folder, Path(tempfile.gettempdir())):
        if place is not None and place.is_dir() and (path := _write(place, f"{list(words)}\n{_versions()}\n\n{whole}")):
            return f"{text}. This was not foreseen: please report it in the issue tracker with the file {path}"
    sys.stderr.write(whole)
    return f"{text}. This was not foreseen: please report it in the issue tracker with the lines above"


def _in_the_way(error: Exception) -> str:
    """The file or folder of the current folder that was imported in place of the library of that name, "" where the
    error is of something else: `python -m` looks there first."""
    here = current_folder()
    if here is None:
        return ""
    asked = [getattr(getattr(error, "obj", None), "__file__", None), getattr(error, "path", None)]
    files = [*filter(None, asked), *(frame.f_code.co_filename for frame, _ in traceback.walk_tb(error.__traceback__))]
    for file in files:
        found = Path(file).relative_to(here).parts if Path(file).is_relative_to(here) else ("",)
        name = found[0].removesuffix(".py")
        if name in sys.stdlib_module_names or name in _LIBRARIES:
            return found[0]
    return ""


_LIBRARIES = ("torch", "numpy", "diffusers", "transformers", "PIL", "pyarrow", "jsonargparse", "safetensors", "yaml")
"""Of others, that are imported under these names."""

_OF_LIBRARIES = ("HF_", "TRANSFORMERS_", "DIFFUSERS_", "JSONARGPARSE_", "TORCH", "PYTORCH_", "GRADIO_", "RAY_")
"""How the names of variables begin that libraries read when they are imported."""

_OF_TORCH = ("TORCH_", "PYTORCH_")


def _variable(error: Exception) -> str:
    """The variable of the environment that a library could not read, "" where the error is of something else."""
    told = str(error)
    if "TORCH_LIBRARY can be used to register" in told:  # the second import of torch, after a first that failed
        return " and ".join(f"{name}={value!r:.60}" for name, value in os.environ.items() if name.startswith(_OF_TORCH))
    if not isinstance(error, ValueError):
        return ""
    for name, value in os.environ.items():
        of_a_library = name.startswith(_OF_LIBRARIES) and "TOKEN" not in name
        port = "://" in value and "port" in told.lower()  # out of range: the address is not told
        if of_a_library and (name in told or port or (len(value) > 1 and told.endswith(repr(value)))):
            return f"{name}={value!r:.60}"
    return ""


def _write(folder: Path, text: str) -> Path | None:
    """A new file in a folder; None where there cannot be one."""
    path = folder / f"noiseprompt-error-{time.strftime('%Y%m%d-%H%M%S')}-{time.monotonic_ns() % 10**6:06}.txt"
    try:
        with path.open("x", encoding="utf-8", errors="backslashreplace") as file:
            file.write(text)
    except OSError:
        return None
    return path


def _kind(error: Exception) -> str:
    message = " ".join(str(error).split())
    return f"{type(error).__name__}: {message[:200]}".rstrip(": .")


def _versions() -> str:
    from noiseprompt.core.environment import environment

    return ", ".join(f"{name} {version}" for name, version in environment().items())


def _folder(words: Sequence[str]) -> Path | None:
    """The folder after --out."""
    for word, following in zip(words, [*words[1:], ""], strict=True):
        name, equals, value = word.partition("=")
        if name == "--out" and (value if equals else following):
            return Path(value if equals else following)
    return None
