"""Shards with a flipped bit, with a pair twice or of which one is missing: told, and never written again as whole."""

from __future__ import annotations

import json
import os
import re
from collections.abc import Callable
from pathlib import Path
from typing import Any

import numpy as np
import pyarrow as pa
import pytest

from noiseprompt.core.errors import InputError, NoisepromptWarning, StoreError
from noiseprompt.core.places import LFS_NOTE
from noiseprompt.noise import initial_noise
from noiseprompt.npd import Npd, NpdWriter, PairFilter
from noiseprompt.npd.export import export
from noiseprompt.npd.format import read_shard, shard_bytes
from noiseprompt.npd.info import info
from noiseprompt.npd.verify import verify
from noiseprompt.stages.train.data import select_pairs
from tests.npd_fakes import SETTINGS, SHAPE, pair, pairs, shards, write


def flip(folder: Path, number: int, seed: int) -> None:
    """Change one bit of the target of the pair with that seed."""
    path = folder / f"shard-{number:06d}.arrow"
    data = bytearray(path.read_bytes())
    at = data.index((initial_noise(seed, SHAPE).numpy() + np.float32(0.25)).astype(np.float16).tobytes())
    data[at + 3] ^= 1
    path.write_bytes(data)


@pytest.mark.parametrize("name", ["shard-{}.arrow.gz", "SHARD-{}.ARROW", "shard-{} (1).arrow"])
def test_shards_that_were_packed_or_renamed_are_named(name: str, tmp_path: Path) -> None:
    for number, path in enumerate(sorted(write(tmp_path).glob("*.arrow"))):
        path.rename(path.with_name(name.format(f"{number:06d}")))
    first = re.escape(name.format("000000"))
    for read in (Npd, verify):
        with pytest.raises(StoreError, match=rf"holds {first} and no shard as it was written.*npack or rename them"):
            read(tmp_path)


def test_a_short_shard_with_a_flipped_bit_is_not_filled_up(tmp_path: Path) -> None:
    flip(write(tmp_path), 1, 4)
    before = shards(tmp_path)
    for _ in range(2):  # the first refusal leaves no lock
        with pytest.raises(StoreError, match=r"shard-000001\.arrow does not match.*npd verify"):
            NpdWriter(tmp_path, SETTINGS, SHAPE, shard_size=4)
    assert shards(tmp_path) == before
    assert len(verify(tmp_path)) == 1


def test_a_whole_short_shard_is_filled_up(tmp_path: Path) -> None:
    write(tmp_path, store_source=True)
    with NpdWriter(tmp_path, SETTINGS, SHAPE, shard_size=4, store_source=True) as writer:
        writer.add(pair(7, pairs()[0].scores))
    assert verify(tmp_path) == []


ROWS = {
    "an infinite score": {"score_target.a": float("inf")},
    "a score alone": {"score_source.a": None},
    "a seed below 0": {"seed": -5},
    "no digest": {"source_digest": ""},
    "the prompt of another": {"prompt": "prompt number 17"},
}


@pytest.mark.parametrize("what", ROWS)
@pytest.mark.parametrize("reader", [Npd, info])
def test_a_row_that_is_none_is_told_before_it_is_used(what: str, reader: Callable[..., object], tmp_path: Path) -> None:
    shard = read_shard(write(tmp_path) / "shard-000000.arrow")
    rows = shard.batch.to_pylist()
    rows[2] |= ROWS[what]
    (tmp_path / "shard-000000.arrow").write_bytes(shard_bytes(rows, shard.batch.schema, shard.settings))
    (column,) = ROWS[what]
    with pytest.raises(StoreError, match=rf"pair {rows[2]['id']} of .* has {column} .*npd verify"):
        reader(tmp_path)
    assert any(rows[2]["id"] in problem for problem in verify(tmp_path))


@pytest.mark.parametrize("read", ["targets", "sources", "pair", "export"])
def test_what_reads_a_noise_of_a_changed_shard_is_refused(read: str, tmp_path: Path) -> None:
    flip(write(tmp_path / "npd"), 0, 2)
    npd = Npd(tmp_path / "npd")
    assert npd.targets([4]).shape == (1, *SHAPE), "the other shard is whole"
    with pytest.raises(StoreError, match=r"shard-000000\.arrow does not match"):
        if read == "targets":
            npd.targets([4, 0])
        elif read == "sources":
            npd.sources([0])
        elif read == "pair":
            npd[1]
        else:
            export(tmp_path / "npd", tmp_path / "all.parquet")
    assert not (tmp_path / "all.parquet").exists()


