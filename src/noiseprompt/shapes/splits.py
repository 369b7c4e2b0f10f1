"""The prompts of each split of the world, all requests of the grammar in a fixed order.

Splits: "train", "validation" and "test" are disjoint (`scenes.split_of`); "held-out" is the part of "test" with a
colour-shape combination that occurs nowhere else. The order is a shuffle by hash with the kinds interleaved, so that
the first n prompts of a split are a fair sample of it for any n.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from functools import cache
from itertools import product
from typing import TypeVar

from noiseprompt.core.errors import UnknownNameError
from noiseprompt.core.types import Prompt
from noiseprompt.shapes import scenes
from noiseprompt.shapes.scenes import COLOURS, COUNTS, HELD_OUT, RELATIONS, SHAPES, SIZES, Request

SPLITS = ("train", "validation", "test", "held-out")
KIND_SHARES = {"single": 0.12, "pair": 0.24, "relation": 0.28, "count": 0.18, "size": 0.18}
"""Shares of the kinds in a list of prompts, as long as a kind lasts."""

T = TypeVar("T")


def requests() -> Iterator[Request]:
    """Every request of the grammar, 11,520 in all; two described things never share colour and shape."""
    things = tuple(product(COLOURS, SHAPES))
    for thing in things:
        yield Request("single", (thing,))
        for count in COUNTS.values():
            yield Request("count", (thing,), count=count)
        for size in SIZES:
            yield Request("size", (thing,), size=size)
    for first, second in product(things, things):
        if first != second:
            yield Request("pair", (first, second))
            for relation in RELATIONS:
                yield Request("relation", (first, second), relation=relation)


@cache
def prompts_of(split: str) -> tuple[Prompt, ...]:
    """The prompts of a split, always in the same order; "test" holds three of trained combinations to one held out.

    Raises:
        UnknownNameError: not one of `SPLITS`.
    """
    if split not in SPLITS:
        raise UnknownNameError(f"unknown split {split!r}", f"one of {', '.join(SPLITS)}")
    if split == "held-out":
        return _prompts(_mixed([r for r in requests() if _held_out(r)]))
    mine = [r for r in requests() if scenes.split_of(r) == split and not _held_out(r)]
    if split != "test":
        return _prompts(_mixed(mine))
    held_out = _mixed([r for r in requests() if _held_out(r)])
    return _prompts(_interleave([(3.0, _mixed(mine)), (1.0, held_out)]))


def _held_out(request: Request) -> bool:
    return any(thing in HELD_OUT for thing in request.things)


def _prompts(ordered: Sequence[Request]) -> tuple[Prompt, ...]:
    return tuple(Prompt(request.text, request.kind) for request in ordered)


def _mixed(chosen: Sequence[Request]) -> list[Request]:
    ordered = sorted(chosen, key=lambda r: hashlib.sha256(f"order/{r.text}".encode()).hexdigest())
    return _interleave([(share, [r for r in ordered if r.kind == kind]) for kind, share in KIND_SHARES.items()])


def _interleave(queues: Sequence[tuple[float, list[T]]]) -> list[T]:
    """One list out of weighted queues: always the next of the queue that is furthest behind its share."""
    taken = [0] * len(queues)
    merged: list[T] = []
    while True:
        open_queues = [i for i, (_, items) in enumerate(queues) if taken[i] < len(items)]
        if not open_queues:
            return merged
        chosen = min(open_queues, key=lambda i: ((taken[i] + 0.5) / queues[i][0], i))
        merged.append(queues[chosen][1][taken[chosen]])
        taken[chosen] += 1
