"""Commands that end in a moment: a model that draws at once, tiny networks, short validations; folders to break."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Any

import numpy as np
import pytest
import torch

from noiseprompt.cli import common
from noiseprompt.pipelines import Pipeline
from noiseprompt.pipelines.options import ModelOptions
from noiseprompt.scorers.table import SCORERS
from noiseprompt.shapes import features, preference
from noiseprompt.shapes import model as networks
from tests import tiny
from tests.evaluation_fakes import FakeScorer
from tests.scorers import checkpoints


def drawn(embeds: Any, latents: torch.Tensor, **_: Any) -> np.ndarray:
    """Pictures of four times the latents' size, of their first three channels."""
    small = (latents[:, :3].permute(0, 2, 3, 1) * 40 + 128).clamp(0, 255).byte().numpy()
    return small.repeat(4, 1).repeat(4, 2)


def moved(embeds: Any, latents: torch.Tensor, **_: Any) -> torch.Tensor:
    """A perturbation that the text decides."""
    return latents + torch.tensor([sum(t.encode()) % 7 / 10 for t in embeds.texts])[:, None, None, None]


@pytest.fixture(scope="module")
def pipeline(model: str) -> Pipeline:
    loaded = Pipeline.load(model, ModelOptions())
    loaded.sample, loaded.redenoise = drawn, moved  # type: ignore[method-assign, assignment]
    return loaded


@pytest.fixture
def quick(pipeline: Pipeline, monkeypatch: pytest.MonkeyPatch) -> None:
    """Commands with a model that draws at once, tiny networks and short validations."""
    from diffusers import UNet2DConditionModel

    def unet() -> Any:
        sizes: Any = {"block_out_channels": (8,), "norm_num_groups": 4, "attention_head_dim": 4, "layers_per_block": 1}
        blocks: Any = {"down_block_types": ("CrossAttnDownBlock2D",), "up_block_types": ("CrossAttnUpBlock2D",)}
        return UNet2DConditionModel(sample_size=16, cross_attention_dim=networks.TEXT_WIDTH, **sizes, **blocks)

    monkeypatch.setattr(networks, "build_unet", unet)
    monkeypatch.setattr(common, "load_model", lambda *_: pipeline)
    monkeypatch.setitem(SCORERS._entries, "brightness", FakeScorer)
    monkeypatch.setattr(features, "VALIDATION_SCENES", 2)
    monkeypatch.setattr(preference, "VALIDATION_PAIRS", 1)


@pytest.fixture(scope="module")
def sound(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A tiny model of Stable Diffusion as diffusers saves it; to be copied, not broken."""
    return tiny.save(tiny.stable_diffusion(), tmp_path_factory.mktemp("models") / "sound")


@pytest.fixture(scope="module")
def clip(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """The folder of a tiny CLIP; to be copied, not broken."""
    made = tmp_path_factory.mktemp("clip")
    checkpoints.clip_folder(made)
    return made


@pytest.fixture
def scorer(clip: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(clip, tmp_path / "scorer"))
