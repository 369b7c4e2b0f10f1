"""Files of weights: their names, shapes and sizes are looked at before anything is built or read; nothing in them runs.

.safetensors             its header alone tells names, types and shapes
.pth, .pt, .bin, .ckpt   through torch.load(weights_only=True), after the sizes of its parts were added up
"""

from __future__ import annotations

import hashlib
import json
import pickle
import zipfile
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any, TypeVar

from noiseprompt.core.errors import ModelLoadError
from noiseprompt.core.places import refuse_pipe, refuse_pointer, remedy

if TYPE_CHECKING:
    import torch

    Network = TypeVar("Network", bound=torch.nn.Module)

HEADER_BYTES = 16 * 2**20
"""Longest header of a safetensors file that is read; a hundred thousand tensors fit."""

SHARED = 4
"""A tensor may stand in a checkpoint under so many names: weights are tied."""

Shapes = Mapping[str, Sequence[int]]

SHA256 = "noiseprompt.sha256"
"""Key of a safetensors header: SHA-256 over names, types, shapes and bytes of the tensors, in the order of names."""

_AGAIN = "copy or download it again"
_TENSORS = "a .safetensors or torch checkpoint of tensors only"


def read_header(path: Path) -> dict[str, tuple[str, tuple[int, ...]]]:
    """Name -> (type, shape) of every tensor of a safetensors file; no tensor is read.

    Raises:
        ModelLoadError: missing, damaged or cut, or a header longer than `HEADER_BYTES`.
    """
    from safetensors import SafetensorError, safe_open

    try:
        refuse_pipe(path)
        with path.open("rb") as start:
            length = int.from_bytes(start.read(8), "little")
        refuse_pointer(path)
        if not path.stat().st_size:
            raise ModelLoadError(f"{path} is empty", "a whole .safetensors file", _AGAIN)
        if length > HEADER_BYTES:
            came = f"{path} is no .safetensors file (it would begin with a header of {length:,} bytes)"
            raise ModelLoadError(came, f"one, with at most {HEADER_BYTES:,}", _AGAIN)
        with safe_open(path, "pt") as file:
            slices = {name: file.get_slice(name) for name in file.keys()}  # noqa: SIM118 - it is no mapping
            return {name: (part.get_dtype(), tuple(part.get_shape())) for name, part in slices.items()}
    except (OSError, SafetensorError) as error:
        fix = remedy(error, _AGAIN)
        raise ModelLoadError(f"cannot read {path}: {_reason(error)}", "a whole .safetensors file", fix) from error


def packed(state: Mapping[str, torch.Tensor], told: Mapping[str, str] | None = None) -> bytes:
    """A safetensors file of a network's tensors, with their checksum in its header: safetensors itself has none.

    Args:
        told: more of the header's metadata.
    """
    import torch
    from safetensors.torch import save

    kinds = {kind: name for name, kind in _kinds().items()}
    tensors = {name: value.detach().cpu().contiguous() for name, value in state.items()}
    total = hashlib.sha256()
    for name, value in sorted(tensors.items()):
        total.update(_named(name, kinds[value.dtype], value.shape))
        total.update(value.reshape(-1).view(torch.uint8).numpy().data)
    metadata = {"format": "pt", SHA256: total.hexdigest(), **(told or {})}
    plain = save(tensors)
    begin = 8 + int.from_bytes(plain[:8], "little")
    # the library writes metadata in any order: equal networks give equal files
    header = json.dumps({"__metadata__": metadata, **json.loads(plain[8:begin])}, separators=(",", ":")).encode()
    header += b" " * (-len(header) % 8)
    return b"".join((len(header).to_bytes(8, "little"), header, memoryview(plain)[begin:]))


def read_metadata(path: Path) -> dict[str, str]:
    """What the header of a safetensors file says beside its tensors.

    Raises:
        ModelLoadError: as `read_header`.
    """
    from safetensors import safe_open

    read_header(path)
    with safe_open(path, "pt") as file:
        return dict(file.metadata() or {})


