"""The hub of models and data sets: fetch, upload, and one message where it cannot be reached or refuses.

Its address is `HF_ENDPOINT` (https://huggingface.co unless set), its cache `HF_HOME`; `HF_HUB_OFFLINE=1` keeps to the
cache. Everything goes through the hub's own client, which continues what was interrupted.
"""

from __future__ import annotations

import errno
import glob
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Literal

from noiseprompt.core.errors import HubError

Kind = Literal["model", "dataset"]

KINDS: dict[str, str] = {"model": "model", "dataset": "data set"}
"""Kind of a repository -> what people call it."""

ELSEWHERE = "or fetch it elsewhere (`hf download OWNER/NAME --local-dir FOLDER`) and name the folder"

_ID = re.compile(r"[\w.-]+/[\w.-]+")
_AGAIN = "the same command goes on where it stopped"
_UNREACHABLE = ("ConnectError", "ConnectionError", "NetworkError", "ProxyError", "ProtocolError", "TransportError",
                "TimeoutException", "Timeout", "InvalidURL", "UnsupportedProtocol")  # fmt: skip
"""Names of errors of the libraries that speak with the hub, which differ between versions of its client."""


@dataclass(frozen=True)
class Repository:
    """What the hub tells about a repository.

    Fields:
        name: "owner/name".
        commit: of the revision asked for, 40 hexadecimal digits.
        license: as its card states it, such as "apache-2.0"; "" where it states none.
        files: names of all files.
    """

    name: str
    commit: str
    license: str
    files: tuple[str, ...]


def is_id(text: str) -> bool:
    """Whether a text may be the id of a repository: "owner/name"."""
    return bool(_ID.fullmatch(text))


def check_id(text: str) -> None:
    """Refuse what is no id of a repository.

    Raises:
        HubError: with what came.
    """
    if not is_id(text):
        raise HubError(f"{text!r} is no id of a repository on the hub", '"owner/name"')


def endpoint() -> str:
    """The hub's address."""
    from huggingface_hub import constants

    return constants.ENDPOINT


def look_up(name: str, kind: Kind = "model", revision: str | None = None) -> Repository:
    """What the hub tells about a repository.

    Raises:
        HubError: as `asking`.
    """
    from huggingface_hub import HfApi

    with asking(name, kind):
        found = HfApi().repo_info(name, repo_type=kind, revision=revision)
        card = getattr(found, "card_data", None)
        license = (getattr(card, "license", None) if card else None) or ""
        stated = ", ".join(map(str, license)) if isinstance(license, list) else str(license)
        files = tuple(str(one.rfilename) for one in getattr(found, "siblings", None) or ())
        return Repository(name, str(found.sha or ""), stated, files)


def fetch_file(name: str, file: str, kind: Kind = "model", revision: str | None = None) -> Path:
    """One file, in the hub's cache.

    Raises:
        HubError: as `asking`.
    """
    path = fetch_files(name, [glob.escape(file)], kind, revision) / file
    if not path.is_file():
        fix = f"look at {_page(name, KINDS[kind])}/tree/main"
        raise HubError(f"{name} has no file {file}", "one of its files", fix)
    return path


def fetch_files(
    name: str, wanted: Sequence[str], kind: Kind = "model", revision: str | None = None, into: Path | None = None
) -> Path:
    """The folder that holds the files of a repository, in the hub's cache unless it is named.

    Args:
        wanted: patterns of files, as "*.json"; those that are not there are not missed.
        into: a folder of one's own: what is complete in it already is not fetched again.

    Raises:
        HubError: as `asking`.
    """
    from huggingface_hub import snapshot_download

    with asking(name, kind):
        place: dict[str, Any] = {} if into is None else {"local_dir": into}
        return Path(snapshot_download(name, repo_type=kind, revision=revision, allow_patterns=list(wanted), **place))


def cached(name: str, kind: Kind = "model") -> Path:
    """The folder of a repository in the hub's cache, whatever of it is there; the hub is not asked.

    Raises:
        HubError: it was never fetched.
    """
    from huggingface_hub import snapshot_download

    with asking(name, kind):
        return Path(snapshot_download(name, repo_type=kind, local_files_only=True, allow_patterns=["model_index.json"]))


def upload(
    folder: Path,
    name: str,
    wanted: Sequence[str],
    texts: Mapping[str, str],
    *,
    kind: Kind = "model",
    private: bool | None = None,
    revision: str | None = None,
    message: str = "Upload with noiseprompt",
) -> str:
    """Make a repository hold the files of a folder, and texts beside them; it is created if needed.

    Files that are there already are not sent again, also those of an upload that was interrupted.

    Args:
        wanted: patterns of the files; those of the repository that match and are not in the folder go.
        texts: name of a file -> its content, written last.
        private: whether a new repository is.

    Returns:
        the address of the commit.

    Raises:
        HubError: as `asking`.
    """
    from huggingface_hub import CommitOperationAdd, HfApi

    api, patterns = HfApi(), list(wanted)
    with asking(name, kind):
        api.create_repo(name, repo_type=kind, private=private, exist_ok=True)
        api.upload_folder(
            repo_id=name, repo_type=kind, folder_path=folder, allow_patterns=patterns, delete_patterns=patterns,
            revision=revision, commit_message=message,
        )  # fmt: skip
        added = [CommitOperationAdd(file, text.encode()) for file, text in texts.items()]
        commit = api.create_commit(name, added, repo_type=kind, revision=revision, commit_message=message)
        return str(commit.commit_url)


