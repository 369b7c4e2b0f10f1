"""Loading a diffusers pipeline: folders, hub ids, devices, offloading, and errors that say what to do."""

from __future__ import annotations

import glob
import importlib
import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from noiseprompt.core.errors import InputError, ModelLoadError
from noiseprompt.core.hub_errors import of_the_hub
from noiseprompt.core.model_files import AGAIN
from noiseprompt.core.places import expanded, no_file, refuse_closed
from noiseprompt.core.texts import reason_of
from noiseprompt.pipelines.complete import complete
from noiseprompt.pipelines.families import FAMILIES, named_family, no_family
from noiseprompt.pipelines.families.generic import unusable
from noiseprompt.pipelines.soundness import (
    check_components,
    check_configs,
    check_finite,
    check_folders,
    check_kinds,
    check_parts,
    left_out,
)
from noiseprompt.pipelines.table import OFFLOADS
from noiseprompt.pipelines.together import check_together
from noiseprompt.shapes import world

FIX = (
    "pass a local folder that holds model_index.json (what save_pretrained writes), or a hub id with network access;"
    " where there is none, run `hf download OWNER/NAME --local-dir FOLDER` on a machine that has it and pass FOLDER"
)


def silence() -> None:
    """Switch off the loading bars and remarks of diffusers and transformers; what they raise is still told."""
    for name in ("diffusers", "transformers"):
        logs = importlib.import_module(f"{name}.utils.logging")
        logs.disable_progress_bar()
        logs.set_verbosity(logging.CRITICAL)


def resolve(model: str | Path) -> str | Path:
    """A folder, or a hub id; "shapes" becomes the folder of the embedded world.

    Raises:
        InputError: an address of object storage or of a page in the web.
        ModelLoadError: a path without a pipeline in it.
    """
    if world.is_world(model):
        model = world.weights_folder()
    if not str(model).strip():
        raise ModelLoadError(f"a model named {str(model)!r}", "an existing folder or a hub id like owner/name", FIX)
    folder = expanded(model)
    if folder.is_file():
        convert = "`from_single_file(FILE).save_pretrained(FOLDER)` of its pipeline class"
        fix = f"a checkpoint in one file is brought into a folder by diffusers: {convert}"
        raise ModelLoadError(f"{model} is a file", "a folder with model_index.json, or a hub id", fix)
    if folder.exists():
        refuse_closed(folder)
        index = folder / "model_index.json"
        if os.path.lexists(index) and not index.is_file():
            raise ModelLoadError(no_file(index), "a diffusers pipeline folder", AGAIN)
        if not index.is_file():
            raise ModelLoadError(f"{model} is not a diffusers pipeline folder", "a folder with model_index.json", FIX)
        return folder
    if isinstance(model, Path) or str(model).startswith((".", "/", "~")) or str(model).count("/") != 1:
        raise ModelLoadError(no_file(folder, "folder"), "an existing folder or a hub id like owner/name", FIX)
    return model


def load_diffusers(
    model: str | Path, dtype: torch.dtype, revision: str | None = None, variant: str | None = None
) -> Any:
    """`DiffusionPipeline.from_pretrained` of a folder, hub id or "shapes", without a safety checker.

    Raises:
        ModelLoadError: for all that can go wrong.
        InputError: a revision of a folder, which has none.
    """
    from diffusers import DiffusionPipeline

    folder = resolve(model)
    if isinstance(folder, Path):
        if revision is not None:
            raise InputError(f"revision {revision!r} of the folder {model}", "a hub id where a revision is named")
        check_configs(folder)
        _check_variant(model, folder, variant)
    try:
        config: dict[str, Any] = DiffusionPipeline.load_config(folder, revision=revision)  # type: ignore[assignment]
        renamed = check_index(model, config)
        if isinstance(folder, Path):
            check_folders(model, folder, config, f"{FIX}; {AGAIN}")
            check_kinds(model, folder, config)
        extra: dict[str, Any] = {**left_out(config)}
        extra |= {"safety_checker": None, "requires_safety_checker": False} if "safety_checker" in config else {}
        with known_as(renamed), complete(model):
            pipe = DiffusionPipeline.from_pretrained(
                folder, **weights_in(dtype), revision=revision, variant=variant, **extra
            )
        check_finite(model, pipe.components)
        check_together(model, pipe)
        return pipe
    except ModelLoadError:
        raise
    except Exception as error:
        if not isinstance(folder, Path) and (words := of_the_hub(error, str(model))):
            raise ModelLoadError(*words) from error
        if variant is not None and "variant=" in str(error):
            came = f"{model} has no weights of the variant {variant!r}"
            raise ModelLoadError(
                came, "a variant that it has", "leave variant out for the weights without one"
            ) from error
        came = f"{model} does not load ({type(error).__name__}: {reason_of(error)})"
        raise ModelLoadError(came, "a complete diffusers pipeline", FIX) from error


