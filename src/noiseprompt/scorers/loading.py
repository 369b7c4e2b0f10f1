"""Weights of published scorers: a file or folder of the user's, else the hub. Nothing in a checkpoint is executed."""

from __future__ import annotations

import logging
import os
from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from pathlib import Path
from typing import Any

import torch

from noiseprompt.core import hub
from noiseprompt.core.devices import is_out_of_memory
from noiseprompt.core.errors import HubError, ModelLoadError, NoisepromptError
from noiseprompt.core.model_files import AGAIN, has_no_words, last_word, of_shapes
from noiseprompt.core.part_files import check_network, check_numbers, check_size, refuse_damaged
from noiseprompt.core.part_settings import bare, refuse_setting, tell_type
from noiseprompt.core.places import expanded, no_file, refuse_closed
from noiseprompt.core.tensors import check_values, other_numbers, refuse_other_numbers
from noiseprompt.core.texts import reason_of
from noiseprompt.core.tokenizer_files import check_tokenizer

SUFFIXES = (".safetensors", ".pt", ".pth", ".bin", ".ckpt")
"""Of files with weights."""


def find_file(scorer: str, path: str | None, repo: str, filename: str, revision: str | None = None) -> Path:
    """The file with the weights: `path` itself, `filename` in the folder `path`, or `repo` on the hub.

    Raises:
        ModelLoadError: not there, or the hub cannot be reached; says how to name a local file.
    """
    if path is not None:
        return _local(scorer, expanded(path), filename)
    try:
        return hub.fetch_file(repo, filename, revision=revision)
    except HubError as error:
        raise ModelLoadError(
            f"the scorer {scorer!r} needs {filename} of {repo}, which cannot be fetched: {error.came}",
            "access to the hub, or the file on this machine",
            f'fetch it elsewhere and name it: "{scorer}:path=FILE"',
        ) from error


PUBLISHED = ("HPS_v2_compressed.pt", "HPS_v2.1_compressed.pt", "ImageReward.pt")
"""Files of weights whose names tell which scorer's they are."""


def _local(scorer: str, path: Path, filename: str) -> Path:
    fix = f'name the file: "{scorer}:path=FILE"'
    refuse_closed(path)
    if path.is_dir():
        found = sorted(p for p in path.glob("*") if p.suffix in SUFFIXES and not p.name.startswith("."))
        file = path / filename if os.path.lexists(path / filename) else found[0] if len(found) == 1 else None
        if file is None:
            came = f"the scorer {scorer!r}: {path} holds {len(found)} files of weights"
            raise ModelLoadError(came, f"{filename}", fix)
        path = file
    if not path.is_file():
        raise ModelLoadError(f"the scorer {scorer!r}: {no_file(path)}", f"{filename}", fix)
    if path.name in PUBLISHED and path.name != filename:
        raise ModelLoadError(f"the scorer {scorer!r}: {path} is another scorer's", f"{filename}", fix)
    return path


def check_keys(what: str, missing: Any, unexpected: Any, mismatched: Any = ()) -> None:
    """Refuse weights that do not fill a network exactly.

    Raises:
        ModelLoadError: with the names, the first ten of each kind.
    """
    parts = []
    for word, names in (("missing", missing), ("unexpected", unexpected), ("of another shape", mismatched)):
        listed = sorted(str(n[0]) if isinstance(n, tuple) else str(n) for n in names)
        if listed:
            more = f" and {len(listed) - 10} more" if len(listed) > 10 else ""
            parts.append(f"{len(listed)} {word} ({', '.join(listed[:10])}{more})")
    if parts:
        raise ModelLoadError(f"the weights do not fit {what}: {'; '.join(parts)}", "the published checkpoint")


def build(cls: Any, config: Any, state: Mapping[str, torch.Tensor], dtype: torch.dtype) -> Any:
    """A transformers model of `config` filled with exactly `state`.

    Raises:
        ModelLoadError: names that are missing, surplus or of another shape.
    """
    with torch.device("meta"):
        empty = cls(config).state_dict()
    wanted = {name: tuple(value.shape) for name, value in empty.items()}
    shapes = {name: tuple(value.shape) for name, value in state.items()}
    wrong = [name for name in wanted.keys() & shapes.keys() if wanted[name] != shapes[name]]
    check_keys(cls.__name__, wanted.keys() - shapes.keys(), shapes.keys() - wanted.keys(), wrong)
    weights = ((name, state[name]) for name in wanted if empty[name].is_floating_point())
    refuse_other_numbers(cls.__name__, other_numbers(weights))
    with _quiet():
        model = cls.from_pretrained(None, config=config, state_dict=dict(state), dtype=dtype)
    check_values(model, cls.__name__)
    return model.eval().requires_grad_(False)


