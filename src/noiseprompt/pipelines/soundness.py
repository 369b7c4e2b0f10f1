"""What a model folder may hold: known parts alone, every tensor of them, and finite numbers."""

from __future__ import annotations

import importlib
import inspect
from collections.abc import Mapping
from pathlib import Path
from typing import Any

import torch

from noiseprompt.core.errors import ModelLoadError, NoiseError
from noiseprompt.core.json_files import read_json
from noiseprompt.core.model_files import AGAIN, check_config
from noiseprompt.core.places import refuse_closed
from noiseprompt.core.ranges import shown
from noiseprompt.core.tensors import check_values
from noiseprompt.pipelines.families import named_family

LIBRARIES = ("diffusers", "transformers")


def check_configs(folder: Path) -> None:
    """Refuse descriptions of a model and its parts that are torn or hostile, before diffusers builds what they say.

    Raises:
        ModelLoadError: with the first file, as `check_config`.
    """
    for path in [folder / "model_index.json", *sorted(folder.glob("*/*config.json"))]:
        if not path.name.startswith("."):  # as macOS leaves one beside each
            check_config(path)


def check_components(model: str | Path, index: Mapping[str, Any]) -> None:
    """Refuse parts of a model_index.json that are of no known library: loading them would import what they name.

    Args:
        model: for the message.
        index: component -> [library, class], beside settings.

    Raises:
        ModelLoadError: with every such part.
    """
    import diffusers

    if not isinstance(index.get("_class_name", ""), str) or not index.get("_class_name"):
        came = f"the model_index.json of {model} gives _class_name as {shown(index.get('_class_name'))}"
        raise ModelLoadError(came, "the name of a pipeline of diffusers", "download it again")
    kind = getattr(diffusers, str(index["_class_name"]), None)
    parts = {*_needed(kind), *getattr(kind, "_optional_components", ())} if kind else set[str]()
    for name, value in index.items():  # diffusers takes it for granted
        pair = isinstance(value, list | tuple) and not name.startswith("_")
        known = all(part is None or isinstance(part, str) for part in value) if pair else True
        broken = (len(value) != 2 or not known) if pair else name in parts
        if broken:
            came = f"the model_index.json of {model} gives {name} as {shown(value)}"
            raise ModelLoadError(came, "a library and a class for each part", "download it again")
    _check_flags(model, index, kind)
    strange = [
        f"{name} from {library!r}"
        for name, value in index.items()
        if isinstance(value, list | tuple) and len(value) == 2 and isinstance(library := value[0], str)
        if library not in LIBRARIES and not (library.isidentifier() and hasattr(diffusers.pipelines, library))
    ]
    if strange:
        came = f"{model} takes {', '.join(strange)}"
        fix = "a model that brings its own code is not loaded: load it yourself and pass it to noiseprompt.Pipeline"
        raise ModelLoadError(came, "parts of diffusers and transformers alone", fix)


def _check_flags(model: str | Path, index: Mapping[str, Any], kind: Any) -> None:
    """Refuse a text for a setting of the pipeline that is true or false: every text is true."""
    takes = inspect.signature(kind.__init__).parameters if kind else {}
    for name in takes.keys() & index.keys():
        if isinstance(takes[name].default, bool) and index[name] not in (None, True, False):
            came = f"the model_index.json of {model} gives {name} as {shown(index[name])}"
            raise ModelLoadError(came, "true or false", AGAIN)


def left_out(index: Mapping[str, Any]) -> dict[str, None]:
    """Parts that a model was saved without, as its family allows, and a feature extractor of a class that is gone,
    which the safety checker alone would use; diffusers wants them named as None.

    Args:
        index: as of `check_components`.
    """
    family = named_family(str(index.get("_class_name")))
    lacking = [name for name in (family.may_lack if family else ()) if index.get(name) == [None, None]]
    gone = [name for name in ("feature_extractor",) if not _is_installed(index.get(name))]
    return dict.fromkeys(lacking + gone)


