"""Damage is found and named."""

from __future__ import annotations

import numpy as np
import pytest

from noiseprompt.core.errors import StoreError
from noiseprompt.noise import initial_noise
from noiseprompt.npd import Npd
from noiseprompt.npd import format as npd_format
from noiseprompt.npd.verify import verify
from tests.npd_fakes import SHAPE, write


def test_one_flipped_bit_of_a_target_is_found(tmp_path):
    path = write(tmp_path) / "shard-000000.arrow"
    data = bytearray(path.read_bytes())
    at = data.index((initial_noise(2, SHAPE).numpy() + np.float32(0.25)).astype(np.float16).tobytes())
    data[at + 3] ^= 1
    path.write_bytes(data)
    assert verify(tmp_path) == ["shard-000000.arrow: its checksum does not match: bytes were changed after writing"]


def test_verify_names_every_wrong_row(tmp_path):
    write(tmp_path)
    assert verify(tmp_path) == []
    shard = npd_format.read_shard(tmp_path / "shard-000000.arrow")
    rows = shard.batch.to_pylist()
    rows[0]["source_digest"] = "0" * 16
    rows[1]["target"] = np.full(SHAPE, np.nan, np.float16).tobytes()
    own, rows[2]["id"] = rows[2]["id"], rows[3]["id"]
    rows[3]["score_target.b"] = None
    data = npd_format.shard_bytes(rows, shard.batch.schema, shard.settings)
    (tmp_path / "shard-000000.arrow").write_bytes(data)
    problems = "\n".join(verify(tmp_path))
    for expected in ("noise of its seed", "target is not finite", "does not belong", "is in", "score is missing"):
        assert expected in problems
    with pytest.raises(StoreError, match=r"pair .* is in shard-000000\.arrow and in shard-000000\.arrow"):
        Npd(tmp_path)
    rows[2]["id"] = own
    (tmp_path / "shard-000000.arrow").write_bytes(npd_format.shard_bytes(rows, shard.batch.schema, shard.settings))
    with pytest.raises(StoreError, match="torch release"):
        Npd(tmp_path)[0]
    with pytest.raises(StoreError, match=r"target of pair 1 .* is not finite"):
        Npd(tmp_path).targets([0, 1])
