"""Places as users write them: folders on disk and addresses in object storage. Those that no run can use are told
before it tries; nothing is changed here."""

from __future__ import annotations

import errno
import os
import re
import stat
from pathlib import Path

from noiseprompt.core.errors import InputError, ModelLoadError, NoisepromptError, StoreError
from noiseprompt.core.fetched import AnyFile

_SCHEME = re.compile(r"([A-Za-z][A-Za-z0-9+.-]+):/")
"""Begins an address; one letter is a drive."""

_S3 = re.compile(r"s3://([A-Za-z0-9._-]{3,63})/([^/].*?)/*", re.DOTALL)
_FORM = "s3://BUCKET/FOLDER"

ON_OBJECTS = (
    "object storage (s3://) is for collect --out, evaluate --out, generate --out, report, train --npd and the folder "
    "of npd info, npd verify and npd export alone"
)
_VARIABLE = re.compile(r"(?<![^/])\$[A-Za-z_]\w*|\$\{[^}]*\}?|\$\([^)]*\)|^%[A-Za-z_]\w*%")
_DRIVE = re.compile(r"[A-Za-z]:[\\/]")
_WHOLE = "or its whole path, which begins with /, where that is its name"
_CONTROLS = re.compile(r"[\x00-\x1f\x7f]")

_PAGE = re.compile(r"(https?:/+)?(?:www\.)?(?:(?:huggingface|hf)\.co/(?:datasets/)?([\w.-]+/[\w.-]+)?)?")


class Address(str):
    """A folder in object storage, s3://BUCKET/FOLDER, as a text without a slash at its end.

    Attributes:
        bucket, folder: its two parts; the folder may be several in each other.

    Raises:
        InputError: another form, or a folder with "", "." or ".." in it.
    """

    bucket: str
    folder: str

    def __new__(cls, text: str) -> Address:
        found = _S3.fullmatch(text)
        if found is None or {"", ".", ".."} & {*found[2].split("/")}:
            raise InputError(
                f"the address {text}", f"{_FORM}, such as s3://my-bucket/runs/npd, a bucket of 3 to 63 letters"
            )
        made = super().__new__(cls, f"s3://{found[1]}/{found[2]}")
        made.bucket, made.folder = found[1], found[2]
        return made


def is_address(text: str | Path) -> bool:
    """Whether it looks like an address of something elsewhere, which no file system has."""
    return _SCHEME.match(str(text)) is not None


def place(folder: str | Path) -> Path | Address:
    """The folder on disk or in object storage that a text names.

    Raises:
        InputError: an address of another kind, or a wrong one.
    """
    if not is_address(folder):
        return Path(folder)
    text = str(folder)
    if text.startswith("s3://"):
        return folder if isinstance(folder, Address) else Address(text)
    hint = f"write ./{text} for a folder of that name here"
    if text.startswith("s3:/"):  # a path has one slash where an address has two
        raise InputError(f"the address {text}", f"{_FORM} with both slashes, as a text and no Path", hint)
    kind = text.partition(":")[0]
    raise InputError(f"the address {text}", f"{_FORM} or a folder on a file system: {kind}: is no store", hint)


def refuse_page(source: str | Path) -> None:
    """Refuse the address of a page in the web, as a browser shows it, where a path or a hub id is wanted.

    Raises:
        InputError: with the hub's id, where the page is of the hub.
    """
    found = _PAGE.match(str(source))
    if found and (found[1] or (found[2] and not os.path.lexists(source))):
        fix = f"write {found[2]}, where the hub's id is meant" if found[2] else "download it, and name the file"
        raise InputError(f"{source}, which is the address of a page", "a path on this machine, or OWNER/NAME", fix)


def check_local(path: str | Path) -> None:
    """Refuse an address where a path on a file system is wanted.

    Raises:
        InputError: it is one.
    """
    refuse_page(path)
    if is_address(path):
        fix = "name a folder on a disk, or copy it to one first"
        raise InputError(str(path), f"a path on a file system: {ON_OBJECTS}", fix)


def check_path(text: str, address: bool) -> None:
    """Refuse what is no path, as an option has it.

    Args:
        address: whether one will do as well.

    Raises:
        InputError: nothing, a wrong address, or any address where none will do.
    """
    if not text:
        raise InputError('""', "a path")  # it would be the folder one is in
    if address:
        place(text)
    else:
        check_local(text)