def load_network(
    path: Path, build: Callable[[], Network], fix: str = "", dtype_of: Callable[[str], torch.dtype | None] | None = None
) -> Network:
    """The network of `build` with the tensors of a safetensors file, each exactly; it takes the file's dtype.

    It is built without memory, names and shapes have to be those of the file's header, and the tensors are read piece
    by piece into their places: nothing is held twice.

    Args:
        dtype_of: name of a tensor -> dtype to keep it in; None for the file's.

    Raises:
        ModelLoadError: as `read_header`; tensors of other names, shapes or types; values that are not finite, or others
            than those that `packed` wrote.
        NoisepromptError: whatever `build` raises.
    """
    import torch

    header = read_header(path)
    try:
        with torch.device("meta"):
            network = build()
    except (RuntimeError, OverflowError) as error:  # more bytes than a number can tell
        raise ModelLoadError(f"no network has the sizes beside {path}: {_reason(error)}", "", fix) from error
    empty = network.state_dict()
    problems = differences({name: shape for name, (_, shape) in header.items()}, shapes_of(empty))
    problems = problems or some("not of floating point", [n for n, (kind, _) in header.items() if kind not in _kinds()])
    if problems:
        raise ModelLoadError(f"{path} does not fit its configuration: {problems}", "each tensor of the network", fix)
    several = len({kind for kind, _ in header.values()}) > 1

    def kept_in(name: str, kind: torch.dtype) -> torch.dtype:
        asked = dtype_of(name) if dtype_of else None
        return asked or (empty[name].dtype if several else kind)

    network.load_state_dict(dict(_tensors(path, kept_in)), assign=True)
    return network


PIECE = 2**16
"""Bytes read at a time. What is allocated and freed between tensors that stay leaves gaps among them, which a process
does not give back: with whole tensors some 20 to 40 MiB beside an NPNet of 57."""


