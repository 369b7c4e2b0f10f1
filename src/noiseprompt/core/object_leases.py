"""Leases in object storage: as those of `core/leases.py`, by conditional writes in place of links.

A lease is an object `.UNIT.lease` with the same words. It is made where there is none (If-None-Match: *), renewed and
taken over where it is still as it was read (If-Match), so that of two who try one succeeds. No clock is compared: the
store's stamp (ETag) of an object changes with every renewal, and whoever finds one unchanged for `PATIENCE` seconds of
its own takes it over.

A holder that lost its lease without noticing does no harm: shards are committed by conditional writes too.
"""

from __future__ import annotations

import re
import time
from abc import abstractmethod
from typing import Any

from noiseprompt.core.errors import StoreError
from noiseprompt.core.fetched import Fetched
from noiseprompt.core.holders import MINE, ended_here
from noiseprompt.core.json_files import parse_json
from noiseprompt.core.leasing import PATIENCE, REFRESH, AnyLease, AnyLeases
from noiseprompt.core.store import Stamp, Store

_NAME = re.compile(r"\.(.+)\.lease")
_TRIES = 3


class ObjectStore(Store):
    """A store without links, whose files have stamps and can be written and removed on conditions."""

    @abstractmethod
    def get(self, name: str) -> tuple[bytes, Stamp] | None:
        """A file and its stamp; None where there is none.

        Raises:
            StoreError: it cannot be fetched.
        """

    def file(self, name: str) -> Fetched:
        """As of `Store`."""
        found = self.get(name)
        return Fetched(self.where(name), None if found is None else found[0])

    def holds(self, name: str) -> bool:
        """As of `Store`."""
        return not {"", ".", ".."} & {*name.split("/")}

    def append(self, name: str, lines: bytes) -> None:
        """As of `Store`: all of the file is written anew, a torn last line left out; again where another was faster."""
        while True:
            before, follows = self.get(name) or (b"", None)
            if self.swap(name, before[: before.rfind(b"\n") + 1] + lines, follows) is not None:
                return

    @abstractmethod
    def recent(self, name: str) -> Stamp | None:
        """`stamp` as of a moment ago."""

    @abstractmethod
    def drop(self, name: str, follows: Stamp) -> bool:
        """Remove a file that nobody has written since; False where somebody has.

        Raises:
            StoreError: it cannot be removed.
        """


class ObjectLeases(AnyLeases):
    """The leases in one folder of object storage, as one process sees them."""

    def __init__(self, store: ObjectStore, patience: float = PATIENCE, refresh: float = REFRESH) -> None:
        super().__init__(str(store), patience, refresh)
        self.store = store
        self._seen: dict[str, tuple[Stamp, float, dict[str, Any]]] = {}

    def take(self, unit: str) -> ObjectLease | None:
        """As of `AnyLeases`; of a lease that was there a moment ago, as it was read before, the store is not asked."""
        name = file_name(unit)
        known = self.store.recent(name)
        if known is None:
            lease = ObjectLease.make(self, unit, None)
            if lease is not None:
                return lease
        elif name in self._seen and self._seen[name][0] == known and not self._abandoned(name):
            return None
        found = self.store.get(name)
        if found is None:
            return ObjectLease.make(self, unit, None)
        text, stamp = found
        if name not in self._seen or self._seen[name][0] != stamp:
            self._seen[name] = (stamp, time.monotonic(), _said(text) or {})
        return ObjectLease.make(self, unit, stamp) if self._abandoned(name) else None

    def _abandoned(self, name: str) -> bool:
        """Whether a lease that was read is that of a process of this machine that has ended, or unchanged for long."""
        _, since, said = self._seen[name]
        return ended_here(said) or time.monotonic() - since > self.patience

    def units(self) -> list[str]:
        """As of `AnyLeases`."""
        return sorted(match[1] for name in self.store.names() if (match := _NAME.fullmatch(name)))

    def top(self, unit: str) -> tuple[Stamp, dict[str, Any] | None] | None:
        """As of `AnyLeases`."""
        found = self.store.get(file_name(unit))
        return None if found is None else (found[1], _said(found[0]))


class ObjectLease(AnyLease):
    """One that this process holds, until `free` or the end of the block."""

    def __init__(self, leases: ObjectLeases, unit: str) -> None:
        super().__init__(leases, unit)
        self._store, self._name, self._stamp = leases.store, file_name(unit), None

    _stamp: Stamp | None

    @classmethod
    def make(cls, leases: ObjectLeases, unit: str, follows: Stamp | None) -> ObjectLease | None:
        """The lease in place of another, or where there is none; None where somebody was faster.

        Raises:
            StoreError: the store cannot be written.
        """
        lease = cls(leases, unit)
        lease._stamp = follows
        MINE.add(lease.token)  # before anybody sees it
        try:
            lease._renew()
        except BaseException:
            MINE.discard(lease.token)
            raise
        if lease._stamp is None:
            MINE.discard(lease.token)
            return None
        lease._start()
        return lease

    def held(self) -> bool:
        """As of `AnyLease`."""
        found = self._store.get(self._name)
        return found is not None and (_said(found[0]) or {}).get("token") == self.token

    def free(self) -> None:
        """As of `AnyLease`."""
        if self.token not in MINE:
            return
        MINE.discard(self.token)
        self._stop()
        for _ in range(_TRIES):  # a renewal may still be on its way
            found = self._store.get(self._name)
            if found is None or (_said(found[0]) or {}).get("token") != self.token:
                return
            if self._store.drop(self._name, found[1]):
                return

    def _renew(self) -> None:
        """Where it was taken over meanwhile it is not written again."""
        if self._beat and self._stamp is None:
            return
        self._stamp = self._store.swap(self._name, self._text(), self._stamp)
        self._beat += 1


def file_name(unit: str) -> str:
    """Of the lease on a unit."""
    return f".{unit}.lease"


def _said(text: bytes) -> dict[str, Any] | None:
    try:
        data = parse_json(text)
    except ValueError:
        return None
    return data if isinstance(data, dict) else None


def check_conditions(store: ObjectStore, unit: str) -> None:
    """Whether a store heeds the conditions of writes, on a lease with a name of its own.

    Raises:
        StoreError: it does not.
    """
    lease, name = ObjectLeases(store).fresh(unit), file_name(unit)
    try:
        for follows in (None, ('"0"', 0)):
            if store.swap(name, b"{}", follows) is not None:
                expected = "one that heeds If-None-Match and If-Match, as AWS S3, MinIO, Ceph and R2 do"
                fix = "collect into a folder on a disk and copy it there"
                raise StoreError(f"the store of {store} knows no conditional writes", expected, fix)
    finally:
        lease.free()
        store.remove(name)