def check_kinds(model: str | Path, folder: Path, index: Mapping[str, Any]) -> None:
    """Refuse the description of a scheduler for flow models where the index names one for diffusion models, or the
    reverse: each would take its own defaults for what the other does not say, without a word. So would any of one that
    diffusers does not have.

    Args:
        model: for the message.
        index: as of `check_components`.

    Raises:
        ModelLoadError: with both names.
    """
    import diffusers

    path = folder / "scheduler" / "scheduler_config.json"
    named = index.get("scheduler")
    if not isinstance(named, list | tuple) or not path.is_file():
        return
    wanted, own = str(named[1]), read_json(path, ModelLoadError, "a JSON object", AGAIN, infinite=True)
    there = str(own.get("_class_name", wanted))
    unknown = not hasattr(getattr(diffusers, there, None), "set_timesteps")
    if unknown or there.startswith("FlowMatch") != wanted.startswith("FlowMatch"):
        came = f"{path} describes a {there}"
        raise ModelLoadError(
            came, f"a {wanted}, which model_index.json names", f"take all parts of one model ({AGAIN})"
        )


def check_parts(model: str | Path, index: Mapping[str, Any]) -> None:
    """Refuse a model_index.json without a part that its pipeline needs, which would fail when a prompt is encoded or a
    picture drawn.

    Args:
        model: for the message.
        index: as of `check_components`.

    Raises:
        ModelLoadError: with those that are missing.
    """
    import diffusers

    kind = getattr(diffusers, str(index.get("_class_name")), None)
    if kind is None:
        return
    _check_classes(model, index)
    takes = inspect.signature(kind.__init__).parameters
    there = {name for name, value in index.items() if isinstance(value, list | tuple) and all(value)}
    optional = set(getattr(kind, "_optional_components", ()))
    missing = _needed(kind) - optional - there - set(left_out(index))
    for number in ("", "_2", "_3"):  # a text encoder and its tokenizer come together
        pair = {f"text_encoder{number}", f"tokenizer{number}"} & set(takes)
        missing |= pair - there if pair & there else set()
    if "text_encoder_2" in takes and "text_encoder_3" not in takes:  # SDXL and FLUX always encode with it
        missing |= {"text_encoder_2", "tokenizer_2"} & set(takes) - there
    if missing:
        came = f"the model_index.json of {model} names no {' and no '.join(sorted(missing))}"
        expected = f"every part of a {index['_class_name']}"
        raise ModelLoadError(came, expected, f"take the index of the same model ({AGAIN})")


def _check_classes(model: str | Path, index: Mapping[str, Any]) -> None:
    """Refuse parts of classes that the installed libraries do not have, or that are another kind of part."""
    for name, value in index.items():
        if not _is_installed(value) and name not in left_out(index):
            came = f"the model_index.json of {model} gives {name} as a {value[1]}, which {value[0]} has not"
            raise ModelLoadError(
                came, "a class that is installed", f"mend its name, or install a {value[0]} that has it"
            )
        kinds, part = _kinds(value), name.rstrip("_0123456789")
        wanted = "network" if part in _NETWORKS else part
        if kinds is not None and wanted in _MARKS and wanted not in kinds:
            of_kind = f"a {kinds[0]}" if kinds else f"which is no {wanted}"
            came = f"the model_index.json of {model} gives {name} as a {value[1]}, {of_kind}"
            raise ModelLoadError(came, f"the class of a {wanted}", f"take the index of the same model ({AGAIN})")


_NETWORKS = ("text_encoder", "unet", "transformer", "vae", "controlnet")
_MARKS = {"scheduler": "set_timesteps", "tokenizer": "vocab_files_names", "network": "forward"}
"""What the classes of each kind of part have, and no others."""


def _kinds(value: Any) -> list[str] | None:
    pair = isinstance(value, list | tuple) and value[0] in LIBRARIES
    cls = getattr(importlib.import_module(value[0]), str(value[1]), None) if pair else None
    if cls is None or hasattr(cls, "_backends"):  # that a package is missing is told where it is loaded
        return None
    return [kind for kind, mark in _MARKS.items() if hasattr(cls, mark)]


