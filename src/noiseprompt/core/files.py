"""What every stage asks of the disk: a file replaced at once, a folder with one writer and its settings, names."""

from __future__ import annotations

import contextlib
import errno
import io
import json
import os
import re
import secrets
from collections.abc import Iterable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from pathlib import Path
from typing import Any, BinaryIO

from noiseprompt.core import disk
from noiseprompt.core.config import fingerprint, to_dict
from noiseprompt.core.errors import ConfigError, StoreError, StoreLockedError
from noiseprompt.core.json_files import read_json
from noiseprompt.core.leases import Leases
from noiseprompt.core.leasing import AnyLease
from noiseprompt.core.parts import as_recorded
from noiseprompt.core.places import check_folder, expanded, refuse_home, refuse_special

_LEFT = re.compile(r".+\.[0-9a-f]{8}\.tmp")  # files that `replacing` was killed over

_NEW = "choose a new folder"

_FOLDER = "folder"  # the unit of a lease on a whole folder

_BUFFER = 1 << 16  # bytes that are written at once, where they come in small pieces


# ---------------------------------------------------------------------------------------------------------- one file


@contextmanager
def replacing(path: Path) -> Iterator[BinaryIO]:
    """A new file that takes the place of `path` when the block ends: after a crash there is the old one or the new one.

    It is made beside `path` under a name of its own (never through a link), is on disk before it is renamed, and goes
    when the block fails. Several may write to one path: the last to end wins.

    Raises:
        StoreError: the disk is full or does not take the file, what is there is no file but a device or a pipe, or the
            name cannot be meant so (`places.refuse_home`); what was there before is untouched.
    """
    refuse_home(path)
    refuse_special(path)
    temporary = path.with_name(f"{path.name}.{secrets.token_hex(4)}.tmp")
    try:
        new = disk.create(temporary)
    except OSError as error:
        raise _cannot_write(temporary if isinstance(error, FileExistsError) else path, error) from error
    try:
        with io.BufferedWriter(new, _BUFFER) as file:
            yield file
            file.flush()
            disk.sync(file.fileno())
        disk.rename(temporary, path)
        _sync_folder(path.parent)
    except BaseException as error:
        with contextlib.suppress(OSError):
            disk.remove(temporary)
        # torch.save says RuntimeError where its file says that the disk is full
        reason = error.__context__ if isinstance(error, RuntimeError) else error
        if isinstance(reason, OSError):
            raise _cannot_write(path, reason) from error
        raise


def replace(path: Path, text: str | Iterable[str]) -> None:
    """As `replacing`, of a text or of one in parts.

    Raises:
        StoreError: as `replacing`.
    """
    with replacing(path) as file:
        file.writelines(part.encode() for part in ([text] if isinstance(text, str) else text))


def append(path: Path, text: str | bytes) -> None:
    """Add whole lines in one write; they are on disk when this returns.

    Raises:
        StoreError: the disk is full or does not take them; no part of a line is left.
    """
    try:
        with disk.extend(path) as file:
            before, lines = file.tell(), text.encode() if isinstance(text, str) else text
            try:
                while lines:  # once, but where the disk has room for a part alone
                    lines = lines[file.write(lines) :]
                disk.sync(file.fileno())
            except OSError:
                disk.cut(path, before)
                raise
    except OSError as error:
        raise _cannot_write(path, error) from error


def cut(path: Path, length: int) -> None:
    """End a file that is longer after so many bytes.

    Raises:
        StoreError: it cannot be changed.
    """
    try:
        if path.stat().st_size > length:
            disk.cut(path, length)
    except OSError as error:
        raise _cannot_write(path, error) from error


def rename(old: Path, new: Path) -> None:
    """Give a file that is whole and on disk its name, at once.

    Raises:
        StoreError: it cannot be renamed.
    """
    try:
        disk.rename(old, new)
        _sync_folder(new.parent)
    except OSError as error:
        raise _cannot_write(new, error) from error


def make_folder(folder: Path) -> None:
    """The folder and those above it, where they are missing.

    Raises:
        InputError: it is an address.
        StoreError: it cannot be made, or not be meant so (`places.refuse_home`).
    """
    refuse_home(folder)
    try:
        disk.make(folder)
    except OSError as error:
        check_folder(folder)  # tells what is in the way
        raise StoreError(f"cannot write to {folder}: {error.strerror}", "a folder that can be written") from error


def remove(path: Path) -> None:
    """A file, where there is one.

    Raises:
        StoreError: it cannot be removed.
    """
    try:
        if path.exists() or path.is_symlink():
            disk.remove(path)
    except OSError as error:
        raise StoreError(f"cannot remove {path}: {error.strerror or error}", "a folder that can be written") from error


@contextmanager
def left_to_a_library(folder: Path) -> Iterator[None]:
    """A block in which a library writes a folder by itself, a file after the other: only what can be made again.

    Raises:
        StoreError: the disk is full or does not take it.
    """
    from safetensors import SafetensorError

    try:
        disk.leave(folder)
        yield
    except (OSError, SafetensorError) as error:
        raise _cannot_write(folder, error) from error


def public_name(source: str) -> str:
    """A hub id as it is, a path's last part: no folders of a machine in records."""
    path = expanded(source)
    is_path = path.is_absolute() or source.startswith((".", "~")) or path.exists()
    return Path(os.path.abspath(path)).name if is_path else source


def _cannot_write(path: Path, error: Exception) -> StoreError:
    number, reason = getattr(error, "errno", None), getattr(error, "strerror", None) or error
    fix = "nothing committed is lost: make room and run the same command again"
    if number not in (errno.ENOSPC, errno.EDQUOT, errno.EFBIG):
        fix = "what was there before is untouched"
    return StoreError(f"cannot write {path}: {reason}", "a writable place with room", fix)