def check_folder(folder: str | Path) -> None:
    """Refuse a folder that cannot be made, or cannot be written where it is there.

    Raises:
        InputError: it is an address.
        StoreError: a file has its name or that of one above it, no rights, too long a name, links that lead nowhere, or
            a name that begins with "~", as where the shell did not put a home in its place.
    """
    refuse_home(folder)
    if reason := _obstacle(Path(folder)):
        raise StoreError(f"cannot write to {folder}: {reason}", "a folder that can be made and written")


def check_file(path: str | Path) -> None:
    """Refuse a file that cannot be made, or not be replaced where it is there, before the work that goes into it.

    Raises:
        InputError: it is an address.
        StoreError: as `check_folder` of the folder it is to lie in, or what has its name is no file.
    """
    refuse_home(path)
    place = Path(path)
    refuse_special(place)
    reason = f"{place} is a folder" if place.is_dir() else _obstacle(place.parent)
    if len(os.fsencode(place.name)) > LONGEST_NAME - _ROOM:
        reason = f"its name is longer than {LONGEST_NAME - _ROOM} bytes"
    if reason:
        raise StoreError(f"cannot write {path}: {reason}", "a file that can be written")


_ROOM = 13
"""Bytes that the name of a file has more while it is written."""

LONGEST_NAME, LONGEST_PATH = 255, 4096
"""Bytes that the systems we run on take for one name, and for all of a path."""


def current_folder() -> Path | None:
    """None where it was removed since this process began in it."""
    try:
        return Path.cwd()
    except OSError:
        return None


def as_told(error: OSError) -> StoreError | None:
    """The error of a path that nobody translated, such as too long a name or a loop of links; None without a path.

    A current folder that was removed has no path any more.
    """
    if isinstance(error, FileNotFoundError) and current_folder() is None:
        came = "the current folder was removed or replaced"
        return StoreError(came, "one that is there", "go to a folder that is there (cd) and run the same command again")
    if error.filename is None or error.strerror is None:
        return None
    return StoreError(
        f"cannot use {os.fsdecode(error.filename)}: {error.strerror}", "a path that can be read or written"
    )


def refuse_home(place: str | Path) -> None:
    """Refuse a place to write that cannot be meant as it is written.

    Raises:
        InputError: it is an address.
        StoreError: "~" or a variable begins it, for no shell put a place there (--out=~/x, a recipe's `out`); it is in
            quotes, on a drive of Windows where there are none, blank, holds the end of a line or the like, or is so
            long that no disk has it.
    """
    text = str(place)
    check_local(text)
    expanded(text)
    if not text.strip():
        raise StoreError(f"cannot write to {text!r}", "a name")
    if text.startswith("~"):
        came = f"cannot write to {text}: no shell put a home in the place of ~"
        raise StoreError(came, "a place written out", _WHOLE)
    if found := _VARIABLE.search(text):
        came = f"cannot write to {text}: nobody put a value in the place of {found[0]}"
        raise StoreError(came, "a place written out")
    if text[0] in "\"'" and len(text) > 1 and text[-1] == text[0]:
        came = f"cannot write to {text}: it is in quotes, as where a script or a file quotes twice"
        raise StoreError(came, "a place without them", _WHOLE)
    if os.name == "posix" and _DRIVE.match(text):
        came = f"cannot write to {text}: a place on a drive of Windows, which this system has not"
        raise StoreError(came, "a path with / alone", _WHOLE)
    if _CONTROLS.search(text):
        fix = "where it has backslashes, write it without quotes, or in single ones"
        raise StoreError(f"cannot write to {text!r:.200}", "a place in one line", fix)


def refuse_special(path: Path) -> None:
    """Refuse to put a file in the place of a device, a pipe or a socket.

    Raises:
        StoreError: with the path.
    """
    try:
        mode = os.lstat(path).st_mode
    except OSError:
        return
    if not (stat.S_ISREG(mode) or stat.S_ISLNK(mode) or stat.S_ISDIR(mode)):
        raise StoreError(f"cannot write {path}: it is a device or a pipe", "the name of a file")


