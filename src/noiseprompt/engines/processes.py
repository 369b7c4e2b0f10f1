"""Processes that torchrun or `accelerate launch` started, joined for one stage: who is who, on which device.

    with joined("auto") as processes:
        for progress in train(npd, pipeline, config, out, processes=processes): ...

Tensors are added up by NCCL between GPUs and by gloo between CPUs. Everything else goes through the key-value store
where the processes met: who waits there asks again and again, so a main process may take hours, and a signal or another
process's failure ends the wait.
"""

from __future__ import annotations

import json
import os
import re
import socket
import threading
import time
import warnings
from collections.abc import Callable, Iterator, Mapping
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from datetime import timedelta
from typing import TYPE_CHECKING, Any

from noiseprompt.core.devices import best_device
from noiseprompt.core.errors import InputError, NoisepromptError, NoisepromptWarning, ProcessLostError
from noiseprompt.core.ranks import ALONE, Processes
from noiseprompt.core.texts import unwritable

if TYPE_CHECKING:
    import torch

MEETING = timedelta(minutes=10)
"""How long a process waits for the others at the start."""

KNOWN_WITHIN = 15.0
"""Seconds in which the name of the meeting place has to be known."""

TOLD_AFTER = 10.0
"""Seconds after which one says what one waits for."""

SILENCE = timedelta(hours=2)
"""How long one waits for another's gradients: a main process may write a checkpoint to a slow disk meanwhile. Where a
process dies its launcher ends the others at once."""

MOST = 1_000_000
"""Processes: more than were ever started."""

_ASKED_EVERY = 0.02
"""Seconds."""

_HOW = "start with `torchrun --nproc_per_node N -m noiseprompt train ...`, which sets all of them"


@dataclass(frozen=True)
class Launched:
    """What a launcher says of one of several processes.

    Fields:
        rank, size: of all.
        local_rank, local_size: of those on this machine.
    """

    rank: int
    size: int
    local_rank: int
    local_size: int


def launched(environment: Mapping[str, str] | None = None) -> Launched | None:
    """What the environment says, in the variables of torchrun; None for a process alone.

    Raises:
        InputError: variables that are missing, no numbers or contradict each other; or several processes asked of
            `accelerate launch` on a CPU, which starts one.
    """
    said = os.environ if environment is None else environment
    if "WORLD_SIZE" not in said:
        if said.get("ACCELERATE_USE_CPU", "").lower() in ("true", "1") and "MASTER_ADDR" in said:
            came = "several processes on a CPU asked of `accelerate launch`, which starts one and says nothing"
            raise InputError(came, "torchrun", "start with `torchrun --nproc_per_node N -m noiseprompt train ...`")
        return None
    size = _number(said, "WORLD_SIZE", 1, MOST)
    if size == 1:
        return None
    missing = [name for name in ("RANK", "LOCAL_RANK", "MASTER_ADDR", "MASTER_PORT") if not said.get(name)]
    if missing:
        raise InputError(f"WORLD_SIZE={size} without {', '.join(missing)}", "all of them, or none", _HOW)
    _number(said, "MASTER_PORT", 1, 65535)
    found = Launched(
        _number(said, "RANK", 0),
        size,
        _number(said, "LOCAL_RANK", 0),
        _number(said, "LOCAL_WORLD_SIZE", 1) if "LOCAL_WORLD_SIZE" in said else size,
    )
    if bad := unwritable(said["MASTER_ADDR"]):
        raise InputError(f"MASTER_ADDR with {bad} in the environment", "the address of a machine", _HOW)
    if found.rank >= size or found.local_rank >= found.local_size or found.local_size > size:
        came = f"RANK={found.rank} with WORLD_SIZE={size}, LOCAL_RANK={found.local_rank} of {found.local_size}"
        raise InputError(f"{came} in the environment", "ranks below their sizes", _HOW)
    return found


def _number(said: Mapping[str, str], name: str, least: int, most: int = 2**31 - 1) -> int:
    text = said[name]
    if not re.fullmatch(r"[0-9]{1,10}", text.strip()) or not least <= int(text) <= most:
        raise InputError(f"{name}={text!r:.60} in the environment", f"a whole number from {least} to {most}", _HOW)
    return int(text)


def own_device(device: str, found: Launched) -> str:
    """The device of one of several processes, with its index; a GPU each. "cuda" then means that one.

    Raises:
        InputError: fewer GPUs than processes, one GPU asked for by its index, or a kind of device that cannot share.
    """
    import torch

    kind, _, index = (best_device() if device == "auto" else device).partition(":")
    if kind == "cpu":
        return "cpu"
    if kind != "cuda" or index:
        came = f"device {device!r} with {found.size} processes"
        raise InputError(came, "cuda, of which each takes its own, or cpu", "leave --device out, or pass --device cpu")
    count = torch.cuda.device_count()
    if found.local_size > count:  # in each of them, not in the last ones alone: nobody waits for another
        came = f"{found.local_size} processes on a machine with {count} GPU{'s' * (count != 1)}"
        raise InputError(came, "a GPU for each", f"pass --nproc_per_node {max(count, 1)}, or --device cpu")
    torch.cuda.set_device(found.local_rank)
    return f"cuda:{found.local_rank}"


