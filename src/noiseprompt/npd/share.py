"""Data sets on the hub and from it: push and pull, both of which go on where they were interrupted."""

from __future__ import annotations

from pathlib import Path

from noiseprompt.core import disk, hub
from noiseprompt.core.cards import CARD_FILE
from noiseprompt.core.errors import HubError, InputError, StoreError
from noiseprompt.core.files import make_folder, remove
from noiseprompt.npd.card import SHARDS, data_card
from noiseprompt.npd.info import NOISE
from noiseprompt.npd.reader import Npd
from noiseprompt.npd.verify import verify

_FILES = [SHARDS, NOISE]


def push(folder: Path, repo: str, *, license: str = "", card: str = "", private: bool | None = None) -> str:
    """Upload a data set, with a card for the repository; returns the address of the commit.

    Every shard is read and checked first. Shards that the repository has already are not sent again.

    Args:
        license: for the card.
        card: in place of the one that is made.

    Raises:
        StoreError: no data set there, one that is damaged, or one that was added to while it was sent.
        HubError: the hub refuses, or cannot be reached.
    """
    hub.check_id(repo)
    before = Npd(folder).checksum
    _refuse_damage(folder, str(folder))
    text = card or data_card(folder, repo, license)
    address = hub.upload(
        folder, repo, _FILES, {CARD_FILE: text}, kind="dataset", private=private, message="Upload noise pairs"
    )
    if Npd(folder).checksum != before:
        raise StoreError(f"{folder} was added to while it was sent", "a data set at rest", "push it again")
    return address


def pull(folder: Path, repo: str, *, revision: str | None = None) -> int:
    """Fetch a data set into a new folder, which appears when all of it is there and checked; returns its pairs.

    Until then it lies beside it, in `.NAME.pulling`, from where the same call goes on.

    Args:
        revision: branch, tag or commit.

    Raises:
        InputError: the folder exists.
        StoreError: no data set in the repository, one that is damaged, or the folder cannot be written.
        HubError: the hub has no such data set, or cannot be reached.
    """
    hub.check_id(repo)
    if folder.exists() and (not folder.is_dir() or any(folder.iterdir())):
        raise InputError(f"{folder} exists", "a new folder", "choose another name")
    there = hub.look_up(repo, "dataset", revision)
    if not any(Path(file).match(SHARDS) for file in there.files):
        raise HubError(f"{repo} holds no noise prompt data set", "shards named shard-000000.arrow and so on")
    part = folder.with_name(f".{folder.name}.pulling")
    make_folder(part)
    for path in part.glob(SHARDS):
        if path.name not in there.files:  # of another revision that was begun
            remove(path)
    hub.fetch_files(repo, [*_FILES, CARD_FILE], "dataset", there.commit, into=part)
    _refuse_damage(part, repo)
    pairs = len(Npd(part))
    try:
        disk.rename(part, folder)
    except OSError as error:
        raise StoreError(f"cannot make {folder}: {error.strerror}", "a folder that can be written") from error
    return pairs


def _refuse_damage(folder: Path, name: str) -> None:
    """Refuse a data set that is not whole.

    Raises:
        StoreError: with the first problems.
    """
    problems = verify(folder)
    if problems:
        more = f" and {len(problems) - 3} more" if len(problems) > 3 else ""
        came = f"{name} is not sound: {'; '.join(problems[:3])}{more}"
        raise StoreError(came, "a whole data set", f"look at it with `noiseprompt npd verify {folder}`")
