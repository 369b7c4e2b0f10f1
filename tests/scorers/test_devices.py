"""Scorers and feature extractors with a network, on an accelerator: images go there, scores come back."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from noiseprompt.core.types import Prompt
from noiseprompt.scorers import load_scorers
from noiseprompt.scorers.sets import inception
from noiseprompt.scorers.sets.extractors import load_features
from noiseprompt.scorers.table import FEATURES, SCORERS
from tests.devices import DEVICE, accelerator
from tests.scorers import checkpoints as tiny
from tests.scorers.test_published import NAMES, PROMPTS, folder, spec

__all__ = ["folder"]
WORLD = [Prompt("a red circle"), Prompt("two blue rings")]


def test_no_scorer_is_left_out() -> None:
    ours = {
        name for name, target in SCORERS._entries.items() if isinstance(target, str)
    }  # other tests register classes
    assert ours == {*NAMES, "shapes-preference", "shapes-checker"}  # the checker has no network


def scored(text: str, images: np.ndarray, prompts: list[Prompt], device: Any) -> np.ndarray:
    """Scores of pictures and of tensors on `device`."""
    (scorer,) = load_scorers([text])
    tensor = torch.from_numpy(images).permute(0, 3, 1, 2).float().div(255).to(device).requires_grad_()
    scores = scorer.score_tensor(tensor, prompts)
    assert scores.device == tensor.device
    (gradient,) = torch.autograd.grad(scores.sum(), tensor)
    assert gradient.device == tensor.device
    return np.concatenate([scorer.score(images, prompts), scores.detach().cpu().double().numpy()])


@pytest.mark.parametrize("name", NAMES)
def test_a_scorer_computes_on_its_device(folder: Path, name: str) -> None:
    expected = scored(spec(folder, name), tiny.pictures(), PROMPTS, "cpu")
    with accelerator():
        for device in ("cpu", DEVICE):
            found = scored(spec(folder, name, device=DEVICE), tiny.pictures(), PROMPTS, device)
            np.testing.assert_allclose(found, expected, atol=1e-4, rtol=1e-4)


def test_the_preference_scorer_computes_on_its_device() -> None:
    images = tiny.pictures(2, 64, 64)
    expected = scored("shapes-preference", images, WORLD, "cpu")
    with accelerator():
        for device in ("cpu", DEVICE):
            found = scored(f"shapes-preference:device={DEVICE}", images, WORLD, device)
            np.testing.assert_allclose(found, expected, atol=1e-4, rtol=1e-4)


class Pooled(torch.nn.Linear):
    """In the place of torch-fidelity's extractor."""

    def __init__(self, *args: Any, **named: Any) -> None:
        torch.manual_seed(0)
        super().__init__(3, 2048)

    def forward(self, pixels: torch.Tensor) -> tuple[torch.Tensor]:
        return (super().forward(pixels.float().mean((2, 3))),)


def test_features_are_computed_on_their_device(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(inception, "extractor_class", lambda: Pooled)
    images = tiny.pictures(2, 64, 64)
    for name in FEATURES:
        expected = load_features(f"{name}:device=cpu").features(images)
        with accelerator():
            found = load_features(f"{name}:device={DEVICE}").features(images)
        np.testing.assert_allclose(found, expected, atol=1e-4, rtol=1e-4)
