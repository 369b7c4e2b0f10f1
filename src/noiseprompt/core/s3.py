"""Folders in object storage that speaks S3, by boto3 (extra `[s3]`), which only this file imports.

Credentials, region and address of the store are found as boto3 finds them: AWS_ACCESS_KEY_ID, AWS_SECRET_ACCESS_KEY,
AWS_SESSION_TOKEN, AWS_PROFILE, AWS_REGION, AWS_ENDPOINT_URL and the rest.
"""

from __future__ import annotations

import contextlib
import functools
import math
import os
import secrets
import time
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import Any

from noiseprompt.core.errors import MissingDependencyError, StoreError
from noiseprompt.core.object_cache import kept
from noiseprompt.core.object_leases import ObjectLeases, ObjectStore, check_conditions
from noiseprompt.core.places import Address
from noiseprompt.core.ranged import Ranged
from noiseprompt.core.s3_errors import GONE, REFUSED, UNKNOWN, code_of, told
from noiseprompt.core.store import Stamp

_ATTEMPTS, _CONNECT, _ANSWER = 4, 10.0, 60.0
"""Times that a request is sent, and seconds in which somebody answers and in which a part of the answer comes."""

_RECENT = 2.0
"""Seconds for which what the store listed is as good as new, where a mistake is noticed later."""

_TRIES = 3

_TEXT = "text/plain; charset=utf-8"
_KINDS = {
    "html": "text/html; charset=utf-8",
    "md": _TEXT,
    "json": "application/json",
    "jsonl": _TEXT,
    "png": "image/png",
}
"""Ends of names -> what a browser is told that a file is."""


@functools.cache
def _client(process: int, settings: tuple[tuple[str, str], ...]) -> Any:
    """The client of a process with these settings of its environment: one that was forked needs its own.

    Raises:
        MissingDependencyError: boto3 is not installed.
        StoreError: settings that it does not take.
    """
    try:
        import boto3
        from botocore.config import Config
        from botocore.exceptions import BotoCoreError
    except ImportError as error:
        came = "boto3 is not installed, which reaches object storage (s3://)"
        raise MissingDependencyError(came, "", 'install it with pip install "noiseprompt[s3]"') from error
    config = Config(
        retries={"mode": "standard", "total_max_attempts": _ATTEMPTS},
        connect_timeout=_CONNECT,
        read_timeout=_ANSWER,
        max_pool_connections=2 * S3Store.at_once,
    )
    try:
        return boto3.Session().client("s3", config=config)
    except (BotoCoreError, ValueError) as error:
        raise told(error, "object storage") from error


