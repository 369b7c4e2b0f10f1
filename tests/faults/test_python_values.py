"""Values that pass for what they are not: an argument misspelt, NaN in settings, embeddings of other rows."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from noiseprompt import MethodSpec, Pipeline, Prompt, initial_noise, perturb_noise
from noiseprompt.core.config import to_dict
from noiseprompt.core.errors import InputError, NoisepromptError
from noiseprompt.core.types import ScoredPair
from noiseprompt.npd import NpdWriter
from noiseprompt.npnet import build, tokens_config
from noiseprompt.pipelines import TextEmbeds
from noiseprompt.pipelines.options import ModelOptions

SHAPE = (4, 8, 8)
NET: Any = build(replace(tokens_config(SHAPE, 3, 8, predicts="picture"), centred=True))
TEXT = torch.zeros(1, 3, 8)

CALLS: dict[str, tuple[Callable[[], Any], str]] = {
    "a misspelt argument": (
        lambda: initial_noise(sead=1, shape=SHAPE),  # type: ignore[call-arg]
        r"no argument 'sead'\. Expected the arguments seed, shape, .* Did you mean 'seed'\?",
    ),
    "a network for a pipeline": (lambda: Pipeline(NET), "a pipeline that is a TokensNPNet"),
    "LoRAs of no name": (lambda: ModelOptions(lora=("",)), "lora"),
    "an option that is a list": (lambda: MethodSpec.parse("npnet").takes(["path"]), r"option \['path'\]"),  # type: ignore[arg-type]
    "embeddings without arguments": (lambda: TextEmbeds(None, TEXT), "call_kwargs null"),  # type: ignore[arg-type]
    "embeddings of NumPy": (lambda: TextEmbeds({"a": TEXT.numpy()}, TEXT), "call_kwargs a: an? ndarray"),
    "embeddings of other rows": (
        lambda: TextEmbeds({"a": TEXT[:0]}, TEXT),
        "call_kwargs a: a Tensor of 0. Expected .* 1",
    ),
    "a picture of a list": (lambda: NET.deviation([1.0]), "a picture: a list"),
    "a picture of whole numbers": (lambda: NET.deviation(torch.zeros(1, *SHAPE, dtype=torch.int32)), "torch.int32"),
    "a picture of other channels": (lambda: NET.deviation(torch.zeros(1, 3, 8, 8)), r"\(1, 3, 8, 8\)"),
}


@pytest.mark.parametrize("name", CALLS)
def test_a_value_is_named(name: str) -> None:
    call, told = CALLS[name]
    with pytest.raises(InputError, match=told):
        call()


def test_embeddings_without_a_negative_prompt_are_whole() -> None:
    assert len(TextEmbeds({"a": TEXT, "b": None, "c": [], "d": [TEXT[0]]}, TEXT)) == 1


def test_a_number_of_numpy_is_a_strength() -> None:
    net, noise = build(tokens_config(SHAPE, 3, 8)), torch.randn(1, *SHAPE)
    made = [perturb_noise(net, noise, TEXT, strength=one) for one in (2.0, np.array(2), np.float32(2))]  # type: ignore[arg-type]
    assert torch.equal(made[0], made[1]) and torch.equal(made[0], made[2])


@pytest.mark.parametrize("value", [float("nan"), [float("inf")], {"y": float("nan")}, {1, 2}, b"x", object(), int])
def test_settings_that_a_file_would_hold_as_something_else(value: object, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"settings: x .* Expected texts, finite numbers"):
        NpdWriter(tmp_path / "o", {"scorers": ["a"], "x": value}, SHAPE)
    assert not (tmp_path / "o").exists()


def test_numbers_of_numpy_are_recorded_as_numbers() -> None:
    assert to_dict({"a": np.float32(2), "b": np.int64(3), "c": Path("p")}) == {"a": 2.0, "b": 3, "c": "p"}


def a_pair(**changes: Any) -> ScoredPair:
    noise = initial_noise(3, SHAPE).numpy()
    return replace(ScoredPair("x-3", Prompt("a cat"), 3, noise, -noise, {"a": (0.1, 0.2)}), **changes)


@pytest.mark.parametrize(
    "changes",
    [{"scores": {"a": (True, False)}}, {"scores": {"a": (1e39, 0.0)}}, {"scores": {"a": (0.0, -2e30)}}, {"id": ["x"]}],
)
def test_a_pair_of_no_scores(changes: dict[str, Any], tmp_path: Path) -> None:
    with NpdWriter(tmp_path / "o", {"scorers": ["a"]}, SHAPE) as writer:
        with pytest.raises(NoisepromptError, match=r"within 1e\+30|the id of a pair"):
            writer.add(a_pair(**changes))
        writer.add(a_pair())
        assert writer.done == {"x-3"}
