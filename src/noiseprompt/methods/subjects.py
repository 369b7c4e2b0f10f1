"""Which words of a prompt are its subjects, and which tokens they are: for methods that look at attention."""

from __future__ import annotations

import re
from collections.abc import Sequence
from typing import Any

from noiseprompt.core.errors import InputError

_LEFT_OUT = """
a an the this that these those some any each every no all both one two three four five six seven eight nine ten
and or but nor with without of in on at by to from for as into onto over under above below behind beside between
near next left right top bottom front back inside outside through across around against along among off out up down
is are was were be been being has have had do does did it its his her their our my your he she they we i you
who which what where when while very so too not there here than then photo picture image painting drawing illustration
style
"""
STOP_WORDS = frozenset(_LEFT_OUT.split())
"""Words that name nothing to draw."""

Subject = tuple[int, ...]
"""The token positions of a subject's words ("red circle")."""


def find_subjects(tokenizer: Any, text: str, tokens: Sequence[str], length: int) -> tuple[Subject, ...]:
    """The subjects of a prompt: the words asked for, one each, or else every run of words that are no stop words.

    Args:
        tokenizer: of the pipeline, one of the `tokenizers` library.
        tokens: words of the prompt, in any case; () finds the subjects.
        length: tokens the text encoder reads; a subject's words at or beyond the last one are left out.

    Raises:
        InputError: a word that the prompt does not hold, or a tokenizer that does not tell where a token comes from.
    """
    if not getattr(tokenizer, "is_fast", False):
        raise InputError(f"a tokenizer {type(tokenizer).__name__}", "one that gives the offsets of its tokens")
    spans = [(m.start(), m.end(), m.group().lower()) for m in re.finditer(r"\w+", text)]
    words = [word for _, _, word in spans]
    missing = [token for token in tokens if token.lower() not in words]
    if missing:
        raise InputError(f"the subject {missing[0]!r} in {text!r}", "a word of the prompt")
    wanted = {token.lower() for token in tokens}
    runs: list[list[tuple[int, int]]] = [[]]
    for (start, end, word), before in zip(spans, [0, *(end for _, end, _ in spans)], strict=False):
        chosen = word in wanted if wanted else word not in STOP_WORDS and not word.isdigit()
        if not chosen or wanted or text[before:start].strip():  # punctuation ends a subject too
            runs.append([])
        if chosen:
            runs[-1].append((start, end))
    offsets = _offsets(tokenizer, text, length)
    subjects = [tuple(p for span in run for p in _positions(offsets, span)) for run in runs]
    return tuple(subject for subject in subjects if subject)


def _offsets(tokenizer: Any, text: str, length: int) -> list[tuple[int, int]]:
    options = {"padding": "max_length", "max_length": length, "truncation": True, "return_offsets_mapping": True}
    return tokenizer(text, **options)["offset_mapping"]


def _positions(offsets: list[tuple[int, int]], span: tuple[int, int]) -> tuple[int, ...]:
    last = len(offsets) - 1
    return tuple(i for i, (a, b) in enumerate(offsets[:last]) if a < b and a < span[1] and b > span[0])
