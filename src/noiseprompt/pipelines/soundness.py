"""What a model folder may hold: known parts alone, every tensor of them, and finite numbers."""

from __future__ import annotations

import pickle
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

import torch

from noiseprompt.core.errors import ModelLoadError, NoiseError
from noiseprompt.core.json_files import read_json
from noiseprompt.core.ranges import shown

LIBRARIES = ("diffusers", "transformers")
_AGAIN = "it may be half copied or half saved: copy or download it again"


MOST_LAYERS = 1000
"""In a row, of any part; the deepest that are published have about 100."""


def check_configs(folder: Path) -> None:
    """Refuse descriptions of a model and its parts that are torn or hostile, before diffusers builds what they say.

    Raises:
        ModelLoadError: with the first file: not a bounded JSON object, or more layers than there can be.
    """
    for path in [folder / "model_index.json", *sorted(folder.glob("*/*config.json"))]:
        if path.is_file():
            wrong = _too_many(read_json(path, ModelLoadError, "a JSON object", _AGAIN, infinite=True))
            if wrong:
                raise ModelLoadError(f"{path} asks for {wrong}", f"{MOST_LAYERS:,} at most", _AGAIN)


def _too_many(config: Mapping[str, Any]) -> str:
    """The first number of layers that is none, also in configs inside a config; or ""."""
    for name, value in config.items():
        if isinstance(value, Mapping):
            found = _too_many(value)
        else:
            counts = value if isinstance(value, list) else [value]
            layers = "layers" in name or "depth" in name or name.endswith("_blocks")
            large = [one for one in counts if layers and type(one) is int and one > MOST_LAYERS]
            found = f"{name} {large[0]}" if large else ""
        if found:
            return found
    return ""


def check_components(model: str | Path, index: Mapping[str, Any]) -> None:
    """Refuse parts of a model_index.json that are of no known library: loading them would import what they name.

    Args:
        model: for the message.
        index: component -> [library, class], beside settings.

    Raises:
        ModelLoadError: with every such part.
    """
    import diffusers

    for name, value in index.items():  # diffusers takes both for granted
        pair = isinstance(value, list | tuple) and not name.startswith("_")
        broken = pair and (len(value) != 2 or not all(part is None or isinstance(part, str) for part in value))
        if broken or (name == "_class_name" and not isinstance(value, str)):
            came = f"the model_index.json of {model} gives {name} as {shown(value)}"
            raise ModelLoadError(came, "a library and a class for each part", "download it again")
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


@contextmanager
def complete(model: str | Path) -> Iterator[None]:
    """While it lasts, `from_pretrained` of diffusers and transformers refuses what they would fill up at random.

    diffusers leaves missing tensors empty and transformers draws them, both with a warning; neither hands its account
    of them through `DiffusionPipeline.from_pretrained`, so that it is asked for below. Nothing is left behind.

    Args:
        model: for the message.

    Raises:
        ModelLoadError: a part without some of its tensors, or whose file holds more than tensors.
    """
    import diffusers
    import transformers

    with ExitStack() as put_back:
        for cls in (diffusers.ModelMixin, transformers.PreTrainedModel):
            own = cls.__dict__["from_pretrained"]
            put_back.callback(setattr, cls, "from_pretrained", own)
            cls.from_pretrained = classmethod(_refusing(own.__func__, model))  # type: ignore[method-assign]
        yield


def _refusing(load: Any, model: str | Path) -> Any:
    def from_pretrained(cls: Any, *args: Any, output_loading_info: bool = False, **options: Any) -> Any:
        source = args[0] if args else options.get("pretrained_model_name_or_path")
        try:
            part, info = load(cls, *args, output_loading_info=True, **options)
        except Exception as error:
            _refuse_pickle(_pickled(source), error)
            raise
        missing = sorted(info.get("missing_keys", ()))
        if missing:
            listed = ", ".join(missing[:3]) + (f" and {len(missing) - 3} more" if len(missing) > 3 else "")
            came = f"{Path(str(source)).name} of {model} lacks {len(missing)} of its tensors ({listed})"
            raise ModelLoadError(came, f"all weights of a {cls.__name__}", _AGAIN)
        return (part, info) if output_loading_info else part

    return from_pretrained


def _pickled(source: Any) -> str:
    """The files of a part that are read by torch, for a message."""
    folder = Path(str(source))
    found = sorted(str(p) for kind in ("*.bin", "*.pt", "*.pth", "*.ckpt") for p in folder.glob(kind))
    return " or ".join(found[:3]) or str(source)


def _refuse_pickle(path: str, error: BaseException) -> None:
    """Say in words that torch's restricted unpickler refused a file, if that is among the causes of an error."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, pickle.UnpicklingError):
        cause = cause.__cause__ or cause.__context__
    if cause is None:
        return
    if "Unsupported operand" in str(cause):  # a byte that no pickle has
        raise ModelLoadError(f"cannot read {path}: it is damaged, or no checkpoint", "tensors", _AGAIN) from error
    raise ModelLoadError(
        f"cannot read {path}: it holds more than tensors, and loading it would execute what it says",
        "names and tensors",
        "where it comes from a source you trust, save its weights as safetensors and use that file",
    ) from error


def check_finite(model: str | Path, parts: Mapping[str, Any]) -> None:
    """Refuse weights that are not finite; reads each once, a second for 5e9 of them.

    Args:
        model: for the message.
        parts: name -> module; anything else is passed over.

    Raises:
        ModelLoadError: with the first.
    """
    for name, part in parts.items():
        for key, value in part.named_parameters() if isinstance(part, torch.nn.Module) else ():
            if value.is_meta or not value.numel() or value.dtype not in _FLOATS:
                continue
            if not all(bound.isfinite() for bound in torch.aminmax(value.detach())):
                came = f"{name} of {model} has weights that are not finite (in {key})"
                raise ModelLoadError(came, "finite numbers", "load another copy, or convert it again in float32")


_FLOATS = (torch.float32, torch.float64, torch.float16, torch.bfloat16)


def check_embeds(embeds: Any) -> None:
    """Refuse text embeddings that are not finite: no picture of them would show the prompt.

    Args:
        embeds: `TextEmbeds`, of which every tensor is looked at.

    Raises:
        NoiseError: with the first prompt.
    """
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
        fix = "a model in float16 may overflow: load it with --dtype float32 or bfloat16"
        raise NoiseError(came, "finite predictions of the model", fix)
