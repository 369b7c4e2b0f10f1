"""Errors of the hub's client in words: what came, what was expected, what to do. Its classes differ between versions of
the client and of the library it speaks with, so they are known by name and status."""

from __future__ import annotations

import errno
import os
from collections.abc import Iterator
from typing import Any, Literal

from noiseprompt.core.errors import ModelLoadError
from noiseprompt.core.places import expanded

Kind = Literal["model", "dataset"]

KINDS: dict[str, str] = {"model": "model", "dataset": "data set"}
"""Kind of a repository -> what people call it."""

ELSEWHERE = "or fetch it elsewhere (`hf download OWNER/NAME --local-dir FOLDER`) and name the folder"

_AGAIN = "the same command goes on where it stopped"
_UNREACHABLE = ("ConnectError", "ConnectionError", "NetworkError", "ProxyError", "ProtocolError", "TransportError",
                "TimeoutException", "Timeout", "InvalidURL", "UnsupportedProtocol")  # fmt: skip


def explained(error: BaseException, name: str, kind: Kind = "model") -> tuple[str, str, str]:
    """An error of the hub's client in words: what came, what was expected, what to do."""
    failed = f"the hub's client failed on {name}: {_line(list(_chain(error))[-1])}"
    return of_the_hub(error, name, kind) or (failed, "", _AGAIN)


def of_the_hub(error: BaseException, name: str, kind: Kind = "model") -> tuple[str, str, str] | None:
    """As `explained`, of an error that may be of something else: then None."""
    chain = list(_chain(error))
    for explain in (_no_room, _no_certificates, _by_name, _no_cache, _by_status):
        for one in chain:
            if words := explain(one, name, KINDS[kind]):
                return words
    for one in chain:
        if _names(one) & {*_UNREACHABLE}:
            return unreachable(one)
    if any("LocalEntryNotFoundError" in _names(one) for one in chain):
        return f"{name} is not in the hub's cache ({_line(error)})", "it there, or the network", ELSEWHERE
    return None if _is_there(name, kind) else offline(name)


def refuse_of_the_hub(error: BaseException, name: str, source: str = "") -> None:
    """Tell of an error that the hub's client made, where a model is not on this disk.

    Args:
        name: of the repository.
        source: what was asked for, where it is more than the name.

    Raises:
        ModelLoadError: as `of_the_hub` has it.
    """
    if not expanded(source or name).exists() and (words := of_the_hub(error, name)):
        raise ModelLoadError(*words) from error


def is_offline() -> bool:
    """Whether the hub is not to be asked."""
    from huggingface_hub import constants

    return constants.HF_HUB_OFFLINE


def offline(name: str) -> tuple[str, str, str]:
    """As `explained`, of what was not fetched before the hub was not to be asked any more."""
    return f"{name} is not in the hub's cache, and offline mode is on", "", f"unset HF_HUB_OFFLINE, {ELSEWHERE}"


def _is_there(name: str, kind: Kind) -> bool:
    """Whether a repository may be read: online, or from the cache; a client that is offline fails in other words."""
    from huggingface_hub import constants
    from huggingface_hub.file_download import repo_folder_name

    if not constants.HF_HUB_OFFLINE or name.count("/") != 1 or os.path.exists(name):
        return True
    return os.path.isdir(os.path.join(constants.HF_HUB_CACHE, repo_folder_name(repo_id=name, repo_type=kind)))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    seen: set[int] = set()
    while error is not None and id(error) not in seen:
        seen.add(id(error))
        yield error
        error = error.__cause__ or error.__context__


def _names(error: BaseException) -> set[str]:
    return {cls.__name__ for cls in type(error).__mro__}


def page(name: str, kind: str) -> str:
    """Address of a repository on the hub."""
    from huggingface_hub import constants

    return f"{constants.ENDPOINT}/{'datasets/' if kind == KINDS['dataset'] else ''}{name}"


def _no_certificates(error: BaseException, name: str, kind: str) -> tuple[str, str, str] | None:
    if not isinstance(error, FileNotFoundError):
        return None
    for variable in ("SSL_CERT_FILE", "REQUESTS_CA_BUNDLE", "SSL_CERT_DIR"):
        if (place := os.environ.get(variable)) and not os.path.exists(place):
            return f"{variable} names {place}, which is not there", "a file of certificates", "mend or unset it"
    return None


def _no_cache(error: BaseException, name: str, kind: str) -> tuple[str, str, str] | None:
    from huggingface_hub import constants

    place = constants.HF_HUB_CACHE
    while not os.path.lexists(place) and os.path.dirname(place) != place:
        place = os.path.dirname(place)
    if os.path.isdir(place) and (os.path.isdir(constants.HF_HUB_CACHE) or os.access(place, os.W_OK | os.X_OK)):
        return None
    came = f"the hub's cache cannot be made at {constants.HF_HUB_CACHE}: {place} is no folder that may be written"
    return came, "a folder", "mend or unset HF_HOME and HF_HUB_CACHE"


def _no_room(error: BaseException, name: str, kind: str) -> tuple[str, str, str] | None:
    if isinstance(error, OSError) and error.errno in (errno.ENOSPC, errno.EDQUOT):
        return f"no room on the disk for {name}", "", f"make room, or set HF_HOME to another disk; {_AGAIN}"
    return None


def _by_name(error: BaseException, name: str, kind: str) -> tuple[str, str, str] | None:
    names, where = _names(error), page(name, kind)
    if isinstance(error, UnicodeEncodeError) or "header value" in str(error):
        return "the token holds a sign that no token has", "a token of the hub", "mend or unset HF_TOKEN"
    if "HFValidationError" in names:
        return f"{name!r} is no id of a repository on the hub", '"owner/name"', ""
    if "OfflineModeIsEnabled" in names:
        return offline(name)
    if "GatedRepoError" in names:
        return f"{name} wants its terms agreed to first", "", f"ask for access at {where}, then `hf auth login`"
    if "RepositoryNotFoundError" in names:
        came = f"the hub has no {kind} {name}, or it is private"
        return came, "one that you may read", "look at its name, or log in with `hf auth login`"
    if "RevisionNotFoundError" in names:
        return f"{name} has no such revision", "a branch, tag or commit of it", f"look at {where}"
    if "EntryNotFoundError" in names and "LocalEntryNotFoundError" not in names:
        file = str(getattr(getattr(error, "response", None), "url", "")).partition("?")[0].rpartition("/")[2]
        return f"{name} on the hub has no {file or 'such file'}", f"a {kind} that has it", f"look at {where}"
    if "DisabledRepoError" in names:
        return f"{name} is switched off by the hub", "", f"look at {where}"
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


def unreachable(error: BaseException) -> tuple[str, str, str]:
    """As `explained`, of an error of the network."""
    from huggingface_hub import constants

    return f"the hub {constants.ENDPOINT} cannot be reached ({_line(error)})", "", f"try again: {_AGAIN}; {ELSEWHERE}"


def _said(error: BaseException) -> str:
    """What the hub itself said, else the first line of the error."""
    return " ".join(str(getattr(error, "server_message", None) or "").split())[:200].rstrip(".") or _line(error)


def _line(error: BaseException) -> str:
    """The kind of an error and its first line."""
    lines = str(error).strip().splitlines()
    return f"{type(error).__name__}: {lines[0][:160]}".rstrip(".: ") if lines else type(error).__name__
