"""`noiseprompt npd`: what can be asked of a data set on disk."""

from __future__ import annotations

import json
from pathlib import Path

from noiseprompt.core.errors import InputError


def npd_info(folder: Path) -> None:
    """Counts, scores and the share each filter would remove.

    Args:
        folder: of a noise prompt data set.
    """
    from noiseprompt.npd.info import info

    print(json.dumps(info(Path(folder)), indent=2, ensure_ascii=False))


def npd_verify(folder: Path) -> int:
    """Read every pair and check digests, shapes and ids; exit status 1 where something is wrong.

    Args:
        folder: of a noise prompt data set.
    """
    from noiseprompt.npd.state import state
    from noiseprompt.npd.verify import verify

    problems, now = verify(Path(folder)), state(Path(folder))
    if now.leased or now.missing:
        print(now)
    print("\n".join(problems) if problems else "all pairs are sound")
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
    export(Path(folder), Path(file))
    print(f"written to {file}")
