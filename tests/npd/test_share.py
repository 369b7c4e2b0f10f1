"""Data sets on the hub and back: the same bytes, after interruptions too, and nothing that is not sound."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import pyarrow as pa
import pytest

from noiseprompt.core.cards import head_of
from noiseprompt.core.errors import HubError, InputError, StoreError
from noiseprompt.npd import Npd
from noiseprompt.npd.card import data_card
from noiseprompt.npd.share import pull, push
from tests import hub_server, npd_fakes
from tests.hub_server import Hub


def shards(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("shard-*.arrow")}


@pytest.fixture
def npd(tmp_path: Path) -> Path:
    folder = npd_fakes.write(tmp_path / "npd", shard_size=2)
    (folder / "noise.json").write_text("{}\n")
    (folder / "noiseprompt-error.txt").write_text("/home/somebody")
    return folder


def test_there_and_back_are_the_same_bytes(hub: Hub, npd: Path, tmp_path: Path) -> None:
    assert push(npd, "writer/npd", license="mit").startswith(hub.url)
    there = hub.repos["datasets", "writer/npd"].files
    assert {name: data for name, data in there.items() if name != "README.md"} == {
        **shards(npd), "noise.json": b"{}\n",
    }  # fmt: skip
    assert pull(tmp_path / "back", "writer/npd") == 6
    assert shards(tmp_path / "back") == shards(npd)
    assert not (tmp_path / ".back.pulling").exists()
    assert head_of((tmp_path / "back" / "README.md").read_text())["license"] == "mit"
    push(tmp_path / "back", "writer/npd")  # what its card states stays, and nothing is sent again
    assert hub.count("PUT", "/lfs/") == len(shards(npd)) and head_of(there["README.md"].decode())["license"] == "mit"


def test_a_data_set_that_grew_or_shrank(hub: Hub, npd: Path, tmp_path: Path) -> None:
    push(npd, "writer/npd")
    sent = hub.count("PUT", "/lfs/")
    smaller = npd_fakes.write(tmp_path / "other", shard_size=4)
    push(smaller, "writer/npd")
    assert hub.count("PUT", "/lfs/") == sent + 2
    pull(tmp_path / "back", "writer/npd")
    assert shards(tmp_path / "back") == shards(smaller)


def test_damage_is_neither_sent_nor_taken(hub: Hub, npd: Path, tmp_path: Path) -> None:
    push(npd, "writer/npd")
    repo = hub.repos["datasets", "writer/npd"]
    data = bytearray(repo.files["shard-000001.arrow"])
    at = data.find(Npd(npd)[2].target.astype("float16").tobytes())  # type: ignore[union-attr]
    data[at] ^= 1
    repo.commit({**repo.files, "shard-000001.arrow": bytes(data)})
    with pytest.raises(StoreError, match=r"writer/npd is not sound: shard-000001.arrow: its checksum"):
        pull(tmp_path / "back", "writer/npd")
    assert not (tmp_path / "back").exists()
    (npd / "shard-000001.arrow").write_bytes(data)
    with pytest.raises(StoreError, match="is not sound"):
        push(npd, "writer/other")
    assert ("datasets", "writer/other") not in hub.repos


def test_what_cannot_be_pulled(hub: Hub, npd: Path, tmp_path: Path) -> None:
    with pytest.raises(InputError, match=r"npd exists.*a new folder"):
        pull(npd, "writer/npd")
    with pytest.raises(HubError, match="the hub has no data set writer/none"):
        pull(tmp_path / "back", "writer/none")
    hub.add("a/texts", {"prompts.txt": b"a"}, kind="datasets")
    with pytest.raises(HubError, match="a/texts holds no noise prompt data set"):
        pull(tmp_path / "back", "a/texts")
    with pytest.raises(HubError, match="is no id of a repository"):
        pull(tmp_path / "back", str(npd))
    with pytest.raises(StoreError, match="holds no noise prompt data set"):
        push(tmp_path / "nothing", "writer/npd")
    assert hub.count("POST", "create") == 0 and not list(tmp_path.glob("*back*"))


def test_a_data_set_that_grows_while_it_is_sent(hub: Hub, npd: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def grow(*_: Any, **__: Any) -> str:
        (npd / "shard-000002.arrow").unlink()
        return ""

    monkeypatch.setattr("noiseprompt.core.hub.upload", grow)
    with pytest.raises(StoreError, match="was added to while it was sent"):
        push(npd, "writer/npd")


def test_the_card_tells_the_viewer_every_column(npd: Path, tmp_path: Path) -> None:
    text = data_card(npd, "me/npd", "mit")
    told = head_of(text)
    assert told["configs"] == [{"config_name": "default", "data_files": [{"split": "train", "path": "shard-*.arrow"}]}]
    with pa.memory_map(str(npd / "shard-000000.arrow")) as file:
        names = pa.ipc.open_file(file).schema.names
    features = {one["name"]: one["dtype"] for one in told["dataset_info"]["features"]}
    assert list(features) == names
    assert (features["target"], features["source"], features["score_source.a"]) == (
        "fixed_size_binary[64]", "null", "float64",
    )  # fmt: skip
    assert told["size_categories"] == ["n<1K"] and told["task_categories"] == ["text-to-image"]
    assert "noiseprompt npd pull npd me/npd" in text and "| a | -0.0250 | 0.3625 | 0.3875 | 5 |" in text
    assert str(tmp_path) not in text


# ---------------------------------------------------------------------------------------------- killed in the middle


def command(hub: Hub, home: Path, *words: str) -> subprocess.Popen:
    env = {**os.environ, **hub_server.environment(hub, home)}
    return subprocess.Popen(
        [sys.executable, "-m", "noiseprompt", *words],
        env=env,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
        text=True,
    )


def kill_when(process: subprocess.Popen, ready: Any) -> None:
    until = time.time() + 120
    while not ready() and process.poll() is None and time.time() < until:
        time.sleep(0.01)
    assert process.poll() is None, process.communicate()
    process.send_signal(signal.SIGKILL)
    process.communicate()


def test_killed_pushes_and_pulls_go_on_where_they_stopped(hub: Hub, npd: Path, tmp_path: Path) -> None:
    """What the hub has is not sent again after a kill, and what is here not fetched again."""
    hub.slow = 0.5
    kill_when(command(hub, tmp_path / "home", "npd", "push", str(npd), "writer/npd"), lambda: len(hub.store) >= 1)
    repo, stored = hub.repos["datasets", "writer/npd"], set(hub.store)
    assert repo.files == {}  # nothing of it is shown half
    hub.slow = 0.0
    hub.log.clear()
    push(npd, "writer/npd")
    assert not [line for line in hub.log if line.startswith("PUT") and line.rpartition("/")[2] in stored]
    assert {name: data for name, data in repo.files.items() if name.startswith("shard")} == shards(npd)

    hub.slow, hub.cut = 30.0, [100]  # the first file stops after 100 bytes
    back, part = tmp_path / "back", tmp_path / ".back.pulling"
    pulling = command(hub, tmp_path / "home", "npd", "pull", str(back), "writer/npd")
    kill_when(pulling, lambda: len(list(part.glob("*.arrow"))) >= 1)
    assert not back.exists()
    kept = {path.name for path in part.glob("*.arrow")}
    hub.slow, hub.cut = 0.0, []
    hub.log.clear()
    assert pull(back, "writer/npd") == 6 and shards(back) == shards(npd)
    assert not [line for line in hub.log if line.startswith("GET") and line.rpartition("/")[2] in kept]
