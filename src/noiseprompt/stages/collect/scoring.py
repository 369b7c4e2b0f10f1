"""When a batch is scored: after it is drawn, or in a thread of its own while the next one is drawn."""

from __future__ import annotations

from collections.abc import Sequence
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import TYPE_CHECKING, NamedTuple, Protocol

import torch

from noiseprompt.core.types import ScoredPair
from noiseprompt.stages.collect.pairs import Drawn, Item

if TYPE_CHECKING:
    from noiseprompt.pipelines import Pipeline
    from noiseprompt.scorers.base import Scorer

APART = ("cuda", "xpu")
"""Devices that compute while the host scores, and that take work of two threads; torch's MPS backend does not."""


class Maker(Protocol):
    """Makes pairs (or pictures) of a data set."""

    def draw(self, items: Sequence[Item]) -> Drawn:
        """Everything of a batch but its scores; what it gives is called once, maybe in another thread."""
        ...

    def make(self, items: Sequence[Item], drawn: Drawn | None = None) -> list[ScoredPair]:
        """Those of a batch, in order; one that cannot be made is rejected.

        Args:
            drawn: the batch, where it was drawn already; if it fails, its items are drawn again one by one.
        """
        ...


class Batch(NamedTuple):
    """Items, drawn where they are scored apart."""

    items: Sequence[Item]
    drawn: Drawn | None = None


def is_apart(pipeline: Pipeline, scorers: Sequence[Scorer]) -> bool:
    """Whether scoring while the next batch is drawn saves time. On a CPU both would share the same cores."""
    return bool(scorers) and torch.device(str(pipeline.device)).type in APART


class Scoring:
    """Makes batches; the scorers are never asked by two threads at once.

    Args:
        apart: scores a batch while the next is drawn, so that at most two batches of images are in memory.
    """

    def __init__(self, maker: Maker, apart: bool) -> None:
        self.apart, self._maker, self._begun = apart, maker, list[Batch]()
        self._pool = ThreadPoolExecutor(1, "scoring")  # starts its thread with the first batch

    def draw(self, items: Sequence[Item]) -> Batch:
        """A batch to `begin`, drawn here where it is scored apart; what fails is raised by `end`."""
        if not self.apart:
            return Batch(items)
        try:
            return Batch(items, self._maker.draw(items))
        except Exception as error:
            return Batch(items, _raising(error))

    def begin(self, batch: Batch) -> None:
        """Have it scored, once the one before is ended."""
        apart = batch.drawn and self._pool.submit(_as_here(batch.drawn)).result
        self._begun.append(Batch(batch.items, apart))

    def end(self) -> list[ScoredPair] | None:
        """The pairs of the batch that was begun; None where there is none.

        Raises:
            NoisepromptError: as `Maker.make`.
        """
        if not self._begun:
            return None
        batch = self._begun.pop()
        return self._maker.make(batch.items, batch.drawn)

    def close(self) -> None:
        """End the thread."""
        self._pool.shutdown(cancel_futures=True)


def _raising(error: Exception) -> Drawn:
    def fails() -> list[ScoredPair]:
        raise error

    return fails


def _as_here(drawn: Drawn) -> Drawn:
    """To be called in a thread, which begins with gradients and with the first GPU, whatever this one uses."""
    gradients = torch.is_grad_enabled()
    gpu = torch.cuda.current_device() if torch.cuda.is_initialized() else None

    def scored() -> list[ScoredPair]:
        with torch.set_grad_enabled(gradients), nullcontext() if gpu is None else torch.cuda.device(gpu):
            return drawn()

    return scored
