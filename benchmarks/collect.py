"""Collection against a plain loop at batch 1, and its peak memory. Goals: 3 times the pairs/s; constant memory.

    python benchmarks/collect.py speed [--tiny] [--pairs 128] [--batch-size 32] [--dtype float32 bfloat16]
                                       [--guidance-scale 5.5]
    python benchmarks/collect.py scored [--tiny] [--pairs 128] [--shares 1 0.05 0] [--dtype float32]
    python benchmarks/collect.py apart [--pairs 64] [--batch-size 8] [--device-ms 400] [--share 0.21]
    python benchmarks/collect.py memory [--pairs 1000 4000]

speed: the plain loop encodes, re-denoises, samples and scores pair by pair, with the pipeline as diffusers loads it (no
channels_last). `--tiny`: the world's networks untrained. At the guidance of the step down (5.5) the source's image goes
on from there: a guided step, two denoiser calls a pair, is saved.
scored: ms and denoiser calls a pair where every pair is drawn and scored, a sample, or none (`scored_share`).
apart: the time of a collection as a multiple of its device's alone, with batches scored after they are drawn and while
the next one is. The device sleeps, so that the host is free; the scorer scales pictures of 1024 pixels for a share of
that time by the clock.
memory: a stand-in for the model (whose memory does not depend on the number of pairs) with latents of 4 x 64 x 64, so
that keeping the noises would show: 4,000 pairs of source and target are 500 MB in float32.
"""

from __future__ import annotations

import argparse
import os
import resource
import subprocess
import sys
import tempfile
import time
from collections.abc import Sequence
from types import SimpleNamespace
from typing import Any

import numpy as np
import torch
from PIL import Image

from noiseprompt.core.types import Prompt
from noiseprompt.noise import initial_noise
from noiseprompt.noise.seeds import prompt_seed
from noiseprompt.pipelines import Pipeline
from noiseprompt.stages.collect.collect import collect
from noiseprompt.stages.collect.settings import CollectConfig


class Levels:
    """Mean level of an image: a scorer that costs nothing."""

    name = "levels"

    def score(self, images: np.ndarray, prompts: Sequence[Prompt]) -> np.ndarray:
        return images.mean(axis=(1, 2, 3), dtype=np.float64)


def plain_loop(pipeline: Pipeline, prompts: Sequence[Prompt], scorers: Sequence[Any], guidance: Any) -> list[Any]:
    """What one would write first."""
    kept = []
    for prompt in prompts:
        embeds = pipeline.encode([prompt.text])
        noise = initial_noise(prompt_seed(0, prompt.id), pipeline.latent_shape())[None]
        target = pipeline.redenoise(embeds, noise)
        images = [pipeline.sample(embeds, x, guidance_scale=guidance) for x in (noise, target)]
        kept.append((noise, target, [[s.score(image, [prompt]) for image in images] for s in scorers]))
    return kept


def load(dtype: str, tiny: bool) -> tuple[Pipeline, Pipeline, list[Any]]:
    """The pipeline as collect has it, the pipeline as diffusers loads it, and the scorers."""
    from noiseprompt.shapes.model import build_pipeline

    if tiny:
        kind = getattr(torch, dtype)
        ours, plain = build_pipeline().to(kind), build_pipeline().to(kind)
        ours.set_progress_bar_config(disable=True)
        for network in (ours.unet, ours.vae):
            network.to(memory_format=torch.channels_last)
        return Pipeline(ours, name="tiny"), Pipeline(plain, name="tiny"), [Levels()]
    from diffusers import DiffusionPipeline

    from noiseprompt.scorers.base import load_scorers
    from noiseprompt.shapes import weights_folder

    plain = DiffusionPipeline.from_pretrained(weights_folder(), torch_dtype=getattr(torch, dtype))
    return Pipeline.load("shapes", dtype=dtype), Pipeline(plain), load_scorers(["shapes-preference"])


