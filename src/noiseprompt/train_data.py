"""What training reads: the kept pairs of an NPD, each with the embedding of its own prompt, split by prompt."""

from __future__ import annotations

import os
from pathlib import Path
from typing import TYPE_CHECKING

import numpy as np
import torch

from noiseprompt.errors import ConfigError, InputError
from noiseprompt.noise import initial_noise
from noiseprompt.store import Npd, PairFilter

if TYPE_CHECKING:
    from noiseprompt.pipelines import Pipeline


class PairData:
    """The kept pairs of an NPD with cached text, as batches of tensors.

    Shapes: source and target (B, C, H, W) float32, prompt_embeds (B, L, D) float32.
    """

    def __init__(self, npd: Npd, embeds: np.ndarray, rows: np.ndarray) -> None:
        self.npd, self.embeds, self.rows = npd, embeds, rows
        self.seeds = npd.seeds()

    def batch(self, indices: np.ndarray) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        target = torch.from_numpy(np.ascontiguousarray(self.npd.targets(indices))).float()
        source = torch.stack([initial_noise(int(self.seeds[i]), self.npd.latent_shape) for i in indices])
        embeds = torch.from_numpy(np.ascontiguousarray(self.embeds[self.rows[indices]])).float()
        return source, target, embeds


def cache_embeds(npd: Npd, pipeline: Pipeline, path: Path, batch_size: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """Encode every distinct prompt once. Returns the memory-mapped (P, L, D) float16 embeddings and each pair's row."""
    prompts = npd.prompts()
    order: dict[str, int] = {}
    texts: list[str] = []
    rows = np.empty(len(prompts), np.int64)
    for i, prompt in enumerate(prompts):
        if prompt.text not in order:
            order[prompt.text] = len(texts)
            texts.append(prompt.text)
        rows[i] = order[prompt.text]
    if not path.exists():
        partial = path.with_suffix(".tmp")
        mapped: np.ndarray | None = None
        for start in range(0, len(texts), batch_size):
            part = pipeline.encode(texts[start : start + batch_size]).prompt_embeds.float().cpu().numpy()
            if not part.size:
                came = f"{pipeline.family.name}, which is of no known family and has no text embedding for an NPNet"
                raise InputError(came, "a family of noiseprompt.families", "add one, or use re-denoise")
            if mapped is None:
                mapped = np.lib.format.open_memmap(partial, "w+", np.float16, (len(texts), *part.shape[1:]))
            mapped[start : start + len(part)] = part
        if mapped is not None:
            mapped.flush()
            del mapped
            os.replace(partial, path)
    embeds = np.load(path, mmap_mode="r")
    if len(embeds) != len(texts):
        raise ConfigError(
            f"{path} holds {len(embeds)} prompts", f"the {len(texts)} of the data set", "delete it and run again"
        )
    return embeds, rows


def split_by_prompt(npd: Npd, kept: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Training and validation indices; all pairs of one prompt fall on one side, whatever else is in the set."""
    prompts = npd.prompts()
    held = np.array([int(prompts[i].id[:8], 16) / 2**32 < share for i in kept], bool)
    return kept[~held], kept[held]


def select_pairs(
    npd: Npd, pair_filter: PairFilter, validation_share: float, max_pairs: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Training (at most `max_pairs` if that is not 0) and validation indices of the kept pairs.

    Raises:
        InputError: too few pairs are kept to train or to validate.
    """
    training, validation = split_by_prompt(npd, npd.select(pair_filter), validation_share)
    if max_pairs:
        training = training[:max_pairs]
    if len(training) < 2 or len(validation) < 1:
        raise InputError(
            f"the filter keeps {len(training)} training and {len(validation)} validation pairs of {len(npd)}",
            "at least 2 and 1",
            "lower the margin, choose another scorer, or collect more",
        )
    return training, validation
