"""Scorers by name with options, scorers of the user's own, and the world's scorer with gradients."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from importlib.metadata import EntryPoint
from pathlib import Path

import numpy as np
import pytest
import torch

import noiseprompt
from noiseprompt.core.errors import InputError, ShapeError, UnknownNameError
from noiseprompt.core.types import Prompt
from noiseprompt.scorers import load_scorers
from noiseprompt.scorers.base import judge
from noiseprompt.scorers.shapes_preference import ShapesPreference
from noiseprompt.scorers.table import SCORERS
from noiseprompt.shapes import scenes


class Constant:
    """A user's scorer: the same number for everything."""

    name = "constant"

    def __init__(self, value: float = 1.0, times: int = 1, negative: bool = False, word: str | None = None) -> None:
        self.value, self.word = value * times * (-1 if negative else 1), word

    def score(self, images: np.ndarray, prompts: list[Prompt]) -> np.ndarray:
        return np.full(len(images), self.value)


@pytest.fixture
def clean() -> Iterator[None]:
    before = dict(SCORERS._entries)
    yield
    SCORERS._entries = before


@pytest.mark.usefixtures("clean")
def test_a_scorer_of_one_s_own_takes_options() -> None:
    noiseprompt.register_scorer("constant", Constant)
    (scorer,) = load_scorers(["constant:value=2.5,times=2,negative=true,word=yes"])
    assert isinstance(scorer, Constant) and scorer.value == -5.0 and scorer.word == "yes"
    assert load_scorers(["constant"])[0].value == 1.0  # type: ignore[attr-defined]
    for spec, words in (
        ("constant:size=2", "value (a number), times (an integer), negative (a flag), word (text)"),
        ("constant:value", "key=value"),
        ("constant:value=1,value=2", "twice"),
        ("constant:value=much", "a number"),
        ("constant:times=1.5", "an integer"),
        ("constant:negative=perhaps", "true, false or the name alone"),
    ):
        with pytest.raises(InputError, match=re.escape(words)):
            load_scorers([spec])
    with pytest.raises(InputError, match="registered already"):
        noiseprompt.register_scorer("constant", Constant)
    with pytest.raises(InputError, match="the name"):
        noiseprompt.register_scorer("a:b", Constant)


@pytest.mark.usefixtures("clean")
def test_installed_packages_offer_scorers(monkeypatch: pytest.MonkeyPatch) -> None:
    offered = [
        EntryPoint("offered", f"{__name__}:Constant", "noiseprompt.scorers"),
        EntryPoint("shapes-checker", f"{__name__}:Constant", "noiseprompt.scorers"),
    ]
    monkeypatch.setattr("noiseprompt.scorers.base.entry_points", lambda group: offered)
    assert "offered" not in SCORERS
    first, second = load_scorers(["offered:value=3", "shapes-checker"])
    assert isinstance(first, Constant) and first.value == 3.0 and not isinstance(second, Constant)


def test_one_name_with_two_sets_of_options_is_refused() -> None:
    with pytest.raises(InputError, match="two sets of options"):
        load_scorers(["shapes-preference", "shapes-preference:batch_size=3"])
    assert len(load_scorers(["shapes-preference:batch_size=3", " shapes-preference:batch_size=3"])) == 1


def test_an_unknown_name_is_refused_before_weights_are_loaded() -> None:
    with pytest.raises(UnknownNameError, match="nonsense"):
        load_scorers(["pickscore:path=/nowhere", "nonsense"])


def test_preference_scores_tensors_with_gradients() -> None:
    (scorer,) = load_scorers(["shapes-preference:device=cpu"])
    assert isinstance(scorer, ShapesPreference)
    rng = np.random.default_rng(0)
    requests = [scenes.random_request(rng) for _ in range(3)]
    pictures = np.stack([scenes.render(scenes.random_scene(rng, request)) for request in requests])
    prompts = [Prompt(request.text) for request in requests]
    images = torch.from_numpy(pictures).permute(0, 3, 1, 2).clone().requires_grad_()
    scores = scorer.score_tensor(images, prompts)
    np.testing.assert_allclose(
        scores.detach().numpy(), scorer.score((255 * pictures).round().astype(np.uint8), prompts), atol=0.1
    )
    exact = (images.detach() * 255).round() / 255
    plain = scorer.score((255 * pictures).round().astype(np.uint8), prompts)
    np.testing.assert_allclose(scorer.score_tensor(exact, prompts).numpy(), plain, atol=1e-4)
    (gradient,) = torch.autograd.grad(scores.sum(), images)
    assert (gradient.flatten(1).abs().amax(1) > 0).all()
    assert scorer.score_tensor(images.detach() + 0.001 * gradient.sign(), prompts).sum() > scores.sum()
    with pytest.raises(ShapeError, match=r"\(N, 3, 64, 64\)"):
        scorer.score_tensor(images[:, :, :32], prompts)


def test_names_are_listed_without_importing_transformers(tmp_path: Path) -> None:
    code = "import sys; from noiseprompt.scorers.table import SCORERS; import noiseprompt.scorers; list(SCORERS)"
    subprocess.run([sys.executable, "-c", code + "; assert 'transformers' not in sys.modules"], check=True)


def test_the_scorer_that_does_not_take_the_images_is_named() -> None:
    [scorer] = load_scorers(["shapes-preference"])
    with pytest.raises(ShapeError, match=r"^shapes-preference: images of shape \(1, 32, 32, 3\).*other scorers"):
        judge(scorer, np.zeros((1, 32, 32, 3), np.uint8), [Prompt("a red circle")])
