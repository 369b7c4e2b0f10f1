"""The published NPNet at SDXL size against its authors' code on the same weights and noise, alternately in one process.

    python benchmarks/npnet_speed.py [--theirs FOLDER] [--repeats 15] [--batch 1]

FOLDER is `inference` of the authors' repository (it needs timm and einops); without it only ours are timed. One thread;
milliseconds an image of the process's own time, medians; error is the largest difference from their noise.
"""

from __future__ import annotations

import json
import os
import platform
import statistics
import sys
import tempfile
import time
from collections.abc import Callable
from pathlib import Path
from typing import Any

import torch
from jsonargparse import auto_cli

from noiseprompt.noise.seeds import batch_noise
from noiseprompt.npnet import NPNet, build, import_published
from noiseprompt.npnet.published import published_config


def theirs_and_ours(folder: Path, out: Path) -> tuple[Any, NPNet]:
    """Both with the weights of one random checkpoint in the published layout."""
    sys.path.insert(0, str(folder))
    import timm

    create = timm.create_model
    timm.create_model = lambda name, pretrained=True: create(name, pretrained=False)
    import npnet_pipeline
    from diffusers.models.normalization import AdaGroupNorm
    from model import NoiseTransformer, SVDNoiseUnet

    torch.manual_seed(0)
    parts = {
        "unet_svd": SVDNoiseUnet(resolution=128),
        "unet_embedding": NoiseTransformer(resolution=128),
        "embeeding": AdaGroupNorm(2048 * 77, 4, 1, eps=1e-6),
    }
    checkpoint: dict[str, Any] = {name: part.state_dict() for name, part in parts.items()}
    checkpoint |= {"alpha": torch.tensor([0.3]), "beta": torch.tensor([-0.2])}
    torch.save(checkpoint, out / "sdxl.pth")
    their = npnet_pipeline.NPNet("SDXL", str(out / "sdxl.pth"), "cpu").eval()
    import_published(out / "sdxl.pth", out / "npnet")
    return their, NPNet.from_pretrained(out / "npnet")


def medians(work: dict[str, Callable[[], object]], repeats: int) -> dict[str, float]:
    """Milliseconds of each, alternately."""
    times: dict[str, list[float]] = {name: [] for name in work}
    for _ in range(repeats + 2):
        for name, job in work.items():
            started = time.process_time()
            job()
            times[name].append(1e3 * (time.process_time() - started))
    return {name: statistics.median(found[2:]) for name, found in times.items()}


@torch.no_grad()
def main(theirs: Path | None = None, repeats: int = 15, batch: int = 1) -> None:
    """Print one JSON line a network."""
    torch.set_num_threads(1)
    noise = batch_noise(range(batch), (4, 128, 128))
    embeds = torch.randn(batch, 77, 2048, generator=torch.Generator().manual_seed(1))
    with tempfile.TemporaryDirectory() as out:
        if theirs is None:
            their, ours = None, build(published_config()).eval()
            ours.beta.fill_(-0.2)  # a fresh network leaves its residual out
            ours.save_pretrained(Path(out) / "npnet")
        else:
            their, ours = theirs_and_ours(theirs, Path(out))
        load = lambda **how: NPNet.from_pretrained(Path(out) / "npnet", **how)  # noqa: E731
        nets = {"float32": ours, "float32, Swin in bfloat16": load(swin_dtype=torch.bfloat16)}
        nets["bfloat16"] = load(dtype=torch.bfloat16)
    work: dict[str, Callable[[], Any]] = {name: lambda n=net: n(noise, embeds) for name, net in nets.items()}
    work = {**({"theirs": lambda: their(noise, embeds)} if their else {}), **work}
    base = next(iter(work))
    took, expected = medians(work, repeats), work[base]()
    where = {"machine": platform.processor() or platform.machine(), "load": round(os.getloadavg()[0], 1)}
    print(json.dumps({**where, "batch": batch, "ratios to": base}))
    for name, job in work.items():
        error = float((job() - expected).abs().max())
        line = {"net": name, "ms": round(took[name] / batch, 1), "ratio": round(took[name] / took[base], 3)}
        print(json.dumps({**line, "error": float(f"{error:.1e}")}), flush=True)


if __name__ == "__main__":
    sys.exit(auto_cli(main))
