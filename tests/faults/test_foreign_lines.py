"""Lines, settings and shards that cannot be of the folder they lie in: refused, with what is strange."""

from __future__ import annotations

import json
import os
import shutil
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from noiseprompt.core.config import fingerprint
from noiseprompt.core.errors import ConfigError, NoisepromptWarning, StoreError
from noiseprompt.core.stores import store_of
from noiseprompt.npd import Npd, NpdWriter
from noiseprompt.npd.claim import read_claim
from noiseprompt.npd.format import CLAIM_FILE as CLAIM
from noiseprompt.npd.state import state
from noiseprompt.npd.verify import verify
from noiseprompt.results.folder import iter_counted
from noiseprompt.results.sets import _file, _kept
from noiseprompt.stages.evaluate.evaluate import summarize_run
from noiseprompt.stages.generate.folder import Unit
from tests.npd_fakes import SETTINGS, SHAPE, write

# ------------------------------------------------------------------------------------------------------- evaluations


@pytest.fixture
def evaluation(whole: Path, tmp_path: Path) -> Path:
    return Path(shutil.copytree(whole, tmp_path / "evaluation"))


LINES: dict[str, tuple[dict[str, Any], str]] = {
    "another method": ({"method": "theirs"}, "tells of the method 'theirs', of which"),
    "no method": ({"method": ""}, "tells of the method ''"),
    "another scorer": ({"scores": {"theirs": 1.0}}, "tells of scores of theirs"),
    "a scorer less": ({"scores": {}}, "tells no score of "),
    "calls below zero": ({"denoiser_calls": -4}, "line 2 of .* calls and seconds of -4"),
    "calls of any size": ({"denoiser_calls": 1e308}, "line 2 of .* calls and seconds of"),
    "seconds below zero": ({"noise_seconds": -5}, "line 2 of .* calls and seconds"),
    "a text of any length": ({"text": "x" * 10**6}, "line 2 of .* a text of 1,000,000 characters"),
    "a seed below zero": ({"seed": -1}, "line 2 of .* the seed -1"),
    "a number of 400 digits": ({"denoiser_calls": 10**400}, "line 2 of .* denoiser_calls"),
}


@pytest.mark.parametrize("kind", LINES)
def test_a_line_that_is_not_of_this_evaluation_is_refused(kind: str, evaluation: Path) -> None:
    change, says = LINES[kind]
    lines = (evaluation / "results.jsonl").read_text().splitlines()
    lines[1] = json.dumps(json.loads(lines[1]) | change)
    (evaluation / "results.jsonl").write_text("\n".join(lines) + "\n")
    for read in (summarize_run, lambda folder: list(iter_counted(folder))):
        with pytest.raises(StoreError, match=says):
            read(evaluation)


TOLD: dict[str, tuple[str, Callable[[dict[str, Any]], Any], str]] = {
    "no settings": ("settings.json", lambda data: data.update(settings={}), "pipeline is null"),
    "a number for a name": ("settings.json", lambda data: data["settings"]["pipeline"].update(name=5), "the name of"),
    "a text for guidance": (
        "settings.json",
        lambda data: data["settings"]["config"].update(guidance_scale="x"),
        "guida",
    ),
    "a number for scorers": ("settings.json", lambda data: data["settings"].update(scorers=3), "scorers is 3"),
    "a number for a method": ("settings.json", lambda data: data["methods"].update(standard=3), "method 'standard'"),
    "a number for features": (".judging.json", lambda data: data.update(features=3), "features in .* 3"),
    "a text for a list": (".judging.json", lambda data: data.update(filter_scorers="aes"), "filter_scorers in"),
    "a text for yes": (".judging.json", lambda data: data.update(world="yes"), "world in"),
}


@pytest.mark.parametrize("kind", TOLD)
def test_settings_of_another_kind_are_named(kind: str, evaluation: Path) -> None:
    name, change, says = TOLD[kind]
    data = json.loads((evaluation / name).read_text())
    change(data)
    (evaluation / name).write_text(json.dumps(data))
    with pytest.raises(ConfigError, match=says):
        summarize_run(evaluation)


def test_features_of_other_pictures_are_made_again(tmp_path: Path) -> None:
    import numpy as np

    features, path = np.arange(12, dtype=np.float32).reshape(3, 4), tmp_path / "a.npz"
    path.write_bytes(_file("mark", features))
    kept = _kept(path, "mark", 3)
    assert kept is not None and (kept == features).all() and _kept(path, "other", 3) is None
    with np.load(path) as data:
        found = dict(data)
    with path.open("wb") as file:
        np.savez(file, **{**found, "features": features[::-1]})
    assert _kept(path, "mark", 3) is None


@pytest.mark.parametrize("data", [b"", b"no picture", b"\x89PNG\r\n\x1a\n" + bytes(500)])
def test_what_is_no_picture_is_not_taken_for_drawn(data: bytes, tmp_path: Path) -> None:
    unit = Unit(0, "standard", ((0, None, 7),))  # type: ignore[arg-type]
    assert unit.missing(store_of(tmp_path)) == unit.files
    (tmp_path / unit.files[0]).write_bytes(data)
    with pytest.raises(StoreError, match=r"000-7-standard\.png is no whole picture"):
        unit.missing(store_of(tmp_path))


