"""The records that all stages share: what is left open in a `Sampling`, and what is refused."""

from __future__ import annotations

from types import SimpleNamespace

import pytest

from noiseprompt.core.errors import InputError
from noiseprompt.core.types import Sampling, StartLevel

FAMILY = SimpleNamespace(guidance_scale=5.5, num_inference_steps=50)


@pytest.mark.parametrize(
    ("given", "found"),
    [
        ({}, (5.5, 50, 64, 32)),
        ({"guidance_scale": 0.0, "width": 8}, (0.0, 50, 64, 8)),  # zero is a value
        ({"num_inference_steps": 1, "height": 16}, (5.5, 1, 16, 32)),
    ],
)
def test_what_is_left_open_is_the_familys_and_the_models(given: dict, found: tuple) -> None:
    sampling = Sampling(**given)
    assert sampling.resolve(FAMILY, (64, 32)) == Sampling(*found)
    assert sampling.resolve(FAMILY) == Sampling(*found[:2], given.get("height"), given.get("width"))


def test_a_stage_s_settings_hold_a_sampling() -> None:
    settings = SimpleNamespace(guidance_scale=2.0, num_inference_steps=None, height=8, width=None, batch_size=3)
    assert Sampling.of(settings) == Sampling(guidance_scale=2.0, height=8)


@pytest.mark.parametrize("given", [{"num_inference_steps": 0}, {"guidance_scale": float("nan")}])
def test_what_no_sampler_takes_is_refused(given: dict) -> None:
    with pytest.raises(InputError, match=next(iter(given))):
        Sampling(**given)


@pytest.mark.parametrize(
    "given", [(0.0, 0.1), (-1.0, 0.1), (1.0, -0.1), (float("inf"), 0.1), (1.0, float("nan")), ("1", 0.1)]
)
def test_what_is_no_level_is_refused(given: tuple) -> None:
    assert StartLevel(1, 0).signal == 0  # pure noise
    with pytest.raises(InputError, match=r"noise|signal"):
        StartLevel(*given)
