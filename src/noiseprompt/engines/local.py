"""The engine "local": several processes on this machine, one for each GPU if there are several."""

from __future__ import annotations

import contextlib
import dataclasses
import json
import os
import queue
import subprocess
import sys
import tempfile
import threading
import warnings
from collections.abc import Callable, Iterator
from typing import Any

from noiseprompt.core.errors import InputError, NoisepromptError, NoisepromptWarning
from noiseprompt.engines.job import Job, Report, Total

_PATIENCE = 0.2
_WORKER = (sys.executable, "-m", "noiseprompt.engines.worker")


def run(job: Job, workers: int | None, should_stop: Callable[[], bool]) -> Iterator[Report]:
    """Let workers do a job; yields the state of all after each report of one.

    A worker that dies loses what it did not commit, and the others make it. Should the caller break off, all are
    killed, which loses as little.

    Args:
        workers: how many; the number of GPUs unless given.
        should_stop: when true, every worker finishes its batch, and the generator ends.

    Raises:
        InputError: no number, on a machine without GPUs.
        NoisepromptError: a worker fails, told in its words; or all of them died.
    """
    places = environments(workers, str(job.options.get("device", "auto")))
    crew = _Crew(job, places)
    try:
        yield from crew.reports(should_stop)
    finally:
        crew.kill()
    crew.check()


def environments(workers: int | None, device: str = "auto") -> list[dict[str, str]]:
    """What each worker finds in its environment beside ours: its GPU, or its share of the CPU cores.

    Raises:
        InputError: no number, on a machine without GPUs.
    """
    gpus = _gpus() if device in ("auto", "cuda") else []
    if workers is None and not gpus:
        raise InputError("engine local without workers, where there is no GPU", "how many, as in --workers 2")
    count = workers or len(gpus)
    if gpus:
        return [{"CUDA_VISIBLE_DEVICES": gpus[index % len(gpus)]} for index in range(count)]
    cores = len(os.sched_getaffinity(0)) if hasattr(os, "sched_getaffinity") else os.cpu_count() or 1
    share = os.environ.get("OMP_NUM_THREADS", str(max(cores // count, 1)))
    return [{"OMP_NUM_THREADS": share} for _ in range(count)]


def _gpus() -> list[str]:
    """Names of the GPUs that this process sees, as CUDA_VISIBLE_DEVICES has them."""
    import torch

    count = torch.cuda.device_count() if torch.cuda.is_available() else 0
    visible = [name.strip() for name in os.environ.get("CUDA_VISIBLE_DEVICES", "").split(",") if name.strip()]
    return (visible or [str(index) for index in range(count)])[:count]


class _Crew:
    """The workers of one job."""

    def __init__(self, job: Job, places: list[dict[str, str]]) -> None:
        self._news: queue.Queue[tuple[int, dict[str, Any] | None]] = queue.Queue()
        self._logs: list[Any] = []
        self._processes: list[subprocess.Popen[bytes]] = []
        self._total, self._warned = Total(), set()
        self._ended, self._errors, self._deaths = set(), [], []
        self._stopping = False
        try:
            for place in places:
                self._start(job, place)
        except BaseException:
            self.kill()
            raise

    def _start(self, job: Job, place: dict[str, str]) -> None:
        log = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `kill`
        self._logs.append(log)
        process = subprocess.Popen(
            _WORKER,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=log,
            env={**os.environ, **place},
            start_new_session=True,  # Ctrl-C reaches this process alone
        )
        assert process.stdin is not None
        self._processes.append(process)
        threading.Thread(target=self._listen, args=(len(self._processes) - 1,), daemon=True).start()
        with contextlib.suppress(OSError):  # it died; its end is told
            process.stdin.write(json.dumps(dataclasses.asdict(job)).encode() + b"\n")
            process.stdin.flush()

    def _listen(self, worker: int) -> None:
        stream = self._processes[worker].stdout
        assert stream is not None
        for line in stream:
            with contextlib.suppress(ValueError):  # a line that its death cut
                self._news.put((worker, json.loads(line)))
        self._news.put((worker, None))

    def reports(self, should_stop: Callable[[], bool]) -> Iterator[Report]:
        """Of all together, until the last has ended."""
        living = len(self._processes)
        while living:
            if not self._stopping and (self._errors or should_stop()):
                self._ask_to_stop()
            try:
                worker, message = self._news.get(timeout=_PATIENCE)
            except queue.Empty:
                continue
            if message is None:
                living -= 1
                self._gone(worker, living)
            elif "report" in message:
                yield self._total.note(worker, message["report"])
            elif "warning" in message and message["warning"] not in self._warned:
                self._warned.add(message["warning"])
                warnings.warn(message["warning"], NoisepromptWarning, stacklevel=2)
            elif "error" in message:
                self._errors.append(message["error"])
                self._ended.add(worker)
            elif "ended" in message:
                self._ended.add(worker)

    def _gone(self, worker: int, living: int) -> None:
        code = self._processes[worker].wait()
        if worker in self._ended:
            return
        self._total.lose(worker)
        how = f"signal {-code}" if code < 0 else f"status {code}"
        self._deaths.append(f"worker {worker + 1} died ({how}{self._last_words(worker)})")
        if living:
            warnings.warn(f"{self._deaths[-1]}: the others make its shard", NoisepromptWarning, stacklevel=2)

    def _last_words(self, worker: int) -> str:
        self._logs[worker].seek(0)
        lines = [line for line in self._logs[worker].read().decode(errors="replace").splitlines() if line.strip()]
        return f": {lines[-1].strip()[:200]}" if lines else ""

    def _ask_to_stop(self) -> None:
        self._stopping = True
        for process in self._processes:
            with contextlib.suppress(OSError):
                assert process.stdin is not None
                process.stdin.close()

    def kill(self) -> None:
        """Whoever still lives."""
        for process in self._processes:
            if process.poll() is None:
                process.kill()
            process.wait()
            for stream in (process.stdin, process.stdout):
                with contextlib.suppress(OSError):
                    assert stream is not None
                    stream.close()
        for log in self._logs:
            log.close()

    def check(self) -> None:
        """Whether it went well.

        Raises:
            NoisepromptError: a worker failed, or none was left.
        """
        if self._errors:
            raise NoisepromptError(self._errors[0].rstrip("."))
        if self._deaths and len(self._deaths) == len(self._processes):
            fix = "nothing committed is lost: mend the cause and run the same command again"
            raise NoisepromptError(f"all workers died: {'; '.join(self._deaths)}", "", fix)
