"""Parts of a model as `from_pretrained` of diffusers and transformers loads them, refused where these only warn."""

from __future__ import annotations

import os
import pickle
import warnings
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Any

from noiseprompt.core.devices import is_out_of_memory
from noiseprompt.core.errors import ModelLoadError, NoisepromptWarning
from noiseprompt.core.model_files import AGAIN, of_shapes
from noiseprompt.core.part_files import check_network, check_numbers, check_size, files_in, refuse_damaged
from noiseprompt.core.part_settings import bare, check_settings, described, refuse_setting, tell_type
from noiseprompt.core.texts import reason_of, some
from noiseprompt.core.tokenizer_files import WORDS, check_tokenizer

RELICS = ("position_ids", "inv_freq", "num_batches_tracked")
"""Last names of tensors that older releases of transformers saved and newer ones make anew."""


@contextmanager
def complete(model: str | Path) -> Iterator[None]:
    """While it lasts, `from_pretrained` of diffusers and transformers refuses what they would fill up at random or
    round, and names the part that does not load.

    diffusers leaves missing tensors empty and transformers draws them, both with a warning; neither hands its account
    of them through `DiffusionPipeline.from_pretrained`, so that it is asked for below. Nothing is left behind.

    Args:
        model: for the message.

    Raises:
        ModelLoadError: a part that does not load, lacks some of its tensors, has whole numbers in place of weights, or
            whose file holds more than tensors.
    """
    import diffusers
    import transformers

    networks = (diffusers.ModelMixin, transformers.PreTrainedModel)
    others = (diffusers.SchedulerMixin, transformers.PreTrainedTokenizerBase)
    with ExitStack() as put_back:
        for cls, wrap in [*((one, _network) for one in networks), *((one, _other) for one in others)]:
            own = cls.__dict__["from_pretrained"]
            put_back.callback(setattr, cls, "from_pretrained", own)
            cls.from_pretrained = classmethod(wrap(own.__func__, model))  # type: ignore[method-assign]
        yield


def _network(load: Callable[..., Any], model: str | Path) -> Callable[..., Any]:
    def from_pretrained(cls: Any, *args: Any, output_loading_info: bool = False, **options: Any) -> Any:
        source = _source(args, options)
        folder = Path(str(source)) / str(options.get("subfolder") or "")
        _refuse_whole(folder, model, cls)
        check_network(folder, _what(folder, model), options.get("variant"))
        check_settings(folder, cls, _what(folder, model))
        check_size(folder, cls, _what(folder, model))
        try:
            part, info = load(cls, *args, output_loading_info=True, **options)
        except Exception as error:
            _refuse_pickle(_pickled(source), error)
            raise _told(error, source, cls, model) from error
        missing = sorted(info.get("missing_keys", ()))
        if missing:
            came = f"{_what(source, model)} lacks {some('of its tensors', missing, 3)}"
            others = sorted(info.get("unexpected_keys", ()))
            came += (f" and holds {some('others', others, 2)}" if others else "") + described(folder, cls)
            raise ModelLoadError(came, f"all weights of a {cls.__name__}", AGAIN)
        if getattr(part, "hf_quantizer", None) is None:  # what is quantised has names and numbers of its own
            _tell_surplus(info, _what(source, model))
            check_numbers(folder, part, options.get("variant"))
            tell_type(folder, cls)
        return (part, info) if output_loading_info else part

    return from_pretrained


def _other(load: Callable[..., Any], model: str | Path) -> Callable[..., Any]:
    def from_pretrained(cls: Any, *args: Any, **options: Any) -> Any:
        source = _source(args, options)
        folder = Path(str(source)) / str(options.get("subfolder") or "")
        _refuse_whole(folder, model, cls)
        if getattr(cls, "vocab_files_names", None):  # of bytes there is no file
            check_tokenizer(folder, _what(folder, model), cls)
        check_settings(folder, cls, _what(folder, model))
        try:
            return load(cls, *args, **options)
        except Exception as error:
            raise _told(error, source, cls, model) from error

    return from_pretrained


def _refuse_whole(folder: Path, model: str | Path, cls: Any) -> None:
    """Refuse a whole model in the place of a part: diffusers looks there for one whose folder is not in the hub's
    cache."""
    if os.path.isfile(folder / "model_index.json"):
        came = f"{model} is a whole model without the folder of a {cls.__name__}"
        raise ModelLoadError(came, "a folder for each part that its model_index.json names", AGAIN)


def _what(source: Any, model: str | Path) -> str:
    """A part, for a message; one that is no part of more, such as a ControlNet, is the model itself."""
    part = Path(str(source))
    return str(model) if part == Path(str(model)) else f"{part.name} of {model}"


def _source(args: Any, options: Any) -> Any:
    return args[0] if args else options.get("pretrained_model_name_or_path")


def _tell_surplus(info: Any, what: str) -> None:
    """Tell of tensors that are not the network's, as published folders may hold."""
    surplus = sorted(name for name in info.get("unexpected_keys", ()) if not name.endswith(RELICS))
    if surplus:
        told = f"{what} holds {some('tensors that it has no place for', surplus, 3)}, which are not used"
        warnings.warn(f"{told}: its config.json may be another model's", NoisepromptWarning, stacklevel=2)


def _told(error: Exception, source: Any, cls: Any, model: str | Path) -> Exception:
    """The error with the part's name, of a part on this machine; that of a damaged file where there is one."""
    folder = Path(str(source))
    if isinstance(error, ModelLoadError) or not folder.is_dir():
        return error
    if is_out_of_memory(error):
        came = f"{_what(source, model)} asks for more memory than there is to have"
        fix = f"compare its configuration with the published one ({AGAIN}), or take a machine with more memory"
        return ModelLoadError(came, f"a {cls.__name__} that fits", fix)
    what = _what(source, model)
    refuse_damaged(folder)
    if another := described(folder, cls):
        came = f"{what} does not load as a {cls.__name__}{another}"
        return ModelLoadError(came, "the part that is named, in its own folder", AGAIN)
    refuse_setting(error, folder, cls, what)
    error = bare(error)
    reason = reason_of(error)
    reason = of_shapes(reason) or f"{type(error).__name__}: {reason[:300]}"
    of_words = getattr(cls, "vocab_files_names", None) and (folder / WORDS).is_file()
    came = f"{what} does not load {f'from {WORDS} ' * bool(of_words)}({reason})"
    return ModelLoadError(came, f"the files of a {cls.__name__}, its config among them", AGAIN)


def _pickled(source: Any) -> str:
    """The files of a part that are read by torch, for a message."""
    folder = Path(str(source))
    found = sorted(str(path) for kind in ("*.bin", "*.pt", "*.pth", "*.ckpt") for path in files_in(folder, kind))
    return " or ".join(found[:3]) or str(source)


def _refuse_pickle(path: str, error: BaseException) -> None:
    """Say in words that torch's restricted unpickler refused a file, if that is among the causes of an error."""
    cause: BaseException | None = error
    while cause is not None and not isinstance(cause, pickle.UnpicklingError):
        cause = cause.__cause__ or cause.__context__
    if cause is None:
        return
    if "Unsupported operand" in str(cause):  # a byte that no pickle has
        raise ModelLoadError(f"cannot read {path}: it is damaged, or no checkpoint", "tensors", AGAIN) from error
    raise ModelLoadError(
        f"cannot read {path}: it holds more than tensors, and loading it would execute what it says",
        "names and tensors",
        "where it comes from a source you trust, save its weights as safetensors and use that file",
    ) from error
