"""A pipeline that encodes texts by their hash, and a data set whose perturbation depends on the prompt."""

from __future__ import annotations

import hashlib
from pathlib import Path
from types import SimpleNamespace

import numpy as np
import torch

from noiseprompt.core.digests import weights_digest
from noiseprompt.core.types import Prompt, ScoredPair
from noiseprompt.noise import initial_noise
from noiseprompt.npd import Npd, NpdWriter
from noiseprompt.pipelines.families.embeds import TextEmbeds
from noiseprompt.stages.train.settings import TrainConfig

SHAPE = (4, 8, 8)
CONFIG = TrainConfig(
    architecture="tokens",
    sizes={"width": 16, "depth": 1, "heads": 2, "patch": 4},
    epochs=2,
    batch_size=16,
    lr=3e-3,
    warmup_steps=2,
    ema_decay=0.9,
    validation_share=0.2,
    checkpoint_every=4,
    validate_every=4,
    checkpoint_seconds=0,
)


def embedding(text: str) -> np.ndarray:
    seed = int(hashlib.sha256(text.encode()).hexdigest()[:8], 16)
    return np.random.default_rng(seed).standard_normal((3, 8)).astype(np.float32)


class FakePipeline:
    name = "fake"
    device = torch.device("cpu")
    dtype = torch.float32
    long_prompts = "truncate"

    def parts(self) -> dict[str, str]:
        return {}

    def __init__(self, seed: int = 0) -> None:
        torch.manual_seed(seed)
        self.denoiser, text_encoder = torch.nn.Linear(3, 3), torch.nn.Linear(3, 3)
        self.pipe = SimpleNamespace(components={"text_encoder": text_encoder, "text_encoder_2": None})
        self.family = SimpleNamespace(name="fake", encode=lambda pipe, texts: self.encode(texts))
        self.encoded: list[str] = []

    def encode(self, texts):
        self.encoded += texts
        return TextEmbeds({}, torch.from_numpy(np.stack([embedding(t) for t in texts])))


def write(folder: Path, facts: dict) -> Npd:
    """150 pairs of 75 prompts whose perturbation is a linear function of the prompt's first embedding values."""
    with NpdWriter(folder, {"scorers": ["judge"], **facts}, SHAPE) as writer:
        for i in range(150):
            prompt = Prompt(f"prompt {i % 75}")
            source = initial_noise(i, SHAPE).numpy()
            shift = 0.2 * embedding(prompt.text)[0, :4].reshape(4, 1, 1)
            scores = {"judge": (0.0, 1.0 if i % 3 else -1.0)}
            writer.add(ScoredPair(f"{prompt.id}-{i}", prompt, i, source, source + shift, scores))
    return Npd(folder)


def facts(pipeline: FakePipeline, **changed) -> dict:
    """What `collect` records of a model."""
    digest = weights_digest(pipeline.denoiser)
    return {"family": "fake", "weights": digest, "text_embeds": [3, 8], "dtype": "float32", **changed}
