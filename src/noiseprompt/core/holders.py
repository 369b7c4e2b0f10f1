"""Who holds a lease, as its file says, and whether that process is known to live or to have ended."""

from __future__ import annotations

import os
from dataclasses import dataclass
from typing import Any

from noiseprompt.core import machine
from noiseprompt.core.texts import visible

MINE: set[str] = set()
"""Tokens of the leases that this process holds."""


@dataclass(frozen=True)
class Holder:
    """Who holds a lease, as its file says.

    Fields:
        host, pid: of the process; "" and 0 where the file does not tell.
        since: of its taking, in UTC by the holder's clock.
        ended: whether it is known to have ended: a process of this machine that is no more.
        own: whether it is this process.
    """

    host: str
    pid: int
    since: str
    ended: bool
    own: bool = False

    def __str__(self) -> str:
        if not self.host:
            return "an unknown process"
        return f"process {self.pid} on {visible(self.host):.80} since {visible(self.since):.40}"


def read_holder(data: dict[str, Any] | None) -> Holder:
    """The holder that a lease tells of."""
    try:
        assert data is not None
        own = data.get("token") in MINE
        return Holder(str(data["host"]), int(data["pid"]), str(data["since"]), ended_here(data), own)
    except (AssertionError, KeyError, TypeError, ValueError):
        return Holder("", 0, "", False)


def ended_here(data: dict[str, Any]) -> bool:
    """Whether the holder was a process of this machine that has ended."""
    return _here(data) and not runs_here(data)


def _here(data: dict[str, Any]) -> bool:
    return bool(machine.identity()) and data.get("machine") == machine.identity() and type(data.get("pid")) is int


def runs_here(data: dict[str, Any]) -> bool:
    """Whether the holder is a process of this machine that lives, and holds the lease still."""
    if not _here(data) or not machine.runs(data["pid"], str(data.get("started"))):
        return False
    return data["pid"] != os.getpid() or data.get("token") in MINE


def abandoned_here(made_by: str, pid: int, since: str, token: str) -> bool:
    """Whether a lease that was being made was so by a process of this machine, which makes it no more.

    Args:
        made_by: digest of the machine.
        pid, since: the process.
        token: of the lease.
    """
    if not machine.identity() or made_by != machine.digest():
        return False
    return not machine.runs(pid, since) or (pid == os.getpid() and token not in MINE)
