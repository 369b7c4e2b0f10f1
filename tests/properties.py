"""What property tests share: the same few examples in every run, and any data that JSON can say."""

from __future__ import annotations

import math
from typing import Any

from hypothesis import HealthCheck, settings
from hypothesis import strategies as st


def few(examples: int) -> Any:
    """A test of so many examples, always the same ones, whatever the machine's speed."""
    quiet = [HealthCheck.function_scoped_fixture, HealthCheck.too_slow, HealthCheck.filter_too_much]
    return settings(
        max_examples=examples, derandomize=True, database=None, deadline=None, suppress_health_check=quiet
    )  # fmt: skip


TEXTS = st.text(st.characters(codec="utf-8"), max_size=20)
"""Without half characters, which UTF-8 cannot say."""

SCALARS = st.none() | st.booleans() | st.integers() | st.floats(allow_nan=False, allow_infinity=False) | TEXTS

JSON = st.recursive(
    SCALARS, lambda inner: st.lists(inner, max_size=4) | st.dictionaries(TEXTS, inner, max_size=4), max_leaves=12
)


@st.composite
def damaged(draw: Any, whole: bytes) -> bytes:
    """The bytes of a file, cut, or with some bytes changed, left out or doubled."""
    data = bytearray(whole)
    for _ in range(draw(st.integers(1, 3))):
        if not data:
            break
        at, kind = draw(st.integers(0, len(data) - 1)), draw(st.sampled_from(["flip", "set", "cut", "drop", "double"]))
        if kind == "flip":
            data[at] ^= 1 << draw(st.integers(0, 7))
        elif kind == "set":
            data[at] = draw(st.integers(0, 255))
        elif kind == "cut":
            del data[at:]
        elif kind == "drop":
            del data[at : at + draw(st.integers(1, 16))]
        else:
            data[at:at] = data[at : at + draw(st.integers(1, 16))]
    return bytes(data)


def same(one: Any, other: Any) -> bool:
    """Equal and of the same types: 1, 1.0 and true are three values."""
    if type(one) is not type(other):
        return False
    if isinstance(one, dict):
        return one.keys() == other.keys() and all(same(one[key], other[key]) for key in one)
    if isinstance(one, list):
        return len(one) == len(other) and all(map(same, one, other))
    return one == other and (not isinstance(one, float) or math.copysign(1, one) == math.copysign(1, other))
