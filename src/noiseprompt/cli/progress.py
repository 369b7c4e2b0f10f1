"""What a running command shows: a progress bar, and a way to stop after the batch at hand."""

from __future__ import annotations

import signal
import sys
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import Any


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

    def __exit__(self, *_: object) -> None:
        if self._bar is not None:
            self._bar.close()


@contextmanager
def stopping() -> Iterator[Callable[[], bool]]:
    """A flag that SIGINT raises once: the batch at hand is finished; a second SIGINT stops at once."""
    asked = False

    def ask(*_: Any) -> None:
        nonlocal asked
        if asked:
            raise KeyboardInterrupt
        asked = True
        print("\nstopping after this batch (again to stop at once)", file=sys.stderr)

    before = signal.signal(signal.SIGINT, ask)
    try:
        yield lambda: asked
    finally:
        signal.signal(signal.SIGINT, before)
