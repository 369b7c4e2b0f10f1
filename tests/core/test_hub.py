"""The hub: what is fetched and uploaded is the same bytes, and one message tells where it is not to be had."""

from __future__ import annotations

import errno
from pathlib import Path
from typing import Any

import pytest

from noiseprompt.core import hub as client
from noiseprompt.core.errors import HubError
from noiseprompt.core.hub_errors import explained, of_the_hub
from tests import hub_server
from tests.hub_server import Hub

CARD = b"---\nlicense: apache-2.0\n---\n# a model\n"
FILES = {"README.md": CARD, "config.json": b"{}", "weights/a.pth": bytes(range(256)) * 700, "b.txt": b""}


def read(folder: Path) -> dict[str, bytes]:
    found = {path.relative_to(folder).as_posix(): path.read_bytes() for path in folder.rglob("*") if path.is_file()}
    return {name: data for name, data in found.items() if not name.startswith(".cache")}


def test_a_file_that_was_not_fetched_before_is_told_so_offline(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add("a/model", FILES)
    fetched = client.fetch_file("a/model", "config.json")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert client.fetch_file("a/model", "config.json") == fetched
    fetched.resolve().unlink()
    for file in ("config.json", "weights/a.pth"):
        with pytest.raises(HubError, match=r"a/model is not in the hub's cache, and offline.*Unset HF_HUB"):
            client.fetch_file("a/model", file)


def test_what_a_repository_is(hub: Hub) -> None:
    repo = hub.add("a/model", FILES)
    found = client.look_up("a/model")
    assert (found.name, found.commit, found.license) == ("a/model", repo.head, "apache-2.0")
    assert set(found.files) == set(FILES)
    hub.add("a/bare", {"x.bin": b"x"})
    assert client.look_up("a/bare").license == ""


def test_files_are_fetched_byte_by_byte(hub: Hub, tmp_path: Path) -> None:
    repo = hub.add("a/model", FILES)
    assert client.fetch_file("a/model", "weights/a.pth").read_bytes() == FILES["weights/a.pth"]
    assert read(client.fetch_files("a/model", ["*.json", "weights/*"])).keys() == {"config.json", "weights/a.pth"}
    old = repo.head
    repo.commit({**FILES, "config.json": b'{"a": 1}'})
    assert read(client.fetch_files("a/model", ["*"], into=tmp_path / "new")) == repo.files
    assert read(client.fetch_files("a/model", ["*"], revision=old, into=tmp_path / "old")) == FILES


def test_what_is_fetched_stays_when_offline(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add("a/model", FILES)
    client.fetch_file("a/model", "weights/a.pth")
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)
    assert client.fetch_file("a/model", "weights/a.pth").read_bytes() == FILES["weights/a.pth"]
    for ask in (lambda: client.fetch_file("a/model", "config.json"), lambda: client.fetch_files("a/other", ["*"])):
        with pytest.raises(HubError, match=r"not in the hub's cache, and offline mode is on\. Unset HF_HUB_OFFLINE"):
            ask()
    assert client.reach() == "offline mode is on (HF_HUB_OFFLINE)"


def test_a_download_that_broke_off_goes_on_where_it_stopped(hub: Hub) -> None:
    hub.add("a/model", FILES)
    hub.cut = [100_000]
    assert client.fetch_file("a/model", "weights/a.pth").read_bytes() == FILES["weights/a.pth"]
    assert hub.count("GET", "a.pth") == 2


def folder(tmp_path: Path) -> Path:
    for name, data in FILES.items():
        path = tmp_path / "folder" / name
        path.parent.mkdir(parents=True, exist_ok=True)
        path.write_bytes(data)
    return tmp_path / "folder"


@pytest.mark.parametrize("kind", ["model", "dataset"])
def test_an_upload_is_the_same_bytes_and_is_not_sent_twice(hub: Hub, tmp_path: Path, kind: Any) -> None:
    source, texts = folder(tmp_path), {"README.md": "---\nlicense: mit\n---\nmine\n"}
    wanted = ["weights/*", "*.json", "b.txt"]
    assert client.upload(source, "writer/new", wanted, texts, kind=kind).startswith(hub.url)
    repo = hub.repos[f"{kind}s", "writer/new"]
    assert repo.files == {**FILES, "README.md": texts["README.md"].encode()}
    sent, commits = hub.count("PUT", "/lfs/"), len(repo.commits)
    client.upload(source, "writer/new", wanted, texts, kind=kind)
    assert (hub.count("PUT", "/lfs/"), len(repo.commits)) == (sent, commits) == (1, 3)
    (source / "b.txt").unlink()
    client.upload(source, "writer/new", wanted, {}, kind=kind)
    assert "b.txt" not in repo.files and "README.md" in repo.files


def test_a_new_repository_may_be_private(hub: Hub, tmp_path: Path) -> None:
    client.upload(folder(tmp_path), "writer/own", ["*.json"], {}, private=True)
    assert hub.repos["models", "writer/own"].private


@pytest.mark.parametrize(
    ("token", "name", "says"),
    [
        (hub_server.TOKEN, "a/none", r"has no model a/none, or it is private.*hf auth login"),
        ("", "a/none", r"has no model a/none, or it is private"),
        ("", "a/private", r"has no model a/private, or it is private"),
        (hub_server.READER, "a/gated", r"a/gated wants its terms agreed to first\. Ask for access at http"),
        (hub_server.TOKEN, "no id", r"'no id' is no id of a repository on the hub\. Expected \"owner/name\""),
        (hub_server.TOKEN, "a/b/c", "no id"),
        (hub_server.TOKEN, "a/..b", "no id"),
    ],
)
def test_what_may_not_be_read(hub: Hub, monkeypatch: pytest.MonkeyPatch, token: str, name: str, says: str) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    hub.add("a/private", FILES, private=True)
    hub.add("a/gated", FILES, gated=True)
    for ask in (client.look_up, lambda n: client.fetch_file(n, "config.json"), lambda n: client.fetch_files(n, ["*"])):
        with pytest.raises(HubError, match=says) as caught:
            ask(name)
        assert "\n" not in str(caught.value)


def test_what_a_repository_lacks(hub: Hub) -> None:
    hub.add("a/model", FILES)
    with pytest.raises(HubError, match=r"a/model has no file none\.pth.*/a/model/tree/main"):
        client.fetch_file("a/model", "none.pth")
    with pytest.raises(HubError, match="a/model has no such revision"):
        client.look_up("a/model", revision="v9")


@pytest.mark.parametrize(
    ("token", "says"),
    [
        (hub_server.READER, r"your token may not do that with a/model .*a token that may write to a/model"),
        ("", "the hub takes no such token|has no model"),
    ],
)
def test_what_may_not_be_written(
    hub: Hub, monkeypatch: pytest.MonkeyPatch, tmp_path: Path, token: str, says: str
) -> None:
    monkeypatch.setenv("HF_TOKEN", token)
    hub.add("a/model", {})
    with pytest.raises(HubError, match=says):
        client.upload(folder(tmp_path), "a/model", ["*"], {})
    assert hub.repos["models", "a/model"].files == {}


@pytest.mark.parametrize(
    ("status", "says"), [(500, r"out of order \(500\)"), (429, "too many requests"), (418, "as the test wants it")]
)
def test_a_hub_in_trouble(hub: Hub, status: int, says: str) -> None:
    hub.status = ("/api/models", status)
    with pytest.raises(HubError, match=says):
        client.look_up("a/model")


def test_a_card_that_the_hub_does_not_take(hub: Hub, tmp_path: Path) -> None:
    with pytest.raises(HubError, match=r"the hub refuses|failed on"):
        client.upload(folder(tmp_path), "writer/new", ["*.json"], {"README.md": "---\na: [\n---\n"})


def test_a_hub_that_cannot_be_reached(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    with Hub() as gone:
        url = gone.url
    hub_server.use(monkeypatch, url, tmp_path)
    says = rf"the hub {url} cannot be reached \(Connect.*the same command goes on where it stopped"
    for ask in (
        client.look_up,
        lambda n: client.fetch_file(n, "x"),
        lambda n: client.upload(folder(tmp_path), n, ["*"], {}),
    ):
        with pytest.raises(HubError, match=says):
            ask("a/model")
    assert "cannot be reached" in client.reach()


def test_a_full_disk(hub: Hub, monkeypatch: pytest.MonkeyPatch) -> None:
    hub.add("a/model", FILES)

    def full(*_: Any, **__: Any) -> None:
        raise OSError(errno.ENOSPC, "No space left on device")

    monkeypatch.setattr("huggingface_hub.file_download.http_get", full)
    with pytest.raises(HubError, match=r"no room on the disk for a/model\. Make room, or set HF_HOME"):
        client.fetch_file("a/model", "weights/a.pth")


def test_the_hub_answers(hub: Hub) -> None:
    assert client.reach() == "" and client.logged_in()


def test_certificates_that_are_not_there_are_named(monkeypatch: pytest.MonkeyPatch, tmp_path: Path) -> None:
    monkeypatch.setenv("SSL_CERT_FILE", str(tmp_path / "none.pem"))
    error = FileNotFoundError(2, "No such file or directory")
    assert explained(error, "owner/name")[0] == f"SSL_CERT_FILE names {tmp_path / 'none.pem'}, which is not there"
    monkeypatch.delenv("SSL_CERT_FILE")
    assert of_the_hub(error, "owner/name") is None


def test_a_token_that_no_header_takes_is_named() -> None:
    with pytest.raises(UnicodeEncodeError) as caught:
        "Bearer \u00e9".encode("ascii")
    assert explained(caught.value, "owner/name")[2] == "mend or unset HF_TOKEN"
