"""Work for engines: the collection of `tests/npd_fakes.py`, with ways to go wrong."""

from __future__ import annotations

import os
import time
import warnings
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

from noiseprompt.cli.collecting import as_report
from noiseprompt.core.errors import NoisepromptWarning, ScorerError
from noiseprompt.core.stores import store_of
from noiseprompt.engines.job import Job, Report
from noiseprompt.stages.collect.collect import collect
from tests.npd_fakes import CONFIG, PROMPTS, Brightness, FakePipeline


def work(options: dict[str, Any], should_stop: Callable[[], bool]) -> Iterator[Report]:
    """Options: out, pause, fail: from this pair on a scorer breaks, die: exit there with a status."""
    warnings.warn("said by every worker", NoisepromptWarning, stacklevel=2)
    print("what a library prints is no report")
    pipeline = FakePipeline(pause=options.get("pause", 0.0))
    for progress in collect(pipeline, PROMPTS, [Brightness()], CONFIG, options["out"], should_stop=should_stop):
        if progress.made >= options.get("fail", 99):
            raise ScorerError("the scorer 'brightness' fails", "scores", "leave it out")
        if progress.made >= options.get("die", 99):
            os._exit(7)
        yield as_report(progress, False)


def job(out: str | Path, **options: Any) -> Job:
    return Job("tests.engines.fakes:work", {"out": str(out), **options}, str(out))


def maker(out: str | Path) -> int:
    """The process that makes a shard just now."""
    until = time.monotonic() + 120
    while time.monotonic() < until:
        for unit, holder in store_of(out).leases().holders().items():
            if unit.startswith("shard-") and holder.pid:
                return holder.pid
        time.sleep(0.005)
    raise AssertionError("nobody works")
