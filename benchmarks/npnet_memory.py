"""Memory that the published NPNet at SDXL size adds to a process: while and after it is loaded, after a first call.

    python benchmarks/npnet_memory.py [--dtype bfloat16] [--repeats 5]

Resident memory (MiB) more than before, each time in a new process in which torch has computed already; medians and the
lowest and highest. Pages of torch's own libraries that the first call reads are among them. Linux alone.
"""

from __future__ import annotations

import gc
import json
import statistics
import subprocess
import sys
import tempfile
from pathlib import Path

import torch
from jsonargparse import auto_cli

from noiseprompt.noise.seeds import batch_noise
from noiseprompt.npnet import NPNet, build
from noiseprompt.npnet.published import published_config


def resident(highest: bool = False) -> float:
    """MiB of this process now, or at the most since `begin_peak`."""
    name = "VmHWM:" if highest else "VmRSS:"
    lines = Path("/proc/self/status").read_text().splitlines()
    return next(int(line.split()[1]) for line in lines if line.startswith(name)) / 1024


def begin_peak() -> None:
    Path("/proc/self/clear_refs").write_text("5")


@torch.no_grad()
def one(folder: str, dtype: str) -> None:
    """Print what loading and a call add to this process."""
    torch.set_num_threads(1)
    noise, embeds = batch_noise([0], (4, 128, 128)), torch.randn(1, 77, 2048)
    some = torch.randn(1, 1, 64, 64)
    for like in (some, some.bfloat16()):  # what torch needs to compute at all
        torch.nn.functional.scaled_dot_product_attention(
            like @ like, like, torch.nn.functional.linear(like, like[0, 0])
        )
        torch.nn.functional.conv2d(like, like[:, :, :4, :4])
    torch.linalg.svd(some)
    gc.collect()
    before = resident()
    begin_peak()
    net = NPNet.from_pretrained(folder, dtype=getattr(torch, dtype))
    gc.collect()
    found = {"loaded": resident() - before, "peak of loading": resident(highest=True) - before}
    net(noise, embeds)
    gc.collect()
    weights = sum(tensor.nbytes for tensor in (*net.parameters(), *net.buffers())) / 2**20
    print(json.dumps({**found, "after a call": resident() - before, "of these weights": weights}))


def main(dtype: str = "bfloat16", repeats: int = 5, child: str = "") -> None:
    """Print one line a figure."""
    if child:
        return one(child, dtype)
    with tempfile.TemporaryDirectory() as folder:
        build(published_config()).save_pretrained(folder)
        words = [sys.executable, __file__, "--dtype", dtype, "--child", folder]
        runs = [subprocess.run(words, check=True, capture_output=True, text=True).stdout for _ in range(repeats)]
    found = [json.loads(run) for run in runs]
    for name in found[0]:
        values = [each[name] for each in found]
        print(f"{name:<18}{statistics.median(values):7.1f} MiB [{min(values):.1f}, {max(values):.1f}], n {repeats}")
    return None


if __name__ == "__main__":
    sys.exit(auto_cli(main))
