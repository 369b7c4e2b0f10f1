"""`noiseprompt npd`: what can be asked of a data set on disk."""

from __future__ import annotations

import json
import shlex
from pathlib import Path

from noiseprompt.cli.networks import own_card, refuse_beside
from noiseprompt.cli.progress import say_next
from noiseprompt.core.errors import InputError
from noiseprompt.core.places import check_folder, check_local
from noiseprompt.core.texts import visible


def npd_info(folder: Path) -> None:
    """Counts, scores and the share each filter would remove.

    Args:
        folder: of a noise prompt data set.
    """
    from noiseprompt.npd.info import info

    print(json.dumps(info(str(folder)), indent=2, ensure_ascii=False))


def npd_verify(folder: Path) -> int:
    """Read every pair and check digests, shapes and ids; exit status 1 where something is wrong.

    Args:
        folder: of a noise prompt data set.
    """
    from noiseprompt.npd.state import state
    from noiseprompt.npd.verify import verify

    problems, now = verify(str(folder)), state(str(folder))
    if now.leased or now.missing:
        print(now)
    print("\n".join(map(visible, problems)) if problems else "all pairs are sound")
    return 1 if problems else 0


def npd_export(folder: Path, file: Path) -> None:
    """Write a data set as one parquet file.

    Args:
        folder: of a noise prompt data set.
        file: the parquet file.
    """
    from noiseprompt.npd.export import export

    if Path(file).exists():
        raise InputError(f"{file} exists", "a new file", "choose another name")
    if Path(file).suffix.lower() != ".parquet":
        raise InputError(f"the file {file}", "a name that ends in .parquet, which is what is written")
    export(str(folder), str(file))
    print(visible(f"written to {file}"))


def npd_push(folder: Path, repo: str, license: str = "", card: Path | None = None, private: bool | None = None) -> None:
    """Upload a data set to the hub, every shard checked first; the same command continues an upload that stopped.

    Args:
        folder: of a noise prompt data set.
        repo: OWNER/NAME; made if needed.
        license: as the hub writes it, e.g. cc-by-4.0; what the folder's own README.md states unless given.
        card: a README.md of your own in place of the one that is made.
        private: whether a new repository is.
    """
    from noiseprompt.core import hub
    from noiseprompt.npd.share import push

    check_local(folder)
    refuse_beside(card, license=license)
    address = push(Path(folder), repo, license=license, card=own_card(card), private=private)
    print(f"noise prompt data set in {hub.endpoint()}/datasets/{repo}\n{address}")
    say_next(f"noiseprompt npd pull FOLDER {repo}, on any machine")


def npd_pull(folder: Path, repo: str, revision: str | None = None) -> None:
    """Fetch a data set from the hub and check every shard; the same command continues a download that stopped.

    Args:
        folder: to make; it appears when all of it is there.
        repo: OWNER/NAME.
        revision: branch, tag or commit.
    """
    from noiseprompt.core import hub
    from noiseprompt.npd.share import pull

    check_folder(folder)
    if not hub.is_id(repo) and hub.is_id(str(folder)):
        raise InputError(f"npd pull {folder} {repo}", "the folder first, then the repository", "turn them around")
    pairs = pull(Path(folder), repo, revision=revision)
    print(visible(f"{pairs:,} pairs in {folder}"))
    quoted = shlex.quote(str(folder))
    say_next(f"noiseprompt npd info {quoted}, or noiseprompt train --npd {quoted} --out npnet")
