"""What files hold, in a few digits: weights and pictures in records and fingerprints."""

from __future__ import annotations

import hashlib
from pathlib import Path


def files_digest(*paths: Path) -> str:
    """12 hexadecimal digits of the SHA-256 of the files' bytes, one file after the other; names do not count."""
    total = hashlib.sha256()
    for path in paths:
        with path.open("rb") as file:
            while piece := file.read(1 << 20):
                total.update(piece)
    return total.hexdigest()[:12]
