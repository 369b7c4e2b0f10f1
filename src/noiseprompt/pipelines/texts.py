"""What an NPNet sees of prompts, without the empty prompts that a guided drawing needs beside them."""

from __future__ import annotations

import inspect
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import replace
from functools import partial
from typing import Any

import torch

from noiseprompt.core.texts import check_texts
from noiseprompt.pipelines.long_prompts import average_chunks
from noiseprompt.pipelines.pipeline import Pipeline
from noiseprompt.pipelines.soundness import check_embeds

_GUIDED = "do_classifier_free_guidance"


@contextmanager
def _prompts_alone(pipe: Any) -> Iterator[None]:
    """While it lasts, the `encode_prompt` of a pipeline encodes no negative prompts, where it can be told so."""
    encode = getattr(pipe, "encode_prompt", None)
    signature = inspect.signature(encode) if encode else None
    if encode is None or signature is None or _GUIDED not in signature.parameters:
        yield
        return

    def unguided(*args: Any, **kwargs: Any) -> Any:
        call = signature.bind(*args, **kwargs)
        call.arguments[_GUIDED] = False
        return encode(*call.args, **call.kwargs)

    vars(pipe)["encode_prompt"] = unguided
    try:
        yield
    finally:
        del vars(pipe)["encode_prompt"]


@torch.no_grad()
def prompt_embeds(pipeline: Pipeline, texts: Sequence[str]) -> torch.Tensor:
    """(B, L, D): the `prompt_embeds` of `Pipeline.encode`, bit for bit; at half its price where the family's encoder
    can leave the empty prompts out.

    Raises:
        InputError, NoiseError: as `Pipeline.encode`.
    """
    check_texts(texts)
    encode = partial(pipeline.family.encode, pipeline.pipe)
    with _prompts_alone(pipeline.pipe):
        embeds = encode(list(texts))
        seen = embeds.prompt_embeds
        if pipeline.long_prompts == "average":
            seen = average_chunks(pipeline.text_limits, encode, texts, seen)
    check_embeds(replace(embeds, call_kwargs={}, prompt_embeds=seen, texts=tuple(texts)))
    return seen
