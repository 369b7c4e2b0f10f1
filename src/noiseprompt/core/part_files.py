"""The folder of one network, as diffusers and transformers lay it out, looked at before these libraries read it: what
they tell in words of their own, or by the last name that they try, is told here by the file that is wrong."""

from __future__ import annotations

import os
import re
from collections.abc import Mapping, Sequence
from contextlib import suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from noiseprompt.core.errors import ModelLoadError
from noiseprompt.core.json_files import read_json
from noiseprompt.core.kinds import NETWORK, is_network
from noiseprompt.core.model_files import AGAIN, check_config
from noiseprompt.core.places import no_file, refuse_closed, refuse_pointer
from noiseprompt.core.ranges import shown
from noiseprompt.core.tensors import other_numbers, refuse_other_numbers
from noiseprompt.core.texts import some
from noiseprompt.core.weights import SHARED, read_checkpoint, read_header

if TYPE_CHECKING:
    import torch

WEIGHTS = (".safetensors", ".bin")
"""Files of weights that diffusers and transformers read."""

_NAMED = ("model", "diffusion_pytorch_model", "pytorch_model")
_USUAL = "diffusion_pytorch_model.safetensors or model.safetensors"


def files_in(folder: Path, pattern: str) -> list[Path]:
    """Those of a part that lies on this machine, less hidden ones, as macOS leaves one beside each (._NAME)."""
    return [path for path in sorted(folder.glob(pattern)) if path.is_file() and not path.name.startswith(".")]


def check_network(folder: Path, what: str, variant: str | None = None, asked: bool = True) -> None:
    """Refuse the folder of a network that cannot be read; a folder that is not there, as of a hub id, is none.

    Of weights the headers alone are read.

    Args:
        what: it is, for messages.
        variant: of the weights that was asked for.
        asked: whether one can be asked for; else a file of one has to be renamed.

    Raises:
        ModelLoadError: no configuration or a hostile one, no weights, an index without its files, or a file that is
            cut, is no file or leads nowhere.
    """
    if not os.path.isdir(folder):
        return
    refuse_closed(folder)
    config = folder / "config.json"
    if not config.is_file():
        came = no_file(config) if os.path.lexists(config) else f"{what} has no config.json"
        raise ModelLoadError(came, "the description of the network, beside its weights", AGAIN)
    check_config(config)
    if is_network(config):
        came, fix = f"{folder} holds {NETWORK}, an NPNet", "name an NPNet as a method: npnet:path=FOLDER"
        raise ModelLoadError(came, "a network of diffusers or transformers", fix)
    used = _weights(folder, what, variant, asked)
    if all("-of-" in path.name for path in used):
        _check_indices(folder, what, used, variant)
    for path in used:
        if path.suffix == ".safetensors":
            read_header(path)


def _weights(folder: Path, what: str, variant: str | None, asked: bool = True) -> list[Path]:
    """The files that a library reads.

    Raises:
        ModelLoadError: there are none, with what lies there instead.
    """
    named = sorted(p for kind in WEIGHTS for p in folder.glob(f"*{kind}") if re.split("[.-]", p.name)[0] in _NAMED)
    whole = [path for path in named if path.is_file()]
    plain = [path for path in whole if path.name.count(".") == 1]
    meant = [path for path in whole if variant and f".{variant}" in path.name]
    for used in (meant, plain):
        if used:
            return [path for path in used if path.suffix == WEIGHTS[0]] or used
    variants = sorted({path.name.split(".")[-2].split("-")[0] for path in whole})
    if variants:
        came = f"{what} has weights of the variant {' and '.join(variants)} alone ({whole[0]})"
        expected = f"weights of the variant {variant}, or without one" if variant else "weights without a variant"
        fix = f"rename it: {whole[0].name.replace(f'.{variants[0]}', '')}"
        raise ModelLoadError(came, expected, f"ask for it: --variant {variants[0]}" if asked else fix)
    lost = [path for path in named if not path.is_file()]
    if lost:
        raise ModelLoadError(no_file(lost[0]), "a file of weights", AGAIN)
    for index in files_in(folder, "*.index*.json"):
        _check_index(index, what)
    others = sorted(path.name for path in folder.iterdir() if path.suffix != ".json" and path.name != "README.md")
    beside = f": beside config.json lies {', '.join(map(repr, others[:3]))}" if others else ""
    raise ModelLoadError(f"{what} has no weights{beside}", _USUAL, AGAIN)


def _check_indices(folder: Path, what: str, shards: Sequence[Path], variant: str | None) -> None:
    """Refuse weights in several files without the index that says which holds what, or less than it names.

    Raises:
        ModelLoadError: with the file.
    """
    first, end = shards[0].name, f"{shards[0].suffix}.index.json"
    if variant and f".{variant}-" in first:
        end = f"{shards[0].suffix}.index.{variant}.json"
    elif variant and f".{variant}." in first:  # as diffusers wrote it before 0.31
        end = f"{shards[0].suffix}.{variant}.index.json"
    indices = files_in(folder, f"*{end}")
    if not indices:
        came = f"{what} has its weights in {len(shards)} files without their index"
        raise ModelLoadError(came, re.split("[.-]", first)[0] + end, AGAIN)
    for index in indices:
        _check_index(index, what)


