"""The folder of a tokenizer, looked at before transformers reads it: where files are not there, it makes one that knows
its special tokens alone, or takes the words of one kind of tokenizer for those of another."""

from __future__ import annotations

import os
import re
from pathlib import Path
from typing import Any

from noiseprompt.core.errors import ModelLoadError
from noiseprompt.core.json_files import read_json
from noiseprompt.core.model_files import AGAIN
from noiseprompt.core.places import no_file, refuse_closed

WORDS = "tokenizer.json"
"""The file of words of every tokenizer of transformers; older ones have theirs beside it or alone."""

SETTINGS = "tokenizer_config.json"
TEMPLATE = "chat_template.jinja"

MARKS = ("cls_token", "sep_token", "eos_token", "pad_token")
"""Settings that name the words which begin, end or fill up a prompt."""

_OLDER = ("vocab.json", "vocab.txt", "spiece.model", "tokenizer.model", "sentencepiece.bpe.model", "tekken.json")
_KIND = re.compile(rb'"model":\s*\{\s*"type":\s*"(\w+)"')


def check_tokenizer(folder: Path, what: str, cls: Any = None, settings: bool = True, fix: str = AGAIN) -> None:
    """Refuse the folder of a tokenizer that transformers would fill up by itself; one that is not there is a hub id.

    Args:
        what: it is, for messages.
        cls: of transformers, where it is known.
        settings: whether it needs its own: of which length prompts are, and which tokens end them.
        fix: what to do.

    Raises:
        ModelLoadError: no settings, no words or those of another kind of tokenizer, an empty chat template or mark,
            or one of these that is no file.
    """
    if not os.path.isdir(folder):
        return
    refuse_closed(folder)
    own = [*(getattr(cls, "vocab_files_names", None) or {}).values()]
    names = [*dict.fromkeys((WORDS, *own, *_OLDER))]
    for path in (folder / name for name in (SETTINGS, TEMPLATE, *names)):
        if os.path.lexists(path) and not path.is_file():
            raise ModelLoadError(no_file(path), "a file of the tokenizer", fix)
    if not any((folder / name).is_file() for name in names):
        came = f"{what} has no words: no file of them is in {folder}"
        raise ModelLoadError(came, f"{', '.join(names[:4])} or the like", fix)
    if settings and not (folder / SETTINGS).is_file():
        came = f"{what} has no {SETTINGS}, which says how long prompts are and what ends them"
        raise ModelLoadError(came, "it beside the words", fix)
    if (folder / TEMPLATE).is_file() and not (folder / TEMPLATE).read_bytes().strip(b"\0 \r\n\t"):
        raise ModelLoadError(f"{folder / TEMPLATE} is empty", "the template of a conversation", fix)
    _check_marks(folder / SETTINGS, fix)
    _check_kind(folder / WORDS, cls, fix)


def _check_marks(path: Path, fix: str) -> None:
    """Refuse an empty mark: transformers would leave it out without a word."""
    told = read_json(path, ModelLoadError, "a JSON object", fix, infinite=True, nan=True) if path.is_file() else {}
    if empty := [name for name in MARKS if told.get(name) == ""]:
        raise ModelLoadError(f"{path} has {empty[0]} ''", "a word, or null for none", fix)


def _check_kind(path: Path, cls: Any, fix: str) -> None:
    kind = getattr(getattr(cls, "model", None), "__name__", None)
    found = _KIND.search(path.read_bytes()) if kind and path.is_file() else None
    if found and found[1].decode() != kind:
        came = f"{path} has the words of a {found[1].decode()} tokenizer"
        raise ModelLoadError(came, f"those of a {kind} one, as a {cls.__name__} is", fix)