class Group(Processes):
    """Several processes that met at a store, made by `joined`."""

    def __init__(self, found: Launched, store: Any) -> None:
        self.rank, self.size = found.rank, found.size
        self._store, self._turn = store, 0

    def once(self, act: Callable[[], Any]) -> Any:
        self._turn += 1
        key = f"turn {self._turn}"
        if self.main:
            told = json.dumps(act())
            with self._lost():
                self._store.set(key, told)
        else:
            with self._lost():
                while not self._store.check([key]):
                    if self._store.check(["failed"]):
                        raise self._gone()
                    time.sleep(_ASKED_EVERY)
                told = self._store.get(key).decode()
        return json.loads(told)

    def sum(self, values: torch.Tensor) -> None:
        import torch.distributed

        with self._lost():
            torch.distributed.all_reduce(values)

    def first(self) -> bool:
        """Whether this process is the first of all that asks: the one that tells what ended them."""
        try:
            return self._store.add("told", 1) == 1
        except RuntimeError:  # nobody is left to be asked
            return True

    def fail(self) -> None:
        """Let nobody wait for this process any longer."""
        with suppress(RuntimeError):
            self._store.set("failed", "")

    @contextmanager
    def _lost(self) -> Iterator[None]:
        try:
            yield
        except RuntimeError as error:  # of torch.distributed, all of them
            raise self._gone() from error

    def _gone(self) -> ProcessLostError:
        came = f"another of the {self.size} processes ended, and this one cannot go on alone"
        return ProcessLostError(came, "all of them to the end", "the same command continues from the last checkpoint")


@contextmanager
def joined(device: str = "auto", speak: Callable[[bool], None] = lambda _: None) -> Iterator[Processes]:
    """All processes of this run, or this one alone where no launcher started several.

    They speak as one: the main one shows how it goes, and of an error the first that meets it tells.

    Args:
        device: as of `core.devices.resolve_device`; with several processes each takes a GPU of its own (`own_device`).
        speak: told whether this process speaks, at first and when something ended it.

    Raises:
        InputError: as `launched` and `own_device`.
        NoisepromptError: the processes do not find each other.
        SystemExit: in place of any error, where another process told one before.
    """
    found = launched()
    if found is None:
        yield ALONE
        return
    import torch.distributed as distributed
    from torch.distributed.rendezvous import rendezvous

    try:
        _check_master()
        with _meeting(found), _told_slowly(found, speak):
            store, _, _ = next(iter(rendezvous("env://", timeout=MEETING)))
    except NoisepromptError:  # nobody else knows of it
        speak(True)
        raise
    group = Group(found, distributed.PrefixStore("noiseprompt", store))
    speak(group.main)
    try:
        backend = "gloo" if own_device(device, found) == "cpu" else "nccl"
        with _meeting(found):
            theirs = distributed.PrefixStore("torch", store)
            distributed.init_process_group(
                backend, store=theirs, rank=found.rank, world_size=found.size, timeout=SILENCE
            )
        yield group
    except BaseException as error:
        first = group.first()
        group.fail()
        speak(first)
        if not first:
            raise SystemExit(getattr(error, "status", 2)) from error
        raise
    distributed.destroy_process_group()


def _check_master() -> None:
    """Wait until the name of the machine where the processes meet is known, not for ever: in a cluster that starts it
    may come a little later.

    Raises:
        InputError: nobody knows it.
    """
    name, end = os.environ["MASTER_ADDR"], time.monotonic() + KNOWN_WITHIN
    while True:
        try:
            socket.getaddrinfo(name, None)
            return
        except (OSError, UnicodeError) as error:
            if time.monotonic() > end:
                came = f"MASTER_ADDR={name!r:.100} in the environment, which is no machine that is known here ({error})"
                raise InputError(came, "the name or address of a machine", _HOW) from error
        time.sleep(1)


@contextmanager
def _told_slowly(found: Launched, speak: Callable[[bool], None]) -> Iterator[None]:
    """While it lasts longer than a few seconds, a word about what is waited for, of every process that waits."""
    where = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
    words = (
        f"process {found.rank} of {found.size} waits for the others at {where}, at most {MEETING.seconds // 60} minutes"
    )

    def tell() -> None:
        speak(True)
        warnings.warn(words, NoisepromptWarning, stacklevel=2)

    timer = threading.Timer(TOLD_AFTER, tell)
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()


@contextmanager
def _meeting(found: Launched) -> Iterator[None]:
    """Raises:
    NoisepromptError: the processes do not find each other.
    """
    try:
        yield
    except (RuntimeError, ValueError) as error:
        where = f"{os.environ['MASTER_ADDR']}:{os.environ['MASTER_PORT']}"
        reason = " ".join(str(error).split())[:200]
        came = f"process {found.rank} of {found.size} does not find the others at {where}: {reason}"
        raise NoisepromptError(came, "an address that all of them reach", _HOW) from error
