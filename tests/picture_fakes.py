"""A folder of captioned pictures, and the fake pipeline of collections with an autoencoder: 8 x 8 pixels a latent."""

from __future__ import annotations

import json
import sys
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from PIL import Image

from noiseprompt.prompts.captions import load_captioned
from noiseprompt.stages.collect.pictures import collect_pictures
from noiseprompt.stages.collect.settings import CollectConfig
from tests.npd_fakes import FakePipeline

CAPTIONS = [f"picture {i // 2}" for i in range(14)]


class PicturePipeline(FakePipeline):
    """Latents are the mean red and green of blocks of 8 x 8 pixels, in [-1, 1]."""

    def __init__(self, pause: float = 0.0) -> None:
        super().__init__(pause=pause)
        torch.manual_seed(0)
        self.pipe = SimpleNamespace(vae=torch.nn.Linear(2, 2))

    def encode_images(self, images: np.ndarray) -> torch.Tensor:
        self.calls.append(("image", len(images)))
        blocks = torch.from_numpy(images).float().permute(0, 3, 1, 2)[:, :2] / 127.5 - 1
        return torch.nn.functional.avg_pool2d(blocks, 8)

    def sample(self, *args: Any, **kwargs: Any) -> np.ndarray:
        """As large as pictures are: each latent 8 x 8 pixels."""
        return super().sample(*args, **kwargs).repeat(8, 1).repeat(8, 2)


def config_of(folder: Path | str, **changed: Any) -> CollectConfig:
    return CollectConfig(**{"pictures": str(folder), "batch_size": 3, "shard_size": 4, **changed})


def picture(i: int, side: int = 32) -> np.ndarray:
    return np.random.default_rng(i).integers(0, 256, (side, side, 3)).astype(np.uint8)


def write_folder(folder: Path, captions: list[str] = CAPTIONS, side: int = 32) -> Path:
    """Pictures 000.png and so on with metadata.jsonl."""
    folder.mkdir(parents=True)
    for i in range(len(captions)):
        Image.fromarray(picture(i, side)).save(folder / f"{i:03d}.png")
    rows = [{"file_name": f"{i:03d}.png", "text": text} for i, text in enumerate(captions)]
    (folder / "metadata.jsonl").write_text("".join(json.dumps(row) + "\n" for row in rows))
    return folder


if __name__ == "__main__":  # python -m tests.picture_fakes PICTURES OUT: slow enough to be killed
    import time

    class Slow(PicturePipeline):
        def encode_images(self, images: np.ndarray) -> torch.Tensor:
            time.sleep(0.1)
            return super().encode_images(images)

    source = load_captioned(sys.argv[1])
    for progress in collect_pictures(Slow(), source, [], config_of(sys.argv[1]), sys.argv[2]):
        print(progress.done, flush=True)
