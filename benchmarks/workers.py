"""Two workers against one, of the engine "local": pairs a second once all are at work. Goal: >= 1.9 on free cores.

    python benchmarks/workers.py [--workers 2] [--n 96] [--rounds 3]

The two kinds of run alternate; each is timed from its first quarter to its end. The bytes of all runs are compared.
Exit status 1 where they differ.
"""

from __future__ import annotations

import argparse
import os
import statistics
import sys
import tempfile
import time
from pathlib import Path

from noiseprompt.cli.sharing import run_shared
from noiseprompt.engines.options import Sharing
from noiseprompt.stages.collect.settings import CollectConfig


def rate(folder: Path, workers: int, n: int) -> float:
    """Pairs a second once every worker is at work."""
    config = CollectConfig(shard_size=4, batch_size=4)
    options = {"out": folder, "prompts": "shapes:train", "n": n, "scorers": ["shapes-preference"], "settings": config}
    sharing = Sharing(engine="local", workers=workers)
    seen = [
        (time.perf_counter(), report["made"])
        for report in run_shared(sharing, "noiseprompt.cli.collecting:work", folder, options, lambda: False)
    ]
    seen = [one for one in seen if one[1] >= n // 4]  # all have begun
    return (seen[-1][1] - seen[0][1]) / (seen[-1][0] - seen[0][0])


def shards(folder: Path) -> dict[str, bytes]:
    return {path.name: path.read_bytes() for path in folder.glob("*.arrow")}


def main() -> bool:
    """Print the rates; whether all bytes were equal."""
    parser = argparse.ArgumentParser(description=__doc__, formatter_class=argparse.RawDescriptionHelpFormatter)
    for name, default in (("workers", 2), ("n", 96), ("rounds", 3)):
        parser.add_argument(f"--{name}", type=int, default=default)
    given = parser.parse_args()
    os.environ.setdefault("OMP_NUM_THREADS", "1")  # each worker has one core in both kinds of run
    rates: dict[int, list[float]] = {1: [], given.workers: []}
    equal, first = True, None
    with tempfile.TemporaryDirectory() as home:
        for turn in range(given.rounds):
            for workers, found in rates.items():
                folder = Path(home, f"{turn}-{workers}")
                found.append(rate(folder, workers, given.n))
                first = first or shards(folder)
                equal = equal and shards(folder) == first
    for workers, found in rates.items():
        print(f"{workers} worker{'s' * (workers > 1)}: {', '.join(f'{one:.2f}' for one in found)} pairs/s")
    ratios = [many / one for one, many in zip(rates[1], rates[given.workers], strict=True)]
    told = f"{statistics.median(ratios):.2f} ({', '.join(f'{one:.2f}' for one in ratios)})"
    print(f"ratio: {told}; load average before and after counts; bytes {'equal' if equal else 'DIFFER'}")
    return equal


if __name__ == "__main__":
    sys.exit(not main())
