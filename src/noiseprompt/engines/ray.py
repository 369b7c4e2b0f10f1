"""The engine "ray": actors on a cluster that each load the model once and take shards as they become free.

Ray schedules: which shard an actor makes is decided by leases in the folder, as among any processes that share one. So
nothing is lost with an actor, with a node or with this process; the same command continues.
"""

from __future__ import annotations

import contextlib
import dataclasses
import math
import os
import re
import socket
import threading
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from noiseprompt.core.errors import InputError, MissingDependencyError, NoisepromptError, NoisepromptWarning
from noiseprompt.core.files import make_folder
from noiseprompt.core.leases import Leases
from noiseprompt.core.places import is_address
from noiseprompt.engines.job import Job, Report, Total
from noiseprompt.engines.options import Sharing

_PATIENCE = 0.5
_ANSWER = 10.0
"""Seconds in which a cluster answers."""

_PORT = 10001
"""Of ray://HOST unless it is named."""

_LAST = 30.0
"""Seconds that workers have to end by themselves once every shard is made."""

_MOST_LOSSES = 3
"""It gives up where so many times as many workers as it has died without any getting further."""


def run(job: Job, sharing: Sharing, should_stop: Callable[[], bool]) -> Iterator[Report]:
    """Let actors do a job; yields the state of all after each report of one.

    An actor that is lost, alone or with its node, is replaced, as soon as the cluster has room.

    Args:
        should_stop: when true, every actor finishes its batch, and the generator ends.

    Raises:
        MissingDependencyError: Ray is not installed.
        InputError: the cluster cannot be reached, or has too little room; or it does not see the folder.
        NoisepromptError: a worker fails, told in its words; or they keep dying.
    """
    ray = _ray()
    with _cluster(ray, sharing.ray_address):
        workers, needs = _room(ray, sharing)
        with _marked(job) as marked:
            crew = _Crew(ray, marked, workers, needs)
            try:
                yield from crew.reports(should_stop)
            finally:
                crew.kill()


@contextlib.contextmanager
def _marked(job: Job) -> Iterator[Job]:
    """The job with a mark in its folder; an address is the same folder wherever it is asked for."""
    if is_address(job.folder):
        yield job
        return
    make_folder(Path(job.folder))
    with Leases(Path(job.folder)).fresh(f"engine-{os.getpid()}-{os.urandom(4).hex()}") as lease:
        yield dataclasses.replace(job, mark=f".{lease.unit}.lease")


def _ray() -> Any:
    try:
        import ray
    except ImportError as error:
        raise MissingDependencyError(
            "Ray is not installed", "", 'install it with pip install "noiseprompt[ray]"'
        ) from error
    return ray


@contextlib.contextmanager
def _cluster(ray: Any, address: str | None) -> Iterator[None]:
    """Connected to a cluster, left as it was found; one of its own where neither an address nor RAY_ADDRESS is given.

    Left to itself Ray would join whatever cluster runs on this machine, which knows neither the environment of this
    process nor its token.
    """
    began = not ray.is_initialized()
    if began:
        address = address or os.environ.get("RAY_ADDRESS") or "local"
        os.environ.setdefault("RAY_ACCEL_ENV_VAR_OVERRIDE_ON_ZERO", "0")
        try:
            _knock(address)
            ray.init(address=address, log_to_driver=False, logging_level="ERROR", configure_logging=False)
        except (OSError, RuntimeError, ValueError, OverflowError) as error:
            came = f"the Ray cluster {'on this machine' if address == 'local' else address} cannot be reached"
            reason = " ".join(str(error).split())[:200]
            expected = f"one that answers ({type(error).__name__}: {reason})"
            raise InputError(came, expected, "start it with `ray start --head`, or mend --ray_address") from error
    try:
        yield
    finally:
        if began:
            ray.shutdown()


def _knock(address: str) -> None:
    """Whether somebody listens at HOST:PORT or ray://HOST:PORT: Ray itself asks for minutes.

    Raises:
        OSError: nobody does.
        ValueError: "ray://" without a host.
    """
    place = address.removeprefix("ray://")
    if address.startswith("ray://"):
        if not place.strip(":/"):
            raise ValueError("ray:// is followed by HOST:PORT")
        place = place if re.search(r":\d+$", place) else f"{place}:{_PORT}"
    host, _, port = place.rpartition(":")
    if host and port.isdecimal():
        socket.create_connection((host.strip("[]"), int(port)), _ANSWER).close()


