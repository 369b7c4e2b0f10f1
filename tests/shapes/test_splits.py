"""The splits: disjoint, complete, in a fixed order, fair from the start."""

from __future__ import annotations

import hashlib
from collections import Counter

import pytest

from noiseprompt.core.errors import UnknownNameError
from noiseprompt.shapes import scenes
from noiseprompt.shapes.splits import SPLITS, prompts_of, requests


def test_splits_are_disjoint_and_hold_every_request():
    texts = {split: {p.text for p in prompts_of(split)} for split in SPLITS}
    assert not texts["train"] & texts["validation"] and not (texts["train"] | texts["validation"]) & texts["test"]
    assert texts["held-out"] < texts["test"]
    assert texts["train"] | texts["validation"] | texts["test"] == {r.text for r in requests()}
    for split in SPLITS:
        assert len(texts[split]) == len(prompts_of(split))


def test_split_agrees_with_the_split_of_the_training_pictures():
    for split in ("train", "validation", "test"):
        assert all(scenes.split_of(scenes.parse(p.text)) == split for p in prompts_of(split)[:300])


def test_held_out_holds_exactly_the_unseen_combinations():
    def unseen(prompt) -> bool:
        return bool(set(scenes.parse(prompt.text).things) & scenes.HELD_OUT)

    assert all(unseen(p) for p in prompts_of("held-out"))
    assert not any(unseen(p) for split in ("train", "validation") for p in prompts_of(split))
    assert sum(unseen(p) for p in prompts_of("test")) == len(prompts_of("held-out"))
    assert sum(unseen(p) for p in prompts_of("test")[:400]) == 100


@pytest.mark.parametrize("split", SPLITS)
def test_kinds_are_right_and_mixed_from_the_start(split):
    prompts = prompts_of(split)
    assert all(p.kind == scenes.parse(p.text).kind and p.seed is None for p in prompts[:300])
    first = Counter(p.kind for p in prompts[:32])
    assert set(first) == set(scenes.KINDS) and max(first.values()) <= 22


def test_order_never_changes():
    text = "\n".join(p.text for split in SPLITS for p in prompts_of(split))
    assert hashlib.sha256(text.encode()).hexdigest()[:16] == "4ca8f1ad0c7d15df"


def test_unknown_split():
    with pytest.raises(UnknownNameError, match="held-out"):
        prompts_of("dev")
