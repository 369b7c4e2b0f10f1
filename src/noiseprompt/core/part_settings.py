"""Settings of a network or a scheduler as its folder has them: those that its library would take for something else
without a word are refused, and those over which it failed in words of its own are named."""

from __future__ import annotations

import inspect
import math
import re
import warnings
from collections.abc import Iterable, Iterator, Mapping
from pathlib import Path
from typing import Any

from noiseprompt.core.errors import ModelLoadError, NoisepromptWarning
from noiseprompt.core.json_files import read_json
from noiseprompt.core.model_files import AGAIN
from noiseprompt.core.part_files import files_in
from noiseprompt.core.ranges import shown

_BLIND = (TypeError, KeyError, IndexError, AttributeError, ZeroDivisionError)
"""What a library raises of a setting that nobody looked at: its words are of the library's own variables."""


_KINDS: tuple[tuple[type | tuple[type, ...], str], ...] = (
    (bool, "true or false"),
    ((int, float), "a number"),
    (str, "a text"),
)
"""Of a setting, in this order, by what its class begins with; any may be null, or in a list."""

_NOISE = ("num_train_timesteps", "beta_start", "beta_end", "beta_schedule", "shift")
"""Settings that every saved scheduler tells, of those that its class has: they make the noise levels."""


def check_settings(folder: Path, cls: Any, what: str) -> None:
    """Refuse settings that the class of a part of diffusers would take for something else without a word: of another
    kind, or none of those of the noise schedule, for which the class has numbers of its own.

    Args:
        cls: of the part.
        what: it is, for messages.

    Raises:
        ModelLoadError: with the first.
    """
    path = folder / str(getattr(cls, "config_name", None))
    if not path.is_file():
        return
    config = read_json(path, ModelLoadError, "a JSON object", AGAIN, infinite=True)
    scheduler = path.name.startswith("scheduler")
    for name, (value, usual) in _known(config, cls):
        first = usual[0] if isinstance(usual, list | tuple) and usual else usual
        kind, expected = next(((kind, words) for kind, words in _KINDS if isinstance(first, kind)), (object, ""))
        if value in ([], "") and usual not in (None, value, ()):
            expected = f"some, as {shown(usual)}"
        elif isinstance(value, float) and not math.isfinite(value) and not scheduler:
            expected = "a finite number"
        elif _is_of(value, kind) and not (value is None and (usual is True or usual == -math.inf)):  # as false
            continue
        raise ModelLoadError(f"{path} has {name} {shown(value)}", expected, AGAIN)
    takes = inspect.signature(cls.__init__).parameters
    _check_blocks(path, {name: config.get(name, takes[name].default) for name in _BLOCKS if name in takes})
    _check_places(path, config, takes)
    lacking = [name for name in _NOISE if name in takes and name not in config]
    if scheduler and lacking:
        came = f"{path} says nothing of {', '.join(lacking)}: {what} would draw with numbers of its own"
        raise ModelLoadError(came, f"the settings of a {cls.__name__}", AGAIN)


def _check_places(path: Path, config: Mapping[str, Any], takes: Mapping[str, inspect.Parameter]) -> None:
    """Of a network that turns its queries and keys: the widths of the axes make up a head."""
    names = ("axes_dims_rope", "attention_head_dim")
    if all(name in takes for name in names):
        axes, head = (config.get(name, takes[name].default) for name in names)
        if isinstance(axes, list | tuple) and sum(axes) != head:
            raise ModelLoadError(f"{path} has axes_dims_rope {shown(list(axes))}", f"{head} in all, a head's", AGAIN)


_BLOCKS = ("block_out_channels", "down_block_types", "up_block_types")
"""Settings of a network that has as many blocks down as up, each with its channels."""


def _check_blocks(path: Path, blocks: Mapping[str, Any]) -> None:
    counts = {name: len(value) for name, value in blocks.items() if isinstance(value, list | tuple)}
    if len({*counts.values()}) > 1:
        came = ", ".join(f"{count} {name}" for name, count in counts.items())
        raise ModelLoadError(f"{path} has {came}", "as many of each", AGAIN)


def _is_of(value: Any, kind: Any) -> bool:
    """Whether a setting is of a kind; 0 and 1 are true and false, but no others."""
    if isinstance(value, list):
        return all(_is_of(one, kind) for one in value)
    if kind is bool:
        return value is None or value in (0, 1)
    return value is None or (isinstance(value, kind) and not isinstance(value, bool))


def described(folder: Path, cls: Any) -> str:
    """ ", and its config.json describes a X" of a part that is of another class; "" where it is not or nobody tells. Of
    a tokenizer its tokenizer_config.json tells."""
    words = getattr(cls, "vocab_files_names", None) is not None
    path = folder / ("tokenizer_config.json" if words else "config.json")
    config = read_json(path, ModelLoadError, infinite=True, nan=True) if path.is_file() else {}
    if words:
        there = str(config.get("tokenizer_class") or cls.__name__).removesuffix("Fast")
        of_class = cls.__name__.removesuffix("Fast")
        return "" if there in (of_class, "TokenizersBackend") else f", and its {path.name} describes a {there}"
    of_transformers = config.get("architectures")
    there = (
        config.get("_class_name") or (of_transformers or [None])[0] if isinstance(of_transformers or [], list) else ""
    )
    return f", and its config.json describes a {there}" if isinstance(there, str) and there != cls.__name__ else ""


