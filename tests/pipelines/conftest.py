"""Tiny Stable Diffusion and SDXL as fixtures."""

from __future__ import annotations

import pytest
from diffusers import EulerDiscreteScheduler

from noiseprompt.pipelines import Pipeline
from tests import tiny
from tests.pipelines.tiny_pair import KINDS, tiny_pipeline


@pytest.fixture(params=KINDS)
def pipeline(request) -> Pipeline:
    return tiny_pipeline(request.param)


@pytest.fixture
def sd() -> Pipeline:
    return tiny_pipeline("stable_diffusion")


@pytest.fixture
def euler(sd):
    """Tiny Stable Diffusion with the scheduler SDXL is published with: scaled latents, another class."""
    own = sd.pipe.scheduler
    sd.pipe.scheduler = EulerDiscreteScheduler.from_config(own.config)
    yield sd
    sd.pipe.scheduler = own


@pytest.fixture(scope="module")
def folder(tmp_path_factory):
    return tiny.save(tiny.stable_diffusion(), tmp_path_factory.mktemp("models") / "tiny")


@pytest.fixture(scope="module")
def xl():
    return tiny.stable_diffusion_xl()
