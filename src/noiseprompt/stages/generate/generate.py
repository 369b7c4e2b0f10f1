"""Stage III: pictures of several methods side by side, from the same seeds (algorithm 3)."""

from __future__ import annotations

import json
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
from noiseprompt.core.json_files import read_json
from noiseprompt.core.json_lines import mend
from noiseprompt.core.part import WHOLE, Part
from noiseprompt.core.parts import PARTS
from noiseprompt.core.pictures import png
from noiseprompt.core.places import place
from noiseprompt.core.ranges import check_value
from noiseprompt.core.store import Store
from noiseprompt.core.stores import store_of
from noiseprompt.core.types import Prompt, Sampling, check_pipeline
from noiseprompt.methods.base import MethodSpec, NoiseMethod, make_noise
from noiseprompt.noise.guard import Guard, carried
from noiseprompt.noise.seeds import batch_noise, sampler_generators
from noiseprompt.pipelines.samplers import check_sampling
from noiseprompt.prompts.load import wrong_prompt
from noiseprompt.stages.generate import noises
from noiseprompt.stages.generate.folder import FILE, Unit, check_sizes, is_there, run_settings, settle, units
from noiseprompt.stages.generate.grid import grid
from noiseprompt.stages.generate.settings import GenerateConfig, check, plan

if TYPE_CHECKING:
    from noiseprompt.pipelines import Pipeline


@dataclass(frozen=True)
class Picture:
    """One drawn image: uint8 (H, W, 3), its file and how it came about."""

    prompt: Prompt
    seed: int
    method: str
    image: np.ndarray
    file: str


@torch.no_grad()
@held
def generate(
    pipeline: Pipeline,
    prompts: Sequence[Prompt],
    seeds: Sequence[int] | None,
    specs: Sequence[MethodSpec],
    config: GenerateConfig,
    out: str | Path,
    guard: Guard | None = None,
    part: Part = WHOLE,
) -> Iterator[list[Picture]]:
    """Draw every prompt x seed with every method into `out`; yields the new pictures of one batch of one method at a
    time, when they are there. None is kept.

    Pictures that are there are not made again: a run that was stopped continues, and more seeds or methods may be asked
    for. Batches are cut from the whole list, so a picture has the same bytes whatever the part and wherever a run was
    stopped; another `batch_size`, or another list of seeds, may move values by float rounding. A picture of a batch of
    which others are there is drawn with them again, for its bytes.

    When all are there, writes `grid.png` (a row a prompt and seed, a column a method; the first 60) and `run.json`.

    Args:
        out: a folder, or an address s3://BUCKET/FOLDER (extra `[s3]`).
        seeds: of every prompt; where None a prompt's own seed, and 0 to 3 for one without.
        guard: watches every noise that this run makes; the figures of all pictures go into run.json.
        part: of the batches, for this process; others draw the rest into the same folder.

    Raises:
        InputError: nothing to draw, a seed or method twice, `out` is a file, a method's options are wrong, or a control
            has no second prompt.
        ConfigError: `out` holds pictures of other settings.
        NoiseError: a method gave noise that is not finite.

    Warns:
        NoiseWarning: a method's noise is not like unit Gaussian noise.
    """
    check_pipeline(pipeline)
    check_value("config", GenerateConfig, config)
    check_value("out", str | Path, out)
    folder, store = place(out), store_of(out)
    if isinstance(folder, Path) and folder.exists() and not folder.is_dir():
        raise InputError(f"--out {out} is a file", "a folder")
    check(prompts, seeds, specs)
    methods = {spec.label: spec.build() for spec in specs}
    for method in methods.values():
        method.prepare(pipeline, Sampling.of(config))
    wrong = [wrong_prompt(prompts, i).text for i in range(len(prompts))] if any(s.swap for s in specs) else []
    check_sampling(pipeline, Sampling.of(config))  # what cannot be drawn is told before anything is written
    guard = guard or Guard()
    every = units(plan(prompts, seeds), specs, config.batch_size)
    files = [name for unit in every for name in unit.files]
    store.make()
    started, drew = time.time(), 0
    with store.withdrawn(files) as written:
        described = {label: method.describe() for label, method in methods.items()}
        settle(store, run_settings(pipeline, prompts, config), described, files)
        check_sizes(store, files)
        written += [FILE, noises.FILE]
        mend(store.file(noises.FILE))
        for unit in part.take(every):
            store.names()  # what others drew meanwhile
            if missing := unit.missing(store):
                spec = specs[unit.method]
                images = _images(store, pipeline, unit, spec, methods[unit.label], config, wrong, guard)
                pictures = _save(store, unit, images, missing)
                drew += len(pictures)
                yield pictures
    if {*files} <= {*store.names()}:
        record = _record(pipeline, prompts, specs, config, every)
        record.update(seconds=round(time.time() - started, 2), noise=noises.of_all(store, every).summary())
        _close(store, record, bool(drew))


