"""Who writes to a data set's folder, and that they agree on its settings and on the pairs it is to hold."""

from __future__ import annotations

import hashlib
import json
import secrets
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager, suppress
from typing import Any

from noiseprompt.core.errors import ConfigError, StoreError, StoreLockedError
from noiseprompt.core.leasing import AnyLease
from noiseprompt.core.store import Store
from noiseprompt.npd.format import CLAIM_FILE
from noiseprompt.npd.home import Home

MOST_PAIRS = 10**9
"""Of a plan: more do not fit a folder."""

PRESENT = "writer-"
"""Begins the unit of the lease that a writer holds while it is one."""

_FOLDER = "folder"
_TRIES, _BETWEEN = 1200, 0.05
"""How often one that lives and agrees is waited for, and how many seconds each time."""


class Claim:
    """The right to write to a folder, with others of the same plan or alone; until `free`."""

    def __init__(self, home: Home) -> None:
        self._home = home
        self.leases = home.store.leases()
        self._held: list[AnyLease] = []

    def alone(self) -> None:
        """Nobody else writes.

        Raises:
            StoreLockedError: somebody does.
            ConfigError: the folder was made with other settings.
            StoreError: the folder cannot be written.
        """
        self._home.store.make()
        with self._agreed():
            if others := self._others(sure=True):
                raise self._locked(others)
            self._begin("", 0, 0)
            self._enter()

    def shared(self, ids: Sequence[str], shards: int) -> None:
        """Others may write too, if theirs are the same settings and pairs.

        Args:
            ids: of all pairs that the folder is to hold when everybody is done.
            shards: how many shards that makes.

        Raises:
            StoreLockedError: somebody writes other pairs.
            ConfigError: the folder was made with other settings, or somebody uses others now.
            StoreError: the folder cannot be written.
        """
        self._home.store.make()
        plan = hashlib.sha256("\n".join(ids).encode()).hexdigest()[:16]
        with self._agreed():
            others, there = self._others(), read_claim(self._home.store)
            if others and self._differs(there, plan):
                others = self._others(sure=True)
                if others:
                    raise self._locked(others)
            if not others:
                self._begin(plan, len(ids), shards)
            self._enter()

    def _begin(self, plan: str, pairs: int, shards: int) -> None:
        """The first of those who write says what they agree on."""
        self._home.store.clear_left()
        for leftover in self._home.store.matching("shard-*.arrow.tmp"):  # of earlier releases
            self._home.store.remove(leftover)
        self.tidy()
        first = self._home.first()
        if first is not None:
            self._home.adopt(first.settings)
        said = {"settings": self._home.settings, "plan": plan, "pairs": pairs, "shards": shards}
        if said != read_claim(self._home.store):
            self._home.store.put(CLAIM_FILE, f"{json.dumps(said, indent=1)}\n".encode())

    def _enter(self) -> None:
        self._held.append(self.leases.fresh(f"{PRESENT}{secrets.token_hex(4)}"))

    def tidy(self) -> None:
        """Remove the leases of those who have ended, on units that nobody will ask for again."""
        own = {lease.unit for lease in self._held} | {_FOLDER}
        for unit in self.leases.holders():
            if unit not in own:
                self.leases.clear(unit)
        self.leases.sweep()

    def free(self) -> None:
        """Give the right back.

        Raises:
            StoreError: a file cannot be removed.
        """
        while self._held:
            self._held.pop().free()

    def _differs(self, there: dict[str, Any], plan: str) -> bool:
        """Whether others, who may have ended, agreed on something else.

        Raises:
            ConfigError: on other settings, and one of them lives.
        """
        if not there:
            return True
        try:
            self._home.adopt(there["settings"])
        except ConfigError:
            if self._others(sure=True):
                raise
            return True
        return there["plan"] != plan

    def _others(self, sure: bool = False) -> list[str]:
        """Who writes here, in words.

        Args:
            sure: waits where it cannot be told whether one lives; else it counts.
        """
        found = []
        for unit, holder in self.leases.holders().items():
            if unit.startswith(PRESENT):
                gone = self.leases.insist(unit) if sure and not holder.ended else self.leases.take(unit)
                if gone is None:
                    found.append(str(holder))
                else:
                    gone.free()
        return found

    @contextmanager
    def _agreed(self) -> Iterator[None]:
        """While it lasts, nobody else agrees; what fails is given back."""
        try:
            with self._agreeing():
                yield
        except BaseException:
            with suppress(StoreError):  # the failure is told
                self.free()
            raise

    def _agreeing(self) -> AnyLease:
        """The lease under which all agree, one after the other."""
        for _ in range(_TRIES):
            lease = self.leases.insist(_FOLDER)
            if lease is not None:
                return lease
            time.sleep(_BETWEEN)
        raise self._locked([str(self.leases.holders().get(_FOLDER, "one that ended just now"))])

    def _locked(self, others: Sequence[str]) -> StoreLockedError:
        who = f"{others[0]}{f' and {len(others) - 1} more' if len(others) > 1 else ''}"
        came = f"another process writes other pairs to {self._home.folder}, or has it to itself ({who})"
        return StoreLockedError(came, "one writer a folder, or the same command for all", "wait for it to end")


def read_claim(store: Store) -> dict[str, Any]:
    """What was agreed on last; {} where nothing was, or the file is damaged."""
    said = store.read_json(CLAIM_FILE)
    kinds = {"settings": dict, "plan": str, "pairs": int, "shards": int}
    sound = all(isinstance(said.get(key), kind) for key, kind in kinds.items())
    return said if sound and 0 <= said["shards"] <= said["pairs"] <= MOST_PAIRS else {}
