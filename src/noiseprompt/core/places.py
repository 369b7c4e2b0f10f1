"""Places on disk that no run can use, told before it tries: nothing is changed here."""

from __future__ import annotations

import errno
import os
import stat
from pathlib import Path

from noiseprompt.core.errors import StoreError


def check_folder(folder: str | Path) -> None:
    """Refuse a folder that cannot be made, or cannot be written where it is there.

    Raises:
        StoreError: a file has its name or that of one above it, no rights, too long a name, or links that lead nowhere.
    """
    if reason := _obstacle(Path(folder)):
        raise StoreError(f"cannot write to {folder}: {reason}", "a folder that can be made and written")


def expanded(path: str | Path) -> Path:
    """The path with "~" and "~name" as the folders they stand for; of a name that nobody has, as it is written."""
    return Path(os.path.expanduser(path))


def refuse_pipe(path: Path) -> None:
    """Refuse a named pipe in a file's place: whoever opens it waits, maybe for ever, for somebody at its other end.

    What a shell hands over, as in --config <(command), is no named one.

    Raises:
        OSError: with the path, as for any file that cannot be opened.
    """
    try:
        named = stat.S_ISFIFO(os.lstat(path).st_mode)
    except OSError:
        return
    if named:
        raise OSError(errno.EINVAL, "it is a named pipe", str(path))


def _obstacle(place: Path) -> str:
    """What stands in the way, "" for nothing."""
    try:
        os.stat(place)
    except FileNotFoundError:
        if place.is_symlink():
            return f"{place} is a link that leads nowhere"
        return "" if place == place.parent else _obstacle(place.parent)
    except OSError as error:
        return error.strerror or str(error)
    if not place.is_dir():
        return f"{place} is no folder"
    return "" if os.access(place, os.W_OK | os.X_OK) else f"{place} may not be written"
