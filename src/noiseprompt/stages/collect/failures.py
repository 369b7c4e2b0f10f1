"""Which failures are a pair's own and recorded with it, which stop the collection, and when too many fail in a row."""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import TypeVar

from noiseprompt.core.devices import is_out_of_memory
from noiseprompt.core.errors import (
    ConfigError,
    InputError,
    MethodError,
    ModelLoadError,
    ModelMismatchError,
    NoiseError,
    NoisepromptError,
    ScorerError,
    ShapeError,
    StoreError,
    UnknownNameError,
)
from noiseprompt.core.types import ScoredPair

T = TypeVar("T")

MANY = 4
"""So many pairs in a row that all fail are no accident of theirs."""

_SMALLER = "free memory, or load the model in a smaller dtype or with offload; then run the command again"
_OPTIONS = (ModelMismatchError, ConfigError, UnknownNameError, ShapeError)
_SURROUNDINGS = (ScorerError, MethodError, StoreError, ModelLoadError, ImportError, OSError)


class NotEncodedError(Exception):
    """The text encoder fails at a prompt; `__cause__` says how."""


def is_own(error: Exception) -> bool:
    """Whether a failure of one pair made alone says something of this pair: its prompt or its noise is not usable.

    Anything else (a scorer, a file, memory, an option, what nobody foresaw) may be well the next time.
    """
    if any(isinstance(e, _SURROUNDINGS) or is_out_of_memory(e) for e in _chain(error)):
        return False
    return isinstance(error, (NotEncodedError, InputError, NoiseError)) and not isinstance(error, _OPTIONS)


def is_shared(error: Exception) -> bool:
    """Whether a batch that fails with it is given up, rather than tried pair by pair."""
    return any(isinstance(e, (*_SURROUNDINGS, *_OPTIONS)) or is_out_of_memory(e) for e in _chain(error))


def reason(error: Exception) -> str:
    """What is recorded with a pair that failed."""
    error = _told(error)
    return f"{type(error).__name__}: {error}"


def stopping_error(error: Exception, ids: Sequence[str], device: str) -> NoisepromptError:
    """What the collection ends with after a failure that is not the pair's own.

    Args:
        ids: of the pairs that were being made.
        device: they were made on.
    """
    error = _told(error)
    if any(map(is_out_of_memory, _chain(error))):
        fix = "lower batch_size and run the same command again"
        if len(ids) == 1:
            return NoisepromptError(f"pair {ids[0]} does not fit the memory of {device}", "", _SMALLER)
        return NoisepromptError(f"{len(ids)} pairs at a time do not fit the memory of {device}", "", fix)
    if isinstance(error, NoisepromptError):
        return error
    came = f"pair {ids[0]} fails ({type(error).__name__}: {' '.join(str(error).split())[:500]})"
    return NoisepromptError(came, "", "it was not recorded: mend the cause and run the same command again")


def _told(error: Exception) -> Exception:
    cause = error.__cause__
    return cause if isinstance(error, NotEncodedError) and isinstance(cause, Exception) else error


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__


def attempt(
    items: Sequence[T],
    make: Callable[[Sequence[T]], list[ScoredPair]],
    rejected: Callable[[T, str], ScoredPair],
    name: Callable[[T], str],
    device: str,
    first: Callable[[], list[ScoredPair]] | None = None,
) -> list[ScoredPair]:
    """What `make` makes of a batch, in order. What fails together is tried one by one; an item that fails alone, for a
    reason of its own, is rejected.

    Args:
        rejected: an item and the reason -> its pair.
        name: of an item, for messages.
        device: it is made on.
        first: gives what `make` would of the whole batch, which is begun already.

    Raises:
        NoisepromptError: a failure for any other reason: a scorer, a file, memory, an option.
    """
    try:
        return make(items) if first is None else first()
    except Exception as error:
        alone = len(items) == 1
        if alone and is_own(error):
            return [rejected(items[0], reason(error))]
        if alone or is_shared(error):
            told = stopping_error(error, [name(item) for item in items], device)
            raise told from (None if told is error else error)
    return [pair for item in items for pair in attempt([item], make, rejected, name, device)]


class Held:
    """Pairs of batches that failed as a whole; they wait until something shows that model and scorers work: a later
    pair, or one of before that can be made again.

    Args:
        works: makes such a pair again; asked once so many failed in a row that it is no accident, or none comes after.

    Attributes:
        pairs: that wait, in order.
    """

    def __init__(self, works: Callable[[], bool]) -> None:
        self.pairs: list[ScoredPair] = []
        self._works = works

    def take(self, batch: Sequence[ScoredPair]) -> list[ScoredPair]:
        """The pairs to record now, in order.

        Raises:
            NoisepromptError: `MANY` or more in a row failed, and so does what was made before; none of them is to be
                recorded.
        """
        self.pairs += batch
        if not all(pair.rejected for pair in batch):
            return self.rest()
        return self.settle() if len(self.pairs) >= MANY else []

    def settle(self) -> list[ScoredPair]:
        """Those that wait, where what was made before can be made again.

        Raises:
            NoisepromptError: it cannot.
        """
        if self.pairs and not self._works():
            raise self.error()
        return self.rest()

    def rest(self) -> list[ScoredPair]:
        """Those that wait, which wait no longer."""
        ready, self.pairs = self.pairs, []
        return ready

    def error(self) -> NoisepromptError:
        """That all of those that wait failed."""
        n, first = len(self.pairs), self.pairs[0]
        came = f"all of {n} pairs in a row fail" if n > 1 else "the only pair fails"
        told = f"{came}, the first (prompt {first.prompt.text[:80]!r}, seed {first.seed}) with {first.rejected}"
        expected = "prompts that the model can draw, and a method and scorers that give finite numbers"
        return NoisepromptError(told, expected, "none of them was recorded")