class S3Store(ObjectStore):
    """A folder of object storage.

    Raises:
        MissingDependencyError: boto3 is not installed.
        StoreError: settings that it does not take.
    """

    at_once = 8

    def __init__(self, address: Address) -> None:
        self.folder: Address = address
        self._listed: dict[str, Stamp] = {}
        self._when = -math.inf
        self._reach()

    def _reach(self) -> Any:
        return _client(os.getpid(), tuple(sorted(item for item in os.environ.items() if item[0].startswith("AWS_"))))

    @contextlib.contextmanager
    def _asking(self, name: str = "") -> Iterator[dict[str, str]]:
        """What names an object to the client; what goes wrong becomes a StoreError."""
        from botocore.exceptions import BotoCoreError, ClientError

        try:
            yield {"Bucket": self.folder.bucket, "Key": f"{self.folder.folder}/{name}"}
        except (BotoCoreError, ClientError) as error:
            what = self.where(name) if name else str(self)
            raise told(error, what, self.folder.bucket, self._reach().meta.endpoint_url) from error

    def below(self, folder: str) -> S3Store:
        """As of `Store`."""
        return S3Store(Address(f"{self.folder}/{folder}"))

    # ------------------------------------------------------------------------------------------------------- reading

    def check(self) -> None:
        """As of `Store`: whether it is there, may be listed, written and removed from, and knows conditions.

        Raises:
            StoreError: why not.
        """
        self.names()
        check_conditions(self, f"probe-{secrets.token_hex(4)}")

    def make(self) -> None:
        """As of `Store`: a folder is there with its first file."""

    def names(self) -> list[str]:
        """As of `Store`."""
        prefix, found = f"{self.folder.folder}/", {}
        with self._asking():
            pages = self._reach().get_paginator("list_objects_v2")
            for page in pages.paginate(Bucket=self.folder.bucket, Prefix=prefix, Delimiter="/"):
                for one in page.get("Contents", ()):
                    found[one["Key"].removeprefix(prefix)] = (one["ETag"], one["Size"])
        found.pop("", None)  # what some tools write to show a folder
        self._listed, self._when = found, time.monotonic()
        return [*found]

    def stamp(self, name: str) -> Stamp | None:
        """As of `Store`."""
        if self._when == -math.inf:
            self.names()
        return self._listed.get(name)

    def recent(self, name: str) -> Stamp | None:
        """As of `ObjectStore`."""
        if time.monotonic() - self._when > _RECENT:
            self.names()
        return self._listed.get(name)

    def get(self, name: str) -> tuple[bytes, Stamp] | None:
        """As of `ObjectStore`."""
        return self._got(name)

    def _got(self, name: str, **how: str) -> tuple[bytes, Stamp] | None:
        """What an object holds, or a part of it; None where there is none as it is asked for."""
        from botocore.exceptions import BotoCoreError, ClientError

        with self._asking(name) as asked:
            for last in (*(False,) * (_TRIES - 1), True):
                try:
                    answer = self._reach().get_object(**asked, **how)
                except ClientError as error:
                    if code_of(error) in (*GONE, *REFUSED):
                        return None
                    raise
                try:
                    data = answer["Body"].read()
                    return data, (answer["ETag"], len(data))
                except BotoCoreError:  # the client does not try that part of an answer again
                    if last:
                        raise
        return None

    def read(self, name: str) -> bytes:
        """As of `Store`."""
        found = self.get(name)
        if found is None:
            raise FileNotFoundError(self.where(name))
        return found[0]

    def source(self, name: str) -> bytes:
        """As of `Store`: all that it holds, in memory."""
        return self._fetched(name)[0]

    def glanced(self, name: str) -> bytes | Ranged:
        """As of `Store`, by ranges of bytes."""
        stamp = self.stamp(name)
        if stamp is None:
            return self.source(name)
        return Ranged(stamp[1], lambda start, end: self._part(name, stamp, start, end))

    def _part(self, name: str, stamp: Stamp, start: int, end: int) -> bytes:
        """Bytes of a file as it was listed.

        Raises:
            OSError: it was written anew, or removed.
            StoreError: it cannot be fetched.
        """
        found = self._got(name, Range=f"bytes={start}-{end - 1}", IfMatch=str(stamp[0]))
        if found is None:
            raise OSError(f"{self.where(name)} was written anew")
        return found[0]

    def kept(self, names: Sequence[str]) -> list[Path]:
        """As of `Store`: copies in the cache (`core/object_cache.py`)."""
        where = f"{self._reach().meta.endpoint_url}/{self.folder}"
        return [*self.each(lambda name: kept(where, name, self.stamp(name), self._fetched), names)]

    def _fetched(self, name: str) -> tuple[bytes, Stamp]:
        found = self.get(name)
        if found is None:
            raise StoreError(f"{self.where(name)} is gone", "nobody who removes shards meanwhile")
        return found

    # ------------------------------------------------------------------------------------------------------- writing

    def put(self, name: str, data: bytes) -> None:
        """As of `Store`."""
        with self._asking(name) as asked:
            self._reach().put_object(**asked, **_kind(name), Body=data)

    def swap(self, name: str, data: bytes, follows: Stamp | None) -> Stamp | None:
        """As of `Store`. Where the store refuses what it holds already, it took an earlier try whose answer was lost.

        Raises:
            StoreError: it cannot be written, or the store knows no conditional writes.
        """
        condition = {"IfNoneMatch": "*"} if follows is None else {"IfMatch": str(follows[0])}
        for _ in range(_TRIES):
            written = self._put_if(name, data, condition)
            if written is not None:
                return written, len(data)
            there = self.get(name)
            if there is not None:
                return there[1] if there[0] == data else None
            if follows is not None:
                return None
        return None  # others make it and remove it all the time

    def _put_if(self, name: str, data: bytes, condition: dict[str, str]) -> str | None:
        from botocore.exceptions import ClientError

        with self._asking(name) as asked:
            try:
                return self._reach().put_object(**asked, **condition, **_kind(name), Body=data)["ETag"]
            except ClientError as error:
                if code_of(error) in (*REFUSED, *GONE):
                    return None
                raise

    def remove(self, name: str) -> None:
        """As of `Store`."""
        with self._asking(name) as asked:
            self._reach().delete_object(**asked)

    def drop(self, name: str, follows: Stamp) -> bool:
        """As of `ObjectStore`; where a store knows no conditions of removals, whoever asks has looked just now."""
        from botocore.exceptions import ClientError

        with self._asking(name) as asked:
            try:
                self._reach().delete_object(**asked, IfMatch=str(follows[0]))
            except ClientError as error:
                code = code_of(error)
                if code in UNKNOWN:
                    self.remove(name)
                elif code in REFUSED:
                    return False
                elif code not in GONE:
                    raise
        return True

    def clear_left(self, of: str | tuple[str, ...] = "") -> None:
        """As of `Store`: a PUT leaves nothing unfinished."""

    def leases(self) -> ObjectLeases:
        """As of `Store`."""
        return ObjectLeases(self)


def _kind(name: str) -> dict[str, str]:
    """What a browser is told that a file is; nothing where nobody looks at it there."""
    found = _KINDS.get(name.rpartition(".")[2])
    return {"ContentType": found} if found else {}
