"""What training reads: the kept pairs of an NPD, each with the text of its own prompt, split by prompt.

The text is that of the model which the pairs were collected with; another model is refused.
"""

from __future__ import annotations

from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from noiseprompt.core.devices import DTYPES, resolve_dtype
from noiseprompt.core.digests import weights_digest
from noiseprompt.core.errors import InputError, ModelMismatchError
from noiseprompt.core.files import public_name
from noiseprompt.npd import Npd, PairFilter
from noiseprompt.npnet.svd import decompose, tile
from noiseprompt.stages.train.kept import Kept
from noiseprompt.stages.train.objective import Batch
from noiseprompt.stages.train.texts import Texts

if TYPE_CHECKING:
    from noiseprompt.core.types import Prompt
    from noiseprompt.pipelines import Pipeline


SOME = 2048
"""Pairs that stand for all where a figure of all is wanted: spread evenly over them, the same each time."""

SINGULAR = ("left", "values", "right")
"""Of a batch: the parts of `npnet.svd.Singular`."""


class PairData:
    """The pairs of an NPD as batches of tensors on the CPU, each made of nothing but the rows that are asked for.

    The noise of a seed, and its singular vectors and values where `keep_singular` was called, are made once and kept,
    where those of all seeds have room (`Kept`).

    Shapes: source (B, C, H, W) float32, target (B, C, H, W) float16, left, values and right as `npnet.svd.Singular`.

    Args:
        prompts: (N,) number of the prompt of every row, as `texts` counts them.
    """

    def __init__(self, npd: Npd, texts: Texts, prompts: np.ndarray) -> None:
        self.npd, self.texts, self.prompts = npd, texts, prompts
        self._key, self._row = distinct_sources(npd)
        self._noises = Kept(len(self._row), [npd.latent_shape])
        self._singular: tuple[Kept, bool] | None = None

    def keep_singular(self, fix_signs: bool) -> None:
        """Give `left`, `values` and `right` of every source too, if those of all seeds have room."""
        rows, columns = tile(torch.empty(1, *self.npd.latent_shape, device="meta")).shape[1:]
        rank = min(rows, columns)
        kept = Kept(len(self._row), [(rows, rank), (rank,), (rank, columns)])
        self._singular = (kept, fix_signs) if kept.fits else None

    def batch(self, rows: np.ndarray) -> Batch:
        """Source and target noises, what `text` gives, and the singular vectors and values that are kept."""
        keys = self._key[rows]
        found = {"source": self._sources(keys)[0], "target": self.targets(rows), **self.text(rows)}
        if self._singular is None:
            return found
        kept, fix_signs = self._singular
        parts = kept.get(keys, lambda new: decompose(self._sources(new)[0], fix_signs))
        return found | dict(zip(SINGULAR, parts, strict=True))

    def targets(self, rows: np.ndarray) -> torch.Tensor:
        """(B, C, H, W) float16."""
        return torch.from_numpy(np.ascontiguousarray(self.npd.targets(rows)))

    def text(self, rows: np.ndarray) -> Batch:
        """What `texts` reads of the prompts of some rows.

        Raises:
            InputError: not finite.
        """
        return self.texts.read(self.prompts[rows])

    def _sources(self, keys: np.ndarray) -> list[torch.Tensor]:
        return self._noises.get(keys, lambda new: [torch.from_numpy(self.npd.sources(self._row[new])).float()])


def distinct_sources(npd: Npd) -> tuple[np.ndarray, np.ndarray]:
    """(N,) the source noise of every row as a number, and (K,) a row of each of them.

    Rows of one seed that record the same digest have one source; where sources are stored each row has its own.
    """
    if npd.pictures or npd.settings.get("store_source"):
        return np.arange(len(npd)), np.arange(len(npd))
    found: dict[tuple[int, str], int] = {}
    pairs = zip(npd.seeds().tolist(), npd.table().column("source_digest").to_pylist(), strict=True)
    keys = np.array([found.setdefault(pair, len(found)) for pair in pairs], np.int64)
    return keys, np.unique(keys, return_index=True)[1]