def test_a_shard_is_checked_once(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    from noiseprompt.npd import format as npd_format

    npd, seen, real = Npd(write(tmp_path)), [], npd_format.checksum
    monkeypatch.setattr(npd_format, "checksum", lambda rows: seen.append(len(rows)) or real(rows))
    for _ in range(3):
        npd.targets([0, 4, 1])
        npd.sources([5, 2])
    assert seen == [4, 2]


def test_a_shard_under_two_numbers_is_refused(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / "shard-000002.arrow").write_bytes((tmp_path / "shard-000000.arrow").read_bytes())
    with pytest.raises(StoreError, match=r"is in shard-000000\.arrow and in shard-000002\.arrow"):
        Npd(tmp_path)


def test_a_shard_under_two_numbers_is_refused_before_anything_is_made(tmp_path: Path) -> None:
    folder = write(tmp_path)
    (folder / "shard-000001.arrow").write_bytes((folder / "shard-000000.arrow").read_bytes())
    before = shards(tmp_path)
    with pytest.raises(StoreError, match=r"in shard-000000\.arrow and in shard-000001\.arrow.*take the copied shard"):
        NpdWriter(tmp_path, SETTINGS, SHAPE, shard_size=4)
    assert shards(tmp_path) == before


@pytest.mark.parametrize(
    ("change", "told"),
    [
        ({"scorers": None}, "the settings in .*shard-000000.arrow do not tell scorers"),
        ({"parts": "abc"}, "tell parts 'abc'. Expected a mapping of names"),
    ],
)
def test_settings_that_no_run_records_are_told(change: dict[str, Any], told: str, tmp_path: Path) -> None:
    shard = read_shard(write(tmp_path) / "shard-000000.arrow")
    settings = {key: value for key, value in {**shard.settings, **change}.items() if value is not None}
    data = shard_bytes(shard.batch.to_pylist(), shard.batch.schema, settings)
    (tmp_path / "shard-000000.arrow").write_bytes(data)
    with pytest.raises(StoreError, match=told):
        Npd(tmp_path)


def test_a_missing_shard_is_told(tmp_path: Path) -> None:
    write(tmp_path, shard_size=2)
    (tmp_path / "shard-000001.arrow").unlink()
    with pytest.warns(NoisepromptWarning, match=r"lacks shard-000001\.arrow"):
        assert info(tmp_path)["pairs"] == 4


def rewritten(folder: Path, change: Callable[[pa.Table], pa.Table], number: int = 1) -> None:
    """A shard as another program leaves it: rows and metadata, but what `change` does."""
    path = folder / f"shard-{number:06d}.arrow"
    table = pa.ipc.open_file(pa.py_buffer(path.read_bytes())).read_all()
    table = change(table)
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, table.schema) as writer:
        writer.write_table(table)


def with_column(name: str, values: Callable[[pa.Table], pa.Array]) -> Callable[[pa.Table], pa.Table]:
    def change(table: pa.Table) -> pa.Table:
        at, column = table.schema.get_field_index(name), values(table)
        return table.set_column(at, table.schema.field(at).with_type(column.type), column)

    return change


TOLD: dict[str, tuple[Callable[[pa.Table], pa.Table], str]] = {
    "no metadata": (lambda t: t.replace_schema_metadata(None), "no shard of noiseprompt, or another program wrote it"),
    "other type": (
        with_column("target", lambda t: pa.array([[0.0]] * len(t))),
        "has list<.*> in the column target. Expected fixed_size_binary",
    ),
    "no column": (lambda t: t.drop_columns(["kind"]), "has no kind among its columns"),
    "one more": (lambda t: t.append_column("note", pa.array([""] * len(t))), "has also note among its columns"),
    "order": (lambda t: t.select(t.column_names[::-1]), "has its columns in the order rejected"),
    "no prompt": (with_column("prompt", lambda t: pa.array([None] * len(t), pa.string())), "has rows without prompt"),
    "empty allowed": (
        lambda t: t.cast(pa.schema([field.with_nullable(True) for field in t.schema], t.schema.metadata)),
        "has the column id with empty values allowed. Expected a value in each row",
    ),
    "twice": (lambda t: pa.concat_tables([t, t.slice(0, 1)]).combine_chunks(), "is twice in shard-000001.arrow"),
}


@pytest.mark.parametrize("kind", TOLD)
def test_what_another_program_wrote_is_told(kind: str, tmp_path: Path) -> None:
    change, says = TOLD[kind]
    rewritten(write(tmp_path), change)
    with pytest.raises(StoreError, match=says) as told:
        Npd(tmp_path)
    assert "\n" not in str(told.value)


@pytest.mark.parametrize("at", [2, 200])
def test_a_bit_at_the_start_of_a_file_is_seen(at: int, tmp_path: Path) -> None:
    path = write(tmp_path) / "shard-000000.arrow"
    assert verify(tmp_path) == []
    data = bytearray(path.read_bytes())
    data[at] ^= 8
    path.write_bytes(data)
    assert verify(tmp_path) == [
        "shard-000000.arrow: its start does not match its end: bytes were changed after writing"
    ]


def test_a_shard_with_more_zeros_is_named_as_it_is(tmp_path: Path) -> None:
    (write(tmp_path) / "shard-000001.arrow").rename(tmp_path / "shard-00000001.arrow")
    with pytest.raises(StoreError, match=r"holds shard-00000001\.arrow. Expected shards named as shard-000001\.arrow"):
        Npd(tmp_path)


