"""The text of a data set's prompts: encoded once and kept on disk in float16, or a batch at a time.

A file of 20,000 SDXL prompts has 6.3 GB, and every epoch reads all of it; beyond that encoding a batch at a time is
cheaper than keeping.
"""

from __future__ import annotations

import hashlib
import io
import json
from collections.abc import Callable, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np
import torch

from noiseprompt.core.digests import file_sha256, weights_digest
from noiseprompt.core.errors import ConfigError, InputError, NoiseError
from noiseprompt.core.files import append, cut, differences, refuse_changes, remove, rename, replace
from noiseprompt.core.json_files import read_json
from noiseprompt.core.parts import PARTS, as_recorded
from noiseprompt.core.places import refuse_pipe
from noiseprompt.npd import Npd
from noiseprompt.pipelines.texts import prompt_embeds
from noiseprompt.stages.train.objective import Batch

if TYPE_CHECKING:
    from noiseprompt.pipelines import Pipeline

MOST_KEPT = 20_000
"""Distinct prompts whose text is kept on disk unless a setting says otherwise."""

AT_ONCE = 64
"""Prompts that are encoded together for the disk."""


class Texts(Protocol):
    """Embeddings of distinct prompts by their number."""

    def read(self, prompts: np.ndarray) -> Batch:
        """Of (B,) prompts what a batch holds of them; may be called from another thread, and touches no device."""
        ...

    def embeds(self, batch: Batch) -> torch.Tensor:
        """(B, L, D) float32 of what `read` gave, once that is on the device."""
        ...


SHA256 = "sha256"
"""In the record beside embeddings: of their file."""


class KeptTexts:
    """From a file, (P, L, D) float16, memory-mapped."""

    def __init__(self, embeds: np.ndarray) -> None:
        self._embeds, self._finite = embeds, np.zeros(len(embeds), bool)

    def read(self, prompts: np.ndarray) -> Batch:
        """float16 (B, L, D).

        Raises:
            InputError: not finite; each prompt is looked at once.
        """
        found = torch.from_numpy(np.ascontiguousarray(self._embeds[prompts]))
        new = ~self._finite[prompts]
        if new.any():
            if not bool(found[torch.from_numpy(new)].isfinite().all()):
                came = "the text embeddings of a batch are not finite"
                raise InputError(came, "numbers", "delete embeds.npy and run again")
            self._finite[prompts] = True
        return {"prompt_embeds": found}

    def embeds(self, batch: Batch) -> torch.Tensor:
        return batch["prompt_embeds"].float()


class FreshTexts:
    """Encoded when a batch needs them, each distinct prompt of it once."""

    def __init__(self, texts: Sequence[str], pipeline: Pipeline) -> None:
        self._texts, self._pipeline = list(texts), pipeline

    def read(self, prompts: np.ndarray) -> Batch:
        return {"prompt": torch.from_numpy(np.asarray(prompts, np.int64))}

    def embeds(self, batch: Batch) -> torch.Tensor:
        prompts = batch["prompt"]
        distinct, place = np.unique(prompts.cpu().numpy(), return_inverse=True)
        with torch.autocast(prompts.device.type, enabled=False):
            found = prompt_embeds(self._pipeline, [self._texts[number] for number in distinct])
        found = found.to(prompts.device, torch.float32)
        return found[torch.from_numpy(place).to(found.device)]


def distinct_texts(*npds: Npd) -> list[str]:
    """The prompts of data sets, each once, those that occur first first: of one, numbered as by `Npd.prompt_rows`."""
    return list(dict.fromkeys(text for npd in npds for text in npd.table().column("prompt").to_pylist()))


def prompt_numbers(npd: Npd, listed: Sequence[str]) -> np.ndarray:
    """(N,) int64: of every row of a data set the number of its prompt in `listed`, which holds all of them."""
    number = {text: i for i, text in enumerate(listed)}
    return np.array([number[text] for text in npd.table().column("prompt").to_pylist()], np.int64)


def is_kept(path: Path, texts: Sequence[str], setting: bool | None) -> bool:
    """Whether the text is kept on disk: as the setting says, else where there is little of it or it is there by now."""
    return len(texts) <= MOST_KEPT or path.exists() if setting is None else setting


def cache_embeds(
    texts: Sequence[str], pipeline: Pipeline, path: Path, encoded: Callable[[int, int], None] | None = None
) -> None:
    """Encode every prompt once into `path`, (P, L, D) float16; after a kill the rest of them.

    What they were made from stands beside them, in a .json file of the same name. Only the holder of the folder's lock
    may call this.

    Args:
        texts: distinct.
        encoded: told how many of how many are done, after every batch.

    Raises:
        ConfigError: `path` was made with another text encoder, other long_prompts or other prompts.
        InputError: an embedding that is not finite in float16.
    """
    part = path.with_suffix(".part")
    if path.exists():
        check_encoder(texts, pipeline, path)
        return
    record, made_from = path.with_suffix(".json"), _made_from(pipeline, texts)
    if part.exists() and (not record.exists() or _read_record(record, f"delete {part}") != made_from):
        remove(part)
    if record.exists() and not _read_record(record, f"delete {record}").keys() & made_from.keys():
        raise ConfigError(f"{record} is of something else", "a new folder, or one of a training", "choose a new folder")
    if not part.exists():  # first: embeddings without it would go unchecked
        replace(record, json.dumps(made_from, indent=1) + "\n")
    _encode(texts, pipeline, part, encoded)
    replace(record, json.dumps({**made_from, SHA256: file_sha256(part)}, indent=1) + "\n")
    rename(part, path)


