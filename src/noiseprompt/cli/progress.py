"""What a running command shows: a progress bar, and a way to stop after the batch at hand."""

from __future__ import annotations

import contextlib
import contextvars
import os
import signal
import sys
import threading
import time
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any

from noiseprompt.core.texts import visible

PATIENCE = 10.0
"""Seconds after which a plan is told although nothing has come of it yet: what is refused is refused sooner, alone."""

LOG_SECONDS = 60.0
"""Between two lines of progress where standard error is no terminal."""

LONG_SECONDS = 20.0
"""From so much to go on it is told how long it will take."""


class Bar:
    """What a long command shows on standard error: one line of its plan, how long it will take, a bar that moves.

    All of it appears with the first result, so that an error before it stands alone; the plan at the latest after
    `PATIENCE`. The rate counts from there: what an earlier run did does not flatter it. Where standard error is no
    terminal there is a line a minute in place of the bar.

    Args:
        desc: of the command.
        unit: what is counted, as in "image".
        plan: what will be done, for how many; "" tells nothing.
    """

    def __init__(self, desc: str, unit: str, plan: str = "") -> None:
        self._desc, self._unit, self._plan = desc, unit, plan
        self._bar: Any = None
        self._timer = threading.Timer(PATIENCE, self._tell_plan)
        self._timer.daemon = True
        self._lock = threading.Lock()
        self._begun: tuple[int, float] | None = None
        self._told: float | None = None

    def show(self, done: int, total: int, **postfix: Any) -> None:
        """So far `done` of `total`."""
        self._tell_plan()
        now = time.monotonic()
        if self._begun is None:
            self._begun = done, now
        elif self._told is None or now - self._told > LOG_SECONDS:
            self._tell_time(done, total, now)
        if not terminal():
            return
        from tqdm import tqdm

        if self._bar is None:
            self._bar = tqdm(total=total, initial=done, desc=self._desc, unit=self._unit)
        self._bar.n = done
        self._bar.set_postfix(postfix, refresh=True)

    def say(self, line: str) -> None:
        """A line above the bar."""
        if self._bar is None:
            print(line, flush=True)
        else:
            self._bar.write(line)

    def _tell_plan(self) -> None:
        with self._lock:
            plan, self._plan = self._plan, ""
        if plan:
            say(f"{self._desc}: {plan}")

    def _tell_time(self, done: int, total: int, now: float) -> None:
        """Once on a terminal, whose bar goes on telling; in a log a line a minute."""
        assert self._begun is not None
        first, since = self._begun
        each = (now - since) / max(done - first, 1)
        left = each * (total - done)
        if left > LONG_SECONDS and (self._told is None or not terminal()):
            say(f"{self._desc}: {done:,} of {total:,} {self._unit}s, about {duration(left)} to go ({each:.2g} s each)")
        self._told = now

    def __enter__(self) -> Bar:
        self._timer.start()
        return self

    def close(self) -> None:
        """Leave it as it stands; may be called again."""
        self._timer.cancel()
        if self._bar is not None:
            self._bar.close()

    def __exit__(self, *_: object) -> None:
        self.close()


def terminal() -> bool:
    """Whether a person looks at standard error, not a log."""
    with contextlib.suppress(OSError, ValueError):  # a closed stream
        return sys.stderr.isatty()
    return False


def duration(seconds: float) -> str:
    """ "40 seconds", "12 minutes", "3.5 hours", "2.1 days"."""
    for size, name in ((86_400, "days"), (3_600, "hours")):
        if seconds >= 2 * size:
            return f"{seconds / size:.1f} {name}"
    return f"{seconds / 60:.0f} minutes" if seconds >= 120 else f"{seconds:.0f} seconds"


_conducted = contextvars.ContextVar("conducted", default=False)


@contextmanager
def conducted() -> Iterator[None]:
    """While it lasts, commands are steps of a longer story, which itself tells what comes next."""
    before = _conducted.set(True)
    try:
        yield
    finally:
        _conducted.reset(before)


