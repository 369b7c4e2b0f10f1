"""Seconds of `noiseprompt COMMAND --help`, medians; with another checkout's sources alternately, and the ratios.

    python benchmarks/help.py [--repeats 5] [--against OTHER/src] [--only generate]

One new process each time; the first of each is not counted. Seconds by the clock and of the processor, which other
work on the machine moves less; ratios are of the latter.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import time
from pathlib import Path

from jsonargparse import auto_cli

from noiseprompt.cli.table import COMMANDS

HERE = Path(__file__).parents[1] / "src"


def commands() -> list[str]:
    """Every command as it is written."""
    return [f"{n} {m}" if m else n for n, c in COMMANDS.items() for m in (c if isinstance(c, dict) else ("",))]


def seconds(source: Path, command: str) -> tuple[float, float]:
    """By the clock and of the processor."""
    words = [sys.executable, "-m", "noiseprompt", *command.split(), "--help"]
    started, before = time.perf_counter(), os.times()
    subprocess.run(words, check=True, capture_output=True, env={**os.environ, "PYTHONPATH": str(source)})
    after = os.times()
    spent = after.children_user + after.children_system - before.children_user - before.children_system
    return time.perf_counter() - started, spent


def main(repeats: int = 5, against: Path | None = None, only: str = "") -> None:
    """Print one JSON line a command."""
    print(json.dumps({"load": round(os.getloadavg()[0], 2), "cores": os.cpu_count()}), flush=True)
    sources = [HERE] if against is None else [HERE, against]
    for command in [only] if only else commands():
        times: list[list[tuple[float, float]]] = [[] for _ in sources]
        for _ in range(repeats + 1):
            for found, source in zip(times, sources, strict=True):
                found.append(seconds(source, command))
        medians = [[round(statistics.median(column), 3) for column in zip(*found[1:], strict=True)] for found in times]
        line: dict[str, object] = {"command": command, "clock, processor": medians[0]}
        if against is not None:
            line |= {"against": medians[1], "ratio": round(medians[0][1] / medians[1][1], 3)}
        print(json.dumps(line), flush=True)


if __name__ == "__main__":
    sys.exit(auto_cli(main))