def _is_installed(value: Any) -> bool:
    """Whether the library of an entry of the index has its class; so has what is of neither library."""
    if not isinstance(value, list | tuple) or value[0] not in LIBRARIES:
        return True
    return hasattr(importlib.import_module(value[0]), str(value[1]))


def _needed(kind: Any) -> set[str]:
    """Names that a pipeline class is not made without."""
    takes = inspect.signature(kind.__init__).parameters.items()
    needed = {name for name, one in takes if one.default is one.empty and one.kind == one.POSITIONAL_OR_KEYWORD}
    return needed - {"self"}


def check_folders(model: str | Path, folder: Path, index: Mapping[str, Any], fix: str = AGAIN) -> None:
    """Refuse a model folder without the folder of a part: diffusers looks for its files one floor above.

    Args:
        model: for the message.
        index: as of `check_components`.

    Raises:
        ModelLoadError: with those that are missing.
    """
    parts = [name for name, value in index.items() if isinstance(value, list | tuple) and all(value)]
    missing = [name for name in parts if not name.startswith("_") and not (folder / name).is_dir()]
    if missing:
        came = f"{model} has no folder {' and no folder '.join(missing)}, which its model_index.json names"
        raise ModelLoadError(came, "a folder for each part", fix)
    for name in parts:
        refuse_closed(folder / name)


def check_finite(model: str | Path, parts: Mapping[str, Any]) -> None:
    """Refuse parts whose weights are no numbers, or zeros for a good part, as `check_values`.

    Args:
        model: for the message.
        parts: name -> module; anything else is passed over.

    Raises:
        ModelLoadError: with the first.
    """
    for name, part in parts.items():
        if isinstance(part, torch.nn.Module):
            check_values(part, f"{name} of {model}")


_FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


def check_embeds(embeds: Any) -> None:
    """Refuse text embeddings that are not finite: no picture of them would show the prompt.

    Args:
        embeds: `TextEmbeds`, of which every tensor is looked at.

    Raises:
        NoiseError: with the first prompt.
        ModelLoadError: the text encoder has no weights.
    """
    if embeds.prompt_embeds.is_meta:
        came = "a text encoder without values (on the device meta)"
        raise ModelLoadError(came, "one with its weights", "load the pipeline by from_pretrained")
    for name, value in {"prompt_embeds": embeds.prompt_embeds, **embeds.call_kwargs}.items():
        if _finite(value):
            continue
        row = next(i for i, one in enumerate(value) if not _finite(one))
        which = f" of {embeds.texts[row]!r:.60}" if row < len(embeds.texts) else ""
        fix = "a text encoder in float16 may overflow: load it with --dtype float32 or bfloat16"
        raise NoiseError(f"the text embedding{which} is not finite ({name})", "finite numbers", fix)


def _finite(value: Any) -> bool:
    """Of a tensor or a list of them; anything else is."""
    if isinstance(value, list):
        return all(map(_finite, value))
    is_floats = isinstance(value, torch.Tensor) and value.dtype in _FLOATS
    return not is_floats or bool(torch.isfinite(value).all())


def check_denoiser(pipe: Any, name: str) -> None:
    """Refuse a pipeline without the network that predicts noise.

    Raises:
        ModelLoadError: it is not there.
    """
    if getattr(pipe, name, None) is None:
        raise ModelLoadError(f"a {type(pipe).__name__} without its {name}", "a whole pipeline")


def check_drawn(images: Any) -> None:
    """Refuse pictures of a decoder that are not finite: they would be saved as pictures of one colour.

    Args:
        images: float array (B, H, W, 3).

    Raises:
        NoiseError: with how many.
    """
    import numpy as np

    bad = int((~np.isfinite(images).reshape(len(images), -1).all(1)).sum())
    if bad:
        came = f"{bad} of {len(images)} pictures are not finite"
        fix = "in float16 a model may overflow: take --dtype float32 or bfloat16; in these, load another copy of it"
        raise NoiseError(came, "finite predictions of the model", fix)
