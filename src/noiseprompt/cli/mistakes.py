"""Everything that is wrong with the words of one command, told at once, before the parser, which stops at the first.

Each option is held as in a file (`options.read_option`); what is found here is refused, what is not the parser judges.
"""

from __future__ import annotations

import difflib
import re
import typing
from collections.abc import Iterator, Mapping, Sequence
from typing import Any

from noiseprompt.cli.option_files import read_config
from noiseprompt.cli.options import option_types, read_option, renamed, wanted
from noiseprompt.core.errors import InputError
from noiseprompt.core.texts import unwritable

_HELP = ("-h", "--help")
_BARE = ("--help", "--print_config", "--debug")
_NUMBER = re.compile(r"-\d+|-\d*\.\d+")
"""What the parser takes for a value although it begins with a dash."""
_BEGINS_A_NUMBER = re.compile(r"-(\d|\.|inf|nan)")
"""What a value begins with where it does with a dash; after an option whose value was forgotten stands another one."""
_SHORTS = re.compile("-h|-v+")
_BARE_WORDS = {"prompt": "a text to draw", "shell": "bash or zsh"}
"""Argument without a dash -> what it takes, where it is no name or path."""

Mistake = tuple[str, str]
"""What came, and what was expected or ""."""


def joined(words: Sequence[str]) -> list[str]:
    """Words of which a number that begins with a dash ("--strength -1e-2") is joined to its option by "=": the parser
    takes plain numbers alone for values then."""
    made: list[str] = []
    for word in words:
        before = made[-1] if made else ""
        waits = before.startswith("--") and "=" not in before and before not in (*_BARE, "--")
        if waits and _BEGINS_A_NUMBER.match(word):
            made[-1] += "=" + word
        else:
            made.append(word)
    return made


def files_first(words: Sequence[str]) -> list[str]:
    """Words of a command with its `--config` files before the others: what is written beside a file wins, wherever the
    file stands, where the parser would let the last one win."""
    rest, files = list(words), []
    ends = rest.index("--") if "--" in rest else len(rest)
    for at in reversed(range(ends)):
        if rest[at].startswith("--config="):
            files[:0] = [rest.pop(at)]
            ends -= 1
        elif rest[at] == "--config" and at + 1 < ends:
            files[:0] = [rest.pop(at), rest.pop(at)]
            ends -= 2
    return [*files, *rest]


def refuse_command(words: Sequence[str], commands: Mapping[str, Any]) -> None:
    """Refuse first words that name no command; where one is missing the parser lists them.

    Args:
        commands: name -> command, or a mapping of commands.

    Raises:
        InputError: another word, or an option before the command.
    """
    told: list[str] = ["noiseprompt"]
    for word in words:
        if word in (*_HELP, "--version") or not isinstance(commands, Mapping):
            return
        fix = f"`{' '.join(told)} --help` lists what there is"
        if word.startswith("-"):
            raise InputError(f"{word[:60]} before the command", "the command first, then its options", fix)
        if word not in commands:
            close = difflib.get_close_matches(word.lower(), commands, n=1)
            hint = f"did you mean {close[0]!r}? {fix}" if close else fix
            raise InputError(f"no command {word[:60]!r} of {' '.join(told)}", f"one of {', '.join(commands)}", hint)
        commands = commands[word]
        told.append(word)


