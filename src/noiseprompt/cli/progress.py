"""What a running command shows: a progress bar, and a way to stop after the batch at hand."""

from __future__ import annotations

import contextlib
import os
import signal
import sys
import threading
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from noiseprompt.core.texts import visible


class Bar:
    """A progress bar that appears with the first result, so that an error before it stands alone.

    Its rate counts from there: what an earlier run did does not flatter it.
    """

    def __init__(self, desc: str, unit: str) -> None:
        self._desc, self._unit = desc, unit
        self._bar: Any = None

    def show(self, done: int, total: int, **postfix: Any) -> None:
        """So far `done` of `total`."""
        from tqdm import tqdm

        if self._bar is None:
            self._bar = tqdm(total=total, initial=done, desc=self._desc, unit=self._unit)
        self._bar.n = done
        self._bar.set_postfix(postfix, refresh=True)

    def say(self, line: str) -> None:
        """A line above the bar."""
        from tqdm import tqdm

        tqdm.write(line)

    def __enter__(self) -> Bar:
        return self

    def close(self) -> None:
        """Leave it as it stands; may be called again."""
        if self._bar is not None:
            self._bar.close()

    def __exit__(self, *_: object) -> None:
        self.close()


class Stopped(KeyboardInterrupt):
    """A signal asked to stop.

    Args:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"signal {number}")
        self.status = 128 + number
        """Exit status, as a shell gives it."""


SIGNALS = (signal.SIGINT, signal.SIGTERM)


def say(line: str) -> None:
    """One line of this program on standard error, wherever that goes; nothing in it commands the terminal."""
    with contextlib.suppress(OSError, ValueError):
        print(f"noiseprompt: {visible(line)}", file=sys.stderr, flush=True)


@contextmanager
def _handling(handle: Callable[[int, Any], None]) -> Iterator[None]:
    """While it lasts, `handle` answers the signals that are not ignored; outside the main thread nothing changes."""
    before = {}
    if threading.current_thread() is threading.main_thread():
        for number in SIGNALS:
            if signal.getsignal(number) is not signal.SIG_IGN:  # as under nohup
                before[number] = signal.signal(number, handle)
    try:
        yield
    finally:
        for number, own in before.items():
            signal.signal(number, own)


@contextmanager
def ending() -> Iterator[None]:
    """While it lasts, SIGINT and SIGTERM raise `Stopped`.

    Inside an import they end the process there and then: libraries swallow what is raised in the middle of theirs, and
    a process may be killed at any moment without a loss.
    """

    def stop(number: int, frame: Any) -> None:
        if _importing(frame):
            say("stopped; the same command continues where it was")
            os._exit(128 + number)
        raise Stopped(number)

    with _handling(stop):
        yield


def _importing(frame: Any) -> bool:
    while frame is not None and not frame.f_code.co_filename.startswith("<frozen importlib"):
        frame = frame.f_back
    return frame is not None


@contextmanager
def stopping() -> Iterator[Callable[[], bool]]:
    """A flag that SIGINT or SIGTERM raises once: the batch at hand is finished; a second one stops at once.

    Raises:
        Stopped: at its end, if the flag was raised.
    """
    asked: list[int] = []

    def ask(number: int, _: Any) -> None:
        if asked:
            raise Stopped(number)
        asked.append(number)
        say("stopping after this batch (again to stop at once)")

    with _handling(ask):
        yield lambda: bool(asked)
    if asked:
        raise Stopped(asked[0])