def _room(ray: Any, sharing: Sharing) -> tuple[int, dict[str, float]]:
    """How many workers, and what each needs.

    Raises:
        InputError: the cluster does not have that much.
    """
    have = ray.cluster_resources()
    gpus, cpus = have.get("GPU", 0.0), have.get("CPU", 0.0)
    share = sharing.gpus_per_worker
    share = (1.0 if gpus else 0.0) if share is None else share
    workers = sharing.workers or max(int(gpus // share) if share else 1, 1)
    if workers * share > gpus or workers > cpus:
        came = f"{workers} workers with {share:g} GPUs and one CPU each"
        expected = f"at most the {gpus:g} GPUs and {cpus:g} CPUs of the cluster"
        raise InputError(came, expected, "ask for fewer --workers or --gpus_per_worker, or add nodes first")
    return workers, {"num_cpus": 1, "num_gpus": share}


class _Worker:
    """What runs in an actor."""

    def __init__(self, folder: str) -> None:
        self._stop = threading.Event()
        with contextlib.suppress(OSError):  # relative paths mean what they meant
            os.chdir(folder)

    def number(self) -> int:
        """Of its process."""
        return os.getpid()

    def stop(self) -> None:
        """Asks it to finish its batch."""
        self._stop.set()

    def work(self, job: dict[str, Any]) -> Iterator[dict[str, Any]]:
        """The job; what goes wrong is a report, too."""
        try:
            for report in Job(**job).work(self._stop.is_set):
                yield {"report": report}
        except NoisepromptError as error:
            yield {"error": str(error)}
        except Exception as error:
            yield {"error": f"{type(error).__name__}: {' '.join(str(error).split())[:500]}"}


class _Crew:
    """The actors of one job."""

    def __init__(self, ray: Any, job: Job, workers: int, needs: dict[str, float]) -> None:
        self._ray, self._job, self._needs, self._workers = ray, dataclasses.asdict(job), needs, workers
        self._actors: dict[int, Any] = {}
        self._streams: dict[Any, int] = {}
        self._total, self._errors = Total(), []
        self._losses, self._stopping, self._until = 0, False, math.inf
        for _ in range(workers):
            self._start()

    def _start(self) -> None:
        cls = self._ray.remote(_Worker).options(**self._needs, max_concurrency=2, max_restarts=0)
        number = len(self._actors)
        self._actors[number] = cls.remote(os.getcwd())
        stream = self._actors[number].work.options(num_returns="streaming").remote(self._job)
        self._streams[stream] = number

    def reports(self, should_stop: Callable[[], bool]) -> Iterator[Report]:
        """Of all together, until there is nothing left to do.

        Raises:
            NoisepromptError: a worker failed, or they keep dying.
        """
        while self._streams and time.monotonic() < self._until:
            if not self._stopping and (self._errors or should_stop()):
                self._stopping = True
                self._dismiss()
                for number in self._streams.values():
                    self._actors[number].stop.remote()
            ready, _ = self._ray.wait([*self._streams], num_returns=1, timeout=_PATIENCE)
            for stream in ready:
                message = self._next(stream)
                if message is not None and "report" in message:
                    self._losses = 0
                    yield self._total.note(self._streams[stream], message["report"])
                elif message is not None:
                    self._errors.append(message["error"])
        if self._errors:
            raise NoisepromptError(self._errors[0].rstrip("."))

    def _next(self, stream: Any) -> dict[str, Any] | None:
        """What an actor has to say; None where it is done or lost."""
        try:
            return self._ray.get(next(stream))
        except StopIteration:
            del self._streams[stream]
            if not self._errors and not self._stopping:  # every shard is made, or it would not end
                self._until = time.monotonic() + _LAST
                self._dismiss()
        except self._ray.exceptions.RayError as error:
            self._lost(self._streams.pop(stream), error)
        return None

    def _lost(self, number: int, error: Exception) -> None:
        self._total.lose(number)
        self._losses += 1
        reason = " ".join(str(error).split())[:200]
        if self._losses > _MOST_LOSSES * self._workers:
            fix = "nothing committed is lost: mend the cause and run the same command again"
            raise NoisepromptError(f"the workers of Ray keep dying, the last one with {reason}", "", fix)
        told = f"worker {number + 1} was lost: the others, and one in its place, make its shard"
        warnings.warn(told, NoisepromptWarning, stacklevel=2)
        if not self._stopping and self._until == math.inf:
            self._start()

    def _dismiss(self) -> None:
        """Those that load, or wait for room in the cluster, need not begin."""
        for stream, number in [*self._streams.items()]:
            if number not in self._total.latest:
                self._ray.kill(self._actors[number])
                del self._streams[stream]

    def kill(self) -> None:
        """Whoever still lives."""
        for actor in self._actors.values():
            with contextlib.suppress(Exception):
                self._ray.kill(actor)
