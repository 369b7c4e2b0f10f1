"""Files replaced at once, whole lines, locks and claims: what is on disk after a full disk, a link, a kill."""

import errno
import json
import os
import resource
import stat
from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path

import numpy as np
import pytest
import torch

from noiseprompt.core.errors import ConfigError, StoreError, StoreLockedError
from noiseprompt.core.files import Lock, append, claim, differences, make_folder, replace, replacing


@contextmanager
def room_for(count: int) -> Iterator[None]:
    """Files of this process end after `count` bytes, as on a disk that is full."""
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (count, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))


WRITERS = {
    "text": lambda file: file.write(b"x" * 100_000),
    "torch": lambda file: torch.save({"weight": torch.zeros(100_000)}, file),
    "numpy": lambda file: np.savez(file, features=np.zeros(100_000)),
}


@pytest.mark.parametrize("write", WRITERS.values(), ids=WRITERS)
def test_a_full_disk_is_one_error_and_the_old_file_stays(tmp_path: Path, write) -> None:
    path = tmp_path / "state.pt"
    replace(path, "old")
    with room_for(50_000), pytest.raises(StoreError, match=r"cannot write .*state\.pt: File too large.*again"):  # noqa: SIM117
        with replacing(path) as file:
            write(file)
    assert path.read_text() == "old" and os.listdir(tmp_path) == ["state.pt"]
    with replacing(path) as file:
        write(file)
    assert len(path.read_bytes()) > 50_000


def test_what_fails_half_way_changes_nothing(tmp_path: Path) -> None:
    def parts() -> Iterator[str]:
        yield "new"
        raise KeyError("a part that is not there")

    replace(tmp_path / "a", ["ol", "d é"])
    with pytest.raises(KeyError):
        replace(tmp_path / "a", parts())
    assert (tmp_path / "a").read_bytes() == "old é".encode() and len(os.listdir(tmp_path)) == 1


def test_nothing_is_written_through_a_link(tmp_path: Path, monkeypatch) -> None:
    """Neither through one at the temporary name, were it known, nor through one at the name itself."""
    (tmp_path / "other").write_text("mine")
    monkeypatch.setattr("secrets.token_hex", lambda n: "0" * 8)
    (tmp_path / "a.00000000.tmp").symlink_to(tmp_path / "other")
    with pytest.raises(StoreError, match=r"a\.00000000\.tmp: File exists"):  # which is named, and stays
        replace(tmp_path / "a", "new")
    assert (tmp_path / "a.00000000.tmp").is_symlink()
    monkeypatch.undo()
    (tmp_path / "a").symlink_to(tmp_path / "other")
    replace(tmp_path / "a", "new")
    assert (tmp_path / "a").read_text() == "new" and (tmp_path / "other").read_text() == "mine"


def test_a_folder_that_cannot_be_made_tells_what_is_in_the_way(tmp_path: Path) -> None:
    (tmp_path / "file").write_text("mine")
    (tmp_path / "link").symlink_to("nowhere")
    for name, reason in (("file", "is no folder"), ("file/below", "Not a directory"), ("link", "leads nowhere")):
        with pytest.raises(StoreError, match=reason):
            make_folder(tmp_path / name)
    assert (tmp_path / "file").read_text() == "mine"


def test_a_file_is_for_whom_the_user_says(tmp_path: Path) -> None:
    before = os.umask(0o027)
    try:
        replace(tmp_path / "a", "x")
    finally:
        os.umask(before)
    assert stat.S_IMODE((tmp_path / "a").stat().st_mode) == 0o640


def test_writers_of_one_path_do_not_mix(tmp_path: Path) -> None:
    with replacing(tmp_path / "a") as first, replacing(tmp_path / "a") as second:
        first.write(b"first" * 1000)
        second.write(b"second")
    assert (tmp_path / "a").read_bytes() == b"first" * 1000  # the last to end
    assert os.listdir(tmp_path) == ["a"]


def test_everything_is_synced_before_it_is_renamed_and_the_folder_after(tmp_path: Path, monkeypatch) -> None:
    seen, fsync, rename = [], os.fsync, os.replace
    monkeypatch.setattr(os, "fsync", lambda fd: (seen.append(os.readlink(f"/proc/self/fd/{fd}")), fsync(fd)))
    monkeypatch.setattr(os, "replace", lambda a, b: (seen.append("rename"), rename(a, b)))
    replace(tmp_path / "a", "x")
    assert [seen[0].endswith(".tmp"), *seen[1:]] == [True, "rename", str(tmp_path)]


def test_a_disk_that_cannot_sync_folders_will_do(tmp_path: Path, monkeypatch) -> None:
    def fsync(fd: int) -> None:
        if stat.S_ISDIR(os.fstat(fd).st_mode):
            raise OSError(errno.EINVAL, "no")

    monkeypatch.setattr(os, "fsync", fsync)
    replace(tmp_path / "a", "x")


def test_lines_are_added_whole_or_not_at_all(tmp_path: Path) -> None:
    path = tmp_path / "results.jsonl"
    append(path, "one\n")
    with room_for(10), pytest.raises(StoreError, match=r"results\.jsonl: File too large"):
        append(path, "a line of more than ten bytes\n")
    append(path, "two\n")
    assert path.read_text() == "one\ntwo\n"


def test_a_lock_clears_what_a_kill_left_and_nothing_else(tmp_path: Path) -> None:
    for name in ("state.pt.0123abcd.tmp", "notes.tmp", "a.txt"):
        (tmp_path / name).write_text("x")
    with Lock(tmp_path):
        assert sorted(os.listdir(tmp_path)) == [".folder.lease", "a.txt", "notes.tmp"]
        with pytest.raises(StoreLockedError, match="one writer"), Lock(tmp_path):
            pass


@dataclass(frozen=True)
class Config:
    steps: int = 3
    sizes: tuple[int, ...] = (1, 2)


def test_a_folder_is_claimed_for_its_settings(tmp_path: Path) -> None:
    path = tmp_path / "deep" / "settings.json"
    with claim(path, Config()), pytest.raises(StoreLockedError), claim(path, Config()):
        pass
    assert json.loads(path.read_text()) == {"steps": 3, "sizes": [1, 2]}
    written = path.read_bytes()
    with claim(path, {"sizes": [1, 2], "steps": 3}):
        assert path.read_bytes() == written
    with pytest.raises(ConfigError, match=r"deep was made with other settings .*: steps: 3 there, 4 here\.") as caught:  # noqa: SIM117
        with claim(path, Config(steps=4)):
            raise AssertionError("not reached")
    assert "sizes" not in str(caught.value)
    path.write_text("{")
    with pytest.raises(ConfigError, match=r"settings\.json is damaged"), claim(path, Config()):
        pass


def test_differences_name_each_key_with_both_values() -> None:
    there, here = {"a": 1, "b": 2, "old": 5}, {"a": 1, "b": 3, "new": None}
    assert differences(there, here) == ["b: 2 there, 3 here", "old: 5 there, None here"]
    assert differences(there, here, here) == ["b: 2 there, 3 here"]


def test_a_folder_where_a_file_is(tmp_path: Path) -> None:
    (tmp_path / "a").write_text("x")
    for folder in (tmp_path / "a", tmp_path / "a" / "b"):
        with pytest.raises(StoreError, match="cannot write to"):
            make_folder(folder)
