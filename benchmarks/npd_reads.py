"""Reads from a noise prompt data set at SDXL's latent shape, 4 x 128 x 128, and its verification. Goal: 30,000 pairs/s.

    python benchmarks/npd_reads.py [--pairs 1024] [--reads 4096] [--seeds 64] [--repeats 3] [--against OTHER/src]

Reads are uniform at random with replacement, in batches of 64, from files in the page cache, after each shard was
checked once. Pairs a second of the process's own time, medians of new processes; with another checkout's sources
alternately, and the ratios. What takes the bytes converts them, so nothing is converted here.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np
from jsonargparse import auto_cli

from noiseprompt.core.types import Prompt, ScoredPair
from noiseprompt.noise import initial_noise
from noiseprompt.npd import Npd, NpdWriter
from noiseprompt.npd.verify import verify

SHAPE = (4, 128, 128)
HERE = Path(__file__).parents[1] / "src"


def write(folder: Path, pairs: int, seeds: int, store_source: bool) -> None:
    """A data set of `pairs` pairs from `seeds` seeds."""
    with NpdWriter(folder, {"scorers": ["score"]}, SHAPE, store_source=store_source) as writer:
        for i in range(pairs):
            prompt, seed = Prompt(f"text {i}"), i % seeds
            source = initial_noise(seed, SHAPE).numpy()
            writer.add(ScoredPair(f"{prompt.id}-{seed}", prompt, seed, source, 0.99 * source, {"score": (0.0, 1.0)}))


def rate(read: Callable[[np.ndarray], object], order: np.ndarray) -> float:
    """Pairs per second of this process's own time."""
    begun = time.process_time()
    for start in range(0, len(order), 64):
        read(order[start : start + 64])
    return len(order) / (time.process_time() - begun)


def measure(folder: Path, reads: int) -> dict[str, float]:
    """Rates of this process's sources."""
    found = {}
    for where in ("stored", "seeds"):
        npd = Npd(folder / where)
        every = np.arange(len(npd))
        order = np.random.default_rng(0).integers(len(npd), size=reads)
        npd.targets(every), npd.sources(every[:1])
        found[f"targets, {where}"] = rate(npd.targets, order)
        found[f"sources, {where}"] = rate(npd.sources, order if where == "stored" else order[:512])
    begun = time.process_time()
    assert verify(folder / "seeds") == []
    found["verify"] = len(every) / (time.process_time() - begun)
    return found


def main(
    pairs: int = 1024,
    reads: int = 4096,
    seeds: int = 64,
    repeats: int = 3,
    against: Path | None = None,
    inside: Path | None = None,
) -> None:
    """Print one JSON line a kind of reading.

    Args:
        inside: what this program calls itself with: measure in that folder, print all figures, and nothing else.
    """
    if inside is not None:
        print(json.dumps(measure(inside, reads)))
        return
    sources = [HERE] if against is None else [HERE, against]
    with tempfile.TemporaryDirectory() as folder:
        for where in ("stored", "seeds"):
            write(Path(folder) / where, pairs, seeds, where == "stored")
        found: list[list[dict[str, float]]] = [[] for _ in sources]
        for _ in range(repeats):
            for mine, source in zip(found, sources, strict=True):
                words = [sys.executable, __file__, f"--inside={folder}", f"--reads={reads}"]
                done = subprocess.run(
                    words, check=True, capture_output=True, env={**os.environ, "PYTHONPATH": str(source)}
                )
                mine.append(json.loads(done.stdout.splitlines()[-1]))
    print(json.dumps({"pairs": pairs, "seeds": seeds, "load": round(os.getloadavg()[0], 1), "repeats": repeats}))
    for kind in found[0][0]:
        here, *there = (round(statistics.median(run[kind] for run in mine)) for mine in found)
        line = {"read": kind, "pairs/s": here}
        print(json.dumps(line | ({"against": there[0], "ratio": round(here / there[0], 2)} if there else {})))


if __name__ == "__main__":
    sys.exit(auto_cli(main))
