"""Stage III: winning noise for any diffusers pipeline, and pictures of several methods side by side (algorithm 3)."""

from __future__ import annotations

import json
import re
import time
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from noiseprompt.config import to_dict
from noiseprompt.errors import InputError
from noiseprompt.methods.base import MethodSpec, Sampling, make_noise
from noiseprompt.noise import batch_noise, check_noise
from noiseprompt.pipelines import Pipeline

if TYPE_CHECKING:
    from noiseprompt.npnet import NPNet
    from noiseprompt.types import Prompt

MAX_SEEDS = 10_000


@torch.no_grad()
def winning_noise(
    pipe: Any,
    npnet: NPNet,
    prompt: str | Sequence[str],
    *,
    generator: torch.Generator | Sequence[torch.Generator] | None = None,
    seeds: Sequence[int] | None = None,
    num_images_per_prompt: int = 1,
    strength: float = 1.0,
    height: int | None = None,
    width: int | None = None,
) -> torch.Tensor:
    """The `latents` to hand to an unmodified diffusers pipeline: source noise moved by NPNet towards a winning ticket.

    Args:
        pipe: a loaded diffusers pipeline (or a `noiseprompt.Pipeline`).
        npnet: a network made for this pipeline's family, latent shape and text width.
        prompt: one text, or several.
        generator: as for the pipeline itself: one for the whole batch, or one an image. The source noise is the one the
            pipeline would have drawn from it.
        seeds: instead of `generator`: one an image.
        num_images_per_prompt: images of one prompt are neighbours in the result, as in diffusers.
        strength: scales the perturbation; 0 returns the source noise exactly, 1 is what NPNet predicts.
        height, width: pixels; the pipeline's own default unless given.

    Returns:
        (len(prompts) * num_images_per_prompt, C, H, W) unit Gaussian latents in the pipeline's dtype and on its device.

    Raises:
        InputError: both or the wrong number of generators or seeds.
        ShapeError, ModelMismatchError: NPNet does not fit the pipeline or the size.
        NoiseError: the result is not finite.
    """
    pipeline = pipe if isinstance(pipe, Pipeline) else Pipeline(pipe)
    texts = [prompt] if isinstance(prompt, str) else list(prompt)
    if not texts or num_images_per_prompt < 1:
        raise InputError(f"{len(texts)} prompts with {num_images_per_prompt} images each", "at least one of both")
    texts = [text for text in texts for _ in range(num_images_per_prompt)]
    shape = pipeline.latent_shape(height, width)
    source = _source_noise(len(texts), shape, generator, seeds)
    embeds = pipeline.encode(texts)
    npnet.check(shape, embeds_shape=tuple(embeds.prompt_embeds.shape[1:]), family=pipeline.family.name)
    dtype = next(iter(pipeline.denoiser.parameters())).dtype
    if strength == 0:
        return source.to(pipeline.device, dtype)
    parameter = next(iter(npnet.parameters()))
    predicted = npnet(source.to(parameter.device), embeds.prompt_embeds.to(parameter.device, torch.float32)).to(source)
    latents = source + strength * (predicted - source)
    check_noise(latents, "the winning noise")
    return latents.to(pipeline.device, dtype)


def _source_noise(count: int, shape: tuple[int, ...], generator: Any, seeds: Sequence[int] | None) -> torch.Tensor:
    if seeds is not None and generator is not None:
        raise InputError("both generator and seeds", "one of them")
    if seeds is not None:
        if len(seeds) != count:
            raise InputError(f"{len(seeds)} seeds for {count} images", "one seed an image")
        return batch_noise(seeds, shape)
    if isinstance(generator, Sequence) and len(generator) != count:
        raise InputError(f"{len(generator)} generators for {count} images", "one, or one an image")
    from diffusers.utils.torch_utils import randn_tensor

    given = list(generator) if isinstance(generator, Sequence) else generator
    return randn_tensor((count, *shape), generator=given, dtype=torch.float32).cpu()


@dataclass(frozen=True)
class GenerateConfig:
    """How pictures are drawn; None means the default of the model's family.

    Args:
        guidance_scale: of the sampler.
        num_inference_steps: of the sampler.
        height: pixels.
        width: pixels.
        batch_size: images drawn at once.
    """

    guidance_scale: float | None = None
    num_inference_steps: int | None = None
    height: int | None = None
    width: int | None = None
    batch_size: int = 16


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
        match = re.fullmatch(r"\s*(\d+)\s*(?:-\s*(\d+)\s*)?", part)
        if not match:
            raise InputError(f"seeds {text!r}", 'numbers and ranges such as "0-7" or "1,5,9"')
        low = int(match[1])
        high = int(match[2]) if match[2] else low
        if high < low or high - low + len(seeds) >= MAX_SEEDS:
            raise InputError(f"seeds {text!r}", f"ranges from low to high, at most {MAX_SEEDS} seeds")
        seeds.extend(range(low, high + 1))
    return tuple(dict.fromkeys(seeds))


