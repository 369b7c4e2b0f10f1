"""Reading a data set: what was written, in any order; none there."""

from __future__ import annotations

import numpy as np
import pytest

from noiseprompt.core.errors import InputError, StoreError
from noiseprompt.noise import initial_noise
from noiseprompt.npd import Npd
from noiseprompt.npd.info import info
from noiseprompt.npd.verify import verify
from tests.npd_fakes import SCORES, SHAPE, pairs, write


@pytest.mark.parametrize("store_source", [False, True])
def test_what_is_written_is_read(tmp_path, store_source):
    npd = Npd(write(tmp_path, store_source=store_source))
    assert len(npd) == 6
    assert npd.latent_shape == SHAPE
    assert sorted(p.name for p in tmp_path.glob("*.arrow")) == ["shard-000000.arrow", "shard-000001.arrow"]
    for i, expected in enumerate(pairs()):
        found = npd[i]
        assert (found.id, found.seed, found.scores, found.rejected) == (
            expected.id,
            expected.seed,
            expected.scores,
            expected.rejected,
        )
        assert (found.prompt.text, found.prompt.kind) == (expected.prompt.text, "kind")
        source = initial_noise(i, SHAPE).numpy()
        assert found.source.dtype == np.float32
        np.testing.assert_array_equal(found.source, source.astype(np.float16) if store_source else source)
        if not expected.rejected:
            np.testing.assert_array_equal(found.target, (source + np.float32(0.25)).astype(np.float16))
    assert [pair.id for pair in npd] == [pair.id for pair in pairs()]
    assert npd[5].target is None
    assert npd[-1].id == npd[5].id
    np.testing.assert_array_equal(npd.seeds(), np.arange(6))
    np.testing.assert_array_equal(npd.scores()["a"], [*SCORES, (np.nan, np.nan)])
    assert [p.text for p in npd.prompts()] == [f"text {i}" for i in range(6)]
    assert not {"source", "target"} & set(npd.table().column_names)


def test_many_targets_in_any_order(tmp_path):
    npd = Npd(write(tmp_path, shard_size=2))
    found = npd.targets([4, 0, 3, 0])
    assert found.dtype == np.float16
    for row, i in zip(found, [4, 0, 3, 0], strict=True):
        np.testing.assert_array_equal(row, (initial_noise(i, SHAPE).numpy() + np.float32(0.25)).astype(np.float16))
    with pytest.raises(InputError, match="rejected"):
        npd.targets([0, 5])
    with pytest.raises(InputError, match="6"):
        npd.targets([6])


def test_an_index_is_a_whole_number(tmp_path):
    npd = Npd(write(tmp_path))
    for wrong in ("abc", 1.5, 1j, None, True, 10**40, [None]):
        with pytest.raises(InputError, match=r"pair index .*whole numbers"):
            npd[wrong]
    for wrong in ([0.5], ["1"], [[0], [1, 2]], np.array([True])):
        with pytest.raises(InputError, match=r"pair index .*whole numbers"):
            npd.targets(wrong)
    for several in ([[0, 1]], np.zeros((2, 2), int)):
        with pytest.raises(InputError, match=r"shape \(\d, 2\). Expected one row of whole numbers"):
            npd.targets(several)
    assert npd[np.int32(1)].id == npd[1].id and npd.targets(np.array([1], np.uint8)).shape == (1, *SHAPE)


@pytest.mark.parametrize("store_source", [False, True])
def test_stored_sources_come_as_they_are_stored(tmp_path, store_source):
    npd = Npd(write(tmp_path, shard_size=2, store_source=store_source))
    found = npd.sources([5, 0, 3, 0])
    assert found.dtype == (np.float16 if store_source else np.float32)
    for row, i in zip(found, [5, 0, 3, 0], strict=True):
        np.testing.assert_array_equal(row, initial_noise(i, SHAPE).numpy().astype(found.dtype))
    assert npd.sources([]).shape == (0, *SHAPE) and npd.targets([]).shape == (0, *SHAPE)


def test_no_data_set(tmp_path):
    for read in (Npd, info, verify):
        with pytest.raises(StoreError, match="Collect one first"):
            read(tmp_path / "nothing")


def test_a_collection_that_has_no_shard_yet_is_told_as_begun(tmp_path):
    (tmp_path / ".claim.json").write_text("{}")
    with pytest.raises(StoreError, match=r"no shard yet of the collection that began there.*Wait for who"):
        Npd(tmp_path)


def test_a_shard_that_is_cut_short_under_a_reader_is_told(tmp_path):
    write(tmp_path)
    npd = Npd(tmp_path)
    npd.targets([0])
    path = tmp_path / "shard-000000.arrow"
    with path.open("rb+") as file:
        file.truncate(path.stat().st_size - 8)
    with pytest.raises(StoreError, match="was cut short while it was read"):
        npd.targets([0])