def _tensors(path: Path, kept_in: Callable[[str, torch.dtype], torch.dtype]) -> Iterator[tuple[str, torch.Tensor]]:
    """Name and value of every tensor of a safetensors file whose header was read.

    Args:
        kept_in: name of a tensor and its dtype in the file -> dtype of the value.

    Raises:
        ModelLoadError: a value that is not finite, or what cannot be read; after the last, that they are others than
            those that `packed` wrote.
    """
    import torch

    kinds, total = _kinds(), hashlib.sha256()
    try:
        with path.open("rb") as file:
            length = int.from_bytes(file.read(8), "little")
            entries = json.loads(file.read(length))
            told = entries.pop("__metadata__", {}).get(SHA256)
            for name, entry in sorted(entries.items()):
                kind = kinds[entry["dtype"]]
                begin, end = entry["data_offsets"]
                file.seek(8 + length + begin)
                value = torch.empty(entry["shape"], dtype=kept_in(name, kind))
                total.update(_named(name, entry["dtype"], entry["shape"]))
                place, flat = bytearray(min(PIECE, end - begin)), value.view(-1)
                for start in range(0, end - begin, PIECE):
                    size = min(PIECE, end - begin - start)
                    if file.readinto(memoryview(place)[:size]) != size:
                        raise ValueError(f"{name} is cut short")
                    total.update(memoryview(place)[:size])
                    piece = torch.frombuffer(place, dtype=kind, count=size // kind.itemsize)
                    check_finite(path, {name: piece})
                    flat[start // kind.itemsize :][: len(piece)] = piece
                yield name, value
    except (OSError, RuntimeError, ValueError) as error:
        raise ModelLoadError(f"cannot read {path}: {_reason(error)}", "a whole .safetensors file", _AGAIN) from error
    if told is not None and told != total.hexdigest():
        came = f"the weights in {path} are not those that were saved: their checksum does not match"
        raise ModelLoadError(came, "weights as they were written", f"{_AGAIN}, or export them anew")


def _kinds() -> dict[str, torch.dtype]:
    """Type in a safetensors file -> torch's, of those that weights have."""
    import torch

    return {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


def _named(name: str, kind: str, shape: Sequence[int]) -> bytes:
    """What the checksum of a file takes of a tensor, before its bytes."""
    return f"{name} {kind} {list(shape)}\0".encode()


def read_state(path: Path) -> dict[str, torch.Tensor]:
    """The tensors of a .safetensors file or a torch checkpoint, on the CPU; {"state_dict": ...} is opened.

    Raises:
        ModelLoadError: as `read_checkpoint`; something else than named tensors; values that are not finite.
    """
    import torch

    state = read_checkpoint(path)
    if isinstance(state, Mapping) and isinstance(state.get("state_dict"), Mapping):
        state = state["state_dict"]
    if not isinstance(state, Mapping) or not all(isinstance(value, torch.Tensor) for value in state.values()):
        raise ModelLoadError(f"{path} holds no state dict", "names and tensors")
    named = {str(name): value for name, value in state.items()}
    check_finite(path, named)
    return named


def read_checkpoint(path: Path, own: bool = False) -> Any:
    """What a .safetensors file or a torch checkpoint holds, on the CPU: tensors and plain values, maybe nested.

    Args:
        own: one that this package wrote: the checksums of its parts, which torch does not look at, are compared, and
            every number has to be finite.

    Raises:
        ModelLoadError: missing or damaged, more than tensors and plain values, or larger than the file itself.
    """
    import torch
    from safetensors.torch import load_file

    again = "copy it again, or delete it: the same command begins anew" if own else _AGAIN
    try:
        if path.suffix == ".safetensors":
            read_header(path)
            return load_file(path)
        refuse_pipe(path)
        refuse_pointer(path)
        _refuse_zeros(path, again)
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
            raise ModelLoadError(f"cannot read {path}: {_reason(error)}", _TENSORS, remedy(error, again)) from error
        kind = next((kind for kind in ("TorchScript", "legacy .tar") if kind in str(error)), "")
        if kind:
            came, fix = f"{path} is an archive in torch's {kind} format", "save its state dict as safetensors"
            raise ModelLoadError(came, _TENSORS, f"where it comes from a source you trust, {fix}") from error
        raise ModelLoadError(f"cannot read {path}: it is damaged, or no checkpoint", _TENSORS, again) from error


def _refuse_zeros(path: Path, again: str) -> None:
    """Refuse a file that begins with zeros, as a crash of the machine leaves one: torch takes it for an old archive."""
    with path.open("rb") as file:
        begin = file.read(64)
    if begin and not begin.strip(b"\0"):
        raise ModelLoadError(f"cannot read {path}: it is damaged (it begins with zeros)", _TENSORS, again)


def _check_archive(path: Path, own: bool, again: str) -> None:
    """Refuse a zip archive whose parts are larger than itself (torch stores them as they are, without compression), or
    of our own one whose bytes were changed."""
    if zipfile.is_zipfile(path):
        with zipfile.ZipFile(path) as archive:
            if not any(name.endswith(("data.pkl", "constants.pkl")) for name in archive.namelist()):
                first = next(iter(archive.namelist()), "nothing")
                came = f"{path} is a zip archive of other things ({first})"
                raise ModelLoadError(came, _TENSORS, again if own else "unpack it and name what is in it")
            _refuse_more(path, sum(part.file_size for part in archive.infolist()), 1)
            changed = archive.testzip() if own else None
        if changed:
            raise ModelLoadError(f"{path} is damaged: the checksum of {changed} does not match", "", _AGAIN)


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
        raise ModelLoadError(f"{path} claims {claimed:,} bytes of tensors", f"no more than its {size:,} bytes", _AGAIN)


def check_finite(path: Path, state: Mapping[str, torch.Tensor]) -> None:
    """Refuse weights with NaN or infinity; a mask, which some checkpoints hold, may be infinite.

    Raises:
        ModelLoadError: with the tensors' names.
    """
    # torch itself does not look at numbers of 8 bits
    finite = {name: (x.float() if x.element_size() < 2 else x).isfinite().all() for name, x in state.items()}
    bad = [name for name, well in finite.items() if not name.endswith("mask") and not well]
    if bad:
        raise ModelLoadError(f"{path} holds weights that are not finite: {some('of them', bad)}", "numbers", _AGAIN)


def shapes_of(state: Mapping[str, torch.Tensor]) -> dict[str, tuple[int, ...]]:
    """Name -> shape."""
    return {name: tuple(value.shape) for name, value in state.items()}


def differences(came: Shapes, expected: Shapes) -> str:
    """ "" where names and shapes agree, else which are missing, unexpected or of another shape, some of each named."""
    both = sorted(set(came) & set(expected))
    shapes = [f"{name} {came[name]} instead of {expected[name]}" for name in both if came[name] != expected[name]]
    groups = {
        "missing": sorted(set(expected) - set(came)),
        "unexpected": sorted(set(came) - set(expected)),
        "of another shape": shapes,
    }
    return "; ".join(some(label, names) for label, names in groups.items() if names)


def some(label: str, names: Sequence[str], most: int = 4) -> str:
    """ "7 LABEL (a, b, c, d, ...)"; "" without any."""
    return f"{len(names)} {label} ({', '.join(names[:most])}{', ...' if len(names) > most else ''})" if names else ""


def _reason(error: Exception) -> str:
    if isinstance(error, OSError) and error.strerror:
        return error.strerror
    lines = str(error).strip().splitlines()
    return lines[0][:200] if lines else type(error).__name__
