"""A pipeline, a scorer and a method that are a few lines each and exactly predictable."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from types import SimpleNamespace

import numpy as np
import torch

from noiseprompt.core.types import Prompt


@dataclass(frozen=True)
class FakeEmbeds:
    """The length of each text, (B, 2, 3)."""

    texts: tuple[str, ...]

    @property
    def prompt_embeds(self) -> torch.Tensor:
        return torch.tensor([len(t) for t in self.texts], dtype=torch.float32)[:, None, None].expand(-1, 2, 3)

    def __len__(self) -> int:
        return len(self.texts)

    def select(self, indices: Sequence[int]) -> FakeEmbeds:
        return FakeEmbeds(tuple(self.texts[i] for i in indices))


def _check(gap: bool) -> None:
    assert gap


class FakePipeline:
    """Images are the latents' first three channels; re-denoise adds a hundredth of the sum of the text's bytes."""

    name = "fake"
    family = SimpleNamespace(
        name="stable-diffusion",
        guidance_scale=2.0,
        num_inference_steps=10,
        denoise_guidance_scale=5.5,
        invert_guidance_scale=1.0,
        collection_steps=10,
        check_gap=lambda pipe, down, up: _check(down > up),
    )
    pipe = None
    device = torch.device("cpu")
    dtype = torch.float32
    default_size = (8, 8)
    changes: dict = {}

    def parts(self) -> dict[str, str]:
        return {}

    def __init__(self) -> None:
        self.denoiser = torch.nn.Linear(2, 2)
        for parameter in self.denoiser.parameters():
            torch.nn.init.ones_(parameter)
        self.denoiser_calls = 0.0
        self.encoded: list[tuple[str, ...]] = []
        self.redenoised: list[tuple[tuple[str, ...], dict]] = []
        self.sampled = 0

    def latent_shape(self, height: int | None = None, width: int | None = None) -> tuple[int, int, int]:
        return (4, height or 8, width or 8)

    def encode(self, texts: Sequence[str]) -> FakeEmbeds:
        self.encoded.append(tuple(texts))
        return FakeEmbeds(tuple(texts))

    def sample(self, embeds: FakeEmbeds, latents: torch.Tensor, **kwargs: object) -> np.ndarray:
        assert len(embeds) == len(latents)
        self.sampled += len(latents)
        self.denoiser_calls += 20 * len(latents)
        return (latents[:, :3].permute(0, 2, 3, 1) * 40 + 128).clamp(0, 255).round().to(torch.uint8).numpy()

    def redenoise(self, embeds: FakeEmbeds, latents: torch.Tensor, **kwargs: object) -> torch.Tensor:
        assert len(embeds) == len(latents)
        self.redenoised.append((embeds.texts, kwargs))
        self.denoiser_calls += 3 * len(latents)
        shift = torch.tensor([sum(t.encode()) % 50 / 100 for t in embeds.texts])
        return latents + shift[:, None, None, None]


class FakeScorer:
    """Mean brightness in [0, 1]."""

    name = "brightness"

    def score(self, images: np.ndarray, prompts: Sequence[Prompt]) -> np.ndarray:
        assert len(images) == len(prompts)
        assert images.dtype == np.uint8
        return images.mean(axis=(1, 2, 3)) / 255


class FakeChecker:
    """1 where the image is brighter than grey, else its brightness."""

    name = "shapes-checker"

    def score(self, images: np.ndarray, prompts: Sequence[Prompt]) -> np.ndarray:
        mean = images.mean(axis=(1, 2, 3)) / 255
        return np.where(mean > 0.52, 1.0, mean)
