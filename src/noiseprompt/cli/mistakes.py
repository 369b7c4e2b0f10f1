"""Everything that is wrong with the words of one command, told at once, before the parser, which stops at the first.

Each option is held as in a file (`options.read_option`); what is found here is refused, what is not the parser judges.
"""

from __future__ import annotations

import difflib
import re
from collections.abc import Iterator, Sequence
from typing import Any

from noiseprompt.cli.option_files import read_config
from noiseprompt.cli.options import option_types, read_option, renamed
from noiseprompt.core.errors import InputError
from noiseprompt.core.texts import unwritable

_BARE = ("--help", "--print_config", "--debug")
_NUMBER = re.compile(r"-\d+|-\d*\.\d+")
"""What the parser takes for a value although it begins with a dash."""

Mistake = tuple[str, str]
"""What came, and what was expected or ""."""


def refuse_words(parser: Any, words: Sequence[str], bare: Sequence[str], title: str) -> None:
    """Refuse the words after a command's name with everything that is wrong with them and their `--config` files.

    Args:
        parser: of the command alone.
        bare: names of its arguments without a dash, in order; "name..." takes one or more.
        title: of the command, as in "shapes train".

    Raises:
        InputError: there are mistakes.
    """
    if any(word.partition("=")[0] in (*_BARE, "-h", "--") for word in words):
        return
    mistakes, given = _of_words(parser, words, bare)
    missing = [_dashed(action.dest, bare) for action in parser._actions if action.required and action.dest not in given]
    mistakes += [(f"required: {', '.join(missing)}", "")] * bool(missing)
    hint = f"`noiseprompt {title} --help` lists what there is"
    if len(mistakes) == 1:
        raise InputError(*mistakes[0], hint)
    if mistakes:
        texts = [f"{came} (expected {expected})" if expected else came for came, expected in mistakes]
        raise InputError("; ".join(texts), "", hint)


def _dashed(name: str, bare: Sequence[str]) -> str:
    return name if name in [one.removesuffix("...") for one in bare] else f"--{name}"


def _of_words(parser: Any, words: Sequence[str], bare: Sequence[str]) -> tuple[list[Mistake], set[str]]:
    """The mistakes, and the options that are given, rightly or wrongly."""
    known, places = option_types(parser), list(bare)
    mistakes: list[Mistake] = []
    given: set[str] = set()
    for name, value in _pairs(parser, words):
        if name == "config" and value is not None:
            there, found = read_config(parser, value)
            given |= there
            mistakes += [(text, "") for text in found]
        elif not name:
            mistakes += _of_bare(places[0].removesuffix("...") if places else "", value or "")
            given |= {one.removesuffix("...") for one in places[:1]}
            places = places if places and places[0].endswith("...") else places[1:]
        elif "." in name or name.endswith("+"):  # a part of a mapping, one more of a list
            given.add(name.partition(".")[0].rstrip("+"))
        else:
            given.add(name)
            mistakes += _of_option(parser, known, name, value)
    return mistakes, given


def _of_bare(name: str, word: str) -> list[Mistake]:
    """Of a word without a dash; "" would be the folder one is in."""
    if not name:
        return [(f"the word {word!r}", "options alone, which begin with --")]
    if not word:
        return [(f"{name} ''", "a name or path")]
    return [(f"{name} {word!r}", f"a text without {bad}")] if (bad := unwritable(word)) else []


def _of_option(parser: Any, known: dict[str, Any], name: str, value: str | None) -> list[Mistake]:
    if now := renamed(name, known):
        return [(f"option --{name}", f"its new name --{now}")]
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        word = f"no option --{name}" + ("" if value is None else f" {value[:60]}")
        return [(word + (f" (did you mean --{close[0]}?)" if close else ""), "")]
    if value is None:
        return [(f"--{name}: expected one argument", "")]
    try:
        read_option(parser, name, value)
    except InputError as error:
        own = error.came.strip('"') != value  # more than the value alone
        return [(f"--{name} {error.came if own else _shown(value)}", error.expected)]
    return []


def _shown(word: str) -> str:
    """Numbers as they are, other words in quotes."""
    try:
        float(word.replace(".inf", "inf").replace(".nan", "nan"))
    except ValueError:
        return repr(word)
    return word


def _pairs(parser: Any, words: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    """Name of an option, "" for a bare word, and its value; None for a flag, or where the value is missing."""
    flags = {action.dest for action in parser._actions if action.nargs == 0}
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        name = name[2:] if word.startswith("--") else ""
        if not word.startswith("-") or _NUMBER.fullmatch(word):
            yield "", word
        elif name and equals:
            yield name, value
        elif name and name not in flags:
            follows = bool(rest) and (not rest[0].startswith("-") or bool(_NUMBER.fullmatch(rest[0])))
            yield name, rest.pop(0) if follows else None
