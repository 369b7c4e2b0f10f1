"""What feeds a training, at SDXL's sizes: pairs/s against batches made in series, and a training against its bound.

    python benchmarks/feed.py [--pairs 1024] [--prompts 256] [--batches 16] [--steps 100] [--device_ms 40]

Noises are 4 x 128 x 128 of 1,025 seeds, text is 77 x 2,048 of random numbers, files lie in the page cache. Both ways
are timed in turns in one run, and the best of five turns counts: other work on the machine only ever adds.

in series      targets and text made float32 on the host, the noise of every pair from its seed
fed            what `stages/train` does: halves, noise and singular vectors kept, a thread ahead
a device       whose step takes `--device_ms` while the host is free: the loop waits so long. In series every step pays
               for its batch too. The real loop does all else that it does: optimizer, averages, validation, checkpoint;
               float32 of halves is the device's. By the clock, and as the device's time and the processor time of the
               loop's own thread, which other work on the machine moves less
"""

from __future__ import annotations

import argparse
import os
import tempfile
import time
from collections.abc import Callable
from contextlib import closing
from dataclasses import replace
from pathlib import Path
from typing import Any, NamedTuple

import numpy as np
import torch

from noiseprompt.core.files import make_folder
from noiseprompt.core.types import Prompt, ScoredPair
from noiseprompt.noise import initial_noise
from noiseprompt.npd import Npd, NpdWriter
from noiseprompt.npnet import NPNet, build, tokens_config
from noiseprompt.npnet.svd import decompose
from noiseprompt.stages.train.data import PairData
from noiseprompt.stages.train.feed import ahead
from noiseprompt.stages.train.noises import NoiseObjective
from noiseprompt.stages.train.objective import Judged
from noiseprompt.stages.train.settings import TrainConfig
from noiseprompt.stages.train.texts import KeptTexts
from noiseprompt.stages.train.trainer import Trainer

SHAPE, TEXT, BATCH, TURNS = (4, 128, 128), (77, 2048), 64, 5
NETWORK = replace(tokens_config(SHAPE, *TEXT), width=8, depth=1, heads=2, patch=32)
"""Next to nothing: the device's work is not what is timed."""


def write(folder: Path, pairs: int, prompts: int) -> Npd:
    """Pairs of the paper's 1,025 seeds."""
    seeds = np.random.default_rng(0).integers(1025, size=pairs).tolist()
    with NpdWriter(folder, {"scorers": []}, SHAPE) as writer:
        for i, seed in enumerate(seeds):
            prompt, source = Prompt(f"text {i % prompts}"), initial_noise(seed, SHAPE).numpy()
            writer.add(ScoredPair(f"pair-{i}", prompt, seed, source, 0.99 * source, {}))
    return Npd(folder)


def embeds(path: Path, prompts: int) -> np.ndarray:
    """Text on disk, memory-mapped."""
    np.save(path, np.random.default_rng(0).standard_normal((prompts, *TEXT), dtype=np.float32).astype(np.float16))
    return np.load(path, mmap_mode="r")


def in_series(npd: Npd, text: np.ndarray, prompts: np.ndarray, rows: np.ndarray) -> tuple[torch.Tensor, ...]:
    """A batch as it was made before there was a feed."""
    target = torch.from_numpy(np.ascontiguousarray(npd.targets(rows))).float()
    read = torch.from_numpy(np.ascontiguousarray(text[prompts[rows]])).float()
    assert bool(read.isfinite().all())
    return torch.from_numpy(npd.sources(rows)), target, read


class Elsewhere(Trainer):
    """The loop on the device that waits: what a device makes of a batch, float32 of halves, is part of its time."""

    def _placed(self, batch: Any) -> Any:
        return batch


class Took(NamedTuple):
    """Seconds of the clock, and of this process's own time in all its threads."""

    clock: float
    own: float


def took(act: Callable[[], object]) -> Took:
    begun, own = time.perf_counter(), time.process_time()
    act()
    return Took(time.perf_counter() - begun, time.process_time() - own)


def best(*acts: Callable[[], object]) -> list[Took]:
    """The shortest of a few turns of each, taken in turns."""
    turns = [[took(act) for act in acts] for _ in range(TURNS)]
    return [Took(*(min(clock) for clock in zip(*each, strict=True))) for each in zip(*turns, strict=True)]


