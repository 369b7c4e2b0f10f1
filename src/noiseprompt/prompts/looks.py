"""Files of prompts that are of another kind than their name says, and cells that are no texts, by their looks."""

from __future__ import annotations

import re
import warnings
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path

from noiseprompt.core.errors import NoisepromptWarning, PromptError
from noiseprompt.core.json_files import parse_json
from noiseprompt.core.looks import has_conflict, other_kind

NO_NUMBERS = ("nan", "<na>")
"""What pandas writes for an empty cell, in lower case."""

_NOTHING = (*NO_NUMBERS, "null", "none")
_FAULTS = ("#n/a", "#ref!", "#value!", "#name?", "#div/0!", "#num!", "#null!", "#spill!", "#calc!")
"""What spreadsheets show in a cell whose formula fails, in lower case."""

TITLES = ("prompt", "prompts", "text", "caption", "seed", "kind", "category", "id", "index", "file", "file_name")
"""What stands above the columns of a table of prompts."""


def refuse_other_kind(path: Path, start: bytes, of: str = "prompts") -> None:
    """Refuse a file of another kind.

    Args:
        start: its first bytes.
        of: what it is to hold.

    Raises:
        PromptError: with the kind.
    """
    kind, fix = other_kind(start)
    if kind:
        raise PromptError(f"{path} is {kind}, by its first bytes", f"a file of {of}", fix)


_RULE = re.compile(r"\|?[\s:|-]*-{3}[\s:|-]*\|?")
"""What stands below the header of a table in Markdown."""


def refuse_conflict(path: Path, text: str) -> None:
    """Refuse a text that Git could not merge.

    Raises:
        PromptError: it holds the marks of it.
    """
    if has_conflict(text):
        raise PromptError(f"{path} holds a conflict of Git (<<<<<<<)", "one of the two sides", "resolve it")


_LIST = re.compile(r"\[\s*(['\"]).*\1\s*,?\s*\]", re.DOTALL)
"""A list of texts as Python writes it."""


def refuse_json(path: Path, text: str, expected: str) -> None:
    """Refuse JSON, or lines of it, by another name.

    Raises:
        PromptError: with the name it should have.
    """
    for whole, suffix in ((text, ".json"), (text.strip().partition("\n")[0], ".jsonl")):
        if whole.lstrip()[:1] in ("[", "{") and _is_json(whole):
            raise PromptError(f"{path} holds JSON", expected, f"let its name end in {suffix}")


_SEPARATORS = {",": ".csv", "\t": ".csv, with commas in place of tabs", **dict.fromkeys(";|", ".csv, with commas")}
"""What stands between the cells of a table -> how it is to be named."""


def refuse_table(path: Path, text: str, lines: Sequence[str]) -> None:
    """Refuse JSON, or a table with a header, in a file whose every line would be a prompt.

    Args:
        text: of the file.
        lines: of it, none blank.

    Raises:
        PromptError: with what it is, and how to name it.
    """
    refuse_json(path, text, "one prompt a line")
    if _LIST.fullmatch(text.strip()):
        raise PromptError(f"{path} holds a list in brackets", "one prompt a line", "write each on a line of its own")
    title = lines[0].strip('"').lower() if lines else ""
    if len(lines) > 1 and (title.rstrip(":") in ("prompt", "prompts") or ("|" in title and _RULE.fullmatch(lines[1]))):
        came = f"{path} begins with {lines[0]!r:.80}, which looks like a header"
        raise PromptError(came, "one prompt a line, and no header", "take it out")
    for mark, suffix in _SEPARATORS.items():
        cells = [cell.strip().strip('"').lower() for cell in lines[0].split(mark)] if lines else []
        known = set(cells) & {*TITLES[:4]} and (set(cells) <= {*TITLES, ""} or {"prompt", "prompts"} & set(cells))
        if len(cells) > 1 and known:
            came = f"{path} begins with the header of a table, {lines[0]!r:.80}"
            raise PromptError(came, "one prompt a line", f"let its name end in {suffix}")


_MARKS = {
    "a bullet": re.compile(r"[-*+\u2022\u2013]\s+\S.*"),
    "a number, as in a list": re.compile(r"\d{1,5}[.):]\s+\S.*"),
    "a quotation mark, and ends with one": re.compile(r"([\"']).*\1[,;]?"),
    "a key, as in YAML": re.compile(r"(-\s+)?(prompts?|text|caption|seed|kind|category):(\s.*)?", re.IGNORECASE),
    "three signs, as in a block of code": re.compile(r"`{3}.*"),
}
"""What people put before the texts of a list -> lines that begin so."""


def warn_of_marks(path: Path, lines: Sequence[str]) -> None:
    """Tell of marks that every line of a file begins with: each is drawn as a part of its prompt."""
    for mark, line in _MARKS.items():
        fence = mark.startswith("three")
        if (len(lines) > 1 and all(map(line.fullmatch, lines))) or (fence and lines and line.fullmatch(lines[0])):
            which = "the first line" if fence else "every line"
            came = f"{which} of {path} begins with {mark}: {lines[0]!r:.60}. It is drawn as a part of the prompt"
            warnings.warn(f"{came}; take the marks out if they are no part of it", NoisepromptWarning, stacklevel=3)
            return


