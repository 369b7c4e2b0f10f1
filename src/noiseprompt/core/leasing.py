"""What leases are, wherever they lie: on a disk (`core/leases.py`) or in object storage (`core/object_leases.py`)."""

from __future__ import annotations

import contextlib
import json
import os
import secrets
import threading
import time
import warnings
from abc import ABC, abstractmethod
from datetime import datetime, timezone
from typing import Any

from noiseprompt.core import machine
from noiseprompt.core.errors import NoisepromptWarning, StoreError
from noiseprompt.core.holders import Holder, read_holder, runs_here
from noiseprompt.core.waiting import Waiting

REFRESH = 15.0
"""Seconds after which a holder writes its lease again."""

PATIENCE = 120.0
"""Seconds without a change after which another takes a lease over; disks over a network show changes up to 60 late."""

Top = tuple[Any, dict[str, Any] | None]
"""What identifies a state of a lease, and what it says; None where that cannot be read."""


class AnyLeases(ABC):
    """The leases in one folder, as one process sees them.

    Attributes:
        where: the folder, for messages.
        patience, refresh: seconds, as `PATIENCE` and `REFRESH`; the same for all who share a folder.
    """

    def __init__(self, where: str, patience: float, refresh: float) -> None:
        self.where, self.patience, self.refresh = where, patience, refresh

    @abstractmethod
    def take(self, unit: str) -> AnyLease | None:
        """The lease on a unit, None where another holds it (or may: whether it lives is seen in time).

        Args:
            unit: a name that a file may have.

        Raises:
            StoreError: the folder cannot be written.
        """

    def fresh(self, unit: str) -> AnyLease:
        """As `take`, of a unit that nobody else knows.

        Raises:
            StoreError: the folder cannot be written, or what was just written to it is gone.
        """
        lease = self.take(unit)
        if lease is None:
            came = f"cannot write to {self.where}: what was written a moment ago is gone"
            raise StoreError(came, "a folder that nobody empties or moves meanwhile", "run the same command again")
        return lease

    @abstractmethod
    def units(self) -> list[str]:
        """Those of which there is a lease."""

    @abstractmethod
    def top(self, unit: str) -> Top | None:
        """The lease on a unit as it is now, None where there is none."""

    def sweep(self) -> None:
        """Remove what processes of this machine left that were killed while they made a lease."""
        return

    def insist(self, unit: str) -> AnyLease | None:
        """As `take`, waiting at most `patience` seconds where it cannot be told at once whether the holder lives.

        None means that it does.
        """
        lease = self.take(unit)
        before, told = self.top(unit), False
        while lease is None and before is not None:
            if before[1] is not None and runs_here(before[1]):
                return None
            if not told:
                who = read_holder(before[1])
                span = f"{self.patience:.0f} s"
                warnings.warn(
                    f"{self.where} is held by {who}: waiting up to {span} to see whether it lives",
                    NoisepromptWarning,
                    stacklevel=2,
                )
                told = True
            time.sleep(min(1.0, self.patience / 10))
            lease, now = self.take(unit), self.top(unit)
            if lease is None and now is not None and now[0] != before[0]:
                return None
            before = now
        return lease or self.take(unit)

    def wait(self, unit: str) -> AnyLease:
        """As `take`, when whoever holds it now is done: for units that are held for a moment.

        Raises:
            StoreError: the folder cannot be written.
        """
        waiting = Waiting(self.where, self.patience, lambda: {u: h for u, h in self.holders().items() if u == unit})
        while (lease := self.take(unit)) is None:
            waiting.on()
            time.sleep(0.05)
        return lease

    def holders(self) -> dict[str, Holder]:
        """Unit -> who holds it, of every lease in the folder."""
        found = {unit: self.top(unit) for unit in self.units()}
        return {unit: read_holder(top[1]) for unit, top in found.items() if top is not None}

    def clear(self, unit: str) -> None:
        """Remove the lease of a holder that has ended, where its name is used once alone; any other is left."""
        lease = self.take(unit)
        if lease is not None:
            lease.free()


class AnyLease(ABC):
    """One that this process holds, until `free` or the end of the block.

    Attributes:
        unit: its name.
        token: 16 hexadecimal digits that no other lease has.
    """

    def __init__(self, leases: AnyLeases, unit: str) -> None:
        self.unit, self.token = unit, secrets.token_hex(8)
        self._refresh, self._patience, self._beat = leases.refresh, leases.patience, 0
        self._ended, self._thread = threading.Event(), None
        self._since = datetime.now(timezone.utc).isoformat(timespec="seconds")

    @abstractmethod
    def held(self) -> bool:
        """Whether nobody has taken it over meanwhile, as from a process that was suspended for long."""

    @abstractmethod
    def free(self) -> None:
        """Give it back; a second time does nothing.

        Raises:
            StoreError: its file cannot be removed; others take it over in time.
        """

    @abstractmethod
    def _renew(self) -> None:
        """Write it again."""

    def __enter__(self) -> AnyLease:
        return self

    def __exit__(self, kind: type[BaseException] | None, *_: object) -> None:
        with contextlib.suppress(*([StoreError] if kind else [])):  # what went wrong before is told
            self.free()

    _thread: threading.Thread | None

    def _start(self) -> None:
        """From here on a thread renews it."""
        self._thread = threading.Thread(target=self._keep, daemon=True, name=f"lease {self.unit}")
        self._thread.start()

    def _stop(self) -> None:
        self._ended.set()
        if self._thread is not None:
            self._thread.join(5)

    def _keep(self) -> None:
        while not self._ended.wait(self._refresh):
            with contextlib.suppress(OSError, ValueError, StoreError):  # tried again; whether it is held `held` tells
                self._renew()

    def _text(self) -> bytes:
        """What it says, as long as before: who holds it, in readable words, and how often it was written."""
        pid = os.getpid()
        data = {
            "beat": f"{self._beat:010d}",
            "unit": self.unit,
            "host": machine.host(),
            "pid": pid,
            "since": self._since,
            "machine": machine.identity(),
            "started": machine.started(pid),
            "token": self.token,
            "about": f"rewritten every {self._refresh:g} s; without, free after {self._patience:g} s",
        }
        return json.dumps(data).encode() + b"\n"
