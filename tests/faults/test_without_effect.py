"""Settings that would change nothing are refused where they are given: nobody means them."""

from __future__ import annotations

import warnings
from pathlib import Path

import pytest

from noiseprompt import MethodSpec, Pipeline
from noiseprompt.core.errors import ConfigError, InputError, NoisepromptWarning
from noiseprompt.core.types import Sampling
from noiseprompt.npnet import build, tokens_config
from noiseprompt.npnet.transfer import transfer_config
from noiseprompt.stages.train.settings import TrainConfig
from noiseprompt.stages.train.start import starting_network
from tests import tiny


@pytest.mark.parametrize(
    ("architecture", "sizes", "own"),
    [
        ("paper", {"depth": 6, "patch": 4}, "depth, patch of architecture 'paper'.*swin_width"),
        ("published", {"width": 64}, "width of architecture 'published'.*svd_hidden"),
        ("tokens", {"swin_width": 8}, "swin_width of architecture 'tokens'.*mlp_ratio"),
    ],
)
def test_sizes_of_another_architecture(architecture: str, sizes: dict[str, int], own: str) -> None:
    with pytest.raises(ConfigError, match=own):
        TrainConfig(architecture=architecture, sizes=dict(sizes))
    assert TrainConfig(sizes=dict(sizes), init="a network, whose architecture is kept").sizes == sizes


def test_sizes_of_another_architecture_than_the_network_to_begin_with() -> None:
    with pytest.raises(ConfigError, match="swin_width of architecture 'tokens'"):
        transfer_config(tokens_config((4, 8, 8), 3, 8), {"swin_width": 8})


def test_a_batch_has_no_more_parts_than_rows() -> None:
    assert TrainConfig(accumulate=4, batch_size=4)
    with pytest.raises(ConfigError, match=r"accumulate 5 with batch_size 4\. Expected at most as many parts"):
        TrainConfig(accumulate=5, batch_size=4)


def test_two_scales_of_the_closed_form_that_are_one() -> None:
    pipeline = Pipeline(tiny.stable_diffusion())
    MethodSpec.parse("closed_form").build().prepare(pipeline, Sampling())
    with pytest.raises(InputError, match="guidance scale 2 both down and up"):
        same = "closed_form:denoise_guidance_scale=2,invert_guidance_scale=2"
        MethodSpec.parse(same).build().prepare(pipeline, Sampling())


@pytest.mark.parametrize("method", ["closed_form", "redenoise"])
def test_two_scales_that_are_turned_round_are_told_of(method: str) -> None:
    pipeline = Pipeline(tiny.stable_diffusion())
    turned = MethodSpec.parse(f"{method}:denoise_guidance_scale=1,invert_guidance_scale=7").build()
    with pytest.warns(NoisepromptWarning, match="guidance scale 1 down and 7 up: the guidance gap is turned round"):
        turned.prepare(pipeline, Sampling())
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        MethodSpec.parse(method).build().prepare(pipeline, Sampling())


def test_another_architecture_than_that_of_the_network_to_begin_with(tmp_path: Path) -> None:
    build(tokens_config((4, 8, 8), 3, 8)).save_pretrained(tmp_path / "net")
    init = str(tmp_path / "net")
    for kept in ("paper", "tokens"):  # "paper" is the default
        assert starting_network(TrainConfig(architecture=kept, init=init)) is not None
    with pytest.raises(ConfigError, match=r"architecture 'published' from .*, an NPNet of architecture 'tokens'"):
        starting_network(TrainConfig(architecture="published", init=init))


def test_a_comma_in_a_number() -> None:
    with pytest.raises(InputError, match=r"option '5' of the method 'npnet'.* with a point, as in 0\.5"):
        MethodSpec.parse("npnet:strength=0,5")
