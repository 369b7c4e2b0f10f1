"""Stage III: pictures of several methods side by side, from the same seeds (algorithm 3)."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from noiseprompt.core.arguments import held
from noiseprompt.core.config import to_dict
from noiseprompt.core.environment import environment
from noiseprompt.core.errors import InputError
from noiseprompt.core.files import make_folder, replace
from noiseprompt.core.parts import PARTS
from noiseprompt.core.pictures import write_picture
from noiseprompt.core.ranges import COUNT, check_value, setting
from noiseprompt.core.ranges import check as check_ranges
from noiseprompt.core.types import Prompt, Sampling, check_pipeline
from noiseprompt.methods.base import MethodSpec, make_noise
from noiseprompt.noise.guard import Guard
from noiseprompt.noise.seeds import batch_noise, check_seed, sampler_generators
from noiseprompt.prompts.load import wrong_prompt
from noiseprompt.results.names import slug

if TYPE_CHECKING:
    from noiseprompt.pipelines import Pipeline

MAX_SEEDS = 10_000

DEFAULT_SEEDS = (0, 1, 2, 3)
"""Of a prompt that names none."""


@dataclass(frozen=True)
class GenerateConfig:
    """How pictures are drawn; None means the default of the model's family.

    Args:
        guidance_scale: of the sampler.
        num_inference_steps: of the sampler.
        height: pixels.
        width: pixels.
        batch_size: images drawn at once.

    Raises:
        ConfigError: settings out of range, all of them at once; which sizes a model can draw is seen before the first
            picture.
    """

    guidance_scale: float | None = None
    num_inference_steps: int | None = setting(None, COUNT)
    height: int | None = setting(None, COUNT)
    width: int | None = setting(None, COUNT)
    batch_size: int = setting(16, COUNT)

    def __post_init__(self) -> None:
        check_ranges(self)


@dataclass(frozen=True)
class Picture:
    """One drawn image: uint8 (H, W, 3), its file and how it came about."""

    prompt: Prompt
    seed: int
    method: str
    image: np.ndarray
    file: str


def parse_seeds(text: str) -> tuple[int, ...]:
    """Seeds from "0-7", "3", or "1,5,8-10" (both ends included).

    Raises:
        InputError: anything else, or more than 10,000 seeds.
    """
    seeds: list[int] = []
    for part in str(text).split(","):
        match = re.fullmatch(r"\s*([0-9]{1,19})\s*(?:-\s*([0-9]{1,19})\s*)?", part)
        if not match:
            raise InputError(f"seeds {text!r:.80}", 'numbers and ranges such as "0-7" or "1,5,9"')
        low = int(match[1])
        high = int(match[2]) if match[2] else low
        if high < low or high - low + len(seeds) >= MAX_SEEDS:
            raise InputError(f"seeds {text!r:.80}", f"ranges from low to high, at most {MAX_SEEDS} seeds")
        seeds.extend(range(low, high + 1))
    return tuple(dict.fromkeys(seeds))


def check(prompts: Sequence[Prompt], seeds: Sequence[int] | None, specs: Sequence[MethodSpec]) -> None:
    """Refuse what cannot be drawn, before a model is loaded.

    Raises:
        InputError: nothing to draw, or a seed or method twice.
    """
    check_value("prompts", list[Prompt], prompts)
    check_value("seeds", list[int] | None, seeds)
    check_value("methods", list[MethodSpec], specs)
    if not prompts:
        raise InputError("no prompts", "at least one")
    for seed in seeds or ():
        check_seed(seed)
    for what, given in (("methods", [spec.label for spec in specs]), ("seeds", seeds)):
        if given is not None and (not given or len(set(given)) < len(given)):
            raise InputError(f"{what} {', '.join(map(str, given)) or '(none)'}", "at least one, and each once")


def plan(prompts: Sequence[Prompt], seeds: Sequence[int] | None) -> list[tuple[int, Prompt, int]]:
    """Every picture of one method, in order: number of the prompt, prompt and seed.

    Args:
        seeds: of every prompt; where None a prompt's own seed, and `DEFAULT_SEEDS` for one without.
    """
    own = [DEFAULT_SEEDS if prompt.seed is None else (prompt.seed,) for prompt in prompts]
    return [(i, p, seed) for i, p in enumerate(prompts) for seed in (own[i] if seeds is None else seeds)]


@torch.no_grad()
@held
def generate(
    pipeline: Pipeline,
    prompts: Sequence[Prompt],
    seeds: Sequence[int] | None,
    specs: Sequence[MethodSpec],
    config: GenerateConfig,
    out: Path,
    guard: Guard | None = None,
) -> Iterator[list[Picture]]:
    """Draw every prompt x seed with every method into `out`; yields the pictures of one batch of one method at a time.

    Writes `NNN-seed-method.png` files, `grid.png` (a row a prompt and seed, a column a method) and `run.json`.

    Args:
        seeds: of every prompt; where None a prompt's own seed, and 0 to 3 for one without.
        guard: watches every noise; its figures go into run.json.

    Raises:
        InputError: nothing to draw, a seed or method twice, `out` is a file, a method's options are wrong, or a control
            has no second prompt.
        NoiseError: a method gave noise that is not finite.

    Warns:
        NoiseWarning: a method's noise is not like unit Gaussian noise.
    """
    check_pipeline(pipeline)
    check_value("config", GenerateConfig, config)
    check_value("out", str | Path, out)
    out = Path(out)
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out} is a file", "a folder")
    check(prompts, seeds, specs)
    methods, sampling = [spec.build() for spec in specs], Sampling.of(config)
    for method in methods:
        method.prepare(pipeline, sampling)
    wrong = [wrong_prompt(prompts, i).text for i in range(len(prompts))] if any(s.swap for s in specs) else []
    guard = guard or Guard()
    jobs = plan(prompts, seeds)
    shape = pipeline.latent_shape(config.height, config.width)
    make_folder(out)
    drawn: list[Picture] = []
    started = time.time()
    for spec, method in zip(specs, methods, strict=True):
        for start in range(0, len(jobs), config.batch_size):
            batch = jobs[start : start + config.batch_size]
            embeds = pipeline.encode([prompt.text for _, prompt, _ in batch])
            swapped = pipeline.encode([wrong[i] for i, _, _ in batch]) if spec.swap else None
            source = batch_noise([seed for _, _, seed in batch], shape)
            noise = make_noise(spec, method, pipeline, embeds, swapped, source)
            guard.watch(spec.label, noise, source, abs(spec.strength) * method.signal(pipeline))
            generators = sampler_generators([seed for _, _, seed in batch])
            images = pipeline.sample(embeds, noise, **vars(sampling), generator=generators)
            pictures = [_save(out, i, p, s, spec.label, image) for (i, p, s), image in zip(batch, images, strict=True)]
            drawn += pictures
            yield pictures
    write_picture(out / "grid.png", np.asarray(grid(drawn, [spec.label for spec in specs])))
    record = _record(pipeline, prompts, specs, config, drawn)
    record.update(seconds=round(time.time() - started, 2), noise=guard.summary())
    replace(out / "run.json", json.dumps(record, indent=2, ensure_ascii=False))


def _save(out: Path, index: int, prompt: Prompt, seed: int, label: str, image: np.ndarray) -> Picture:
    file = f"{index:03d}-{seed}-{slug(label)}.png"
    write_picture(out / file, image)
    return Picture(prompt, seed, label, image, file)


def _record(
    pipeline: Pipeline, prompts: Any, specs: Any, config: GenerateConfig, drawn: Sequence[Picture]
) -> dict[str, Any]:
    """Everything the pictures depend on."""
    family = pipeline.family
    return {
        "model": pipeline.name,
        "changes": pipeline.changes,
        PARTS: pipeline.parts(),
        "family": family.name,
        "scheduler": type(pipeline.pipe.scheduler).__name__,
        "prompts": [prompt.text for prompt in prompts],
        "seeds": list(dict.fromkeys(p.seed for p in drawn)),
        "methods": [spec.label for spec in specs],
        "settings": {**to_dict(config), **asdict(Sampling.of(config).resolve(family))},
        "device": str(pipeline.device),
        "dtype": str(pipeline.dtype).removeprefix("torch."),
        "versions": environment(),
        "images": [{"file": p.file, "prompt": p.prompt.text, "seed": p.seed, "method": p.method} for p in drawn],
    }


def grid(pictures: Sequence[Picture], labels: Sequence[str], cell: int = 160, per_block: int = 6) -> Any:
    """One labelled picture: a row a (prompt, seed), a column a method; more than `per_block` rows go on beside."""
    from PIL import Image, ImageDraw, ImageFont

    table = {(p.prompt.text, p.seed, p.method): p.image for p in pictures}
    rows = list(dict.fromkeys((p.prompt.text, p.seed) for p in pictures))
    height = round(cell * pictures[0].image.shape[0] / pictures[0].image.shape[1])
    caption, header, gap = 22, 26, 6
    blocks, deep = -(-len(rows) // per_block), min(len(rows), per_block)
    wide = len(labels) * (cell + gap) + 3 * gap
    canvas = Image.new("RGB", (blocks * wide, header + deep * (height + caption + gap)), "white")
    draw = ImageDraw.Draw(canvas)
    font = ImageFont.load_default(13)
    for index, (text, seed) in enumerate(rows):
        block, row = divmod(index, per_block)
        top = header + row * (height + caption + gap)
        draw.text((gap + block * wide, top + 2), f"{text} (seed {seed})", fill="#444444", font=font)
        for column, label in enumerate(labels):
            left = gap + block * wide + column * (cell + gap)
            if row == 0:
                draw.text((left, 6), label, fill="black", font=font)
            picture = Image.fromarray(table[text, seed, label])
            resample = Image.Resampling.NEAREST if picture.width < cell else Image.Resampling.LANCZOS
            canvas.paste(picture.resize((cell, height), resample), (left, top + caption))
    return canvas
