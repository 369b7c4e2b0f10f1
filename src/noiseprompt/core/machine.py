"""Which machine this is, its free memory, and whether a process of it still runs."""

from __future__ import annotations

import contextlib
import functools
import hashlib
import os
import platform
from pathlib import Path


def host() -> str:
    """The name of this machine, for readers."""
    return platform.node()


def free_memory() -> int | None:
    """Bytes of main memory that processes may still have, caches given up; None where the system does not tell."""
    with contextlib.suppress(OSError, IndexError, ValueError):
        for line in Path("/proc/meminfo").read_text().splitlines():
            if line.startswith("MemAvailable:"):
                return int(line.split()[1]) * 1024
    return None


@functools.cache
def identity() -> str:
    """This running system and the part of it whose processes this one sees (a container has its own); "" if unknown."""
    if os.name != "posix":
        return ""
    boot, space = "", ""
    with contextlib.suppress(OSError):
        boot = Path("/proc/sys/kernel/random/boot_id").read_text().strip()
        space = os.readlink("/proc/self/ns/pid")
    return f"{host()} {boot} {space}".strip()


def digest() -> str:
    """8 hexadecimal digits of `identity`."""
    return hashlib.sha256(identity().encode()).hexdigest()[:8]


def started(pid: int) -> str:
    """When a process of this machine began, as the system counts; "" where it does not tell."""
    return (_found(pid) or ("", ""))[1]


def runs(pid: int, since: str) -> bool:
    """Whether the process that `started` told this of still runs; one that ended and waits to be asked does not."""
    found = _found(pid)
    return found is not None and found[0] not in ("Z", "X") and found[1] == since


def _found(pid: int) -> tuple[str, str] | None:
    """State and start of a process; None where there is none."""
    if os.path.exists("/proc/self/stat"):
        try:
            fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
            return fields[0], fields[19]
        except (OSError, IndexError):
            return None
    try:
        os.kill(pid, 0)
    except ProcessLookupError:
        return None
    except OSError:  # of another user
        return "", ""
    return "", ""