def check_encoder(texts: Sequence[str], pipeline: Pipeline, path: Path) -> None:
    """Refuse another text than that of `path`, or of the steps so far; what it is made from is recorded beside `path`
    where there is neither.

    Raises:
        ConfigError: of another text encoder, other long_prompts or other prompts.
    """
    record, made_from = path.with_suffix(".json"), _made_from(pipeline, texts)
    if record.exists():
        old = _read_record(record, f"delete it and {path.name}, and run again")
        made_from = as_recorded(made_from, old)
        refuse_changes(path, differences(old, made_from), old, made_from)
    elif not path.exists():  # embeddings of earlier versions have none
        replace(record, json.dumps(made_from, indent=1) + "\n")


def _read_record(path: Path, fix: str) -> dict[str, Any]:
    """What embeddings were made from."""
    return {name: value for name, value in read_json(path, fix=fix).items() if name != SHA256}


def read_embeds(path: Path, count: int, shape: Any) -> np.ndarray:
    """(P, L, D) float16 of a file, memory-mapped.

    Raises:
        ConfigError: missing or damaged, or not of `count` prompts of that shape (L, D), where it is known; other bytes
            than those that were written, where their checksum stands beside it.
    """
    again = "delete it and run again"
    try:
        refuse_pipe(path)
        record = path.with_suffix(".json")
        told = read_json(record, fix=f"delete it and {path.name}, and run again") if record.exists() else {}
        if told.get(SHA256, "") not in ("", file_sha256(path)):
            came = f"{path} is damaged: its checksum does not match"
            raise ConfigError(came, "embeddings as they were written", again)
        embeds = np.load(path, mmap_mode="r", allow_pickle=False)
    except ConfigError:  # is a ValueError too
        raise
    except (OSError, ValueError, EOFError, OverflowError, MemoryError) as error:
        reason = error.strerror if isinstance(error, OSError) and error.strerror else "it is no array of numbers"
        raise ConfigError(f"cannot read {path}: {reason}", "embeddings that a training wrote", again) from error
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


def _encode(texts: Sequence[str], pipeline: Pipeline, path: Path, encoded: Callable[[int, int], None] | None) -> None:
    """Write the embeddings as one .npy file, a batch at a time, from where an earlier run was stopped."""
    done = _whole_batches(path)
    for start in range(done, len(texts), AT_ONCE):
        half = _half(texts[start : start + AT_ONCE], pipeline)
        header = b"" if start else _header(half, len(texts))
        append(path, header + half.tobytes())
        if encoded:
            encoded(start + len(half), len(texts))


def _half(texts: Sequence[str], pipeline: Pipeline) -> np.ndarray:
    """(B, L, D) float16.

    Raises:
        InputError: not finite.
    """
    fix = "load the model with --dtype float32 or bfloat16"
    try:
        part = prompt_embeds(pipeline, texts).float().cpu().numpy()
    except NoiseError as error:
        raise InputError(error.came, error.expected, fix) from error
    with np.errstate(over="ignore"):
        half = part.astype(np.float16)
    finite = np.isfinite(half).reshape(len(half), -1).all(1)
    if not finite.all():
        came = f"the embedding of {texts[int(finite.argmin())]!r} is not finite in float16"
        raise InputError(came, "values within 65504", fix)
    return half


def _header(half: np.ndarray, count: int) -> bytes:
    header = np.lib.format.header_data_from_array_1_0(half) | {"shape": (count, *half.shape[1:])}
    np.lib.format.write_array_header_1_0(file := io.BytesIO(), header)
    return file.getvalue()


def _whole_batches(path: Path) -> int:
    """How many prompts of an unfinished file are kept: whole batches less the last, which a loss of power may have
    left empty; the file is cut after them, and goes where there are none."""
    if not path.exists():
        return 0
    try:
        with path.open("rb") as file:
            np.lib.format.read_magic(file)
            shape, _, dtype = np.lib.format.read_array_header_1_0(file)
            begun, size = file.tell(), path.stat().st_size
    except (ValueError, EOFError):
        remove(path)
        return 0
    each = int(np.prod(shape[1:])) * dtype.itemsize
    done = max(0, (size - begun) // (each * AT_ONCE) - 1) * AT_ONCE
    if done:
        cut(path, begun + done * each)
    else:
        remove(path)
    return done