def reach(seconds: float = 3.0) -> str:
    """ "" where the hub answers, or why it does not.

    Args:
        seconds: to wait.
    """
    from huggingface_hub import constants
    from huggingface_hub.utils import get_session

    if constants.HF_HUB_OFFLINE:
        return "offline mode is on (HF_HUB_OFFLINE)"
    try:
        get_session().head(constants.ENDPOINT, timeout=seconds)
    except Exception as error:  # the hub's client raises errors of several libraries
        return _unreachable(error)[0]
    return ""


def logged_in() -> bool:
    """Whether a token of the hub is on this machine; it is not looked at."""
    from huggingface_hub import get_token

    return bool(get_token())


# ------------------------------------------------------------------------------------------------------------- errors


@contextmanager
def asking(name: str, kind: Kind = "model") -> Iterator[None]:
    """A block that asks the hub for something of a repository.

    Raises:
        HubError: no such id, repository, revision or file; nobody logged in, no rights, or terms to agree to first; the
            hub cannot be reached, is offline or out of order; or no room on the disk.
    """
    check_id(name)
    try:
        yield
    except HubError:
        raise
    except Exception as error:  # the hub's client raises errors of several libraries
        raise HubError(*explained(error, name, kind)) from error


def explained(error: BaseException, name: str, kind: Kind = "model") -> tuple[str, str, str]:
    """An error of the hub's client in words: what came, what was expected, what to do."""
    chain = list(_chain(error))
    for explain in (_no_room, _by_name, _by_status):
        for one in chain:
            if words := explain(one, name, KINDS[kind]):
                return words
    for one in chain:
        if _names(one) & {*_UNREACHABLE}:
            return _unreachable(one)
    if "LocalEntryNotFoundError" in _names(error):
        return f"{name} is not in the hub's cache ({_line(error)})", "it there, or the network", ELSEWHERE
    return f"the hub's client failed on {name}: {_line(chain[-1])}", "", _AGAIN


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _names(error: BaseException) -> set[str]:
    return {cls.__name__ for cls in type(error).__mro__}


def _page(name: str, kind: str) -> str:
    """Address of a repository."""
    return f"{endpoint()}/{'datasets/' if kind == KINDS['dataset'] else ''}{name}"


def _no_room(error: BaseException, name: str, kind: str) -> tuple[str, str, str] | None:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"no room on the disk for {name}", "", f"make room, or set HF_HOME to another disk; {_AGAIN}"
    return None


def _by_name(error: BaseException, name: str, kind: str) -> tuple[str, str, str] | None:
    names, page = _names(error), _page(name, kind)
    if "HFValidationError" in names:
        return f"{name!r} is no id of a repository on the hub", '"owner/name"', ""
    if "OfflineModeIsEnabled" in names:
        return f"{name} is not in the hub's cache, and offline mode is on", "", f"unset HF_HUB_OFFLINE, {ELSEWHERE}"
    if "GatedRepoError" in names:
        return f"{name} wants its terms agreed to first", "", f"ask for access at {page}, then `hf auth login`"
    if "RepositoryNotFoundError" in names:
        came = f"the hub has no {kind} {name}, or it is private"
        return came, "one that you may read", "look at its name, or log in with `hf auth login`"
    if "RevisionNotFoundError" in names:
        return f"{name} has no such revision", "a branch, tag or commit of it", f"look at {page}"
    if "DisabledRepoError" in names:
        return f"{name} is switched off by the hub", "", f"look at {page}"
    if "LocalTokenNotFoundError" in names:
        return "nobody is logged in to the hub", "a token", "log in with `hf auth login`"
    return None


def _by_status(error: BaseException, name: str, kind: str) -> tuple[str, str, str] | None:
    response: Any = getattr(error, "response", None)
    status = getattr(response, "status_code", 0) or 0
    if status == 401:
        return "the hub takes no such token", "a token of yours that is valid", "log in again with `hf auth login`"
    if status == 403:
        came = f"your token may not do that with {name} ({_said(error)})"
        return came, f"a token that may write to {name}", "make one in the hub's settings and `hf auth login`"
    if status == 404:
        return f"the hub has no {kind} {name}, or it is private", "", "look at its name, or log in with `hf auth login`"
    if status == 429:
        return "the hub asks to come back later: too many requests", "", f"wait some minutes; {_AGAIN}"
    if status >= 500:
        return f"the hub is out of order ({status})", "", f"try later; {_AGAIN}"
    if status >= 400:
        return f"the hub refuses ({_said(error)})", "", ""
    return None


def _unreachable(error: BaseException) -> tuple[str, str, str]:
    return f"the hub {endpoint()} cannot be reached ({_line(error)})", "", f"try again: {_AGAIN}; {ELSEWHERE}"


def _said(error: BaseException) -> str:
    """What the hub itself said, else the first line of the error."""
    return " ".join(str(getattr(error, "server_message", None) or "").split())[:200].rstrip(".") or _line(error)


def _line(error: BaseException) -> str:
    """The kind of an error and its first line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:160]}".rstrip(".: ") if lines else type(error).__name__
