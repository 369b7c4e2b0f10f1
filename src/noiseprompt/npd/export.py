"""A data set as one parquet file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from noiseprompt.core.arguments import held
from noiseprompt.core.files import replacing
from noiseprompt.npd.filter import PairFilter
from noiseprompt.npd.format import present_shards, read_shard, shard_path
from noiseprompt.npd.reader import Npd


@held
def export(folder: str | Path, file: str | Path, pair_filter: PairFilter | None = None) -> int:
    """Write the data set as one parquet file with the same columns, shard by shard; returns the number of pairs.

    Args:
        file: replaced if it exists.
        pair_filter: only the pairs that pass; every pair, the rejected ones too, if None.

    Raises:
        StoreError: no data set there, a damaged shard, or the file cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    npd, file = Npd(folder), Path(file)
    chosen = np.ones(len(npd), bool) if pair_filter is None else np.isin(np.arange(len(npd)), npd.select(pair_filter))
    start = 0
    first = read_shard(shard_path(npd.folder, present_shards(npd.folder)[0])).batch.schema
    first = first.with_metadata({k: v for k, v in first.metadata.items() if k != b"noiseprompt.checksum"})
    options = {"compression": "none", "use_dictionary": False}  # noise does not compress
    with replacing(file) as sink, pq.ParquetWriter(sink, first, **options) as writer:
        for number in present_shards(npd.folder):
            shard = read_shard(shard_path(npd.folder, number))
            shard.rows()  # refuses one that was changed after writing
            batch = shard.batch.replace_schema_metadata(first.metadata)
            rows = chosen[start : start + batch.num_rows]
            writer.write_batch(batch.filter(pa.array(rows)))
            start += batch.num_rows
    return int(chosen.sum())
