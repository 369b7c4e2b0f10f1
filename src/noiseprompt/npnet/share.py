"""Networks on the hub and from it: what `from_pretrained`, `import` and `push` do there."""

from __future__ import annotations

import math
import os
from collections.abc import Mapping
from dataclasses import dataclass
from pathlib import Path

from noiseprompt.core import hub
from noiseprompt.core.cards import CARD_FILE
from noiseprompt.core.digests import file_sha256
from noiseprompt.core.errors import HubError, InputError, ModelLoadError
from noiseprompt.core.places import expanded, is_address, no_file, refuse_closed, refuse_page
from noiseprompt.core.weights import read_header
from noiseprompt.npnet import disk
from noiseprompt.npnet.card import Facts, model_card, read_facts

SUFFIXES = (".safetensors", ".pth", ".pt", ".ckpt", ".bin")
"""Of published checkpoints."""


@dataclass(frozen=True)
class Found:
    """A network that was found.

    Fields:
        path: of the folder of a saved network, or of the file of a published checkpoint.
        repository: what the hub tells of the repository; None of a path on this machine.
        file: its name in the repository; "" for a saved network.
    """

    path: Path
    repository: hub.Repository | None = None
    file: str = ""


def split_source(source: str) -> tuple[str, str]:
    """ "owner/name:weights/a.pth" -> ("owner/name", "weights/a.pth"); the file is "" where none is named."""
    name, _, file = source.partition(":")
    return name, file


def refuse_address(source: str | Path) -> None:
    """Refuse an address in place of a hub id.

    Raises:
        InputError: of a page in the web, as a browser shows it.
        ModelLoadError: another.
    """
    refuse_page(source)
    if is_address(source):
        raise ModelLoadError(f"{source} is an address", "a folder, a file, or a hub id (OWNER/NAME, OWNER/NAME:FILE)")


def find(source: str | Path, revision: str | None = None) -> Path:
    """The folder of a saved network, or the file of a published checkpoint: on this machine, or from the hub.

    Args:
        source: a path, else a hub id, "owner/name" or "owner/name:FILE".

    Raises:
        ModelLoadError: nothing there, or the hub has it not or cannot be reached.
        InputError: a revision of what lies on this machine, which has none.
    """
    refuse_address(source)
    path = expanded(source)
    if os.path.lexists(path):
        if not path.exists():
            raise ModelLoadError(no_file(path), disk.LAYOUT, "restore what the link leads to, or name that folder")
        if revision is not None:
            raise InputError(f"revision {revision!r} of {path}", "a hub id where a revision is named")
        return path
    refuse_closed(path.parent)
    name, file = split_source(str(source))
    try:
        if file:
            return hub.fetch_file(name, file, revision=revision)
        folder = hub.fetch_files(name, [disk.CONFIG_FILE, disk.WEIGHTS_FILE], revision=revision)
        if (folder / disk.CONFIG_FILE).is_file() and (folder / disk.WEIGHTS_FILE).is_file():
            return folder
        there = hub.look_up(name, revision=revision)
        return hub.fetch_file(name, _checkpoint(there), revision=there.commit)
    except HubError as error:
        came = f"there is no folder {str(source)!r}, and {error.came}"
        fix = f"{error.fix}; or " if error.fix else ""
        raise ModelLoadError(came, error.expected or disk.LAYOUT, f"{fix}{disk.FIX}") from error


def look_up(source: str, revision: str | None = None) -> Found:
    """As `find`, of a hub id, with what the hub tells of its repository.

    Raises:
        HubError: the hub has it not or cannot be reached.
        ModelLoadError: the repository has no network, or several.
    """
    name, file = split_source(source)
    there = hub.look_up(name, revision=revision)
    if not file and {disk.CONFIG_FILE, disk.WEIGHTS_FILE} <= set(there.files):
        wanted = [disk.CONFIG_FILE, disk.WEIGHTS_FILE, CARD_FILE]
        return Found(hub.fetch_files(name, wanted, revision=there.commit), there)
    file = file or _checkpoint(there)
    return Found(hub.fetch_file(name, file, revision=there.commit), there, file)


def _checkpoint(there: hub.Repository) -> str:
    """The only file of weights in a repository.

    Raises:
        ModelLoadError: there are none, or several.
    """
    found = sorted(file for file in there.files if file.endswith(SUFFIXES))
    if len(found) == 1:
        return found[0]
    if not found:
        raise ModelLoadError(f"{there.name} holds no network", f"{disk.LAYOUT}, or a published checkpoint", disk.FIX)
    listed = ", ".join(found[:8]) + (", ..." if len(found) > 8 else "")
    fix = f"name the file: {there.name}:{found[0]}"
    raise ModelLoadError(f"{there.name} holds {len(found)} checkpoints ({listed})", "one of them", fix)


def facts_of(found: Found) -> Facts:
    """What the card of a converted checkpoint tells of its origin."""
    sha256 = file_sha256(found.path)
    there = found.repository
    source = found.path.name if there is None else f"{there.name}, {found.file}, commit {there.commit}"
    return Facts(license=there.license if there else "", source=source, sha256=sha256)


def push(
    folder: Path,
    repo: str,
    facts: Facts | None = None,
    *,
    card: str = "",
    private: bool | None = None,
    revision: str | None = None,
    message: str = "Upload NPNet",
) -> str:
    """Upload the folder of a saved network, with a card for the repository; returns the address of the commit.

    Args:
        facts: for the card; those that the folder's own card tells unless given.
        card: in place of the one that is made.

    Raises:
        ModelLoadError: no saved network there.
        HubError: the hub refuses, or cannot be reached.
    """
    hub.check_id(repo)
    settings = disk.read_settings(folder)
    header = read_header(folder / disk.WEIGHTS_FILE)
    parameters = sum(math.prod(shape) for _, shape in header.values())
    text = card or model_card(settings, parameters, repo, read_facts(folder) if facts is None else facts)
    texts: Mapping[str, str] = {CARD_FILE: text}
    wanted = [disk.CONFIG_FILE, disk.WEIGHTS_FILE]
    return hub.upload(folder, repo, wanted, texts, private=private, revision=revision, message=message)
