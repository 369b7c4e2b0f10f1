"""Captions that do not tell the truth about their picture, and near misses of a request."""

from __future__ import annotations

from dataclasses import dataclass
from itertools import product

import numpy as np

from noiseprompt.core.ranges import SHARE, check, setting
from noiseprompt.shapes.scenes import COLOURS, RELATIONS, SHAPES, Request, random_request, split_of


@dataclass(frozen=True)
class CaptionNoise:
    """Shares of captions in [0, 1] that do not tell the truth about their picture, as on the web.

    Raises:
        ConfigError: a share that is none.
    """

    unrelated: float = setting(0.35, SHARE)
    altered: float = setting(0.10, SHARE)
    empty: float = setting(0.10, SHARE)

    def __post_init__(self) -> None:
        check(self)

    def caption(self, rng: np.random.Generator, request: Request) -> str:
        """The caption for a picture of `request`: true, unrelated, altered in one attribute, or empty."""
        u = rng.random()
        if u < self.empty:
            return ""
        if u < self.empty + self.unrelated:
            return random_request(rng).text
        if u < self.empty + self.unrelated + self.altered:
            return alter(rng, request).text
        return request.text


def alter(rng: np.random.Generator, request: Request, split: str = "train") -> Request:
    """A near miss of the same split: one attribute of the request changed, or one thing or detail left out."""
    moves = ["thing"]
    if request.kind in ("pair", "relation"):
        moves += ["drop", "swap"]
    if request.kind == "relation":
        moves += ["relation", "relation"]
    if request.kind == "count":
        moves += ["count", "count"]
    if request.kind == "size":
        moves += ["size", "plain"]
    while True:
        changed = _change(rng, request, str(rng.choice(moves)))
        if changed is not None and split_of(changed) == split:
            return changed


def _change(rng: np.random.Generator, request: Request, move: str) -> Request | None:
    if move == "drop":
        return Request("single", (request.things[int(rng.integers(2))],))
    if move == "plain":
        return Request("single", request.things)
    if move == "swap":
        (c1, s1), (c2, s2) = request.things
        things = ((c2, s1), (c1, s2))
        same = set(things) == set(request.things)
        return None if same else Request(request.kind, things, relation=request.relation)
    if move == "relation":
        others = [r for r in RELATIONS if r != request.relation]
        return Request("relation", request.things, relation=str(rng.choice(others)))
    if move == "count":
        return Request("count", request.things, count=5 - request.count)
    if move == "size":
        return Request("size", request.things, size="small" if request.size == "large" else "large")
    index = int(rng.integers(len(request.things)))
    colour, shape = request.things[index]
    near = [p for p in product(COLOURS, SHAPES) if (p[0] == colour) != (p[1] == shape) and p not in request.things]
    things = list(request.things)
    things[index] = near[int(rng.integers(len(near)))]
    return Request(request.kind, tuple(things), request.relation, request.count, request.size)