def _sync_folder(folder: Path) -> None:
    """Make a rename in a folder durable, where the system knows how to."""
    try:
        handle = os.open(folder, os.O_RDONLY)
    except PermissionError:  # Windows opens no folder
        return
    try:
        disk.sync(handle)
    except OSError as error:
        if error.errno not in (errno.EINVAL, errno.ENOTSUP):  # what disks over a network answer
            raise
    finally:
        os.close(handle)


# ---------------------------------------------------------------------------------------------------------- a folder


class Lock:
    """One writer a folder: a lease on it (`core/leases.py`), which what a killed writer held does not outlive.

    A context manager; `take` and `free` do the same by hand. Whoever takes it clears what a killed writer left.

    Args:
        folder: made if missing.

    Raises:
        StoreLockedError: another process, or another run in this one, holds it.
        StoreError: the folder cannot be written.
    """

    def __init__(self, folder: Path) -> None:
        self.folder = folder
        self._lease: AnyLease | None = None

    def take(self) -> None:
        leases = Leases(self.folder)
        self._lease = leases.insist(_FOLDER)
        if self._lease is None:
            who = leases.holders().get(_FOLDER, "one that ended just now")
            fix = "wait for it to end or choose another folder"
            raise StoreLockedError(f"another process writes to {self.folder} ({who})", "one writer a folder", fix)
        leases.sweep()
        clear_left(self.folder)

    def free(self) -> None:
        if self._lease is not None:
            self._lease.free()
            self._lease = None

    def __enter__(self) -> None:
        self.take()

    def __exit__(self, *_: object) -> None:
        self.free()


def clear_left(folder: Path, of: str | tuple[str, ...] = "") -> None:
    """Remove the unfinished files that killed writers left, where nobody else writes them.

    Args:
        of: the file they were to become, or several; every file unless given.
    """
    for name in filter(_LEFT.fullmatch, os.listdir(folder)):
        if name.startswith(of):
            with contextlib.suppress(OSError):
                disk.remove(folder / name)


@contextmanager
def withdrawn(written: Sequence[Path], begun: Sequence[Path]) -> Iterator[None]:
    """While it lasts, a failure takes back what was written for a run that made nothing yet: a command that is refused
    late leaves no settings that would refuse the corrected one.

    Args:
        written: files that go again, unless they were there before.
        begun: files of which one shows that the run made something; then all stay.
    """
    new = [path for path in written if not path.exists()]
    try:
        yield
    except Exception:
        if not any(path.exists() for path in begun):
            for path in new:
                with contextlib.suppress(StoreError):  # the failure is told
                    remove(path)
        raise


@contextmanager
def claim(path: Path, settings: Any, begun: Sequence[str] = ()) -> Iterator[None]:
    """Hold the folder of `path`, made if missing, for one run; it records its settings or was made with the same ones.

    Args:
        path: the file of the settings, JSON.
        settings: a dataclass or a mapping, as plain data.
        begun: names of files of which one shows that the run made something; a run that fails before that leaves no
            settings. They stay whatever happens if there are no such names.

    Raises:
        ConfigError: the folder was made with other settings, their file is damaged or of something else, or there is
            none and one of `begun`.
        StoreLockedError: another process holds the folder.
    """
    here = to_dict(settings)
    made = [path.parent / name for name in begun]
    with Lock(path.parent), withdrawn([path] if begun else [], made):
        if path.exists():
            there = read_json(path, fix=_NEW)
            if not here.keys() & there.keys():
                raise ConfigError(f"{path} is of something else", "a new folder, or one of such a run", _NEW)
            here = as_recorded(here, there)
            refuse_changes(path.parent, differences(there, here), there, here)
        else:
            strange = [file.relative_to(path.parent) for file in made if os.path.lexists(file)]
            if strange:
                came = f"{path.parent} holds {strange[0]} without {path.name}"
                raise ConfigError(came, "a new folder, or one of such a run", _NEW)
            replace(path, json.dumps(here, indent=2))
        yield


def differences(
    there: Mapping[str, Any],
    here: Mapping[str, Any],
    keys: Iterable[str] | None = None,
    told: Mapping[str, str] | None = None,
) -> list[str]:
    """ "key: 1 there, 2 here" for every key whose values differ; one that is missing is None.

    Of mappings inside each other that what differs is told: "parts vae: 'ab12' there, 'cd34' here".

    Args:
        keys: those that are compared; all unless given.
        told: key -> what a reader is told in its place.
    """
    found: list[str] = []
    for key in sorted(there.keys() | here.keys()) if keys is None else keys:
        name, one, other = (told or {}).get(key, key), there.get(key), here.get(key)
        if isinstance(one, Mapping) and isinstance(other, Mapping):
            found += [f"{name} {inner}" for inner in differences(one, other)]
        elif one != other:
            found.append(f"{name}: {one!r} there, {other!r} here")
    return found


def refuse_changes(where: object, changes: Sequence[str], there: Mapping[str, Any], here: Mapping[str, Any]) -> None:
    """Refuse what was made with other settings.

    Args:
        where: they lie, for messages.
        changes: what `differences` found, of settings and of what belongs to them.
        there, here: the settings, for their fingerprints.

    Raises:
        ConfigError: there are changes.
    """
    if changes:
        one, other = fingerprint(there), fingerprint(here)
        prints = f" (fingerprint {one} there, {other} here)" if one != other else ""
        what = "settings" if prints else "parts"
        came = f"{where} was made with other {what}{prints}: {'; '.join(changes)}"
        raise ConfigError(came, f"the same {what}", "use them again or choose a new folder")