def speed(args: argparse.Namespace) -> None:
    from noiseprompt.prompts import load_prompts

    prompts = load_prompts("shapes:train", limit=args.pairs).prompts
    few = prompts[: max(args.pairs // 4, 1)]
    guidance = args.guidance_scale
    config = CollectConfig(batch_size=args.batch_size, guidance_scale=guidance)
    loaded = {dtype: load(dtype, args.tiny) for dtype in args.dtype}
    rates: dict[str, list[float]] = {}
    for _ in range(args.repeats):  # in turns, so that other load falls on all
        for dtype, (ours, plain, scorers) in loaded.items():
            plain_loop(plain, few[:1], scorers, guidance)
            start = time.perf_counter()
            plain_loop(plain, few, scorers, guidance)
            rates.setdefault(f"plain {dtype}", []).append(len(few) / (time.perf_counter() - start))
            with tempfile.TemporaryDirectory() as folder:
                last = list(collect(ours, prompts, scorers, config, folder))[-1]
            rates.setdefault(f"collect {dtype}", []).append(last.pairs_per_second)
    ours, plain, _ = loaded[args.dtype[0]]
    for name, pipeline, pairs in (("plain", plain, len(few) + 1), ("collect", ours, len(prompts))):
        print(f"{name}: {pipeline.denoiser_calls / (args.repeats * pairs):.1f} denoiser calls a pair")
    print(
        f"{torch.get_num_threads()} threads, batch size {args.batch_size}; median of {args.repeats} [lowest, highest]"
    )
    for name, found in rates.items():
        line = f"{name:16} {np.median(found):5.2f} pairs/s [{min(found):.2f}, {max(found):.2f}]"
        for base in dict.fromkeys((f"plain {name.split()[1]}", f"plain {args.dtype[0]}")):
            ratio = np.divide(found, rates[base])
            line += f", {np.median(ratio):.2f} [{min(ratio):.2f}, {max(ratio):.2f}] times {base}"
        print(line)


def scored(args: argparse.Namespace) -> None:
    from noiseprompt.prompts import load_prompts

    prompts = load_prompts("shapes:train", limit=args.pairs).prompts
    pipeline, _, scorers = load(args.dtype, args.tiny)
    found: dict[float, list[float]] = {share: [] for share in args.shares}
    calls = dict.fromkeys(found, 0.0)
    warm = prompts[: args.batch_size]
    for turn in range(args.repeats + 1):  # in turns, so that other load falls on all; the first is a warm-up
        for share in found:
            config = CollectConfig(batch_size=args.batch_size, scored_share=share)
            before, start = pipeline.denoiser_calls, time.process_time()
            with tempfile.TemporaryDirectory() as folder:
                list(collect(pipeline, prompts if turn else warm, scorers if share else [], config, folder))
            if turn:
                found[share].append(1000 * (time.process_time() - start) / len(prompts))
                calls[share] += (pipeline.denoiser_calls - before) / (args.repeats * len(prompts))
    base = found[max(found)]
    for share, spent in found.items():
        ratio = np.divide(base, spent)
        line = f"scored_share {share:4.2f}: {np.median(spent):6.1f} ms a pair of processor time"
        line += f", {calls[share]:.1f} denoiser calls"
        print(f"{line}; {np.median(ratio):.1f} [{ratio.min():.1f}, {ratio.max():.1f}] times as fast")


class StandIn:
    """A pipeline that costs almost nothing."""

    name, dtype, device, default_size, can_share_first_step = "stand-in", torch.float32, "cpu", (512, 512), False
    denoiser, changes, long_prompts = torch.nn.Identity(), {}, "truncate"
    family = SimpleNamespace(
        name="stand-in",
        guidance_scale=1.0,
        num_inference_steps=1,
        collection_steps=1,
        denoise_guidance_scale=1.0,
        invert_guidance_scale=1.0,
        check_gap=lambda *_: None,
    )
    pipe = None

    def __init__(self, seconds: float = 0.0) -> None:
        self.seconds = seconds

    def parts(self) -> dict[str, str]:
        return {}

    def latent_shape(self, height: int | None = None, width: int | None = None) -> tuple[int, int, int]:
        return 4, 64, 64

    def encode(self, texts: Sequence[str]) -> Any:
        return SimpleNamespace(prompt_embeds=torch.zeros(len(texts), 77, 768))

    def denoise_step(self, embeds: Any, latents: torch.Tensor, **_: Any) -> torch.Tensor:
        return 0.9 * latents

    def invert_step(self, embeds: Any, latents: torch.Tensor, **_: Any) -> torch.Tensor:
        return 1.1 * latents

    redenoise = Pipeline.redenoise

    def sample(self, embeds: Any, latents: torch.Tensor, **_: Any) -> np.ndarray:
        time.sleep(self.seconds / 2)  # both images of a pair
        return np.zeros((len(latents), 512, 512, 3), np.uint8)


class Scaling(Levels):
    """Scales a picture, again and again."""

    def __init__(self, seconds: float) -> None:
        self.seconds = seconds
        self.picture = Image.fromarray(np.random.default_rng(0).integers(0, 256, (1024, 1024, 3), np.uint8))

    def score(self, images: np.ndarray, prompts: Sequence[Prompt]) -> np.ndarray:
        begun = time.perf_counter()
        while time.perf_counter() - begun < self.seconds / 2:
            self.picture.resize((224, 224), Image.Resampling.BICUBIC)
        return super().score(images, prompts)


def apart(args: argparse.Namespace) -> None:
    seconds, batches = args.device_ms / 1000, -(-args.pairs // args.batch_size)
    pipeline, scorer = StandIn(seconds), Scaling(args.share * seconds)
    prompts, config = [Prompt(f"text {i}") for i in range(args.pairs)], CollectConfig(batch_size=args.batch_size)
    found: dict[bool, list[float]] = {False: [], True: []}
    for _ in range(args.repeats):
        for way, times in found.items():
            with tempfile.TemporaryDirectory() as folder:
                start = time.perf_counter()
                list(collect(pipeline, prompts, [scorer], config, folder, apart=way))  # type: ignore[arg-type]
                times.append((time.perf_counter() - start) / (batches * seconds))
    load = f"load {os.getloadavg()[0]:.1f}"
    print(
        f"{batches} batches of {args.device_ms:g} ms, scorers {args.share:.0%} of it; {load}; median [lowest, highest]"
    )
    for way, times in found.items():
        name = "scored while the next is drawn" if way else "scored after drawing"
        print(f"{name:30} {np.median(times):.3f} [{min(times):.3f}, {max(times):.3f}] of the device's time")
    ratio = np.divide(found[True], found[False])
    print(f"ratio {np.median(ratio):.3f} [{ratio.min():.3f}, {ratio.max():.3f}]")


def memory(args: argparse.Namespace) -> None:
    for pairs in args.pairs:
        command = [sys.executable, __file__, "one", str(pairs)]
        print(subprocess.run(command, check=True, capture_output=True, text=True).stdout.strip(), flush=True)


def one(args: argparse.Namespace) -> None:
    prompts = [Prompt(f"text {i}") for i in range(args.count)]
    with tempfile.TemporaryDirectory() as folder:
        for _ in collect(StandIn(), prompts, [Levels()], CollectConfig(), folder):  # type: ignore[arg-type]
            pass
    peak = resource.getrusage(resource.RUSAGE_SELF).ru_maxrss / 1024
    print(f"{args.count} pairs: peak memory {peak:.0f} MiB")


def main() -> None:
    parser = argparse.ArgumentParser(description=__doc__.splitlines()[0])  # type: ignore[union-attr]
    commands = parser.add_subparsers(required=True)
    first = commands.add_parser("speed")
    first.add_argument("--tiny", action="store_true")
    first.add_argument("--pairs", type=int, default=128)
    first.add_argument("--batch-size", type=int, default=32)
    first.add_argument("--dtype", nargs="+", default=["float32", "bfloat16"])
    first.add_argument("--repeats", type=int, default=3)
    first.add_argument("--guidance-scale", type=float, help="of the images; the world's own unless given")
    first.set_defaults(run=speed)
    share = commands.add_parser("scored")
    share.add_argument("--tiny", action="store_true")
    share.add_argument("--pairs", type=int, default=128)
    share.add_argument("--batch-size", type=int, default=32)
    share.add_argument("--shares", type=float, nargs="+", default=[1.0, 0.05, 0.0])
    share.add_argument("--dtype", default="float32")
    share.add_argument("--repeats", type=int, default=3)
    share.set_defaults(run=scored)
    beside = commands.add_parser("apart")
    beside.add_argument("--pairs", type=int, default=64)
    beside.add_argument("--batch-size", type=int, default=8)
    beside.add_argument("--device-ms", type=float, default=400.0)
    beside.add_argument("--share", type=float, default=0.21)
    beside.add_argument("--repeats", type=int, default=5)
    beside.set_defaults(run=apart)
    second = commands.add_parser("memory")
    second.add_argument("--pairs", type=int, nargs="+", default=[1000, 4000])
    second.set_defaults(run=memory)
    third = commands.add_parser("one")
    third.add_argument("count", type=int)
    third.set_defaults(run=one)
    args = parser.parse_args()
    args.run(args)


if __name__ == "__main__":
    main()