def refuse_words(parser: Any, words: Sequence[str], bare: Sequence[str], title: str) -> None:
    """Refuse the words after a command's name with everything that is wrong with them and their `--config` files.

    Args:
        parser: of the command alone.
        bare: names of its arguments without a dash, in order; "name..." takes one or more.
        title: of the command, as in "shapes train".

    Raises:
        InputError: there are mistakes.
    """
    asked = [word.partition("=")[0] for word in words]
    if {*_HELP, "--debug", "--"} & {*asked}:
        return
    printed = "--print_config" in asked  # what it writes is held as anything else, and may be a part of a command
    words = [word for word, name in zip(words, asked, strict=True) if name != "--print_config"]
    mistakes, given = _of_words(parser, words, bare)
    needed = [] if printed else [action.dest for action in parser._actions if action.required]
    missing = [_dashed(name, bare) for name in needed if name not in given]
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
        if name == "config" and not value:
            mistakes.append(("--config" + ("" if value is None else " ''"), "a YAML file after it"))
        elif name == "config":
            there, found = read_config(parser, value or "")
            given |= there
            mistakes += [(text, "") for text in found]
        elif not name:
            mistakes += _of_bare(places[0].removesuffix("...") if places else "", value or "")
            given |= {one.removesuffix("...") for one in places[:1]}
            places = places if places and places[0].endswith("...") else places[1:]
        elif own := _bare_named(name, known, bare):
            mistakes.append((f"no option --{name}", f"the {own} alone, without an option before it"))
            given.add(own)
        elif name.startswith("-"):
            mistakes.append(
                (f"no option {name[:60]}", "options with two dashes; a text that begins with one stands after --")
            )
        elif name.endswith("+") or ("." in name and _holds_parts(known.get(name.partition(".")[0]))):
            given.add(name.partition(".")[0].rstrip("+"))
        else:
            given.add(name)
            mistakes += _of_option(parser, known, name, value)
    return mistakes, given


def _bare_named(name: str, known: Mapping[str, Any], bare: Sequence[str]) -> str:
    """The argument without a dash that an option is called by, or most like; ""."""
    close = [name] if name in known else difflib.get_close_matches(name, known, n=1)
    return next((one for one in (word.removesuffix("...") for word in bare) if one in close), "")


def _of_bare(name: str, word: str) -> list[Mistake]:
    """Of a word without a dash; "" would be the folder one is in."""
    if not name:
        return [(f"the word {word!r}", "options alone, which begin with --; a text of several words is one in quotes")]
    if not word:
        return [(f"{name} ''", _BARE_WORDS.get(name, "a name or path"))]
    return [(f"{name} {word!r}", f"a text without {bad}")] if (bad := unwritable(word)) else []


def _of_option(parser: Any, known: dict[str, Any], name: str, value: str | None) -> list[Mistake]:
    if now := renamed(name, known):
        return [(f"option --{name}", f"its new name --{now}")]
    if name not in known:
        close = difflib.get_close_matches(name, known, n=1)
        word = f"no option --{name}" + ("" if value is None else f" {value[:60]}")
        return [(word + (f" (did you mean --{close[0]}?)" if close else ""), "")]
    if known[name] is bool and name in _flags(parser):
        return [] if value is None else [(f"--{name}={value[:60]}", f"--{name} alone: it is a flag")]
    if value is None:
        return [(f"--{name} without a value", f"{wanted(known[name])} after it")]
    try:
        read_option(parser, name, value)
    except InputError as error:
        came = error.came.removeprefix(f"{name} ")
        own = came.strip('"') != value  # more than the value alone
        return [(f"--{name} {came if own else _shown(value)}", error.expected)]
    return []


def _shown(word: str) -> str:
    """Numbers as they are, other words in quotes."""
    try:
        float(word.replace(".inf", "inf").replace(".nan", "nan"))
    except ValueError:
        return repr(word)
    return word


def _flags(parser: Any) -> set[str]:
    return {action.dest for action in parser._actions if action.nargs == 0}


def _holds_parts(annotation: Any) -> bool:
    """Whether "--name.part" is one: of a mapping."""
    return typing.get_origin(annotation) is dict


def _pairs(parser: Any, words: Sequence[str]) -> Iterator[tuple[str, str | None]]:
    """Name of an option, "" for a bare word, and its value, None where it has none; "-x" of one that is not known."""
    flags = _flags(parser)
    rest = list(words)
    while rest:
        word = rest.pop(0)
        name, equals, value = word.partition("=")
        name = name[2:] if word.startswith("--") else ""
        if not word.startswith("-") or _NUMBER.fullmatch(word):
            yield "", word
        elif name and equals:
            yield name, value
        elif not name and not _SHORTS.fullmatch(word):
            yield word, None
        elif name in flags:
            yield name, None
        elif name:
            follows = bool(rest) and (not rest[0].startswith("-") or bool(_NUMBER.fullmatch(rest[0])))
            yield name, rest.pop(0) if follows else None
