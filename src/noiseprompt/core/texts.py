"""What people typed or a file holds, made harmless where it is shown: a terminal, Markdown, a spreadsheet."""

from __future__ import annotations

import json
import re
import unicodedata
from collections.abc import Sequence
from typing import Any

from noiseprompt.core.errors import InputError, PromptError

LONGEST = 100_000
"""Characters of a prompt: what is longer is a whole file in one line, which text encoders read for minutes."""

_HALVES = re.compile("[\ud800-\udfff]")
_SPACES = re.compile(r"[\t\n\v\f\r\x85\u2028\u2029]+")
_MARKUP = re.compile(r"[\\`*]|(?<=\])\(")
_HTML = re.compile(r"&(?=#?\w+;)|<(?=[A-Za-z/!?])")
_FORMULA = ("=", "+", "-", "@", "\t", "\r")


def unwritable(text: str) -> str:
    """What a text holds that no file, terminal or other program takes as text, in words; "" for nothing of the kind."""
    if "\0" in text:
        return "NUL"
    if text.isascii() or not (halves := _HALVES.findall(text)):
        return ""
    raw = all("\udc80" <= half <= "\udcff" for half in halves)  # so Python tells bytes of a name or a word
    return "bytes that are not UTF-8 (lone surrogates)" if raw else "halves of characters (lone surrogates)"


def check_text(text: str, what: str, fix: str = "save it again as UTF-8") -> None:
    """Refuse a prompt, or a category, that cannot be written; whatever else it holds stays as it is.

    Args:
        what: for the message, as in "entry 3 of prompts.json".
        fix: what to do where it cannot be written.

    Raises:
        PromptError: it is no text, holds NUL or half a character, nothing but what nobody sees (U+200B, the mark that
            ended a file of DOS), or is longer than `LONGEST`.
    """
    if isinstance(text, str) and len(text) > LONGEST:
        came = f"{what} has {len(text):,} characters (it begins {text[:40]!r})"
        raise PromptError(came, f"at most {LONGEST:,}", "put each prompt on a line of its own")
    bad = unwritable(text) if isinstance(text, str) else ""
    if bad or not isinstance(text, str):
        came = f"{what} holds {bad}" if bad else f"{what} is {text!r:.60}"
        raise PromptError(came, "a text of whole characters, without NUL", fix if bad else "")
    plain = text.isascii() and text.isprintable()
    if text.strip() and not plain and all(unicodedata.category(letter)[0] in "CZ" for letter in text):
        raise PromptError(f"{what} is {text!a:.60}", "letters that are seen")


def check_texts(texts: object) -> None:
    """Refuse what is no list of prompts.

    Raises:
        InputError: no list, an empty one, or one text in its place.
        PromptError: as `check_text`.
    """
    if isinstance(texts, str) or not isinstance(texts, Sequence) or not texts:
        raise InputError(f"texts {texts!r:.60}", "a list with at least one text")
    for text in texts:
        check_text(text, "a prompt")


def reason_of(error: BaseException) -> str:
    """What a library says of an error, in one line; "<class 'a.b.C'>" is C."""
    return re.sub(r"<class '(?:\w+\.)*(\w+)'>", r"\1", " ".join(str(error).split()))


def visible(text: str) -> str:
    """One line that commands no terminal and turns no text around: ends of lines are a space, other controls \\x1b."""
    text = _SPACES.sub(" ", text)
    return text if text.isprintable() else "".join(c if _shows(c) else _escaped(c) for c in text)


def _shows(character: str) -> bool:
    return character.isprintable() or unicodedata.category(character) == "Zs"


def _escaped(character: str) -> str:
    """As Python writes it; joiners inside emoji and scripts are no commands and stay."""
    return character if character in "\u200c\u200d" else character.encode("unicode_escape").decode()


def spelt(name: str) -> str:
    """A name that is not known; of letters beyond ASCII also their numbers, for some look like others; of blanks beyond
    ASCII what they are, for all look like one."""
    blanks = {letter for letter in name if letter.isspace() and not letter.isascii()}
    if blanks:
        return f"{visible(name)} (with {', '.join(unicodedata.name(letter, 'a blank') for letter in sorted(blanks))})"
    return visible(name) if name.isascii() or not name.isprintable() else f"{name} ({name!a})"


def in_markdown(text: str) -> str:
    """`visible`, and no code, emphasis, HTML, entity, link or picture. A table's "|" is the table's affair."""
    text = _MARKUP.sub(lambda found: "\\" + found[0], visible(text))
    return _HTML.sub(lambda found: "&amp;" if found[0] == "&" else "&lt;", text)


def in_csv(text: str) -> str:
    """As it is, but with an apostrophe before what a spreadsheet would take for a formula."""
    return "'" + text if text.startswith(_FORMULA) else text


def in_yaml(value: Any) -> str:
    """Plain data as JSON that a reader of YAML takes too: that one knows no letter as a pair of escapes.

    What is no plain data stands as its text.
    """
    text = json.dumps(value, ensure_ascii=False, default=str)
    return re.sub("[\x7f-\uffff]", lambda sign: f"\\u{ord(sign[0]):04x}", text)


def some(label: str, names: Sequence[str], most: int = 4) -> str:
    """ "7 LABEL (a, b, c, d, ...)"; "" without any."""
    return f"{len(names)} {label} ({', '.join(names[:most])}{', ...' if len(names) > most else ''})" if names else ""
