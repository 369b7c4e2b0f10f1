"""What holds for every method: deterministic, the same alone and in a batch, nothing left on the pipeline."""

from __future__ import annotations

import pytest
import torch

from noiseprompt.core.types import Sampling
from noiseprompt.methods.base import MethodSpec
from noiseprompt.methods.table import METHODS
from noiseprompt.pipelines import Pipeline
from noiseprompt.scorers.table import SCORERS
from tests import tiny
from tests.methods.stubs import NOISE, TEXTS, Brightness, state

SAMPLING = Sampling(guidance_scale=2.0, num_inference_steps=2)
MADE = {
    "standard": ("standard", 0),
    "redenoise": ("redenoise:rounds=2", 6),
    "closed_form": ("closed_form", 2),
    "repaint": ("repaint", 2),
    "nlg": ("nlg:rounds=2", 4),
    "best_of_n": ("best_of_n:n=2,scorer=brightness", 8),
    "prune": ("prune:n=4,keep=2,scorer=brightness", 16),
    "search": ("search:n=4,rounds=1,radius=1,scorer=brightness", 20),
    "initno": ("initno:rounds=2,iterations=2,final_iterations=1,response_limit=0", 5),
    "reward_gradient": ("reward_gradient:scorer=brightness,iterations=2,num_inference_steps=2", 8),
}
"""Name -> how it is tried, and its denoiser calls an image."""


@pytest.fixture(autouse=True)
def _scorers(monkeypatch):
    monkeypatch.setitem(SCORERS._entries, "brightness", Brightness)


@pytest.fixture(scope="module", params=["stable_diffusion", "stable_diffusion_xl"])
def made(request) -> Pipeline:
    return Pipeline(getattr(tiny, request.param)())


def test_no_method_is_left_out() -> None:
    assert set(METHODS) - {"npnet"} == set(MADE)


def _made(made: Pipeline, text: str, rows: slice = slice(None), noise: torch.Tensor = NOISE) -> torch.Tensor:
    method = MethodSpec.parse(text).build()
    method.prepare(made, SAMPLING)
    return method.perturb(made, made.encode(TEXTS[rows]), noise[rows])


@pytest.mark.parametrize("name", MADE)
def test_the_same_alone_and_in_a_batch(made, name) -> None:
    text, calls = MADE[name]
    before = state(made)
    made.denoiser_calls = 0
    both = _made(made, text)
    assert made.denoiser_calls == calls * len(TEXTS)
    assert both.shape == NOISE.shape and both.dtype == NOISE.dtype
    assert state(made) == before
    assert torch.equal(_made(made, text), both)
    assert torch.allclose(_made(made, text, slice(1, 2)), both[1:], atol=1e-4)
    if name not in ("standard", "best_of_n"):
        assert not torch.equal(both, NOISE)


@pytest.mark.parametrize("name", [name for name in MADE if name != "standard"])
def test_an_error_leaves_the_pipeline_as_it_was(made, name, monkeypatch) -> None:
    def broken(*args, **named):
        raise ZeroDivisionError

    monkeypatch.setattr(made.denoiser.conv_out, "forward", broken)
    before = state(made)
    with pytest.raises(ZeroDivisionError):
        _made(made, MADE[name][0])
    assert state(made) == before


@pytest.mark.parametrize("name", ["initno", "reward_gradient"])
def test_gradients_may_be_off_around_a_method_that_needs_them(made, name) -> None:
    """As in `generate`."""
    expected = _made(made, MADE[name][0])
    with torch.no_grad():
        assert torch.equal(_made(made, MADE[name][0]), expected)
