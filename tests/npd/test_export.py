"""Export to parquet."""

from __future__ import annotations

import numpy as np
import pyarrow.parquet as pq

from noiseprompt.npd import Npd, PairFilter
from noiseprompt.npd.export import export
from tests.npd_fakes import SHAPE, write


def test_parquet_export(tmp_path):
    write(tmp_path / "npd")
    assert export(tmp_path / "npd", tmp_path / "all.parquet") == 6
    table = pq.read_table(tmp_path / "all.parquet")
    npd = Npd(tmp_path / "npd")
    assert table.column("id").to_pylist() == npd.table().column("id").to_pylist()
    target = np.frombuffer(table.column("target")[3].as_py(), np.float16).reshape(SHAPE)
    np.testing.assert_array_equal(target, npd.targets([3])[0])
    assert table.column("target")[5].as_py() is None
    assert b"noiseprompt.settings" in table.schema.metadata
    assert b"noiseprompt.checksum" not in table.schema.metadata
    assert export(tmp_path / "npd", tmp_path / "some.parquet", PairFilter(("a",))) == 3
    assert pq.read_table(tmp_path / "some.parquet").column("seed").to_pylist() == [0, 3, 4]
    assert not list(tmp_path.glob("*.tmp"))
