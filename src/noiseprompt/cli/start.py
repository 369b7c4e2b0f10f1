"""Where the command line begins: nothing heavy is imported before a signal, a closed stream or an error is in hands."""

from __future__ import annotations

import contextlib
import io
import os
import sys
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any

from noiseprompt.cli.progress import ending, say
from noiseprompt.cli.together import hush, is_hushed, spoken_for


def main(arguments: list[str] | None = None) -> int:
    """Entry point: runs one command.

    Args:
        arguments: the words after "noiseprompt", a list of texts, those of the process unless given.

    Returns:
        the exit status: 0; 1 for an error that nobody foresaw or output that was lost; 2 for bad input, told in one
        line; 130 or 143 where a signal stopped it.
    """
    given: Any = sys.argv[1:] if arguments is None else arguments
    if not isinstance(given, list | tuple) or not all(isinstance(word, str) for word in given):
        say(f"error: main({given!r:.60}). Expected a list of words, such as ['doctor', '--model', 'shapes'].")
        return 2
    words = list(given)
    debug = "--debug" in words
    words = [word for word in words if word != "--debug"]
    hush(spoken_for(words))
    with _streams() as out, ending():
        left: SystemExit | None = None
        try:
            from noiseprompt.cli.entry import run

            status = run(words, debug)
        except KeyboardInterrupt as stop:
            status = getattr(stop, "status", 130)
            say("stopped; the same command continues where it was")
        except SystemExit as done:  # --help, --version and --print_config, once they are printed
            status, left = 0, done
        except Exception as error:
            from noiseprompt.cli.net import caught

            status = caught(error, words, debug)
        out.flush()
        if out.problem is not None and not isinstance(out.problem, BrokenPipeError):
            say(f"error: standard output cannot be written: {out.problem}")
            return status or 1
        if left is not None:
            raise left
        return status


class _Patient:
    """A text stream that goes on without its reader: what nobody takes any more does not end a run. It takes nothing
    where another process speaks for this one.

    Fields:
        problem: the error after which nothing was written any more.
    """

    def __init__(self, stream: Any) -> None:
        self._stream, self.problem = stream, None

    def write(self, text: str) -> int:
        if not is_hushed():
            self._try(lambda: self._stream.write(text))
        return len(text)

    def flush(self) -> None:
        self._try(self._stream.flush)

    def close(self) -> None:
        """Leaves the stream open, whoever asks: a plug-in does not end what others say."""
        self.flush()

    def _try(self, act: Any) -> None:
        if self.problem is not None:
            return
        try:
            act()
        except OSError as error:
            self.problem = error
            with contextlib.suppress(OSError, ValueError):  # what is in its buffer is lost too, without a word at exit
                nowhere = os.open(os.devnull, os.O_WRONLY)
                os.dup2(nowhere, self._stream.fileno())
                os.close(nowhere)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._stream, name)


@contextmanager
def _streams() -> Iterator[_Patient]:
    """Standard output and error that never fail: closed, full, or in an encoding that lacks a letter of a prompt."""
    before = sys.stdout, sys.stderr
    patient = []
    for stream in before:
        if isinstance(stream, io.TextIOWrapper):
            stream.reconfigure(errors="backslashreplace")
        patient.append(_Patient(stream or open(os.devnull, "w", encoding="utf-8")))  # noqa: SIM115 - lives as long
    sys.stdout, sys.stderr = patient
    try:
        yield patient[0]
    finally:
        sys.stdout, sys.stderr = before