def check_model(made: Mapping[str, Any], pipeline: Pipeline, where: str | Path) -> tuple[int, int]:
    """Refuse a model that a data set was not collected with; the shape (L, D) of its text is returned.

    What an older data set does not record is not compared.

    Args:
        made: settings of the data set.
        where: its folder, for the message.

    Raises:
        ModelMismatchError: of another family, with other weights or another shape of text or latents.
        InputError: the model has no text embedding.
    """
    shape, family = text_shape(pipeline), pipeline.family.name
    here: dict[str, Any] = {"family": family, "text_embeds": list(shape)}
    if "weights" in made:
        here["weights"] = _weights_as(pipeline, pipeline.denoiser, made.get("dtype"))
    if "autoencoder" in made:
        here["autoencoder"] = _weights_as(pipeline, pipeline.pipe.vae, made.get("dtype"))
    if made.get("height") and made.get("width"):
        here["latent_shape"] = list(pipeline.latent_shape(made["height"], made["width"]))
    other = [name for name in dict.fromkeys((*here, "text_embeds")) if name in made and made[name] != here[name]]
    if other:
        with_these = f", changed by {made['changes']}" if made.get("changes") else ""
        raise ModelMismatchError(
            f"{public_name(pipeline.name)} has {', '.join(f'{name} {here[name]}' for name in other)}",
            f"{', '.join(f'{name} {made[name]}' for name in other)} of {collected_with(made) or 'the model'}"
            f"{with_these} ({made.get('dtype', 'any dtype')}), with which {where} is collected",
            "train with that model (--model, --dtype), so that the network sees the text of the noise it learns",
        )
    return shape


def text_shape(pipeline: Pipeline) -> tuple[int, int]:
    """(L, D) of the text that an NPNet for a pipeline sees.

    Raises:
        InputError: the model has no text embedding.
    """
    length, width = pipeline.encode([""]).prompt_embeds.shape[1:]
    if not length or not width:
        came = f"{pipeline.family.name}, which is of no known family and has no text embedding for an NPNet"
        raise InputError(came, "a family of noiseprompt.pipelines.families", "add one, or use re-denoise")
    return length, width


def _weights_as(pipeline: Pipeline, network: Any, dtype: str | None) -> str:
    """The digest that a collection in `dtype` records of a network; that of other weights where it cannot be told from
    these."""
    made_in = resolve_dtype(dtype) if dtype in DTYPES else pipeline.dtype
    rounded = None if made_in == pipeline.dtype else made_in
    return weights_digest(network, rounded)


def collected_with(made: Mapping[str, Any]) -> str:
    """The name of the model a data set was collected with: a hub id, "shapes", the last part of a folder, or "".

    Args:
        made: settings of the data set.
    """
    return str(made.get("model") or made.get("pipeline") or "")


def split_by_prompt(npd: Npd, kept: np.ndarray, share: float) -> tuple[np.ndarray, np.ndarray]:
    """Training and validation indices; all pairs of one prompt fall on one side, whatever else is in the set."""
    prompts = npd.prompts()
    held = np.array([is_held_out(prompts[i], share) for i in kept], bool)
    return kept[~held], kept[held]


def is_held_out(prompt: Prompt, share: float) -> bool:
    """Whether a prompt is one for validation: a share of all by the hash of their texts."""
    return int(prompt.id[:8], 16) / 2**32 < share


def select_pairs(
    npd: Npd, pair_filter: PairFilter, validation_share: float, max_pairs: int = 0, per_prompt: int = 0
) -> tuple[np.ndarray, np.ndarray]:
    """Training (at most `max_pairs` if that is not 0) and validation indices of the kept pairs.

    Args:
        per_prompt: at most so many of each prompt, the first ones, if that is not 0.

    Raises:
        InputError: too few pairs are kept to train or to validate.
    """
    kept = npd.select(pair_filter)
    if per_prompt:
        prompts = npd.prompt_rows()[kept]
        order = np.argsort(prompts, kind="stable")
        _, first, counts = np.unique(prompts[order], return_index=True, return_counts=True)
        kept = np.sort(kept[order][np.arange(len(kept)) - np.repeat(first, counts) < per_prompt])
    training, validation = split_by_prompt(npd, kept, validation_share)
    if max_pairs:
        training = training[:max_pairs]
    if len(training) < 2 or len(validation) < 1:
        said = f"the filter and validation_share {validation_share} leave" if pair_filter.scorers else ""
        said = said or f"validation_share {validation_share} leaves"
        came = f"{said} {len(training)} training and {len(validation)} validation pairs of {len(npd)}"
        if rejected := int((~npd.usable()).sum()):
            came += f" ({rejected} of them rejected: `noiseprompt npd info` tells why)"
        fix = f"{pair_filter.wider} or choose another scorer" if pair_filter.scorers else "choose another share"
        raise InputError(came, "at least 2 and 1", f"{fix}, raise max_pairs if it is set, or collect more")
    return training, validation


def spread(rows: np.ndarray, most: int) -> np.ndarray:
    """At most `most` of some rows, evenly spread over them."""
    return rows[np.linspace(0, len(rows) - 1, min(most, len(rows))).round().astype(np.int64)]
