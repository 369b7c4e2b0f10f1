"""Folders in object storage: what is named, what is refused early, and what a lost answer does not do."""

from __future__ import annotations

import socket
import sys
import time
from pathlib import Path
from typing import Any

import pytest

from noiseprompt.core import object_cache, s3
from noiseprompt.core.errors import InputError, MissingDependencyError, NoisepromptError, StoreError
from noiseprompt.core.files import Lock, make_folder
from noiseprompt.core.leases import Leases
from noiseprompt.core.places import Address, check_folder, place
from noiseprompt.core.stores import DiskStore, store_of
from tests.object_server import KEY, Bucket


def test_a_place_is_a_folder_or_an_address() -> None:
    found = place("s3://my-bucket/runs/npd//")
    assert isinstance(found, Address) and found == "s3://my-bucket/runs/npd"
    assert (found.bucket, found.folder) == ("my-bucket", "runs/npd")
    for text in ("runs/npd", "/runs/s3:x", "C:/runs", "s3", "./s3:/x", "s3:x"):
        assert place(text) == Path(text) and isinstance(store_of(text), DiskStore)


@pytest.mark.parametrize(
    ("text", "told"),
    [
        ("s3://", "s3://BUCKET/FOLDER"),
        ("s3://bucket", "s3://BUCKET/FOLDER"),
        ("s3://bucket/", "s3://BUCKET/FOLDER"),
        ("s3:///folder", "s3://BUCKET/FOLDER"),
        ("s3://bucket/a//b", "s3://BUCKET/FOLDER"),
        ("s3://bucket/a/../b", "s3://BUCKET/FOLDER"),
        ("s3://bu cket/a", "s3://BUCKET/FOLDER"),
        ("s3:/bucket/x", r"both slashes.*Write \./s3:/bucket/x"),
        (Path("s3://bucket/x"), r"both slashes, as a text and no Path"),
        ("gs://bucket/x", r"s3://BUCKET/FOLDER or a folder on a file system: gs: is no store"),
        ("https://host/x", "https: is no store"),
    ],
)
def test_other_addresses_are_refused_with_what_there_is(text: str | Path, told: str) -> None:
    with pytest.raises(InputError, match=told):
        place(text)


def test_what_takes_no_address_says_which_commands_do() -> None:
    with pytest.raises(
        InputError,
        match=r"s3:/b/x. Expected a path on a file system.* for collect --out, evaluate --out, generate --out, report",
    ):
        check_folder(Path("s3://b/x"))


@pytest.mark.parametrize("make", [make_folder, Leases, lambda path: Lock(path).take()])
def test_nothing_makes_a_folder_of_that_name(tmp_path: Path, monkeypatch: pytest.MonkeyPatch, make: Any) -> None:
    """As where Python hands an address to what writes to a disk alone."""
    monkeypatch.chdir(tmp_path)
    with pytest.raises(InputError, match=r"s3:/b/x. Expected a path on a file system"):
        make(Path("s3://b/x"))
    assert list(tmp_path.iterdir()) == []


def test_a_store_that_is_set_up_right_passes_and_keeps_nothing(bucket: Bucket) -> None:
    store_of(bucket.folder).check()
    assert bucket.files() == bucket.files(hidden=True) == {}


def refused(folder: str, told: str, within: float = 60.0) -> None:
    begun = time.monotonic()
    with pytest.raises(StoreError, match=told) as caught:
        store_of(folder).check()
    assert time.monotonic() - begun < within and "\n" not in str(caught.value)


def test_a_bucket_that_is_not_there_is_told(bucket: Bucket) -> None:
    url = bucket.server.url
    refused("s3://nobody-has-this/npd", rf"^there is no bucket nobody-has-this at {url}\. .*Make it, or mend")


