"""Zero-order search: where neighbours lie, that the best noise so far is kept, and its price."""

from __future__ import annotations

import pytest
import torch

from noiseprompt.core.types import Prompt, Sampling
from noiseprompt.methods.base import MethodSpec
from noiseprompt.methods.search import neighbour
from noiseprompt.noise.fresh import fresh_noise
from noiseprompt.scorers.table import SCORERS
from tests.methods.stubs import NOISE, TEXTS, Brightness, Opaque, pipeline

SAMPLING = Sampling(guidance_scale=3.0, num_inference_steps=2)


@pytest.fixture(autouse=True)
def _scorers(monkeypatch):
    monkeypatch.setitem(SCORERS._entries, "brightness", Brightness)
    monkeypatch.setitem(SCORERS._entries, "opaque", Opaque)


def found(made, options: str) -> torch.Tensor:
    method = MethodSpec.parse(f"search:{options}").build()
    method.prepare(made, SAMPLING)
    return method.perturb(made, made.encode(TEXTS), NOISE)


def scores(made, noise: torch.Tensor):
    images = made.sample(made.encode(TEXTS), noise, **vars(SAMPLING))
    return Brightness().score(images, [Prompt(text) for text in TEXTS])


@pytest.mark.parametrize("radius", [0.05, 0.3, 2**0.5, 1.9])
def test_neighbours_lie_at_their_distance_and_keep_the_norm(radius: float) -> None:
    x = NOISE.double()
    y = neighbour(x, fresh_noise(NOISE, "test").double(), radius)
    norms = x.flatten(1).norm(dim=1)
    torch.testing.assert_close(y.flatten(1).norm(dim=1), norms)
    torch.testing.assert_close((y - x).flatten(1).norm(dim=1), radius * norms)
    half = neighbour(NOISE.half(), fresh_noise(NOISE, "test").half(), radius)
    assert half.dtype == torch.float16 and half.shape == NOISE.shape


def test_one_round_is_the_best_of_its_neighbours_and_the_source() -> None:
    made = pipeline()
    result = found(made, "n=3,rounds=1,radius=0.5,scorer=brightness")
    assert made.denoiser_calls == len(TEXTS) * 4 * 2 * 2
    candidates = [NOISE, *(neighbour(NOISE, fresh_noise(NOISE, "search", k), 0.5) for k in range(3))]
    table = [scores(made, x) for x in candidates]
    for i in range(len(TEXTS)):
        best = max(range(4), key=lambda place: table[place][i])
        assert torch.equal(result[i], candidates[best][i])


def test_every_round_begins_at_the_best_so_far_and_never_falls() -> None:
    made = pipeline()
    reached = [scores(made, found(made, f"n=2,rounds={rounds},radius=0.5,scorer=brightness")) for rounds in (1, 2, 6)]
    source = scores(made, NOISE)
    assert (reached[0] >= source).all() and (reached[1] >= reached[0]).all() and (reached[2] >= reached[1]).all()
    assert (reached[2] > source).all()
    made.denoiser_calls = 0
    found(made, "n=2,rounds=6,scorer=brightness")
    assert made.denoiser_calls == len(TEXTS) * (1 + 2 * 6) * 2 * 2


def test_at_equal_scores_the_source_stays() -> None:
    assert torch.equal(found(pipeline(), "scorer=opaque"), NOISE)


def test_the_network_makes_every_candidate_and_the_search_goes_among_sources() -> None:
    made = pipeline()
    result = found(made, "n=1,rounds=1,radius=0.5,noise=closed_form:steps=5,scorer=brightness")
    inner = MethodSpec.parse("closed_form:steps=5").build()
    sources = [NOISE, neighbour(NOISE, fresh_noise(NOISE, "search", 0), 0.5)]
    candidates = [inner.perturb(made, made.encode(TEXTS), source) for source in sources]
    table = [scores(made, x) for x in candidates]
    for i in range(len(TEXTS)):
        assert torch.allclose(result[i], candidates[int(table[1][i] > table[0][i])][i], atol=1e-6)