def check_index(model: str | Path, index: Mapping[str, Any]) -> dict[str, str]:
    """Refuse a model_index.json that no pipeline can be made of, before gigabytes are read.

    Args:
        model: for messages.
        index: component -> [library, class], beside settings.

    Returns:
        Classes that it names and that are gone -> those that took their place.

    Raises:
        ModelLoadError: as `check_components`, `check_class` and `check_parts`.
    """
    check_components(model, index)
    check_class(str(index["_class_name"]))
    renamed = {old: new for family in FAMILIES for old, new in family.renamed_classes.items() if old in str(index)}
    with known_as(renamed):
        check_parts(model, index)
    return renamed


def _check_variant(model: str | Path, folder: Path, variant: str | None) -> None:
    if variant is not None and not any(folder.glob(f"*/*.{glob.escape(variant)}[.-]*")):
        there = {path.name.split(".")[1].split("-")[0] for path in folder.glob("*/*.*.safetensors")}
        fix = f"there is {', '.join(sorted(there))}" if there else "leave the variant out"
        raise ModelLoadError(f"{model} has no weights of the variant {variant}", "one that it has", fix)


def check_there(source: str, what: str = "model") -> None:
    """Refuse the name of a part that is neither on this disk nor a hub id.

    Args:
        what: it is of, for the message.

    Raises:
        InputError: an address of object storage or of a page in the web.
        ModelLoadError: with the name.
    """
    if not expanded(source).exists() and (source.count("/") != 1 or source.startswith((".", "/", "~"))):
        raise ModelLoadError(f"there is no folder {source}", f"the folder of a {what}, or a hub id like owner/name")


@contextmanager
def known_as(renamed: Mapping[str, str]) -> Iterator[None]:
    """While it lasts, transformers has the classes `renamed.values()` under the names `renamed` too.

    A name that it has is left alone. Nothing is left behind.
    """
    transformers: Any = importlib.import_module("transformers")
    lacking = {old: new for old, new in renamed.items() if not hasattr(transformers, old)}
    for old, new in lacking.items():
        setattr(transformers, old, getattr(transformers, new))
    try:
        yield
    finally:
        for old in lacking:
            delattr(transformers, old)


def weights_in(dtype: torch.dtype) -> dict[str, torch.dtype]:
    """The argument of `from_pretrained` for the precision of weights, by the name this version of diffusers wants."""
    from diffusers.utils import deprecation_utils

    return {"dtype" if hasattr(deprecation_utils, "_resolve_dtype") else "torch_dtype": dtype}


def check_class(name: str) -> None:
    """Refuse a pipeline class that cannot work.

    Raises:
        ModelLoadError: it is of no family, and cannot work without one or is not in diffusers.
    """
    import diffusers

    if named_family(name):
        return
    kind = getattr(diffusers, name, None)
    why = "the installed diffusers does not have it" if kind is None else unusable(kind)
    if why:
        raise no_family(name, why)


def check_offload(device: str, offload: str | None) -> None:
    """Refuse offloading that cannot be, before anything is loaded.

    Raises:
        InputError: an unknown way of offloading, or no accelerator to offload from.
    """
    if offload is None:
        return
    if offload not in OFFLOADS:
        raise InputError(f"offload {offload!r}", f"one of {', '.join(OFFLOADS)}, or nothing")
    if device.split(":")[0] not in ("cuda", "mps", "xpu"):
        expected = "an accelerator to offload from"
        raise InputError(f"offload {offload!r} on device {device!r}", expected, "leave offload out")


def place(pipe: Any, device: str, offload: str | None = None) -> None:
    """Move a pipeline to a device, or let diffusers move its parts there when they compute.

    Raises:
        InputError: a device that torch cannot use, or as `check_offload`.
    """
    check_offload(device, offload)
    try:
        if offload == "model":
            pipe.enable_model_cpu_offload(device=device)
        elif offload == "sequential":
            pipe.enable_sequential_cpu_offload(device=device)
        else:
            pipe.to(device)
    except (RuntimeError, AssertionError) as error:
        raise InputError(
            f"device {device!r} is not usable: {error}", "a device that torch sees", 'use device "cpu"'
        ) from error


def to_channels_last(network: torch.nn.Module) -> None:
    """Store the weights of 2-D convolutions channels last: up to 4 times faster on a CPU with several threads."""
    for parameter in network.parameters():
        if parameter.ndim == 4:
            parameter.data = parameter.data.contiguous(memory_format=torch.channels_last)
