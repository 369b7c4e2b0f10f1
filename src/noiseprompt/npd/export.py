"""A data set as one parquet file."""

from __future__ import annotations

from pathlib import Path

import numpy as np

from noiseprompt.core.arguments import held
from noiseprompt.core.files import make_folder, replacing
from noiseprompt.core.places import check_file
from noiseprompt.npd.filter import PairFilter
from noiseprompt.npd.reader import Npd


@held
def export(folder: str | Path, file: str | Path, pair_filter: PairFilter | None = None) -> int:
    """Write the data set as one parquet file with the same columns, shard by shard; returns the number of pairs.

    Args:
        file: on a disk; replaced if it exists.
        pair_filter: only the pairs that pass; every pair, the rejected ones too, if None.

    Raises:
        InputError: the file is in object storage.
        StoreError: no data set there, a damaged shard, or the file cannot be written.
    """
    import pyarrow as pa
    import pyarrow.parquet as pq

    check_file(file)
    npd, file = Npd(folder), Path(file)
    chosen = np.ones(len(npd), bool) if pair_filter is None else np.isin(np.arange(len(npd)), npd.select(pair_filter))
    start = 0
    first = npd.whole_shard(0).batch.schema
    first = first.with_metadata({k: v for k, v in first.metadata.items() if k != b"noiseprompt.checksum"})
    options = {"compression": "none", "use_dictionary": False}  # noise does not compress
    make_folder(file.parent)
    with replacing(file) as sink, pq.ParquetWriter(sink, first, **options) as writer:
        for shard in map(npd.whole_shard, range(len(npd.shards))):
            shard.rows()  # refuses one that was changed after writing
            batch = shard.batch.replace_schema_metadata(first.metadata)
            rows = chosen[start : start + batch.num_rows]
            writer.write_batch(batch.filter(pa.array(rows)))
            start += batch.num_rows
    return int(chosen.sum())
