"""Files of weights: their names, shapes and sizes are looked at before anything is built or read; nothing in them runs.

.safetensors             its header alone tells names, types and shapes
.pth, .pt, .bin, .ckpt   through torch.load(weights_only=True), after the sizes of its parts were added up
"""

from __future__ import annotations

import os
import pickle
import zipfile
from collections.abc import Mapping
from pathlib import Path
from typing import TYPE_CHECKING, Any

from noiseprompt.core.errors import ModelLoadError
from noiseprompt.core.places import no_file, refuse_pipe, refuse_pointer, remedy
from noiseprompt.core.tensors import check_finite
from noiseprompt.core.texts import some
from noiseprompt.core.weight_kinds import TENSORS, refuse_other_kind

if TYPE_CHECKING:
    import torch

HEADER_BYTES = 16 * 2**20
"""Longest header of a safetensors file that is read; a hundred thousand tensors fit."""

SHARED = 4
"""A tensor may stand in a checkpoint under so many names: weights are tied."""

COPY_AGAIN = "copy or download it again"


def read_header(path: Path) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Name -> (type, shape) of every tensor of a safetensors file; no tensor is read.

    Raises:
        ModelLoadError: missing, damaged or cut, or a header longer than `HEADER_BYTES`.
    """
    from safetensors import SafetensorError, safe_open

    try:
        if os.path.lexists(path) and not path.is_file():
            raise ModelLoadError(no_file(path), "a whole .safetensors file", COPY_AGAIN)
        with path.open("rb") as start:
            length = int.from_bytes(start.read(8), "little")
        refuse_pointer(path)
        refuse_other_kind(path, COPY_AGAIN)
        if length > HEADER_BYTES:
            came = f"{path} is no .safetensors file (it would begin with a header of {length:,} bytes)"
            raise ModelLoadError(came, f"one, with at most {HEADER_BYTES:,}", COPY_AGAIN)
        with safe_open(path, "pt") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
            return {name: (part.get_dtype(), tuple(part.get_shape())) for name, part in slices.items()}
    except (OSError, SafetensorError) as error:
        fix = remedy(error, COPY_AGAIN)
        raise ModelLoadError(f"cannot read {path}: {first_line(error)}", "a whole .safetensors file", fix) from error


def read_metadata(path: Path) -> dict[str, str]:
    """What the header of a safetensors file says beside its tensors.

    Raises:
        ModelLoadError: as `read_header`.
    """
    from safetensors import safe_open

    read_header(path)
    with safe_open(path, "pt") as file:
        return dict(file.metadata() or {})


def read_state(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a .safetensors file or a torch checkpoint, on the CPU; {"state_dict": ...} is opened.

    Raises:
        ModelLoadError: as `read_checkpoint`; something else than named tensors; one without values, or with some
            that are not finite.
    """
    import torch

    state = read_checkpoint(path)
    if isinstance(state, Mapping) and isinstance(state.get("state_dict"), Mapping):
        state = state["state_dict"]
    if not isinstance(state, Mapping) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ModelLoadError(f"{path} holds no state dict", "names and tensors")
    named = {str(name): value for name, value in state.items()}
    if empty := [name for name, value in named.items() if not value.numel()]:
        raise ModelLoadError(f"{path} holds {some('tensors without a number', empty)}", "numbers", COPY_AGAIN)
    check_finite(path, named)
    return named


def read_checkpoint(path: Path, own: bool = False) -> Any:
    """What a .safetensors file or a torch checkpoint holds, on the CPU: tensors and plain values, maybe nested.

    Args:
        own: one that this package wrote: every number has to be finite.

    Raises:
        ModelLoadError: missing or damaged, more than tensors and plain values, or larger than the file itself.
    """
    import torch
    from safetensors.torch import load_file

    again = "copy it again, or delete it: the same command begins anew" if own else COPY_AGAIN
    try:
        if path.suffix == ".safetensors":
            read_header(path)
            return load_file(path)
        refuse_pipe(path)
        refuse_pointer(path)
        refuse_other_kind(path, again)
        _check_archive(path, own, again)
        state = torch.load(path, map_location="cpu", weights_only=True)
        _check_tensors(path, state, own)
        return state
    except ModelLoadError:
        raise
    except pickle.UnpicklingError as error:
        if any(words in str(error) for words in ("Unsupported operand", "invalid load key")):  # a byte no pickle has
            raise ModelLoadError(f"cannot read {path}: it is damaged, or no checkpoint", "tensors", again) from error
        came = f"cannot read {path}: it holds more than tensors, and loading it would execute what it says"
        trusted = "where it comes from a source you trust, save `module.state_dict()` as safetensors and name that file"
        raise ModelLoadError(came, "a state dict: names and tensors", again if own else trusted) from error
    except Exception as error:  # torch raises many kinds for a damaged file, in words for who calls it
        if isinstance(error, OSError) and error.filename is not None:
            raise ModelLoadError(f"cannot read {path}: {first_line(error)}", TENSORS, remedy(error, again)) from error
        kind = next((kind for kind in ("TorchScript", "legacy .tar") if kind in str(error)), "")
        if kind:
            came, fix = f"{path} is an archive in torch's {kind} format", "save its state dict as safetensors"
            raise ModelLoadError(came, TENSORS, f"where it comes from a source you trust, {fix}") from error
        raise ModelLoadError(f"cannot read {path}: it is damaged, or no checkpoint", TENSORS, again) from error


def _check_archive(path: Path, own: bool, again: str) -> None:
    """Refuse a zip archive whose parts are larger than itself (torch stores them as they are, without compression), or
    whose bytes were changed: torch does not compare the checksums that it writes."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if not any(name.endswith(("data.pkl", "constants.pkl")) for name in archive.namelist()):
                first = next(iter(archive.namelist()), "nothing")
                came = f"{path} is a zip archive of other things ({first})"
                raise ModelLoadError(came, TENSORS, again if own else "unpack it and name what is in it")
            _refuse_more(path, sum(part.file_size for part in archive.infolist()), 1)
            told = any(part.CRC for part in archive.infolist())  # torch writes none where it was told not to
            changed = archive.testzip() if told else None
        if changed:
            raise ModelLoadError(f"{path} is damaged: the checksum of {changed} does not match", "", again)


def _check_tensors(path: Path, state: Any, own: bool) -> None:
    """Refuse tensors that are larger than the file, as one that repeats a few values does, or that hold no values; of
    our own also numbers that are not finite."""
    import torch

    claimed, waiting, seen = 0, [state], set[int]()
    while waiting:
        value = waiting.pop()
        if isinstance(value, torch.Tensor):
            if value.is_meta or value.layout != torch.strided or value.is_quantized:
                raise ModelLoadError(f"{path} holds a tensor without plain values", "dense tensors")
            if own:
                check_finite(path, {"a tensor": value})
            claimed += value.numel() * value.element_size()
        elif isinstance(value, Mapping | list | tuple | set) and id(value) not in seen:
            seen.add(id(value))
            waiting.extend(value.values() if isinstance(value, Mapping) else value)
    _refuse_more(path, claimed, SHARED)


def _refuse_more(path: Path, claimed: int, times: int) -> None:
    size = path.stat().st_size
    if claimed > times * size:
        raise ModelLoadError(
            f"{path} claims {claimed:,} bytes of tensors", f"no more than its {size:,} bytes", COPY_AGAIN
        )


def first_line(error: Exception) -> str:
    """Of what an error says."""
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
