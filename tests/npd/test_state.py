"""Which shards are there, in work and missing, as readers are told."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from noiseprompt.cli import main
from noiseprompt.core.errors import NoisepromptWarning
from noiseprompt.core.part import Part
from noiseprompt.npd import Npd
from noiseprompt.npd.info import info
from noiseprompt.npd.sharing import SharedWriter
from noiseprompt.npd.state import state
from noiseprompt.npd.verify import verify
from tests.npd_fakes import SETTINGS, SHAPE, pairs, write


def test_a_collection_at_work_tells_what_it_makes(tmp_path: Path, capfd: Any) -> None:
    ids = [one.id for one in pairs()]
    with SharedWriter(tmp_path, SETTINGS, SHAPE, ids, shard_size=1, part=Part(1, 2)) as writer:
        assert writer.take() == ids[:1]
        writer.add(pairs()[0])
        assert writer.take() == ids[2:3] and writer.take() == ids[4:5]
        writer.add(pairs()[4])
        now = state(tmp_path)
        assert (now.committed, [*now.leased], now.missing) == ((0, 4), [2], (1, 3, 5))
        assert (now.planned, now.writers) == (6, 1)
        with pytest.warns(
            NoisepromptWarning, match=r"shard-000001\.arrow, shard-000002\.arrow \(process \d+ on .* makes"
        ):
            assert Npd(tmp_path).state() == now
        with pytest.warns(NoisepromptWarning, match=r"shard-000003\.arrow: its pairs"):
            told = info(tmp_path)
        assert (told["shards"], told["planned_shards"], told["missing_shards"]) == (2, 6, [1, 3, 5])
        assert [*told["leased_shards"]] == [2] and told["writers"] == 1
        problems = verify(tmp_path)
        assert (
            problems[0] == "shard-000001.arrow is missing" and problems[1].endswith("makes it)") and len(problems) == 3
        )
        assert main(["npd", "verify", str(tmp_path)]) == 1
        assert "2 of 6 shards are there, 1 in work (shard-000002 by process" in capfd.readouterr().out
    assert state(tmp_path).leased == {} and state(tmp_path).writers == 0


def test_who_reads_while_others_collect_is_told_what_is_still_to_come(tmp_path: Path) -> None:
    ids = [one.id for one in pairs()]
    with SharedWriter(tmp_path, SETTINGS, SHAPE, ids, shard_size=4) as writer:
        writer.take()
        for one in pairs()[:4]:
            writer.add(one)
        with pytest.warns(NoisepromptWarning, match=r"1 of the 2 shards that were planned\. Somebody still collects"):
            assert len(Npd(tmp_path)) == 4
        writer.take()
        writer.add(pairs()[4])
    with pytest.warns(NoisepromptWarning, match=r"5 of the 6 pairs that were planned\. The same collect command"):
        assert len(Npd(tmp_path)) == 5


def test_a_folder_of_an_earlier_release_tells_of_what_is_there(tmp_path: Path) -> None:
    (write(tmp_path) / ".claim.json").unlink()
    now = state(tmp_path)
    assert (now.committed, now.missing, now.planned, now.leased) == ((0, 1), (), 2, {})
    (tmp_path / ".claim.json").write_text(json.dumps({"shards": "many"}))
    assert state(tmp_path) == now
