"""The file of a saved network: safetensors with a checksum in its header, read piece by piece into its places."""

from __future__ import annotations

import hashlib
import json
from collections.abc import Callable, Iterator, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeVar

from noiseprompt.core.errors import ModelLoadError
from noiseprompt.core.tensors import check_finite, differences, shapes_of
from noiseprompt.core.texts import some
from noiseprompt.core.weights import COPY_AGAIN, first_line, read_header

if TYPE_CHECKING:
    import torch

    Network = TypeVar("Network", bound=torch.nn.Module)

SHA256 = "noiseprompt.sha256"
"""Key of a safetensors header: SHA-256 over names, types, shapes and bytes of the tensors, in the order of names."""


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
        raise ModelLoadError(f"no network has the sizes beside {path}: {first_line(error)}", "", fix) from error
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
        raise ModelLoadError(
            f"cannot read {path}: {first_line(error)}", "a whole .safetensors file", COPY_AGAIN
        ) from error
    if told is not None and told != total.hexdigest():
        came = f"the weights in {path} are not those that were saved: their checksum does not match"
        raise ModelLoadError(came, "weights as they were written", f"{COPY_AGAIN}, or export them anew")


def _kinds() -> dict[str, torch.dtype]:
    """Type in a safetensors file -> torch's, of those that weights have."""
    import torch

    return {"F64": torch.float64, "F32": torch.float32, "F16": torch.float16, "BF16": torch.bfloat16}


def _named(name: str, kind: str, shape: Sequence[int]) -> bytes:
    """What the checksum of a file takes of a tensor, before its bytes."""
    return f"{name} {kind} {list(shape)}\0".encode()
