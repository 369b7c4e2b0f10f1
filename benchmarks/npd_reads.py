"""Random reads from a noise prompt data set at SDXL's latent shape, 4 x 128 x 128. Goal: 3,000 pairs/s or more.

    python benchmarks/npd_reads.py [--pairs 1024] [--reads 4096]

Reads are uniform at random with replacement, in batches of 64, from files in the page cache.
"""

from __future__ import annotations

import argparse
import tempfile
import time
from collections.abc import Callable
from pathlib import Path

import numpy as np

from noiseprompt.core.types import Prompt, ScoredPair
from noiseprompt.noise import initial_noise
from noiseprompt.npd import Npd, NpdWriter

SHAPE = (4, 128, 128)


def write(folder: Path, pairs: int, store_source: bool) -> None:
    """A data set of `pairs` pairs."""
    with NpdWriter(folder, {"scorers": ["score"]}, SHAPE, store_source=store_source) as writer:
        for i in range(pairs):
            prompt, source = Prompt(f"text {i}"), initial_noise(i, SHAPE).numpy()
            writer.add(ScoredPair(f"{prompt.id}-{i}", prompt, i, source, 0.99 * source, {"score": (0.0, 1.0)}))


def rate(read: Callable[[np.ndarray], object], order: np.ndarray) -> tuple[float, float]:
    """Pairs per second of the clock and of this process's own time; the first batch is not timed."""
    read(order[:64])
    begun, own = time.perf_counter(), time.process_time()
    for start in range(0, len(order), 64):
        read(order[start : start + 64])
    return len(order) / (time.perf_counter() - begun), len(order) / (time.process_time() - own)


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--pairs", type=int, default=1024)
    parser.add_argument("--reads", type=int, default=4096)
    args = parser.parse_args()
    order = np.random.default_rng(0).integers(args.pairs, size=args.reads)
    with tempfile.TemporaryDirectory() as folder:
        for store_source in (True, False):
            out = Path(folder) / str(store_source)
            write(out, args.pairs, store_source)
            npd = Npd(out)
            where = "stored" if store_source else "from its seed"
            size = sum(file.stat().st_size for file in out.glob("*.arrow")) / args.pairs / 1024
            print(f"{size:.0f} KiB a pair, source {where}; pairs/s by the clock and by processor time")
            print("  targets only        {:8.0f} {:8.0f}".format(*rate(npd.targets, order)))
            both = rate(lambda rows, npd=npd: (npd.sources(rows), npd.targets(rows)), order)
            print("  source and target   {:8.0f} {:8.0f}".format(*both))


if __name__ == "__main__":
    main()
