"""Choosing among noises that another method makes; the choice itself stands in the tests of each chooser."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from noiseprompt.core.errors import InputError, NoiseError, UnknownNameError
from noiseprompt.core.specs import split_specs
from noiseprompt.core.types import Sampling
from noiseprompt.methods.base import MethodSpec
from noiseprompt.methods.chooser import best_rows
from noiseprompt.methods.table import METHODS
from noiseprompt.noise.fresh import fresh_noise
from noiseprompt.pipelines import Pipeline
from noiseprompt.scorers.table import SCORERS
from tests.methods.stubs import NOISE, TEXTS, Brightness, Opaque, pipeline
from tests.pipelines.families.tiny_hunyuan import hunyuan_dit

SAMPLING = Sampling(guidance_scale=3.0, num_inference_steps=2)
CHOOSERS = ("best_of_n", "prune", "search")


class Nothing:
    name = "nothing"

    def score(self, images, prompts):
        return np.full(len(images), np.nan)


@pytest.fixture(autouse=True)
def _scorers(monkeypatch):
    for factory in (Brightness, Opaque, Nothing):
        monkeypatch.setitem(SCORERS._entries, factory.name, factory)


def perturbed(made: Pipeline, text: str, noise: torch.Tensor = NOISE) -> torch.Tensor:
    method = MethodSpec.parse(text).build()
    method.prepare(made, SAMPLING)
    return method.perturb(made, made.encode(TEXTS), noise)


def test_network_and_best_of_two() -> None:
    made = pipeline()
    inner = "closed_form:steps=5+strength=2"
    result = perturbed(made, f"best_of_n:n=2,noise={inner},scorer=brightness")
    spent = made.denoiser_calls
    candidates = []
    for source in (NOISE, fresh_noise(NOISE, "best_of_n", 1)):
        target = perturbed(made, "closed_form:steps=5", source)
        candidates.append(source + 2 * (target - source))
    embeds = made.encode(TEXTS)
    scores = [made.sample(embeds, x, **vars(SAMPLING)).mean((1, 2, 3)) for x in candidates]
    for i in range(len(TEXTS)):
        best = candidates[int(scores[1][i] > scores[0][i])]
        assert torch.allclose(result[i], best[i], atol=1e-5)
    assert spent == 2 * len(TEXTS) * (2 + 2 * 2), "of each candidate its noise and its picture"


@pytest.mark.parametrize("name", CHOOSERS)
def test_the_plain_noise_is_the_default(name: str) -> None:
    text = f"{name}:scorer=brightness"
    assert torch.equal(perturbed(pipeline(), text), perturbed(pipeline(), f"{text},noise=standard"))


def test_labels_and_lists_keep_the_method_inside() -> None:
    text = "best_of_n:n=2,noise=npnet:path=a/b+strength=2"
    assert MethodSpec.parse(text).label == text
    assert split_specs(f"standard,{text},npnet:path=c,no_text,redenoise", METHODS) == [
        "standard",
        text,
        "npnet:path=c,no_text",
        "redenoise",
    ]


def test_the_first_option_inside_may_follow_a_plus() -> None:
    """As in a list of methods, where "npnet,strength=2" is one."""
    assert MethodSpec.parse("search:noise=redenoise+strength=2").build().made_by.strength == 2


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("best_of_n:noise=best_of_n", "chooses among choices"),
        ("prune:noise=search:n=2", "chooses among choices"),
        ("search:noise=npnet:swap", 'Write "search:swap,noise=npnet"'),
        ("search:noise=npnet:shuffle+strength=2", "control"),
        ("best_of_n:noise=npnet:n=2", "option 'n=2' of the method 'npnet'"),
        ("best_of_n:noise=npnet:path=a,strength=2+no_text", "strength"),
        ("best_of_n:noise=", "noise"),
        ("npnet:noise=standard", "option 'noise=standard'"),
        ("prune:n=2,keep=3", "keep=3 of n=2"),
        ("best_of_n:noise=npnet+strength=inf", "npnet:strength is 'inf'"),
        ("search:noise=npnet+redenoise", "noise=npnet+redenoise names 2 methods"),
    ],
)
def test_nonsense_is_refused_when_it_is_read(text: str, words: str) -> None:
    with pytest.raises(InputError) as error:
        MethodSpec.parse(text)
    assert words in str(error.value)


def test_a_method_inside_that_there_is_not() -> None:
    with pytest.raises(UnknownNameError, match="mean 'npnet'"):
        MethodSpec.parse("best_of_n:noise=npnett")


def test_one_scorer_for_noise_and_choice() -> None:
    same = MethodSpec.parse("best_of_n:noise=reward_gradient:scorer=brightness,scorer=brightness").build()
    same.prepare(pipeline(), SAMPLING)
    told = same.describe()
    assert told["scorer"] == told["noise"]["scorer"] == "brightness"
    other = MethodSpec.parse("best_of_n:noise=reward_gradient:scorer=brightness,scorer=opaque").build()
    with pytest.raises(InputError, match="Write scorer=brightness"):
        other.prepare(pipeline(), SAMPLING)


@pytest.mark.parametrize("name", CHOOSERS)
def test_a_score_that_is_none(name: str) -> None:
    with pytest.raises(NoiseError, match="not finite"):
        perturbed(pipeline(), f"{name}:scorer=nothing")


@pytest.mark.parametrize("name", CHOOSERS)
def test_a_sampler_that_adds_noise_adds_the_same_to_all(name: str) -> None:
    made = Pipeline(hunyuan_dit())
    text = f"{name}:scorer=brightness"
    first = perturbed(made, text)
    torch.manual_seed(99)
    assert torch.equal(perturbed(made, text), first)


def test_the_earlier_of_two_equals() -> None:
    candidates = [torch.full((2, 1, 1, 1), float(i)) for i in range(3)]
    scores = np.array([[1.0, 0.0], [1.0, 2.0], [0.0, 2.0]])
    assert best_rows(candidates, scores).flatten().tolist() == [0.0, 1.0]