def expanded(path: str | Path) -> Path:
    """The path with "~" and "~name" as the folders they stand for; of a name that nobody has, as it is written.

    Raises:
        InputError: an address, of a page in the web too.
        StoreError: no disk has so long a name.
    """
    (check_local if "://" in str(path) else refuse_page)(path)
    made = Path(os.path.expanduser(path))
    if len(os.fsencode(made)) > LONGEST_PATH or any(len(os.fsencode(part)) > LONGEST_NAME for part in made.parts):
        long = f" ... (a path of {len(str(made)):,} letters)" * (len(str(made)) > 2 * LONGEST_NAME)
        came = f"cannot use {str(made)[: 2 * LONGEST_NAME]}{long}: {os.strerror(errno.ENAMETOOLONG)}"
        raise StoreError(came, f"names of at most {LONGEST_NAME} bytes, {LONGEST_PATH:,} in all")
    return made


def no_file(path: Path, wanted: str = "file") -> str:
    """What is where a file (or a folder) is wanted, in words: "there is no file x.txt", or what has its name."""
    try:
        mode = os.stat(path).st_mode
    except (FileNotFoundError, NotADirectoryError):
        return f"{path} is a link that leads nowhere" if path.is_symlink() else f"there is no {wanted} {path}"
    except OSError as error:
        return f"cannot read {path}: {error.strerror or error}"
    kinds = {stat.S_IFDIR: "a folder", stat.S_IFIFO: "a named pipe", stat.S_IFREG: "a file"}
    return f"{path} is {kinds.get(stat.S_IFMT(mode), 'a device or a socket')} and no {wanted}"


def absent(place: object) -> str:
    """ ": there is no folder x" of a place on disk that is none; "" of one that is, and of an address."""
    return f": {no_file(place, 'folder')}" if isinstance(place, Path) and not place.is_dir() else ""


def refuse_closed(folder: Path, kind: type[NoisepromptError] = ModelLoadError) -> None:
    """Refuse a folder that is there and may not be looked into: to many it looks empty.

    Raises:
        ModelLoadError: with the folder; or a `kind`.
    """
    if os.path.isdir(folder) and not os.access(folder, os.R_OK | os.X_OK):
        came = f"cannot read {folder}: {os.strerror(errno.EACCES)}"
        raise kind(came, "a folder that may be read", "ask its owner for the right to read it")


def nearby(place: object, pattern: str) -> str:
    """ "did you mean a/b?" where one folder below, or the folder of a file, holds what was looked for; "" else.

    Args:
        place: that was given; an address has none.
        pattern: of a name in the folder that was meant.
    """
    if not isinstance(place, Path):
        return ""
    try:
        found = sorted({path.parent for path in place.glob(f"*/{pattern}")}) if place.is_dir() else []
        if place.is_file() and next(place.parent.glob(pattern), None) is not None:
            found = [place.parent]
    except OSError:
        return ""
    return f"did you mean {found[0]}?" if len(found) == 1 else ""


def remedy(problem: BaseException, fix: str) -> str:
    """What to do about a file that cannot be read: where the right to read it is missing, no other copy of it helps."""
    return "ask its owner for the right to read it" if isinstance(problem, PermissionError) else fix


def refuse_pipe(path: AnyFile) -> None:
    """Refuse a named pipe in a file's place: whoever opens it waits, maybe for ever, for somebody at its other end.

    What a shell hands over, as in --config <(command), is no named one.

    Raises:
        OSError: with the path, as for any file that cannot be opened.
    """
    if not isinstance(path, Path):
        return
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


LFS_NOTE = b"version https://git-lfs"
"""How the file begins that git leaves in place of a large one."""


def is_pointer(path: Path) -> bool:
    """Whether a note of Git LFS lies in a file's place."""
    with path.open("rb") as file:
        return file.read(len(LFS_NOTE)) == LFS_NOTE


def refuse_pointer(path: Path, what: str = "weights") -> None:
    """Refuse a note of Git LFS, or a page of the web, that lies where weights should, or `what` else.

    Raises:
        ModelLoadError: with the remedy.
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        start = file.read(len(LFS_NOTE)).lstrip()
    if start == LFS_NOTE:
        came = f"{path} holds no {what}, only the note of Git LFS where they are"
        raise ModelLoadError(came, f"the {what} themselves", "run `git lfs pull`, or download it again")
    if start.lower().startswith((b"<!doctype", b"<html", b"<?xml")):
        came = f"{path} holds no {what}, but a page of the web"
        raise ModelLoadError(came, f"the {what} themselves", "download it again; the page says what hinders it")