def test_a_picture_with_a_flipped_bit_is_told(tmp_path: Path) -> None:
    from PIL import Image

    from noiseprompt.stages.generate.folder import check_sizes

    files = [f"000-{seed}-standard.png" for seed in range(2)]
    for name in files:
        Image.effect_noise((64, 64), 50).convert("RGB").save(tmp_path / name)
    check_sizes(store_of(tmp_path), files)
    data = bytearray((tmp_path / files[1]).read_bytes())
    data[len(data) // 2] ^= 1
    (tmp_path / files[1]).write_bytes(data)
    with pytest.raises(StoreError, match=r"000-1-standard\.png is damaged: a checksum does not match"):
        check_sizes(store_of(tmp_path), files)


# --------------------------------------------------------------------------------------------------------- data sets


def rewrite(
    path: Path, rows: Callable[[dict[str, Any]], Any] | None = None, settings: dict[str, Any] | None = None
) -> None:
    """As somebody does who knows the format: rows changed, and settings with their fingerprint; the checksum stays."""
    with pa.memory_map(str(path)) as source, pa.ipc.open_file(source) as reader:
        table = reader.read_all()
    data = table.to_pylist()
    for row in data if rows else ():
        rows(row)  # type: ignore[misc]
    metadata = dict(table.schema.metadata)
    told = json.loads(metadata[b"noiseprompt.settings"]) | (settings or {})
    metadata[b"noiseprompt.settings"] = json.dumps(told, sort_keys=True).encode()
    metadata[b"noiseprompt.fingerprint"] = fingerprint(told).encode()
    made = pa.Table.from_pylist(data, schema=table.schema.with_metadata(metadata)).combine_chunks()
    with pa.OSFile(str(path), "wb") as sink, pa.ipc.new_file(sink, made.schema) as writer:
        writer.write_batch(made.to_batches()[0])


@pytest.mark.parametrize(
    "change",
    [{"scored_share": 7}, {"shard_size": 0}, {"parts": "x"}, {"targets": "x"}, {"schema_version": 9}, {"scorers": "a"}],
    ids=str,
)
def test_settings_that_no_data_set_has_are_refused(change: dict[str, Any], tmp_path: Path) -> None:
    write(tmp_path)
    for path in tmp_path.glob("shard-*.arrow"):
        rewrite(path, settings=change)
    with pytest.raises(StoreError, match=next(iter(change))):
        Npd(tmp_path)
    assert verify(tmp_path)


def test_pairs_that_lost_some_scores_are_told_by_the_writer(tmp_path: Path) -> None:
    def lose(row: dict[str, Any]) -> None:
        row[f"score_target.{SETTINGS['scorers'][0]}"] = None

    write(tmp_path)
    rewrite(tmp_path / "shard-000000.arrow", lose)
    with pytest.raises(StoreError, match="lacks some of its scores"):
        NpdWriter(tmp_path, SETTINGS, SHAPE, shard_size=4)


def test_a_prompt_that_is_none_is_one_problem_of_many(tmp_path: Path) -> None:
    write(tmp_path)
    rewrite(tmp_path / "shard-000000.arrow", lambda row: row.update(prompt="a\0b"))
    assert sum("NUL" in problem for problem in verify(tmp_path)) == 4


def test_pairs_that_were_made_rejected_are_seen(tmp_path: Path) -> None:
    write(tmp_path)
    rewrite(tmp_path / "shard-000000.arrow", lambda row: row.update(rejected="no"))
    with pytest.raises(StoreError, match=r"shard-000000\.arrow does not match"):
        Npd(tmp_path)


@pytest.mark.parametrize("change", [{"shards": 10**18, "pairs": 10**18}, {"shards": -1}, {"pairs": 1, "shards": 9}])
def test_a_claim_of_any_size_is_none(change: dict[str, int], tmp_path: Path) -> None:
    write(tmp_path)
    said = {"settings": {}, "plan": "", "pairs": 6, "shards": 2}
    (tmp_path / CLAIM).write_text(json.dumps(said | change))
    assert read_claim(store_of(tmp_path)) == {} and state(tmp_path).planned == 2


def test_a_last_shard_that_is_gone_is_told(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / CLAIM).write_text(json.dumps({"settings": {}, "plan": "", "pairs": 9, "shards": 3}))
    with pytest.warns(NoisepromptWarning, match="2 of the 3 shards that were planned"):
        Npd(tmp_path)


STRANGE: dict[str, Callable[[Path], Any]] = {
    "a folder": lambda path: path.mkdir(),
    "a link to nothing": lambda path: path.symlink_to("nowhere"),
    "a link to itself": lambda path: path.symlink_to(path.name),
    "a pipe": os.mkfifo,
}


@pytest.mark.parametrize("unit", ["folder", "shard-000001", "writer-ab12cd34"])
@pytest.mark.parametrize("kind", STRANGE)
def test_what_is_no_lease_is_not_waited_for(kind: str, unit: str, tmp_path: Path) -> None:
    write(tmp_path)
    STRANGE[kind](tmp_path / f".{unit}.lease")
    for read in (state, lambda folder: NpdWriter(folder, SETTINGS, SHAPE, shard_size=4)):
        with pytest.raises(StoreError, match=rf"\.{unit}\.lease is no lease but a folder, a link or a pipe"):
            read(tmp_path)


def test_a_lease_of_any_depth_tells_nobody(tmp_path: Path) -> None:
    write(tmp_path)
    (tmp_path / ".shard-000001.lease").write_text("[" * 100_000)
    assert state(tmp_path).leased == {1: "an unknown process"}


def test_a_holder_commands_no_terminal(tmp_path: Path) -> None:
    write(tmp_path)
    said = {"host": "\x1b[2Jx", "pid": 5, "since": "\x1b[31m", "token": "a"}
    (tmp_path / ".shard-000001.lease").write_text(json.dumps(said))
    assert state(tmp_path).leased == {1: "process 5 on \\x1b[2Jx since \\x1b[31m"}
