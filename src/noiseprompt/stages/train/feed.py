"""Batches that are made while the loop computes."""

from __future__ import annotations

from collections import deque
from collections.abc import Callable, Generator, Iterable
from concurrent.futures import Future, ThreadPoolExecutor
from typing import TypeVar

Wanted = TypeVar("Wanted")
Made = TypeVar("Made")


def ahead(
    make: Callable[[Wanted], Made], wanted: Iterable[Wanted], most: int = 2
) -> Generator[tuple[Wanted, Made], None, None]:
    """What is wanted with what is made of it, in that order; a thread of its own is at most `most` ahead.

    An error of `make` is raised where its result would have come. Close the iterator to end the thread.
    """
    waiting: deque[tuple[Wanted, Future[Made]]] = deque()
    pool = ThreadPoolExecutor(1, "feed")
    try:
        for one in wanted:
            waiting.append((one, pool.submit(make, one)))
            if len(waiting) > most:
                first, made = waiting.popleft()
                yield first, made.result()
        while waiting:
            first, made = waiting.popleft()
            yield first, made.result()
    finally:
        pool.shutdown(cancel_futures=True)
