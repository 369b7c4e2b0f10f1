"""Digests of files, against hashlib on the bytes."""

from __future__ import annotations

import hashlib
from pathlib import Path

from noiseprompt.core.digests import files_digest


def test_it_is_the_beginning_of_the_sha256_of_all_bytes(tmp_path: Path) -> None:
    parts = [b"weights" * 300_000, b"", b"a picture"]
    paths = [tmp_path / str(i) for i in range(3)]
    for path, data in zip(paths, parts, strict=True):
        path.write_bytes(data)
    assert files_digest(*paths) == hashlib.sha256(b"".join(parts)).hexdigest()[:12]
    assert files_digest(paths[0]) != files_digest(*paths) != files_digest(*reversed(paths))