@pytest.mark.parametrize(
    ("settings", "told"),
    [
        ({"AWS_ACCESS_KEY_ID": "OTHER"}, r"^the credentials for s3://.* are refused at .* \(InvalidAccessKeyId\)"),
        (
            {"AWS_ACCESS_KEY_ID": None, "AWS_SECRET_ACCESS_KEY": None},
            "^there are no credentials for s3://.*AWS_PROFILE",
        ),
        ({"AWS_ACCESS_KEY_ID": "key\n"}, r"^the credentials for s3://.* hold the end of a line"),
        ({"AWS_PROFILE": "nobody"}, r"^there are no credentials for .*\(.*nobody.*\)"),
        ({"AWS_ENDPOINT_URL": "over there"}, r"^cannot use object storage: Invalid endpoint: over there"),
    ],
)
def test_what_is_set_up_wrongly_is_told(
    bucket: Bucket, monkeypatch: pytest.MonkeyPatch, settings: dict[str, Any], told: str
) -> None:
    for name, value in settings.items():
        monkeypatch.delenv(name, raising=False) if value is None else monkeypatch.setenv(name, value)
    refused(bucket.folder, told)


def test_a_store_that_does_not_answer_is_given_up_soon(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("AWS_ENDPOINT_URL", "http://127.0.0.1:1")
    refused(bucket.folder, r"^the store of s3://.* cannot be reached at http://127\.0\.0\.1:1.*AWS_ENDPOINT_URL")
    monkeypatch.setattr(s3, "_ATTEMPTS", 2)
    monkeypatch.setattr(s3, "_ANSWER", 0.2)
    with socket.create_server(("127.0.0.1", 0)) as silent:
        monkeypatch.setenv("AWS_ENDPOINT_URL", f"http://127.0.0.1:{silent.getsockname()[1]}")
        refused(bucket.folder, r"cannot be reached.*[Tt]ime")


def test_a_key_without_rights_is_told(bucket: Bucket) -> None:
    bucket.server.forbids = lambda method, path: method == "PUT"
    refused(bucket.folder, r"^no rights on s3://.* \(AccessDenied\)\. .*listed, read, written and removed")


def test_a_store_without_conditional_writes_is_refused_and_nothing_stays(bucket: Bucket) -> None:
    bucket.server.heeds = False
    refused(bucket.folder, r"^the store of s3://.* knows no conditional writes\. .*If-None-Match.*a folder on a disk")
    assert bucket.files(hidden=True) == {}


def test_without_boto3_it_is_told_what_to_install(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setitem(sys.modules, "boto3", None)
    monkeypatch.setenv("AWS_ANOTHER", "client")
    with pytest.raises(MissingDependencyError, match=r'pip install "noiseprompt\[s3\]"'):
        store_of(bucket.folder)


def test_a_swap_heeds_what_others_wrote(bucket: Bucket) -> None:
    one, other = store_of(bucket.folder), store_of(bucket.folder)
    first = one.swap("x", b"1", None)
    assert first is not None and first[1] == 1
    assert other.swap("x", b"2", None) is None and bucket.read("x") == b"1"
    second = other.swap("x", b"22", first)
    assert second is not None and one.swap("x", b"3", first) is None and bucket.read("x") == b"22"
    assert one.swap("x", b"22", first) == second  # what is there is what was wanted
    assert one.names() == ["x"] and one.stamp("x") == second
    one.remove("x")
    assert one.swap("x", b"4", second) is None and bucket.files() == {}


def test_a_lost_answer_to_a_write_is_not_taken_for_anothers(bucket: Bucket) -> None:
    lost = ["PUT"]
    bucket.server.loses = lambda method, path: bool(lost) and method == lost[0] and bool(lost.pop())
    assert store_of(bucket.folder).swap("x", b"1", None) is not None and lost == []


def test_more_files_than_a_page_are_listed(bucket: Bucket) -> None:
    for name in ("a", "b", "below/c"):
        bucket.write(name, b"")
    store = store_of(bucket.folder)
    pages = store._reach().get_paginator("list_objects_v2")  # type: ignore[attr-defined]
    assert len([*pages.paginate(Bucket=bucket.name, Prefix="runs/npd/", PaginationConfig={"PageSize": 1})]) == 3
    assert store.names() == ["a", "b"]


def test_a_kept_file_is_fetched_once_and_again_when_it_changes(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    bucket.write("a", b"1")
    store = store_of(bucket.folder)
    store.names(), bucket.server.log.clear()
    [path], [again] = store.kept(["a"]), store.kept(["a"])
    assert path == again and path.read_bytes() == b"1" and path.is_relative_to(object_cache.root())
    assert len(bucket.server.log) == 1
    bucket.write("a", b"2")
    store.names()
    assert store.kept(["a"])[0].read_bytes() == b"2" and not path.exists()
    monkeypatch.delenv(object_cache.VARIABLE)
    monkeypatch.setenv("XDG_CACHE_HOME", "/xdg")
    assert object_cache.root() == Path("/xdg/noiseprompt")


def test_every_error_of_the_client_is_one_of_ours(bucket: Bucket) -> None:
    """Whatever code a store answers with."""
    import botocore.exceptions

    from noiseprompt.core.s3_errors import told

    for code in ("PermanentRedirect", "SlowDown", "NotImplemented", "RequestTimeTooSkewed", "ExpiredToken", "Odd"):
        answer = {"Error": {"Code": code, "Message": f"{code} happened"}}
        error = botocore.exceptions.ClientError(answer, "PutObject")  # type: ignore[arg-type]
        assert code in str(told(error, "s3://b/f", "b", "http://host"))
    assert isinstance(told(botocore.exceptions.BotoCoreError(), "s3://b/f"), NoisepromptError)
    assert KEY not in str(told(ValueError("x"), "s3://b/f"))


@pytest.mark.parametrize("on_disk", [True, False])
def test_a_folder_does_what_it_is_asked_wherever_it_lies(bucket: Bucket, tmp_path: Path, on_disk: bool) -> None:
    store = store_of(tmp_path / "a" if on_disk else bucket.folder)
    assert store_of(store) is store and not store.file("x.jsonl").exists()
    with pytest.raises(FileNotFoundError):
        store.file("x.jsonl").read_bytes()
    store.make()
    store.append("x.jsonl", b"1\n"), store.append("x.jsonl", b"2\n")
    assert store.file("x.jsonl").read_bytes() == b"1\n2\n" and store.names() == ["x.jsonl"]
    store.edit("x.jsonl", lambda: store.read("x.jsonl").decode() + "3\n")
    with store.file("x.jsonl").open("rb") as file:
        assert [*file] == [b"1\n", b"2\n", b"3\n"]
    below = store.below("images/m")
    below.make()
    below.put("a.png", b"four")
    assert store.file("images/m/a.png").read_bytes() == b"four" and below.stamp("a.png")[1] == 4  # type: ignore[index]
    assert below.stamp("b.png") is None and store.stamp("images") is None
    assert store.holds("images/m/a.png") and not store.holds("../x") and not store.holds("/x")
    assert [*store.each(lambda name: store.file(name).exists(), ["x.jsonl", "y"] * 20)] == [True, False] * 20


def test_what_two_write_at_once_is_made_again(bucket: Bucket, monkeypatch: pytest.MonkeyPatch) -> None:
    store, meanwhile = store_of(bucket.folder), [("a", b"5"), ("b", b"of another\n")]
    swap = store.swap

    def late(name: str, *rest: Any) -> Any:
        if meanwhile and meanwhile[0][0] == name:
            bucket.write(*meanwhile.pop(0))
        return swap(name, *rest)

    monkeypatch.setattr(store, "swap", late)
    store.put("a", b"1")
    store.edit("a", lambda: str(int(store.read("a")) + 1))
    assert bucket.read("a") == b"6"
    store.append("b", b"mine\n")
    assert bucket.read("b") == b"of another\nmine\n" and meanwhile == []


def test_a_page_is_shown_by_a_browser(bucket: Bucket) -> None:
    store = store_of(bucket.folder)
    store.put("report.html", b"<p>"), store.swap("a.png", b"", None), store.put("a.arrow", b"")
    kinds = {
        name: bucket.client.head_object(Bucket=bucket.name, Key=f"runs/npd/{name}")["ContentType"]
        for name in ("report.html", "a.png", "a.arrow")
    }
    assert kinds == {"report.html": "text/html; charset=utf-8", "a.png": "image/png", "a.arrow": "binary/octet-stream"}