def _misread(text: str) -> bool:
    """Whether its letters beyond ASCII would all be UTF-8 if they were written as Windows does."""
    try:
        return not text.isascii() and bool(b"".join(map(_byte, text)).decode("utf-8"))
    except UnicodeError:
        return False


def _byte(letter: str) -> bytes:
    """Of a letter in Windows' code of the West, in which five bytes are no letters."""
    return letter.encode("latin-1" if letter in "\x81\x8d\x8f\x90\x9d" else "cp1252")


_CODES: Mapping[str, tuple[Callable[[str], object], str]] = {
    "the codes of a terminal (U+001B)": (lambda text: "\x1b" in text, "take them out"),
    "letters of UTF-8 that were read in another code": (_misread, "write it again in UTF-8 from its source"),
    "signs as web pages write them": (re.compile(r"&(amp|lt|gt|quot|nbsp|#\d{1,6});|%20").search, "write them out"),
    "a tab": (lambda text: "\t" in text, "write a table with a header and commas, named .csv,"),
    "the mark of a comment at its beginning": (re.compile(r"(#|//|;)\s+\S|#!").match, "take the line out"),
}
"""What copying leaves in a text -> whether it does, and what to do."""


def warn_of_codes(path: Path, texts: Sequence[str]) -> None:
    """Tell of texts with what copying leaves in them, and of comments: they are kept."""
    for code, (holds, fix) in _CODES.items():
        coded = [number for number, text in enumerate(texts, 1) if holds(text)]
        if coded:
            came = f"prompt {coded[0]} of {path} holds {code}: {texts[coded[0] - 1]!r:.60}"
            also = f", and so do {len(coded) - 1} more" if len(coded) > 1 else ""
            told = f"{came}{also}. It is drawn as a part of the prompt; {fix} if it is none"
            warnings.warn(told, NoisepromptWarning, stacklevel=3)


_NUMBER = re.compile(r"[-+]?\d+([.,]\d+)?(e[-+]?\d+)?", re.IGNORECASE)


def warn_of_numbers(path: Path, texts: Sequence[str]) -> None:
    """Tell of texts that are all numbers: a file of seeds, or a column of labels, that was named by mistake."""
    if texts and all(map(_NUMBER.fullmatch, texts)):
        came = f"every prompt of {path} is a number: {texts[0]!r:.60}"
        told = f"{came}. It is taken for the text; name another file or column if it is none"
        warnings.warn(told, NoisepromptWarning, stacklevel=3)


_UNUSED = re.compile(r"negative([ _-]?prompt)?|.+[ _-]seeds?", re.IGNORECASE)
"""Columns that tools for drawing know, and this package does not."""


def warn_of_columns(path: Path, columns: Sequence[str], text: str) -> None:
    """Tell of columns that somebody may count on, and of a first line that may be a prompt.

    Args:
        columns: of the table.
        text: that of the prompts.
    """
    unused = [name for name in columns if _UNUSED.fullmatch(name.strip()) and name != text]
    if unused and not ("seed" in columns and all("seed" in name.lower() for name in unused)):
        came = f"{path} has the columns {', '.join(map(repr, unused))}, which are not read"
        warnings.warn(f"{came}: of a table text, seed, kind and category count", NoisepromptWarning, stacklevel=3)
    if len(columns) == 1 and path.suffix.lower() == ".csv" and text.lower() not in TITLES:
        came = f"{path} has one column, {text!r:.60}: its first line is taken for the header, and is not drawn"
        warnings.warn(f'{came}; write "prompt" above it if it is a prompt', NoisepromptWarning, stacklevel=3)


def is_json_lines(text: str) -> bool:
    """Whether the first of several lines is a list or an object of JSON."""
    first, _, rest = text.strip().partition("\n")
    return bool(rest) and _is_json(first)


def _is_json(text: str) -> bool:
    """Whether a text is a list or an object of JSON."""
    try:
        return isinstance(parse_json(text), list | dict)
    except ValueError:
        return False


def refuse_damaged(text: str, where: str) -> None:
    """Refuse a text in which letters are lost.

    Args:
        where: for the message, as in "entry 3 of prompts.csv".

    Raises:
        PromptError: it holds what stands for a letter that could not be read.
    """
    if "\ufffd" in text:
        came = f"{where} holds U+FFFD, which stands for a letter that was lost: {text.strip()!a:.60}"
        raise PromptError(came, "the text as it was", "write it again in UTF-8 from its source")


def refuse_no_text(text: str, where: str) -> None:
    """Refuse a cell of a table that says there is nothing, that a formula failed, or that a letter was lost.

    Args:
        where: for the message, as in "entry 3 of prompts.csv".

    Raises:
        PromptError: with the cell.
    """
    refuse_damaged(text, where)
    word = text.strip().lower()
    if word in _FAULTS or word in _NOTHING:
        what = "shows where a formula fails" if word in _FAULTS else "writes for an empty cell"
        raise PromptError(f"{where} is {text.strip()!r}, what a table {what}", "a text", "mend or delete that row")
