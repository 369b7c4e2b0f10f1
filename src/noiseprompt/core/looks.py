"""Files that are of another kind than was meant, by their looks."""

from __future__ import annotations

import re

_OTHER_KINDS = {
    b"pk\x03\x04": ("a ZIP file, as spreadsheets are", "export it as text"),
    b"\x1f\x8b": ("packed by gzip", "unpack it"),
    b"par1": ("a parquet file", "let its name end in .parquet"),
    b"version https://git-lfs.": ("the pointer that Git LFS leaves for a file", "run `git lfs pull`"),
    b"<!doctype html": ("a web page", "download the file itself"),
    b"<html": ("a web page", "download the file itself"),
    b"<?xml": ("an XML file", "export it as text"),
    b"{\\rtf": ("a rich text file", "save it as plain text"),
    b"%pdf-": ("a PDF file", "export it as text"),
    b"sqlite format 3": ("a database", "export it as text"),
    b"\xd0\xcf\x11\xe0": ("an old spreadsheet or document of Office", "export it as text"),
    b"\x89png": ("a picture (PNG)", "name a file of text"),
    b"\xff\xd8\xff": ("a picture (JPEG)", "name a file of text"),
    b"arrow1\0": ("an Arrow file", "write it as .parquet"),
}
"""How files of other kinds begin, in lower case -> what they are, and what to do."""

_CONFLICT = re.compile(r"^<{7} .*^={7}$.*^>{7} ", re.MULTILINE | re.DOTALL)


def other_kind(start: bytes) -> tuple[str, str]:
    """Of what other kind than a text of settings or prompts a file is, and what to do; two "" for none that is known.

    Args:
        start: its first bytes.
    """
    start = start.removeprefix(b"\xef\xbb\xbf").lstrip().lower()
    return next((told for begins, told in _OTHER_KINDS.items() if start.startswith(begins)), ("", ""))


def has_conflict(text: str) -> bool:
    """Whether a text holds the marks of two sides that Git could not merge."""
    return _CONFLICT.search(text.replace("\r\n", "\n")) is not None