def _check_index(index: Path, what: str) -> None:
    places = read_json(index, ModelLoadError, "a JSON object", AGAIN).get("weight_map")
    names = {*places.values()} if isinstance(places, Mapping) else set()
    if not names or not all(isinstance(name, str) and name == Path(name).name for name in names):
        raise ModelLoadError(f"{index} has weight_map {shown(places)}", "the name of a file for each tensor", AGAIN)
    missing = sorted(name for name in names if not (index.parent / name).is_file())
    if missing:
        more = f" and {len(missing) - 3} more" if missing[3:] else ""
        came = f"{what} lacks {', '.join(missing[:3])}{more}, which {index.name} names"
        raise ModelLoadError(came, "all files of its weights", AGAIN)
    shards = [index.parent / name for name in sorted(names) if name.endswith(WEIGHTS[0])]
    there = {name for shard in shards for name in read_header(shard)}
    lacking = sorted({*(places or ())} - there) if len(shards) == len(names) else []
    if lacking:
        came = f"the {len(shards)} files that {index} names lack {some('of its tensors', lacking, 3)}"
        raise ModelLoadError(came, "files of one save, each by its own name", AGAIN)


FEW = 100_000_000
"""Weights that a library makes up within a second or two, and tells itself which are missing."""


def check_size(folder: Path, cls: Any, what: str) -> None:
    """Refuse the description of a network of transformers that is many times its weights: the library would make up
    the rest at random, for minutes and gigabytes, before anyone is told.

    Args:
        cls: of the network; one of diffusers is built without memory anyway.
        what: it is, for the message.

    Raises:
        ModelLoadError: with both sizes.
    """
    import torch

    if not folder.is_dir() or getattr(cls, "config_class", None) is None:
        return
    try:
        with torch.device("meta"):
            asked = sum(value.numel() for value in cls(cls.config_class.from_pretrained(folder)).parameters())
    except Exception:  # what cannot be built is told of where it is loaded
        return
    there = sum(path.stat().st_size for kind in WEIGHTS for path in files_in(folder, f"*{kind}"))
    if asked > max(SHARED * there, FEW):
        size = f"{asked:,} weights, and beside it lie {there:,} bytes"
        came = f"{folder / 'config.json'} describes a {cls.__name__} of {size}"
        raise ModelLoadError(came, f"the description of {what} itself", AGAIN)


def check_numbers(folder: Path, network: torch.nn.Module, variant: str | None = None) -> None:
    """Refuse files in which whole or complex numbers stand in place of a network's weights.

    Raises:
        ModelLoadError: with the first file.
    """
    weights = {name for name, value in network.named_parameters() if value.is_floating_point()}
    for file in _weights(folder, str(folder), variant) if folder.is_dir() else ():
        refuse_other_numbers(str(file), weights & {*_other_numbers(file)})


def _other_numbers(file: Path) -> list[str]:
    """Names of the tensors in a file that are no floating point numbers; no tensor is read."""
    if file.suffix == ".safetensors":
        return [name for name, (kind, _) in read_header(file).items() if not kind.startswith(("F", "BF"))]
    import torch

    try:
        state = torch.load(file, map_location="cpu", weights_only=True, mmap=True)
    except RuntimeError:  # of before torch 1.6, which cannot be looked at alone
        return []
    return other_numbers((name, value) for name, value in state.items() if isinstance(value, torch.Tensor))


def refuse_damaged(folder: Path) -> None:
    """Say which file of a part cannot be read, where one cannot: for after a library failed.

    Raises:
        ModelLoadError: with the first.
    """
    for path in files_in(folder, "*.safetensors"):
        read_header(path)
    for path in files_in(folder, "*.bin"):
        state = read_checkpoint(path)
        if not isinstance(state, Mapping):
            raise ModelLoadError(f"{path} holds a {type(state).__name__}", "names and tensors", AGAIN)
    for path in sorted(folder.glob("[!.]*.json")):
        if not path.is_file():
            raise ModelLoadError(no_file(path), "a JSON object", AGAIN)
        with suppress(OSError):  # told below
            refuse_pointer(path, "settings or words")
        told = read_json(path, ModelLoadError, "a JSON object", AGAIN, infinite=True, nan=True)
        if path.name == "tokenizer.json" and not isinstance(told.get("model"), Mapping):
            raise ModelLoadError(f"{path} describes no tokenizer", 'an object with "model" and "added_tokens"', AGAIN)
        if path.name.endswith(".index.json") and not files_in(folder, "*.index.*.json"):
            _check_index(path, str(folder))
