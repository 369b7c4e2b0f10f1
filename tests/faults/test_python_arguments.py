"""Every public call tells of an argument that there is not, or that is missing, in the words of this package."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch

from noiseprompt import Npd, perturb_noise, winning_noise
from noiseprompt.core.errors import NoisepromptError
from noiseprompt.modular import with_noise
from noiseprompt.npd import NpdWriter
from noiseprompt.npnet import NPNet, NPNetConfig, build, tokens_config
from noiseprompt.pipelines import TextEmbeds
from noiseprompt.scorers.base import register_scorer
from noiseprompt.scorers.shapes_checker import ShapesChecker
from tests.pipelines.tiny_pair import tiny_pipeline

ROOMS = ("noiseprompt", "noiseprompt.npnet", "noiseprompt.npd", "noiseprompt.pipelines", "noiseprompt.modular")
NOISE, TEXT = torch.zeros(1, 4, 8, 8), torch.zeros(1, 3, 8)
NET = build(tokens_config((4, 8, 8), 3, 8))


def public() -> Iterator[tuple[str, Callable[..., Any]]]:
    """What the rooms export, and the methods that their classes have of their own."""
    for room in ROOMS:
        names = getattr(importlib.import_module(room), "__all__")  # noqa: B009 - of every room
        for name in (name for name in names if not name.startswith("_")):
            found = getattr(importlib.import_module(room), name)
            if not (inspect.isclass(found) and issubclass(found, BaseException)):
                yield f"{room}.{name}", found
            for own, value in vars(found).items() if inspect.isclass(found) else ():
                method = value.__func__ if isinstance(value, classmethod) else value
                if not own.startswith("_") and inspect.isfunction(method):
                    yield f"{room}.{name}.{own}", method


def takes_any(call: Callable[..., Any]) -> bool:
    return any(one.kind is one.VAR_KEYWORD for one in inspect.signature(call).parameters.values())


@pytest.mark.parametrize("name", [name for name, call in public() if not takes_any(call)])
def test_an_argument_that_there_is_not_is_told_of(name: str) -> None:
    call = dict(public())[name]
    first = [None] * (next(iter(inspect.signature(call).parameters), "") in ("self", "cls"))
    with pytest.raises(NoisepromptError, match=r"no argument 'colour'\. Expected the arguments"):
        call(*first, colour="red")


def embeds() -> TextEmbeds:
    return tiny_pipeline("stable_diffusion").encode(["a cat", "a dog"])


CALLS: dict[str, tuple[Callable[[], Any], str]] = {
    "a step without its guidance": (
        lambda: tiny_pipeline("stable_diffusion").denoise_step(TEXT, NOISE, num_inference_steps=4),  # type: ignore[call-arg, arg-type]
        "denoise_step(): missing a required argument: 'guidance_scale'",
    ),
    "a network called with noise alone": (lambda: NET(NOISE), "missing a required argument: 'prompt_embeds'"),
    "rows with a point": (lambda: embeds().select([1.5]), "indices [1.5]. Expected a list, each a whole number"),  # type: ignore[list-item]
    "a mask of rows": (lambda: embeds().select([True, False]), "indices [true, false]"),
    "a row that there is not": (
        lambda: embeds().select([2]),
        "indices [2]. Expected a list, each a whole number from -2",
    ),
    "a scorer asked for nothing": (lambda: ShapesChecker().score(), "missing a required argument: 'images'"),  # type: ignore[call-arg]
    "a network of nothing": (lambda: NPNet(), "NPNet(): missing a required argument: 'config'"),  # type: ignore[call-arg]
    "a size that there is not": (lambda: NPNetConfig(layers=3), "NPNetConfig(): no argument 'layers'"),  # type: ignore[call-arg]
    "a strength by its place": (lambda: perturb_noise(NET, NOISE, TEXT, 1.0), "too many positional arguments"),  # type: ignore[misc]
    "calls in words": (
        lambda: setattr(tiny_pipeline("stable_diffusion"), "denoiser_calls", "3"),
        "denoiser_calls '3'. Expected a number, 0 or more",
    ),
    "calls below 0": (lambda: setattr(tiny_pipeline("stable_diffusion"), "denoiser_calls", -1), "denoiser_calls -1"),
    "a class of generators": (
        lambda: winning_noise(tiny_pipeline("stable_diffusion"), NET, "a cat", generator=torch.Generator),  # type: ignore[arg-type]
        "generator the class Generator. Expected an object of torch.Generator",
    ),
    "a class for a name": (lambda: register_scorer(dict, "bright"), "the name of a scorer the class dict"),  # type: ignore[arg-type]
    "blocks that are none": (lambda: with_noise(None), "blocks: nothing. Expected blocks of Modular Diffusers"),
    "a data set without a name": (lambda: Npd(""), "folder ''. Expected a text that is not blank"),
    "a data set of blanks to write": (lambda: NpdWriter("  ", {"scorers": []}, (1, 2, 2)), "folder '  '"),
}


@pytest.mark.parametrize("kind", CALLS)
def test_a_call_is_refused_in_our_words(kind: str) -> None:
    call, told = CALLS[kind]
    with pytest.raises(NoisepromptError) as caught:
        call()
    assert told in str(caught.value) and "\n" not in str(caught.value), str(caught.value)