def say_next(line: str) -> None:
    """What to type, or look at, next; on standard error."""
    if not _conducted.get():
        say(f"next: {line}")


class Stopped(KeyboardInterrupt):
    """A signal asked to stop.

    Args:
        number: of the signal.
    """

    def __init__(self, number: int) -> None:
        super().__init__(f"signal {number}")
        self.number = number
        self.status = 128 + number
        """Exit status, as a shell gives it."""


SIGNALS = (signal.SIGINT, signal.SIGTERM, *([signal.SIGHUP] if hasattr(signal, "SIGHUP") else []))
"""What asks to stop: Ctrl-C, a cluster, a terminal that closes (Windows has no such signal)."""


def say(line: str) -> None:
    """One line of this program on standard error, wherever that goes; nothing in it commands the terminal.

    On a terminal, errors are red and warnings yellow, unless `NO_COLOR` is set.
    """
    with contextlib.suppress(OSError, ValueError):
        print(f"noiseprompt: {_coloured(visible(line))}", file=sys.stderr, flush=True)


_COLOURS = {"error:": 31, "warning:": 33}


def _coloured(line: str) -> str:
    word, space, rest = line.partition(" ")
    plain = word not in _COLOURS or os.environ.get("NO_COLOR") or os.environ.get("TERM") == "dumb" or not terminal()
    return line if plain else f"\033[{_COLOURS[word]}m{word}\033[0m{space}{rest}"


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
    """While it lasts, one of `SIGNALS` raises `Stopped`; one that comes while that is on its way ends the process.

    Inside an import they end the process there and then: libraries swallow what is raised in the middle of theirs, and
    a process may be killed at any moment without a loss. Where nothing can pass it on (`__del__`, a callback from C) it
    is raised again a moment later.
    """

    def stop(number: int, frame: Any) -> None:
        _stop(number, at_once=_importing(frame))

    _raised.clear()
    with _handling(stop), _heard():
        yield


_raised: list[int] = []
"""The signal that is on its way as a `Stopped`, in this process."""


def _stop(number: int, at_once: bool = False) -> None:
    """Raise `Stopped`; where one is on its way, or `at_once`, end the process there and then."""
    if _raised or at_once:
        say("stopped; the same command continues where it was")
        os._exit(128 + number)
    _raised.append(number)
    raise Stopped(number)


AGAIN = 0.05
"""Seconds after which a signal that was not heard is sent again."""


@contextmanager
def _heard() -> Iterator[None]:
    """While it lasts, a `Stopped` that the interpreter would only write to standard error is sent again as a signal."""
    before, waiting = sys.unraisablehook, []

    def hook(lost: Any) -> None:
        if not isinstance(lost.exc_value, Stopped):
            before(lost)
            return
        _raised.clear()
        again = threading.Timer(AGAIN, os.kill, (os.getpid(), lost.exc_value.number))
        again.daemon = True
        waiting.append(again)
        again.start()

    sys.unraisablehook = hook
    try:
        yield
    finally:
        sys.unraisablehook = before
        for again in waiting:
            again.cancel()


def _importing(frame: Any) -> bool:
    while frame is not None and not frame.f_code.co_filename.startswith("<frozen importlib"):
        frame = frame.f_back
    return frame is not None


@contextmanager
def stopping() -> Iterator[Callable[[], bool]]:
    """A flag that one of `SIGNALS` raises once: the batch at hand is finished; a second one stops at once, a third
    one ends the process.

    Raises:
        Stopped: at its end, if the flag was raised.
    """
    asked: list[int] = []
    _raised.clear()

    def ask(number: int, _: Any) -> None:
        if asked:
            _stop(number)
        asked.append(number)
        say("stopping after this batch (again to stop at once)")

    with _handling(ask):
        yield lambda: bool(asked)
    if asked:
        _stop(asked[0])