class Waiting(NoiseObjective):
    """The objective of pairs on a device that takes a while and leaves the host alone."""

    takes = 0.0

    def begin(self, net: NPNet) -> None:
        """The data keeps singular vectors already."""

    def loss(self, net: Any, batch: Any) -> torch.Tensor:
        time.sleep(self.takes)
        return sum((p.sum() for p in net.parameters()), torch.zeros(())) * 0.0 + 1.0

    def error(self, net: Any, batch: Any) -> Judged:
        time.sleep(self.takes / 3)  # a forward pass alone
        return Judged(0.5, 1.0, 1.0, len(batch["target"]))


class Ran(NamedTuple):
    """Seconds of the real loop by the clock, processor time of its own thread, and its steps."""

    clock: float
    host: float
    steps: int


def trained(data: PairData, rows: np.ndarray, config: TrainConfig, out: Path) -> Ran:
    make_folder(out)
    training, validation = rows[:-BATCH], rows[-BATCH:]
    objective, device = Waiting(config, data, training, validation), torch.device("cpu")
    loop = Elsewhere(objective, build(NETWORK), device, config, out, training, validation)
    own = time.thread_time()
    clock = took(lambda: list(loop.run())).clock
    return Ran(clock, time.thread_time() - own, loop.steps)


def tell(name: str, one: Took, pairs: int, series: Took) -> None:
    ratios = f"{series.clock / one.clock:5.1f} x {series.own / one.own:5.1f} x"
    print(f"{name:<28}{pairs / one.clock:8.0f} {pairs / one.own:8.0f}   {ratios}")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    parser.add_argument("--pairs", type=int, default=1024)
    parser.add_argument("--prompts", type=int, default=256)
    parser.add_argument("--batches", type=int, default=16)
    parser.add_argument("--steps", type=int, default=100)
    parser.add_argument("--device_ms", type=float, default=40.0)
    args = parser.parse_args()
    torch.set_num_threads(1)
    with tempfile.TemporaryDirectory() as folder:
        npd, text = write(Path(folder) / "npd", args.pairs, args.prompts), embeds(Path(folder) / "e.npy", args.prompts)
        prompts, order = npd.prompt_rows(), np.random.default_rng(1).integers(args.pairs, size=(args.batches, BATCH))
        data, plain = (PairData(npd, KeptTexts(text), prompts) for _ in range(2))
        data.keep_singular(True)
        parts = np.array_split(np.arange(args.pairs), -(-args.pairs // BATCH))
        once = took(lambda: [data.batch(rows) for rows in parts]).own
        print(f"noise and singular vectors of {len(np.unique(npd.seeds()))} seeds, made once: {once:.1f} s")

        def fed(source: PairData) -> None:
            with closing(ahead(source.batch, order)) as batches:
                for _ in batches:
                    pass

        fed(plain)
        series, now, with_svd = best(
            lambda: [in_series(npd, text, prompts, rows) for rows in order], lambda: fed(plain), lambda: fed(data)
        )
        print("pairs/s by the clock and by processor time, and each as a ratio")
        tell("in series", series, order.size, series)
        tell("fed", now, order.size, series)
        tell("fed, with singular vectors", with_svd, order.size, series)
        some = data.batch(order[0])["source"]
        svd = min(took(lambda: decompose(some, True)).own for _ in range(2))
        print(f"singular vectors of a batch, where each step makes them: {1000 * svd:.0f} ms of this core")

        takes, shares = args.device_ms / 1000, []
        Waiting.takes, per = takes, max(1, (args.pairs - BATCH) // BATCH)
        config = TrainConfig(epochs=max(1, args.steps // per), validate_every=50, checkpoint_every=50)
        for turn in range(3):
            rows = np.random.default_rng(turn).permutation(args.pairs)
            ran = trained(data, rows, config, Path(folder) / f"run-{turn}")
            slow = took(lambda: [(in_series(npd, text, prompts, rows), time.sleep(takes)) for rows in order])
            own = takes + slow.own / len(order), takes + ran.host / ran.steps
            shares.append([part / takes for part in (slow.clock / len(order), ran.clock / ran.steps, *own)])
        by_clock, by_host = np.median(shares, axis=0).reshape(2, 2).tolist()
        low, high = np.min(shares, axis=0), np.max(shares, axis=0)
        print(f"a device of {args.device_ms:g} ms a step, as multiples of it; medians of {len(shares)} [the loop's];")
        print(f"load {os.getloadavg()[0]:.1f}. In series without validation or checkpoints, the real loop with both:")
        for name, (series_, loop), at in (("by the clock", by_clock, 0), ("device + processor time", by_host, 2)):
            spread = f"[{low[at + 1]:.2f}, {high[at + 1]:.2f}], {ran.steps} steps"
            print(f"{name:<28}{series_:8.2f} {loop:8.2f}   {spread}")


if __name__ == "__main__":
    main()
