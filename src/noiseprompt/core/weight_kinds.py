"""What the first bytes of a file of weights tell: one that is of another kind than its name says is told as what it is,
where a library would call it damaged."""

from __future__ import annotations

from pathlib import Path

from noiseprompt.core.errors import ModelLoadError

TENSORS = "a .safetensors or torch checkpoint of tensors only"

_BYTES = 64
_ARCHIVE, _PICKLE = b"PK\3\4", b"\x80"
"""Torch's own formats begin so, of today and of before its release 1.6."""


def refuse_other_kind(path: Path, again: str) -> None:
    """Refuse a checkpoint under the suffix of another format, a text, an empty file, and one that begins with zeros, as
    a crash of the machine leaves it (torch takes it for an old archive).

    Args:
        again: what to do about a damaged file.

    Raises:
        ModelLoadError: with what it is.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        begin = file.read(_BYTES)
    if not begin:
        raise ModelLoadError(f"{path} is empty", TENSORS, again)
    header = begin[8:9] == b"{"  # after its length, which may begin with any byte
    if path.suffix == ".safetensors" and begin.startswith((_ARCHIVE, _PICKLE)) and not header:
        came, fix = f"{path} is no .safetensors file but begins as a torch checkpoint", "rename it: .bin, .pt or .pth"
        raise ModelLoadError(came, "the suffix of what it is", fix)
    if path.suffix != ".safetensors" and header and begin[4:8] == bytes(4):
        came = f"{path} is a .safetensors file under another suffix"
        raise ModelLoadError(came, "the suffix of what it is", "rename it: .safetensors")
    if not begin.strip(b"\0"):
        raise ModelLoadError(f"cannot read {path}: it is damaged (it begins with zeros)", TENSORS, again)
    if _is_text(begin):
        shown = begin.decode(errors="ignore").split("\n")[0].strip()[:30]
        raise ModelLoadError(f"{path} is a text ({shown!r} ...)", TENSORS, "name the file of weights")


def _is_text(begin: bytes) -> bool:
    """Whether bytes are letters and spaces; a character may be cut at their end."""
    try:
        letters = begin.decode()
    except UnicodeDecodeError as error:
        if error.start < _BYTES - 3:
            return False
        letters = begin[: error.start].decode()
    return all(letter.isprintable() or letter in "\t\r\n" for letter in letters.removeprefix("\ufeff"))
