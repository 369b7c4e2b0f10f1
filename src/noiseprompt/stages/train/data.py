"""What training reads: the kept pairs of an NPD, each with the embedding of its own prompt, split by prompt.

The text is that of the model which the pairs were collected with; another model is refused.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, BinaryIO

import numpy as np
import torch

from noiseprompt.core.devices import DTYPES, resolve_dtype
from noiseprompt.core.digests import weights_digest
from noiseprompt.core.errors import ConfigError, InputError, ModelMismatchError
from noiseprompt.core.files import differences, public_name, refuse_changes, replace, replacing
from noiseprompt.core.json_files import read_json
from noiseprompt.core.parts import PARTS, as_recorded
from noiseprompt.npd import Npd, PairFilter

if TYPE_CHECKING:
    from noiseprompt.core.types import Prompt
    from noiseprompt.pipelines import Pipeline


class PairData:
    """The kept pairs of an NPD with cached text, as batches of tensors.

    Shapes: source and target (B, C, H, W) float32, prompt_embeds (B, L, D) float32.
    """

    def __init__(self, npd: Npd, embeds: np.ndarray, rows: np.ndarray) -> None:
        self.npd, self.embeds, self.rows = npd, embeds, rows

    def batch(self, indices: np.ndarray) -> tuple[torch.Tensor, torch.Tensor, torch.Tensor]:
        target = torch.from_numpy(np.ascontiguousarray(self.npd.targets(indices))).float()
        source = torch.from_numpy(self.npd.sources(indices)).float()
        return source, target, self.text(indices)

    def text(self, indices: np.ndarray) -> torch.Tensor:
        """(B, L, D) float32 prompt embeddings of pairs.

        Raises:
            InputError: not finite.
        """
        embeds = torch.from_numpy(np.ascontiguousarray(self.embeds[self.rows[indices]])).float()
        if not bool(embeds.isfinite().all()):
            raise InputError(
                "the text embeddings of a batch are not finite", "numbers", "delete embeds.npy and run again"
            )
        return embeds


def check_model(npd: Npd, pipeline: Pipeline) -> tuple[int, int]:
    """Refuse a model that a data set was not collected with; the shape (L, D) of its text is returned.

    What an older data set does not record is not compared.

    Raises:
        ModelMismatchError: of another family, with other weights or another shape of text.
        InputError: the model has no text embedding.
    """
    made, family = npd.settings, pipeline.family.name
    shape = text_shape(pipeline)
    here: dict[str, Any] = {"family": family, "text_embeds": list(shape)}
    if "weights" in made:
        here["weights"] = _weights_as(pipeline, pipeline.denoiser, made.get("dtype"))
    if "autoencoder" in made:
        here["autoencoder"] = _weights_as(pipeline, pipeline.pipe.vae, made.get("dtype"))
    other = [name for name in (*here, "text_embeds") if name in made and made[name] != here[name]]
    if other:
        with_these = f", changed by {made['changes']}" if made.get("changes") else ""
        raise ModelMismatchError(
            f"{public_name(pipeline.name)} has {', '.join(f'{name} {here[name]}' for name in other)}",
            f"{', '.join(f'{name} {made[name]}' for name in other)} of {collected_with(npd) or 'the model'}"
            f"{with_these} ({made.get('dtype', 'any dtype')}), with which {npd.folder} was collected",
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


def collected_with(npd: Npd) -> str:
    """The name of the model a data set was collected with: a hub id, "shapes", the last part of a folder, or ""."""
    return str(npd.settings.get("model") or npd.settings.get("pipeline") or "")


def cache_embeds(npd: Npd, pipeline: Pipeline, path: Path, batch_size: int = 64) -> tuple[np.ndarray, np.ndarray]:
    """Encode every distinct prompt once. Returns the memory-mapped (P, L, D) float16 embeddings and each pair's row.

    What they were made from stands beside them, in a .json file of the same name. Only the holder of the folder's lock
    may call this.

    Raises:
        ConfigError: `path` was made with another text encoder, other long_prompts or other prompts.
        InputError: an embedding that is not finite in float16.
    """
    order: dict[str, int] = {}
    rows = np.array([order.setdefault(prompt.text, len(order)) for prompt in npd.prompts()], np.int64)
    texts, made_from = list(order), _made_from(pipeline, list(order))
    record = path.with_suffix(".json")
    if not path.exists():
        with replacing(path) as file:
            _encode(texts, pipeline, file, batch_size)
            replace(record, json.dumps(made_from, indent=1) + "\n")  # first: embeddings without it would go unchecked
    elif record.exists():  # those of earlier versions have none
        old = read_json(record, fix=f"delete it and {path.name}, and run again")
        made_from = as_recorded(made_from, old)
        refuse_changes(path, differences(old, made_from), old, made_from)
    return _read_embeds(path, len(texts), npd.settings.get("text_embeds")), rows


def _read_embeds(path: Path, count: int, shape: Any) -> np.ndarray:
    """(P, L, D) float16 of a file, memory-mapped.

    Raises:
        ConfigError: damaged, or not of `count` prompts of that shape (L, D), where it is known.
    """
    again = "delete it and run again"
    try:
        embeds = np.load(path, mmap_mode="r", allow_pickle=False)
    except (OSError, ValueError, EOFError, OverflowError, MemoryError) as error:
        raise ConfigError(f"cannot read {path}: {error}", "embeddings that a training wrote", again) from error
    if not isinstance(embeds, np.ndarray) or embeds.dtype != np.float16 or embeds.ndim != 3:
        what = f"{embeds.dtype} of shape {embeds.shape}" if isinstance(embeds, np.ndarray) else "several arrays"
        raise ConfigError(f"{path} holds {what}", "float16 of shape (prompts, length, width)", again)
    if len(embeds) != count:
        raise ConfigError(f"{path} holds {len(embeds)} prompts", f"the {count} of the data set", again)
    if shape and list(embeds.shape[1:]) != list(shape):
        raise ConfigError(f"{path} holds texts of shape {embeds.shape[1:]}", f"{tuple(shape)}", again)
    return embeds


def _made_from(pipeline: Pipeline, texts: Sequence[str]) -> dict[str, Any]:
    """Everything that decides the embeddings of `texts`: a digest of each text encoder and of the texts."""
    parts = sorted((name, part) for name, part in pipeline.pipe.components.items() if name.startswith("text_encoder"))
    encoders = {name: weights_digest(part) for name, part in parts if part is not None}
    digest = hashlib.sha256(json.dumps(texts).encode()).hexdigest()[:12]
    words = {name: part for name, part in pipeline.parts().items() if name.startswith("tokenizer")}
    return {"text_encoders": encoders, "long_prompts": pipeline.long_prompts, "prompts": digest, PARTS: words}


def _encode(texts: Sequence[str], pipeline: Pipeline, file: BinaryIO, batch_size: int) -> None:
    """Write the embeddings as one .npy file, a batch at a time."""
    for start in range(0, len(texts), batch_size):
        part = pipeline.encode(texts[start : start + batch_size]).prompt_embeds.float().cpu().numpy()
        with np.errstate(over="ignore"):
            half = part.astype(np.float16)
        finite = np.isfinite(half).reshape(len(half), -1).all(1)
        if not finite.all():
            came = f"the embedding of {texts[start + int(finite.argmin())]!r} is not finite in float16"
            raise InputError(came, "values within 65504", "load the model with --dtype float32 or bfloat16")
        if not start:
            header = np.lib.format.header_data_from_array_1_0(half) | {"shape": (len(texts), *half.shape[1:])}
            np.lib.format.write_array_header_1_0(file, header)
        file.write(half.tobytes())


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
        raise InputError(
            f"the filter keeps {len(training)} training and {len(validation)} validation pairs of {len(npd)}",
            "at least 2 and 1",
            "lower the margin, choose another scorer, or collect more",
        )
    return training, validation


def spread(rows: np.ndarray, most: int) -> np.ndarray:
    """At most `most` of some rows, evenly spread over them."""
    return rows[np.linspace(0, len(rows) - 1, min(most, len(rows))).round().astype(np.int64)]
