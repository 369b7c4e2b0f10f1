"""What is put into a loaded pipeline: the U-Net of another model, LoRA weights."""

from __future__ import annotations

import importlib.util
import math
import os
import warnings
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

from noiseprompt.core.config import plain_number
from noiseprompt.core.digests import files_digest
from noiseprompt.core.errors import (
    InputError,
    MissingDependencyError,
    ModelLoadError,
    ModelMismatchError,
    NoisepromptWarning,
)
from noiseprompt.core.files import public_name
from noiseprompt.core.hub_errors import refuse_of_the_hub
from noiseprompt.core.model_files import AGAIN, of_shapes
from noiseprompt.core.places import expanded, no_file, refuse_closed
from noiseprompt.core.ranges import Limits, check_value
from noiseprompt.core.tensors import check_tensors, other_numbers, refuse_other_numbers
from noiseprompt.core.texts import reason_of, some
from noiseprompt.core.weights import read_state
from noiseprompt.pipelines.complete import complete
from noiseprompt.pipelines.loading import check_there, weights_in
from noiseprompt.pipelines.soundness import check_finite

MOST_EMPTY = 0.999
"""Share of a LoRA's weights in matrices of one value: many set all but a few blocks to zeros on purpose."""

_HALF = "look at its name; where it is half downloaded, run `hf download OWNER/NAME` again"

WEIGHT = Limits(least=-100, most=100)
"""Of a LoRA; 1 is what it was trained for."""


def replace_unet(pipe: Any, source: str, dtype: Any) -> None:
    """Put the U-Net of another model in place of the pipeline's.

    Args:
        source: a folder or hub id: of a U-Net, or of a whole pipeline, whose U-Net is taken.
        dtype: torch dtype of its weights.

    Raises:
        ModelLoadError: nothing loadable there.
        ModelMismatchError: a pipeline without a U-Net, or a U-Net of another architecture.
    """
    own = getattr(pipe, "unet", None)
    if own is None:
        raise ModelMismatchError(f"a U-Net for a {type(pipe).__name__}", "a pipeline that has a U-Net")
    other = _load_unet(type(own), source, dtype)
    names = ("in_channels", "out_channels", "cross_attention_dim", "addition_embed_type")
    theirs, ours = ({name: unet.config.get(name) for name in names} for unet in (other, own))
    differ = [f"{name} {theirs[name]} instead of {ours[name]}" for name in names if theirs[name] != ours[name]]
    if differ:
        raise ModelMismatchError(f"the U-Net of {source} has {', '.join(differ)}", "one made for this pipeline")
    pipe.register_modules(unet=other.eval())


def _load_unet(cls: Any, source: str, dtype: Any) -> Any:
    folder, fix = expanded(source), "pass a folder that holds unet/config.json, or a hub id"
    if folder.exists():
        inner = folder / "unet" if (folder / "unet" / "config.json").is_file() else folder
        if not os.path.lexists(inner / "config.json"):
            raise ModelLoadError(f"{source} holds no U-Net", "a folder with config.json or unet/config.json", fix)
        return _load(cls, source, [{"pretrained_model_name_or_path": inner}], dtype)
    places = [{"pretrained_model_name_or_path": source, "subfolder": name} for name in ("unet", None)]
    return _load(cls, source, places, dtype)


def _load(cls: Any, source: str, places: list[dict[str, Any]], dtype: Any) -> Any:
    """A diffusers model from the first place that has one."""
    check_there(source)
    problem: Exception | None = None
    for place in places:
        try:
            with complete(source):
                found = cls.from_pretrained(**place, **weights_in(dtype))
            check_finite(source, {"unet": found})
            return found
        except ModelLoadError:
            raise
        except Exception as error:  # the first place's reason is the telling one
            problem = problem or error
    if problem is not None:
        refuse_of_the_hub(problem, source)
    reason = " ".join(str(problem).split())[:300]
    came = f"no {cls.__name__} loads from {source} ({type(problem).__name__}: {reason})"
    raise ModelLoadError(came, "weights in diffusers' layout", _HALF) from problem


def parse_lora(text: str) -> tuple[str, float]:
    """("FILE_OR_REPO", weight) of "FILE_OR_REPO" or "FILE_OR_REPO:0.8".

    Raises:
        ConfigError: a weight out of its range.
        InputError: no name, a weight that is no finite number, a list in brackets, or a file that is not safetensors.
        ModelLoadError: a file that is not there.
    """
    source, weight = _weighted(text.strip())
    check_value(f"the weight of the LoRA {source}", float, weight, WEIGHT)
    path = expanded(source)
    if path.suffix in (".bin", ".pt", ".pth", ".ckpt"):
        raise InputError(
            f"LoRA file {source}", "a .safetensors file: other formats may execute code when they are read"
        )
    if path.exists() and not (path.is_file() or path.is_dir()):
        raise ModelLoadError(no_file(path), "a LoRA file (.safetensors), its folder or a hub id")
    slashes = 2 if path.suffix == ".safetensors" else 1
    if not path.exists() and (source.count("/") < slashes or source.startswith((".", "/", "~"))):
        raise ModelLoadError(no_file(path), "a LoRA file (.safetensors), its folder or a hub id")
    return source, weight


def _weighted(text: str) -> tuple[str, float]:
    """The name and the weight; a colon may be part of a path that exists."""
    source, colon, last = text.rpartition(":")
    if not colon or expanded(text).exists():
        source, last = text, "1"
    weight = plain_number(last)
    if weight is None or not math.isfinite(weight) or not source or set(source) & set("[]{}\"'"):
        expected = f'"NAME" or "NAME:weight", the weight {WEIGHT.told("a number")}, several separated by commas'
        raise InputError(f"LoRA {text!r}", expected)
    return source, float(weight)


