"""The hub of models and data sets: fetch, upload, and one message where it cannot be reached or refuses.

Its address is `HF_ENDPOINT` (https://huggingface.co unless set), its cache `HF_HOME`; `HF_HUB_OFFLINE=1` keeps to the
cache. Everything goes through the hub's own client, which continues what was interrupted.
"""

from __future__ import annotations

import glob
import re
from collections.abc import Iterator, Mapping, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any

from noiseprompt.core.errors import HubError
from noiseprompt.core.hub_errors import KINDS, Kind, explained, is_offline, offline, page, unreachable
from noiseprompt.core.places import refuse_page

_ID = re.compile(r"[\w.-]+/[\w.-]+")


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
        HubError, InputError: with what came.
    """
    refuse_page(text)
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
        if is_offline():
            raise HubError(*offline(f"{file} of {name}"))
        fix = f"look at {page(name, KINDS[kind])}/tree/main"
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


def at_hand(name: str, kind: Kind = "model", seconds: float = 5.0) -> bool:
    """Whether the cache holds something of a repository, or else the hub tells of it now.

    Args:
        seconds: to wait.
    """
    from huggingface_hub import HfApi, try_to_load_from_cache

    files = ("model_index.json", "config.json", "unet/config.json", "README.md")
    try:
        if any(isinstance(try_to_load_from_cache(name, file, repo_type=kind), str) for file in files):
            return True
        HfApi().repo_info(name, repo_type=kind, timeout=seconds)
    except Exception:  # the hub's client raises errors of several libraries
        return False
    return True


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
        return unreachable(error)[0]
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
