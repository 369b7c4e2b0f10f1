"""A pipeline of a few tensor operations with the interface that collection uses, and pairs to store."""

from __future__ import annotations

import hashlib
import sys
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

from noiseprompt.core.types import Prompt, ScoredPair
from noiseprompt.noise import initial_noise
from noiseprompt.npd import NpdWriter
from noiseprompt.pipelines import Pipeline
from noiseprompt.stages.collect.collect import collect
from noiseprompt.stages.collect.settings import CollectConfig

SHAPE = (2, 4, 4)
CONFIG = CollectConfig(batch_size=3, shard_size=4, num_inference_steps=10)
PROMPTS = tuple(Prompt(f"prompt number {i}", kind="even" if i % 2 == 0 else "odd") for i in range(18))


@dataclass
class FakeEmbeds:
    texts: list[str]

    @property
    def prompt_embeds(self) -> torch.Tensor:
        values = [int(hashlib.sha256(text.encode()).hexdigest()[:6], 16) / 2**24 for text in self.texts]
        return torch.tensor(values).reshape(-1, 1, 1)

    def __len__(self) -> int:
        return len(self.texts)

    def select(self, indices: Sequence[int]) -> FakeEmbeds:
        return FakeEmbeds([self.texts[i] for i in indices])


class FakePipeline:
    """x_{T-1} = 0.9 x + 0.01 g e, and back; images show latents. The texts "nan", "boom" and "crowd" misbehave."""

    name = "fake"
    family = SimpleNamespace(
        name="fake",
        collection_steps=10,
        denoise_guidance_scale=5.5,
        invert_guidance_scale=1.0,
        num_inference_steps=10,
        guidance_scale=2.0,
        check_gap=lambda pipe, down, up: None,
    )
    pipe = None
    default_size = (32, 32)
    changes: dict = {}
    dtype = torch.float32
    device = torch.device("cpu")

    def parts(self) -> dict[str, str]:
        return {}

    def __init__(self, can_share_first_step: bool = True, pause: float = 0.0) -> None:
        self.can_share_first_step, self.pause = can_share_first_step, pause
        self.denoiser = torch.nn.Identity()
        self.denoiser_calls = 0.0
        self.calls: list[tuple[str, int]] = []

    def latent_shape(self, height: int | None = None, width: int | None = None) -> tuple[int, ...]:
        return SHAPE

    def encode(self, texts: Sequence[str]) -> FakeEmbeds:
        self.calls.append(("encode", len(texts)))
        if "boom" in texts or (len(texts) > 1 and "crowd" in texts):
            raise RuntimeError("the text encoder\n  broke")
        return FakeEmbeds(list(texts))

    def denoise_step(self, embeds, latents, *, guidance_scale, num_inference_steps):
        self.calls.append(("down", len(embeds)))
        return 0.9 * latents + 0.01 * guidance_scale * embeds.prompt_embeds[..., None]

    def invert_step(self, embeds, latents, *, guidance_scale, num_inference_steps, invert_at):
        self.calls.append(("up", len(embeds)))
        upper = (latents - 0.01 * guidance_scale * embeds.prompt_embeds[..., None]) / 0.9
        bad = torch.tensor(["nan" in text for text in embeds.texts]).reshape(-1, 1, 1, 1)
        return torch.where(bad, torch.nan, upper)

    redenoise = Pipeline.redenoise

    def sample(
        self,
        embeds,
        latents,
        *,
        guidance_scale,
        num_inference_steps,
        height,
        width,
        after_first_step=False,
        generator=None,
    ):
        self.calls.append(("rest" if after_first_step else "sample", len(embeds)))
        time.sleep(self.pause)
        if not after_first_step:
            latents = 0.9 * latents + 0.01 * guidance_scale * embeds.prompt_embeds[..., None]
        image = (latents.mean(dim=1) * 40 + 128).clamp(0, 255).round()
        return image[..., None].expand(-1, -1, -1, 3).numpy().astype(np.uint8)


class Brightness:
    """Mean level of the image, 0 to 255; not finite for prompts that hold "unjudged"."""

    name = "brightness"

    def score(self, images: np.ndarray, prompts: Sequence[Prompt]) -> np.ndarray:
        scores = images.mean(axis=(1, 2, 3), dtype=np.float64)
        return np.where(["unjudged" in prompt.text for prompt in prompts], np.nan, scores)


class Darkness(Brightness):
    name = "darkness"

    def score(self, images: np.ndarray, prompts: Sequence[Prompt]) -> np.ndarray:
        return -super().score(images, prompts)


def pair(i: int, scores: dict[str, tuple[float, float]] | None = None, rejected: str = "") -> ScoredPair:
    """Pair i: seed i, target = source + 0.25."""
    prompt = Prompt(f"text {i}", kind="kind")
    source = initial_noise(i, SHAPE).numpy()
    target = None if rejected else source + np.float32(0.25)
    return ScoredPair(f"{prompt.id}-{i}", prompt, i, source, target, {} if rejected else scores or {}, rejected)


def shards(folder: Path) -> dict[str, bytes]:
    """File name -> bytes of every file that is not hidden."""
    return {path.name: path.read_bytes() for path in folder.iterdir() if not path.name.startswith(".")}


SETTINGS = {"scorers": ["a", "b"], "guidance": 5.5}
SCORES = [(0.0, 0.125), (0.5, 0.25), (0.25, 0.25), (0.125, 0.1875), (-1.0, 1.0)]
"""Of scorer a; scorer b judges the other way round, ten times as strongly. Exact in binary."""


def pairs() -> list:
    scored = [pair(i, {"a": (s, t), "b": (10 * t, 10 * s)}) for i, (s, t) in enumerate(SCORES)]
    return [*scored, pair(5, rejected="target noise is not finite")]


def write(folder: Path, shard_size: int = 4, store_source: bool = False) -> Path:
    with NpdWriter(folder, SETTINGS, SHAPE, shard_size=shard_size, store_source=store_source) as writer:
        for item in pairs():
            writer.add(item)
    return folder


if __name__ == "__main__":  # python -m tests.npd_fakes FOLDER PAUSE
    for progress in collect(FakePipeline(pause=float(sys.argv[2])), PROMPTS, [Brightness()], CONFIG, sys.argv[1]):
        print(progress.done, flush=True)
