"""Best of n against a choice made here, image by image."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from noiseprompt.core.errors import InputError, UnknownNameError
from noiseprompt.core.types import Sampling
from noiseprompt.methods.base import MethodSpec
from noiseprompt.noise.fresh import fresh_noise
from noiseprompt.scorers.table import SCORERS
from tests.methods.stubs import NOISE, TEXTS, Brightness, Opaque, pipeline

SAMPLING = Sampling(guidance_scale=3.0, num_inference_steps=2)


@pytest.fixture(autouse=True)
def _scorers(monkeypatch):
    monkeypatch.setitem(SCORERS._entries, "brightness", Brightness)
    monkeypatch.setitem(SCORERS._entries, "opaque", Opaque)


def chosen(made, text):
    method = MethodSpec.parse(text).build()
    method.prepare(made, SAMPLING)
    return method, method.perturb(made, made.encode(TEXTS), NOISE)


def test_the_brightest_image_of_five_is_kept() -> None:
    made = pipeline()
    method, result = chosen(made, "best_of_n:n=5,scorer=brightness")
    assert made.denoiser_calls == len(TEXTS) * 5 * 2 * 2
    winners = []
    for i, text in enumerate(TEXTS):
        candidates = [NOISE[i], *(fresh_noise(NOISE[i : i + 1], "best_of_n", k)[0] for k in range(1, 5))]
        images = [
            made.pipe(text, latents=x[None], guidance_scale=3.0, num_inference_steps=2, output_type="np").images[0]
            for x in candidates
        ]
        best = int(np.argmax([image.mean() for image in images]))
        winners.append(best)
        assert torch.equal(result[i], candidates[best])
    assert any(winners), "the source is not the best of both"
    assert method.describe()["scorer"] == "brightness"


def test_at_equal_scores_the_source_stays() -> None:
    assert torch.equal(chosen(pipeline(), "best_of_n:n=3,scorer=opaque")[1], NOISE)
    assert torch.equal(chosen(pipeline(), "best_of_n:n=1,scorer=brightness")[1], NOISE)


def test_the_scorer_of_the_world_is_its_own(monkeypatch) -> None:
    made = pipeline()
    with pytest.raises(InputError, match="best_of_n:scorer="):
        MethodSpec.parse("best_of_n").build().prepare(made, SAMPLING)
    made.name = "shapes"
    method = MethodSpec.parse("best_of_n").build()
    assert method.describe() == {}
    method.prepare(made, SAMPLING)
    assert method.describe()["scorer"] == "shapes-preference"
    with pytest.raises(UnknownNameError):
        MethodSpec.parse("best_of_n:scorer=nobody").build().prepare(made, SAMPLING)


def test_what_it_needs() -> None:
    made = pipeline()
    with pytest.raises(InputError, match="prepare"):
        MethodSpec.parse("best_of_n:scorer=opaque").build().perturb(made, made.encode(TEXTS), NOISE)
    with pytest.raises(InputError, match="n=0"):
        MethodSpec.parse("best_of_n:n=0").build()
    from dataclasses import replace

    method = MethodSpec.parse("best_of_n:scorer=opaque").build()
    method.prepare(made, SAMPLING)
    with pytest.raises(InputError, match="2 embeds and 0 texts"):
        method.perturb(made, replace(made.encode(TEXTS), texts=()), NOISE)
