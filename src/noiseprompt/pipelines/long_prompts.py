"""Prompts that are longer than a text encoder reads: what is cut, and the mean over their chunks for an NPNet."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Sequence
from typing import TYPE_CHECKING, Any

from noiseprompt.core.errors import ModelLoadError, NoisepromptWarning
from noiseprompt.core.ranges import shown
from noiseprompt.pipelines.families.base import UNLIMITED, Family

if TYPE_CHECKING:
    import torch

    from noiseprompt.pipelines.families.embeds import TextEmbeds

Limits = list[tuple[Any, int]]
"""Tokenizers, each with the number of tokens that is read of it."""


class TextWarning(NoisepromptWarning):
    """A prompt that is not read to its end."""


MOST_TOKENS = 10**9
"""From there on a tokenizer's length means none, which a pipeline that asks the tokenizer alone cannot pad to."""


def limits(pipe: Any, family: Family) -> Limits:
    """Each tokenizer of a diffusers pipeline and the number of tokens, special ones included, that is read of it.

    What the family says (`token_limits`), or the tokenizer itself where that is less.

    Raises:
        ModelLoadError: a tokenizer that says what no number of tokens is.
    """
    found = []
    for name, most in family.token_limits.items():
        tokenizer = getattr(pipe, name, None)
        own = getattr(tokenizer, "model_max_length", UNLIMITED)
        sound = isinstance(own, int | float) and own >= 1
        if not sound or (tokenizer is not None and most >= UNLIMITED and own >= MOST_TOKENS):
            came = f"the {name} of a {type(pipe).__name__} has model_max_length {shown(own)}"
            raise ModelLoadError(
                came,
                "the number of tokens that its text encoder reads",
                "mend its tokenizer_config.json, or copy it again",
            )
        limit = int(min(own, most))
        if tokenizer is not None and limit < UNLIMITED:
            found.append((tokenizer, limit))
    return found


def reach(limits: Limits, text: str) -> int:
    """How many characters of `text` every text encoder reads; `len(text)` where all of it fits.

    A word that is not read whole does not count.
    """
    return min((_reach(tokenizer, limit, text) for tokenizer, limit in limits), default=len(text))


def _reach(tokenizer: Any, limit: int, text: str) -> int:
    def fits(characters: int) -> bool:
        return len(tokenizer(text[:characters], truncation=False, padding=False, verbose=False).input_ids) <= limit

    if fits(len(text)):
        return len(text)
    ends = [word.end() for word in re.finditer(r"\S+", text)]
    return _last(ends, fits) or _last(range(1, ends[0]), fits)  # inside the first word where not even that fits


def _last(positions: Sequence[int], fits: Callable[[int], bool]) -> int:
    """The last of rising positions that fits, 0 where none does."""
    low, high = 0, len(positions)
    while low < high:
        middle = (low + high) // 2
        low, high = (middle + 1, high) if fits(positions[middle]) else (low, middle)
    return positions[low - 1] if low else 0


def chunks(limits: Limits, text: str) -> list[str]:
    """`text` in pieces that every text encoder reads whole, cut between words where there are spaces."""
    pieces = []
    rest = text.strip()
    while rest:
        length = max(reach(limits, rest), 1)
        pieces.append(rest[:length].strip())
        rest = rest[length:].strip()
    return pieces or [text]


def warn_cut(limits: Limits, texts: Sequence[str]) -> int:
    """Warn, once for all of them, about prompts that are not read to their end; returns how many there are.

    Warns:
        TextWarning: with what is cut off the first of them.
    """
    cut = [(text, length) for text in dict.fromkeys(texts) if (length := reach(limits, text)) < len(text)]
    if cut:
        text, length = cut[0]
        tokens = min(limit for _, limit in limits)
        which = "the prompt is" if len(texts) == 1 else f"{len(cut)} of {len(set(texts))} prompts are"
        lost = text[length:].strip()
        lost = lost if len(lost) <= 200 else f"{lost[:200]}..."
        first = "" if len(cut) == 1 else " of the first"
        warnings.warn(
            f"{which} longer than the text encoder reads ({tokens} tokens): {lost!r}{first} is cut",
            TextWarning,
            stacklevel=2,
        )
    return len(cut)


def average_chunks(
    limits: Limits, encode: Callable[[Sequence[str]], TextEmbeds], texts: Sequence[str], prompt_embeds: torch.Tensor
) -> torch.Tensor:
    """What an NPNet sees of long prompts: the mean of their chunks' embeddings; of others `prompt_embeds` as they are.

    Args:
        encode: of the family, for a loaded pipeline.
        texts: B prompts.
        prompt_embeds: (B, L, D) of the prompts as the pipeline cuts them.

    Returns:
        (B, L, D).
    """
    pieces = {i: parts for i, text in enumerate(texts) if len(parts := chunks(limits, text)) > 1}
    if not pieces:
        return prompt_embeds
    encoded = encode([piece for parts in pieces.values() for piece in parts]).prompt_embeds
    result, start = prompt_embeds.clone(), 0
    for i, parts in pieces.items():
        result[i] = encoded[start : start + len(parts)].mean(dim=0)
        start += len(parts)
    return result