def _images(
    out: Store,
    pipeline: Pipeline,
    unit: Unit,
    spec: MethodSpec,
    method: NoiseMethod,
    config: GenerateConfig,
    wrong: Sequence[str],
    guard: Guard,
) -> np.ndarray:
    """uint8 (B, H, W, 3) of a unit; the figures of its noise are written."""
    seeds = [seed for _, _, seed in unit.jobs]
    embeds = pipeline.encode([prompt.text for _, prompt, _ in unit.jobs])
    swapped = pipeline.encode([wrong[i] for i, _, _ in unit.jobs]) if spec.swap else None
    source = batch_noise(seeds, pipeline.latent_shape(config.height, config.width))
    noise = make_noise(spec, method, pipeline, embeds, swapped, source)
    report = guard.watch(spec.label, noise, source, carried(spec.strength, method.signal(pipeline)))
    noises.note(out, unit, report)
    return pipeline.sample(embeds, noise, **vars(Sampling.of(config)), generator=sampler_generators(seeds))


def _save(out: Store, unit: Unit, images: np.ndarray, missing: Sequence[str]) -> list[Picture]:
    """Write those of a unit that are not there."""
    pictures = [
        Picture(prompt, seed, unit.label, image, name)
        for (_, prompt, seed), image, name in zip(unit.jobs, images, unit.files, strict=True)
        if name in missing
    ]
    for _ in out.each(lambda picture: out.put(picture.file, png(picture.image)), pictures):
        pass
    return pictures


def _record(
    pipeline: Pipeline, prompts: Any, specs: Any, config: GenerateConfig, every: Sequence[Unit]
) -> dict[str, Any]:
    """Everything the pictures depend on."""
    family = pipeline.family
    images = [
        {"file": name, "prompt": prompt.text, "seed": seed, "method": unit.label}
        for unit in every
        for name, (_, prompt, seed) in zip(unit.files, unit.jobs, strict=True)
    ]
    return {
        "model": pipeline.name,
        "changes": pipeline.changes,
        PARTS: pipeline.parts(),
        "family": family.name,
        "scheduler": type(pipeline.pipe.scheduler).__name__,
        "prompts": [prompt.text for prompt in prompts],
        "seeds": list(dict.fromkeys(image["seed"] for image in images)),
        "methods": [spec.label for spec in specs],
        "settings": {**to_dict(config), **asdict(Sampling.of(config).resolve(family))},
        "device": str(pipeline.device),
        "dtype": str(pipeline.dtype).removeprefix("torch."),
        "versions": environment(),
        "images": images,
    }


def _close(out: Store, record: dict[str, Any], drew: bool) -> None:
    """Write grid.png and run.json, unless nothing was drawn and they tell of the same pictures."""
    file = out.file("run.json")
    told = read_json(file, fix="delete it").get("images") if file.is_file() else None
    if not drew and told == record["images"] and is_there(out, "grid.png"):
        return
    rows: dict[tuple[str, int], dict[str, str]] = {}
    for image in record["images"]:
        rows.setdefault((image["prompt"], image["seed"]), {})[image["method"]] = image["file"]
    out.clear_left(tuple(image["file"] for image in record["images"]))
    labels = record["methods"]
    shown = {row: [files[label] for label in labels] for row, files in rows.items()}
    out.put("grid.png", png(np.asarray(grid(out, shown, labels))))
    out.put("run.json", json.dumps(record, indent=2, ensure_ascii=False).encode())