def test_a_shard_that_may_not_be_read_is_not_called_damaged(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refuse(*_: object) -> None:
        raise PermissionError(13, "Failed to open local file")

    write(tmp_path)
    monkeypatch.setattr(pa, "memory_map", refuse)
    with pytest.raises(StoreError, match=r"may not be read\. Expected the right to read it") as told:
        Npd(tmp_path)
    assert "delete" not in str(told.value)


def changed_rows(folder: Path, change: Callable[[list[dict]], object]) -> None:
    """Other rows in the first shard, under the checksum that they have then."""
    path = write(folder) / "shard-000000.arrow"
    shard = read_shard(path)
    rows = shard.batch.to_pylist()
    change(rows)
    path.write_bytes(shard_bytes(rows, shard.batch.schema, shard.settings))


def test_a_target_that_is_missing_is_no_noise_of_zeros(tmp_path: Path) -> None:
    changed_rows(tmp_path, lambda rows: rows[1].update(target=None))
    with pytest.raises(StoreError, match=r"target of pair 1 of .* is missing or not finite"):
        Npd(tmp_path).targets([0, 1])
    Npd(tmp_path).targets([0, 2])


@pytest.mark.parametrize("change", [{"rejected": "by hand"}, {"rejected": "by hand", "target": None}])
def test_a_rejected_pair_with_a_target_or_scores_is_a_problem(change: dict[str, Any], tmp_path: Path) -> None:
    changed_rows(tmp_path, lambda rows: rows[1].update(change))
    assert ["it is rejected, and has a target or scores" in problem for problem in verify(tmp_path)] == [True]


def test_an_id_unlike_the_others_is_told(tmp_path: Path) -> None:
    changed_rows(tmp_path, lambda rows: rows[1].update(id="x"))
    with pytest.raises(StoreError, match=r"pair x of .* has id 'x'.*as the other pairs have"):
        info(tmp_path)


def test_an_empty_prompt_is_told_with_its_folder(tmp_path: Path) -> None:
    changed_rows(tmp_path, lambda rows: [row.update(prompt=" ", id=f"{i} of theirs") for i, row in enumerate(rows)])
    (tmp_path / "shard-000001.arrow").unlink()
    with pytest.raises(StoreError, match=f"a pair of {tmp_path}: an empty prompt.*npd verify"):
        Npd(tmp_path).prompts()


@pytest.mark.parametrize(
    ("kind", "told"),
    [
        ("folder", "is a folder"),
        ("pipe", "is a named pipe"),
        ("nowhere", "leads nowhere"),
        ("loop", "links"),
    ],
)
def test_what_is_no_file_in_the_place_of_a_shard_is_told(kind: str, told: str, tmp_path: Path) -> None:
    path = write(tmp_path) / "shard-000001.arrow"
    path.unlink()
    {
        "folder": path.mkdir,
        "pipe": lambda: os.mkfifo(path),
        "nowhere": lambda: path.symlink_to("elsewhere"),
        "loop": lambda: path.symlink_to(path.name),
    }[kind]()
    with pytest.raises(
        StoreError, match=rf"shard-000001\.arrow.*{told}.*delete what is there and run the same"
    ) as caught:
        Npd(tmp_path)
    assert "Errno" not in str(caught.value) and "damaged" not in str(caught.value)
    assert told in " ".join(verify(tmp_path))


def test_a_note_of_git_in_the_place_of_a_shard_is_told(tmp_path: Path) -> None:
    (write(tmp_path) / "shard-000001.arrow").write_bytes(LFS_NOTE + b"/spec/v1")
    with pytest.raises(StoreError, match=r"holds no pairs, only the note of Git LFS .*git lfs pull"):
        Npd(tmp_path)


def test_a_renamed_shard_is_not_asked_to_be_made_again(tmp_path: Path) -> None:
    write(tmp_path, shard_size=2)
    there = len(Npd(tmp_path))
    (tmp_path / ".claim.json").write_text(json.dumps({"settings": {}, "plan": "x", "pairs": there, "shards": 3}))
    (tmp_path / "shard-000001.arrow").rename(tmp_path / "shard-000004.arrow")
    with pytest.warns(NoisepromptWarning, match=r"holds all 6 pairs.*needs its number back$"):
        Npd(tmp_path)


def test_pairs_that_were_rejected_are_counted_where_too_few_are_left(tmp_path: Path) -> None:
    changed_rows(tmp_path, lambda rows: [row.update(rejected="failed", target=None) for row in rows])
    with pytest.raises(InputError, match=r"validation pairs of 6 \(5 of them rejected"):
        select_pairs(Npd(tmp_path), PairFilter(), 0.01)


def test_a_category_that_no_prompt_has_is_told_by_verify(tmp_path: Path) -> None:
    shard = read_shard(write(tmp_path) / "shard-000000.arrow")
    rows = shard.batch.to_pylist()
    rows[2]["kind"] = "a\0b"
    (tmp_path / "shard-000000.arrow").write_bytes(shard_bytes(rows, shard.batch.schema, shard.settings))
    assert any("NUL" in problem for problem in verify(tmp_path))
    with pytest.raises(StoreError, match=r"NUL.*npd verify"):
        Npd(tmp_path).prompts()