def pretrained(scorer: str, cls: Any, source: str, option: str = "path", **options: Any) -> Any:
    """`cls.from_pretrained` of a folder or hub id, refusing weights with gaps (transformers only warns).

    Args:
        option: of the scorer that names a local folder, for the message.

    Raises:
        ModelLoadError: not there, damaged, or with weights missing.
    """
    folder = expanded(source)
    try:
        if folder.is_file():
            raise OSError("it is a file")
        source = str(folder) if folder.exists() else source
        refuse_closed(folder)
        if not hasattr(cls, "forward"):  # a tokenizer; what it is asked for says the length
            fix = f'{AGAIN}, or name its folder: "{scorer}:{option}=FOLDER"'
            check_tokenizer(folder, f"{cls.__name__} in {source}", cls, settings=False, fix=fix)
            return cls.from_pretrained(source, **options)
        _check_folder(folder)
        check_size(folder, cls, f"{cls.__name__} in {source}")
        with _quiet():
            model, info = cls.from_pretrained(source, output_loading_info=True, **options)
        check_keys(f"{cls.__name__} in {source}", info["missing_keys"], (), info["mismatched_keys"])
        check_numbers(folder, model)
        check_values(model, f"{cls.__name__} in {source}")
        tell_type(folder, cls)
        return model.eval().requires_grad_(False)
    except (NoisepromptError, MemoryError):
        raise
    except Exception as error:  # transformers, tokenizers and torch raise many kinds
        if is_out_of_memory(error):
            raise
        refuse_damaged(folder)
        refuse_setting(error, folder, cls, f"{cls.__name__} in {source}")
        gone = "there is no such folder; " if not folder.exists() and not hub.is_id(source) else ""
        raise ModelLoadError(
            f"the scorer {scorer!r} cannot load {cls.__name__} from {source!r}: {gone}{_short(error)}",
            "a folder in transformers' layout, or access to the hub",
            f'fetch it elsewhere and name it: "{scorer}:{option}=FOLDER"',
        ) from error


@contextmanager
def _quiet() -> Iterator[None]:
    """While it lasts, transformers prints no bars, no remarks on settings that published networks have, and no table
    of what is missing: `check_keys` says it in a line."""
    from transformers.utils import logging as logs

    before, bars = logs.get_verbosity(), logs.is_progress_bar_enabled()
    logs.set_verbosity(logging.CRITICAL)
    logs.disable_progress_bar()
    try:
        yield
    finally:
        logs.set_verbosity(before)
        if bars:
            logs.enable_progress_bar()


def load_tokenizer(scorer: str, cls: Any, source: str, rows: int, spare: int = 0) -> Any:
    """A tokenizer whose words are those of the network; transformers makes an empty one of a folder without any.

    Args:
        rows: words the network knows.
        spare: how many of them a tokenizer may lack.

    Raises:
        ModelLoadError: not there, or another vocabulary.
    """
    tokenizer = pretrained(scorer, cls, source, "tokenizer")
    if has_no_words(tokenizer):
        refuse_damaged(expanded(source))
        raise ModelLoadError(
            f"the scorer {scorer!r} finds no tokenizer in {source!r}",
            "a folder with tokenizer.json or vocab.json, or access to the hub",
            f'name its folder: "{scorer}:tokenizer=FOLDER"',
        )
    if not rows - spare <= len(tokenizer) <= rows:
        raise ModelLoadError(
            f"the tokenizer in {source!r} has {len(tokenizer)} words, the network of {scorer!r} {rows}",
            "the tokenizer the network was trained with",
            f'name its folder: "{scorer}:tokenizer=FOLDER"',
        )
    if (last := last_word(tokenizer)) >= rows:
        came = f"the tokenizer in {source!r} gives a word the number {last:,}"
        expected = f"at most {rows - 1:,}, the last that the network of {scorer!r} knows"
        raise ModelLoadError(came, expected, f'name its folder: "{scorer}:tokenizer=FOLDER"')
    return tokenizer


def infer(what: str, read: Any) -> Any:
    """`read()`, a configuration read from the shapes of a state dict.

    Raises:
        ModelLoadError: the names it looks for are not there, or tensors of other shapes.
    """
    try:
        with _quiet():
            return read()
    except KeyError as error:
        raise ModelLoadError(f"this is no checkpoint of {what}: {error} is not in it", "the published file") from error
    except (IndexError, ValueError, ZeroDivisionError) as error:
        came = f"this is no checkpoint of {what}: its tensors have other shapes"
        raise ModelLoadError(came, "the published file") from error


def _check_folder(folder: Path) -> None:
    """Refuse the folder of a network without a config.json, or with a hostile one; a hub id is no folder.

    Raises:
        OSError: it is not there.
        ModelLoadError: as `check_network`.
    """
    if folder.is_dir() and not os.path.lexists(folder / "config.json"):
        raise OSError(f"there is no {folder / 'config.json'}")
    check_network(folder, str(folder), asked=False)


def _short(error: Exception) -> str:
    if isinstance(error, KeyError):
        return f"there is no {error} in it"
    error = bare(error)
    first, _, rest = str(error).strip().partition("\n")  # what follows is advice, but where the first line announces it
    told = reason_of(error) if first.endswith(":") and rest else first
    return of_shapes(str(error)) or told[:300] or type(error).__name__