def tell_type(folder: Path, cls: Any) -> None:
    """Warn of a network whose config.json describes another type (of diffusers: class), where its weights fit all the
    same: a part of a type, or one that grew out of it, has its name in it, as "clip_text_model" has "clip".

    Args:
        cls: of the part.
    """
    path, of_transformers = folder / "config.json", getattr(cls, "config_class", None)
    own = getattr(of_transformers, "model_type", None) if of_transformers else cls.__name__
    config = read_json(path, ModelLoadError, infinite=True, nan=True) if path.is_file() else {}
    there = config.get("model_type" if of_transformers else "_class_name")
    if own and isinstance(there, str) and not (there in own or own in there):
        told = f"{path} describes a model of the type {there!r} and no {own!r}: it may be another model's"
        warnings.warn(told, NoisepromptWarning, stacklevel=2)


def bare(error: Exception) -> Exception:
    """What was wrong, of an error in which huggingface_hub's check of settings wraps it; any other as it is."""
    from huggingface_hub.errors import StrictDataclassError

    cause = error.__cause__
    return cause if isinstance(error, StrictDataclassError) and isinstance(cause, Exception) else error


def refuse_setting(error: Exception, folder: Path, cls: Any, what: str) -> None:
    """Name the settings that no part of this kind has, where a library failed over one in words of its own.

    Args:
        error: of the library.
        cls: of the part.
        what: it is, for messages.

    Raises:
        ModelLoadError: with the settings that are not like those the class begins with.
    """
    for path in files_in(folder, "*config.json"):
        config = read_json(path, ModelLoadError, infinite=True, nan=True)
        came, usual = strange_settings(error, config, cls, unset=True)
        if came:
            expected = f"what a {cls.__name__} takes (it begins with {usual})"
            raise ModelLoadError(f"{what} does not load with {came} in its {path.name}", expected, AGAIN) from error


def strange_settings(error: Exception, config: Mapping[str, Any], cls: Any, *, unset: bool = False) -> tuple[str, str]:
    """The settings of a part that an error of its library may be about, and the class's own of these, in words; two
    empty texts where the library told it itself, or nothing is strange."""
    field = re.search(r"^Validation error for field '(\w+)'", str(error))  # of transformers
    if not (field or isinstance(error, _BLIND)):
        return "", ""
    every = _strangest(_known(config, _described_by(cls)))
    named = {name: pair for name, pair in every.items() if isinstance(error, KeyError) and error.args == pair[:1]}
    named |= {name: pair for name, pair in every.items() if field and name == field[1]}
    strange = named or {name: pair for name, pair in every.items() if _unlike(name, *pair)}
    added = {name: pair for name, pair in every.items() if unset and pair[1] is None is not pair[0]}
    strange = strange or {name: pair for name, pair in added.items() if not isinstance(pair[0], int | list)}
    if not strange and isinstance(
        error, TypeError | IndexError
    ):  # a list may stand for a number: not where this failed
        lists = {name: pair for name, pair in every.items() if isinstance(pair[0], list)}
        strange = {name: pair for name, pair in lists.items() if pair[1] is None or _is_number(pair[1])}
    some_of = [*strange.items()][:3]
    return tuple(", ".join(f"{name} {shown(pair[i])}" for name, pair in some_of) for i in (0, 1))  # type: ignore[return-value]


def _described_by(cls: Any) -> Any:
    """The class whose arguments are the settings of a part."""
    return getattr(cls, "config_class", None) or cls


def _known(config: Mapping[str, Any], cls: Any) -> Iterator[tuple[str, tuple[Any, Any]]]:
    """Setting -> (its value, the class's own), those of a configuration inside it too."""
    takes = inspect.signature(cls.__init__).parameters
    for name, value in config.items():
        inner = getattr(cls, "sub_configs", {}).get(name)
        if inner is not None and isinstance(value, Mapping):
            yield from _known(value, inner)
        elif name in takes and (usual := takes[name].default) is not inspect.Parameter.empty:
            yield name, (value, usual)


def _strangest(known: Iterable[tuple[str, tuple[Any, Any]]]) -> dict[str, tuple[Any, Any]]:
    """Of settings of one name, in several configurations inside one, the one that is least like the class's own."""
    of_kinds = [((_unlike(name, *pair), type(pair[0]) is not type(pair[1])), name, pair) for name, pair in known]
    return {name: pair for _, name, pair in sorted(of_kinds, key=lambda found: found[0])}


def _is_number(value: Any) -> bool:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _unlike(name: str, value: Any, usual: Any) -> bool:
    """Whether a setting is of another kind than the class's own, empty or none, or 0 or less where that is more; a
    list may stand for a number, and that of a token may be 0."""
    if value is None or usual is None or value == []:
        return usual is not None or value == []
    numbers = (int, float, list, tuple)
    if isinstance(usual, list | tuple) and not isinstance(value, list | tuple):
        return True
    if isinstance(value, numbers) and isinstance(usual, numbers):
        if type(value) is int and type(usual) is int:
            return value <= 0 < usual and not name.endswith("_id")
        return isinstance(value, float) and _is_number(usual) and not isinstance(usual, float)
    return type(value) is not type(usual)