@torch.no_grad()
def generate(
    pipeline: Pipeline,
    prompts: Sequence[Prompt],
    seeds: Sequence[int],
    specs: Sequence[MethodSpec],
    config: GenerateConfig,
    out: Path,
) -> Iterator[list[Picture]]:
    """Draw every prompt x seed with every method into `out`; yields the pictures of one batch of one method at a time.

    Writes `NNN-seed-method.png` files, `grid.png` (a row a prompt and seed, a column a method) and `run.json`.

    Raises:
        InputError: `out` is a file, or a method's options are wrong.
    """
    if out.exists() and not out.is_dir():
        raise InputError(f"--out {out} is a file", "a folder")
    methods = [spec.build() for spec in specs]
    sampling = Sampling(config.guidance_scale, config.num_inference_steps, config.height, config.width)
    for method in methods:
        method.prepare(pipeline, sampling)
    jobs = [(i, prompt, seed) for i, prompt in enumerate(prompts) for seed in seeds]
    shape = pipeline.latent_shape(config.height, config.width)
    out.mkdir(parents=True, exist_ok=True)
    drawn: list[Picture] = []
    started = time.time()
    for spec, method in zip(specs, methods, strict=True):
        for start in range(0, len(jobs), config.batch_size):
            batch = jobs[start : start + config.batch_size]
            embeds = pipeline.encode([prompt.text for _, prompt, _ in batch])
            others = (
                [prompts[(i + 1) % len(prompts)].text for i, _, _ in batch] if spec.swap and len(prompts) > 1 else []
            )
            wrong = pipeline.encode(others) if others else None
            source = batch_noise([seed for _, _, seed in batch], shape)
            noise = make_noise(spec, method, pipeline, embeds, wrong, source)
            images = pipeline.sample(
                embeds,
                noise,
                guidance_scale=config.guidance_scale,
                num_inference_steps=config.num_inference_steps,
                height=config.height,
                width=config.width,
            )
            pictures = [_save(out, i, p, s, spec.label, image) for (i, p, s), image in zip(batch, images, strict=True)]
            drawn += pictures
            yield pictures
    grid(drawn, [spec.label for spec in specs]).save(out / "grid.png")
    _write_run(out, pipeline, prompts, seeds, specs, config, drawn, time.time() - started)


def _save(out: Path, index: int, prompt: Prompt, seed: int, label: str, image: np.ndarray) -> Picture:
    from PIL import Image

    slug = re.sub(r"[^A-Za-z0-9.=-]+", "-", label)
    file = f"{index:03d}-{seed}-{slug}.png"
    Image.fromarray(image).save(out / file)
    return Picture(prompt, seed, label, image, file)


def _write_run(
    out: Path, pipeline: Pipeline, prompts: Any, seeds: Any, specs: Any, config: Any, drawn: Any, seconds: float
) -> None:
    import diffusers
    import transformers

    from noiseprompt import __version__

    record = {
        "model": pipeline.name,
        "family": pipeline.family.name,
        "scheduler": type(pipeline.pipe.scheduler).__name__,
        "prompts": [prompt.text for prompt in prompts],
        "seeds": list(seeds),
        "methods": [spec.label for spec in specs],
        "settings": {
            **to_dict(config),
            "guidance_scale": pipeline.family.guidance_scale
            if config.guidance_scale is None
            else config.guidance_scale,
            "num_inference_steps": config.num_inference_steps or pipeline.family.num_inference_steps,
        },
        "device": str(pipeline.device),
        "dtype": str(pipeline.dtype).removeprefix("torch."),
        "seconds": round(seconds, 2),
        "versions": {
            "noiseprompt": __version__,
            "torch": torch.__version__,
            "diffusers": diffusers.__version__,
            "transformers": transformers.__version__,
        },
        "images": [{"file": p.file, "prompt": p.prompt.text, "seed": p.seed, "method": p.method} for p in drawn],
    }
    (out / "run.json").write_text(json.dumps(record, indent=2, ensure_ascii=False), encoding="utf-8")


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
