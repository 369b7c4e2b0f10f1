"""Copies of files in object storage on this machine, for readers that come back to them: each is fetched once.

They lie in NOISEPROMPT_CACHE, else in `noiseprompt` of XDG_CACHE_HOME or ~/.cache, take as much room as the data set,
and may be deleted whenever nobody reads. A file that was written anew in the store is fetched anew, and takes the place
of its former copy.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
from collections.abc import Callable
from pathlib import Path

from noiseprompt.core.errors import StoreError
from noiseprompt.core.files import clear_left, make_folder, remove, replacing
from noiseprompt.core.leases import Leases
from noiseprompt.core.places import expanded
from noiseprompt.core.store import Stamp

VARIABLE = "NOISEPROMPT_CACHE"


def root() -> Path:
    """The folder of all copies."""
    if own := os.environ.get(VARIABLE):
        return expanded(own)
    return expanded(os.environ.get("XDG_CACHE_HOME") or "~/.cache") / "noiseprompt"


def kept(where: str, name: str, stamp: Stamp | None, fetch: Callable[[str], tuple[bytes, Stamp]]) -> Path:
    """The copy of a file, fetched unless it is there; of several processes that want it one fetches it.

    Args:
        where: the store and its folder.
        name: of the file.
        stamp: of the file as it is now.
        fetch: gives a file and its stamp.

    Raises:
        StoreError: it cannot be fetched, or the disk is full.
    """
    folder = root() / "s3" / hashlib.sha256(where.encode()).hexdigest()[:16]
    path = _path(folder, name, stamp)
    if path.exists():
        return path
    make_folder(folder)
    with Leases(folder).wait(name):
        if path.exists():
            return path
        clear_left(folder, path.name)
        data, stamp = fetch(name)
        path = _path(folder, name, stamp)
        with replacing(path) as file:
            file.write(data)
    for former in folder.glob(f"*-{name}"):
        if former != path:
            with contextlib.suppress(StoreError):  # read by another, where a file in use stays
                remove(former)
    return path


def _path(folder: Path, name: str, stamp: Stamp | None) -> Path:
    return folder / f"{hashlib.sha256(repr(stamp).encode()).hexdigest()[:12]}-{name}"
