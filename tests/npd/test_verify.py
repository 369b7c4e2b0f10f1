"""Damage is found and named."""

from __future__ import annotations

import numpy as np
import pytest

from noiseprompt.core.errors import StoreError
from noiseprompt.noise import initial_noise
from noiseprompt.npd import Npd, NpdWriter
from noiseprompt.npd import format as npd_format
from noiseprompt.npd.sample import is_scored
from noiseprompt.npd.verify import verify
from tests.npd_fakes import SETTINGS, SHAPE, pair, write


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
    score, rows[3]["score_target.b"] = rows[3]["score_target.b"], None
    data = npd_format.shard_bytes(rows, shard.batch.schema, shard.settings)
    (tmp_path / "shard-000000.arrow").write_bytes(data)
    problems = "\n".join(verify(tmp_path))
    for expected in ("noise of its seed", "target is not finite", "does not belong", "is in", "score is missing"):
        assert expected in problems
    with pytest.raises(StoreError, match=r"pair .* is twice in shard-000000\.arrow"):
        Npd(tmp_path)
    rows[2]["id"] = own
    (tmp_path / "shard-000000.arrow").write_bytes(npd_format.shard_bytes(rows, shard.batch.schema, shard.settings))
    with pytest.raises(StoreError, match=rf"pair {rows[3]['id']} .* has score_target\.b null.*npd verify"):
        Npd(tmp_path)
    rows[3]["score_target.b"] = score
    (tmp_path / "shard-000000.arrow").write_bytes(npd_format.shard_bytes(rows, shard.batch.schema, shard.settings))
    with pytest.raises(StoreError, match="torch release"):
        Npd(tmp_path)[0]
    with pytest.raises(StoreError, match=r"target of pair 1 .* is missing or not finite"):
        Npd(tmp_path).targets([0, 1])


def test_a_score_outside_the_sample_and_one_that_it_lacks_are_named(tmp_path):
    settings = {**SETTINGS, "scored_share": 0.5}
    wanted = [is_scored(pair(i).id, settings) for i in range(8)]
    with NpdWriter(tmp_path, settings, SHAPE, shard_size=8) as writer:
        for i, one in enumerate(wanted):
            writer.add(pair(i, {"a": (0.0, 1.0), "b": (0.0, 1.0)} if one else {}))
    assert verify(tmp_path) == []
    shard = npd_format.read_shard(tmp_path / "shard-000000.arrow")
    rows = shard.batch.to_pylist()
    rows[wanted.index(True)]["score_source.a"] = None
    rows[wanted.index(False)]["score_target.b"] = 0.5
    (tmp_path / "shard-000000.arrow").write_bytes(npd_format.shard_bytes(rows, shard.batch.schema, shard.settings))
    assert len(problems := verify(tmp_path)) == 2
    assert "a score is missing" in "".join(problems) and "none of the sample to score" in "".join(problems)