def lora_record(text: str) -> dict[str, Any]:
    """Name, weight and, of a file, a digest."""
    source, weight = parse_lora(text)
    path = expanded(source)
    found = {"sha256": files_digest(path)} if path.is_file() else {}
    return {"name": public_name(source), "weight": weight, **found}


def load_loras(pipe: Any, texts: Sequence[str]) -> None:
    """Load LoRA weights into a pipeline through diffusers (`load_lora_weights`), each at its weight.

    Raises:
        MissingDependencyError: peft is not installed.
        ModelLoadError: nothing loadable there, or made for another model.
    """
    if importlib.util.find_spec("peft") is None:
        raise MissingDependencyError("LoRA weights need the package peft", "", 'pip install "noiseprompt[lora]"')
    if not hasattr(pipe, "load_lora_weights"):
        raise ModelMismatchError(f"LoRA weights for a {type(pipe).__name__}", "a pipeline that takes LoRA weights")
    names, weights, places = [], [], set[tuple[str, str | None]]()
    for index, (source, weight) in enumerate(map(parse_lora, texts)):
        repo, file = _lora_place(source)
        if (repo, file) in places:
            raise InputError(f"the LoRA {source} twice", "each once", "give it one weight, NAME:weight")
        places.add((repo, file))
        layers = 0
        if file and (path := Path(repo) / file).is_file():
            layers = _check_pairs(path, read_state(path))  # whole, and finite
        try:
            pipe.load_lora_weights(repo, weight_name=file, adapter_name=f"lora{index}", use_safetensors=True)
        except Exception as error:
            refuse_of_the_hub(error, repo, source)
            reason = of_shapes(str(error)) or f"{type(error).__name__}: {reason_of(error)[:300]}"
            came = f"the LoRA {source} does not load ({reason})"
            raise ModelLoadError(came, f"LoRA weights for a {type(pipe).__name__}") from error
        if f"lora{index}" not in str(pipe.get_list_adapters()):
            raise ModelMismatchError(f"the LoRA {source} changes nothing of this model", "one made for it")
        _tell_unused(source, layers, _changed(pipe, f"lora{index}"))
        names.append(f"lora{index}")
        weights.append(weight)
    pipe.set_adapters(names, adapter_weights=weights)


def _changed(pipe: Any, adapter: str) -> int:
    """Layers of a pipeline that a LoRA changes."""
    parts = [part for part in pipe.components.values() if hasattr(part, "modules")]
    return sum(adapter in getattr(layer, "lora_A", ()) for part in parts for layer in part.modules())


def _tell_unused(source: str, layers: int, changed: int) -> None:
    """Warn of a LoRA of which the model takes a part; diffusers says so at a level that is switched off."""
    if changed < layers:
        told = f"{layers - changed} of the {layers} layers of the LoRA {source} have no place in this model"
        warnings.warn(f"{told} and are not used: it may be made for another", NoisepromptWarning, stacklevel=3)


def _check_pairs(path: Path, state: Mapping[str, Any]) -> int:
    """Refuse a LoRA that lacks one of the two matrices of a layer, or has whole numbers in them; the layers it has.

    Raises:
        ModelLoadError: with some of the names.
    """
    weights = {name: value for name, value in state.items() if "lora" in name}
    if not weights:
        came = f"{path} holds no LoRA but {some('other tensors', sorted(state), 3)}"
        raise ModelLoadError(came, "two small matrices for each layer, with lora in their names", "name a LoRA")
    scale = "alpha"  # may be a whole number
    refuse_other_numbers(str(path), other_numbers(one for one in weights.items() if not one[0].endswith(scale)))
    sides = (("lora_A", "lora_B"), ("lora_down", "lora_up"), ("lora.down", "lora.up"))
    others = {a: b for pair in sides for a, b in (pair, pair[::-1])}
    lacking = sorted(
        other
        for name in state
        for side, partner in others.items()
        if f"{side}." in name and (other := name.replace(f"{side}.", f"{partner}.")) not in state
    )
    if lacking:
        raise ModelLoadError(f"{path} lacks {some('of its matrices', lacking)}", "two for each layer", AGAIN)
    check_tensors(weights.items(), str(path), MOST_EMPTY)
    seconds = [value for name, value in state.items() if any(f"{second}." in name for _, second in sides)]
    if seconds and not any(bool(value.any()) for value in seconds):
        came = f"{path} changes nothing: the second matrix of every layer is zeros"
        raise ModelLoadError(came, "a LoRA that was trained", AGAIN)
    return sum(any(f"{down}." in name for down, _ in sides) for name in state)


def _lora_place(source: str) -> tuple[str, str | None]:
    """(folder or hub id, file name or None): "owner/name/sub/file.safetensors" names a file of a repository."""
    path = expanded(source)
    if path.is_file():
        return str(path.parent), path.name
    refuse_closed(path)
    if path.is_dir():
        found = sorted(file.name for file in path.glob("*.safetensors") if not file.name.startswith("."))
        usual = [name for name in found if name == "pytorch_lora_weights.safetensors"] or found
        if len(usual) != 1:
            came = f"{source} holds {some('.safetensors files', found) or 'no .safetensors file'}"
            raise ModelLoadError(came, "one LoRA", "name the file itself")
        return str(path), usual[0]
    if path.suffix == ".safetensors":
        owner, name, rest = source.split("/", 2)
        return f"{owner}/{name}", rest
    return source, None
