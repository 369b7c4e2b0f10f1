"""Methods x prompts x seeds -> scored images, paired and resumable.

A folder of results:
    settings.json    what the results depend on and its fingerprint; another setting is refused
    results.jsonl    one line an image (`EvalResult`), appended a batch at a time
    images/          PNG, one folder a method
    results.json     `summarize` of the lines, written at the end
    results.md       its headline table

The prompt x seed list is cut into fixed batches, and each batch goes through every method in turn. A batch that was cut
short is made again as a whole, so an interrupted run ends with the results of an uninterrupted one.
"""

from __future__ import annotations

import hashlib
import json
import time
from collections.abc import Iterator, Sequence
from dataclasses import asdict, dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np
import torch

from noiseprompt.config import fingerprint, to_dict
from noiseprompt.errors import ConfigError, InputError, NoiseError
from noiseprompt.methods.base import MethodSpec, NoiseMethod, Sampling, make_noise
from noiseprompt.noise import PAPER_SEEDS, batch_noise, prompt_seed
from noiseprompt.results import Lock, append, read_results, read_settings, replace, resume, save_image, settle
from noiseprompt.summary import BASELINE, markdown, summarize
from noiseprompt.types import EvalResult, Prompt

if TYPE_CHECKING:
    from noiseprompt.pipelines import Pipeline
    from noiseprompt.scorers.base import Scorer

__all__ = ["EvalProgress", "EvaluateConfig", "evaluate", "read_results", "summarize", "summarize_run"]

SMALL = 128
"""Edge in pixels up to which every image is saved by default: a few kilobytes each."""


@dataclass(frozen=True)
class EvaluateConfig:
    """How images are drawn and judged.

    Fields:
        seeds: the seeds of every prompt; if empty, `num_seeds` a prompt: from the prompt's own seed upwards if it names
            one, else assigned from `seed` and the prompt within `seed_range` (both ends included). The default range is
            the one training seeds come from, as in the paper: the prompts differ, and table 14 finds no effect of the
            range.
        num_seeds: see there.
        seed: of the run; also seeds the bootstrap.
        seed_range: see there.
        guidance_scale, num_inference_steps: the family's values where None.
        height, width: in pixels, the pipeline's where None.
        batch_size: images drawn at once.
        save_images: "all", "none", a number of prompts, or "auto": all up to 128 pixels, else those of 24 prompts.
        filter_scorer: the scorer that filtered the training pairs, marked in tables: it is no judge.
    """

    seeds: tuple[int, ...] = ()
    num_seeds: int = 1
    seed: int = 0
    seed_range: tuple[int, int] = PAPER_SEEDS
    guidance_scale: float | None = None
    num_inference_steps: int | None = None
    height: int | None = None
    width: int | None = None
    batch_size: int = 16
    save_images: str | int = "auto"
    filter_scorer: str = ""


@dataclass(frozen=True)
class EvalProgress:
    """One batch of one method, on disk.

    Fields:
        method: label.
        results: of the batch.
        done, total: images so far, those of an earlier run included, and in all.
        seconds: this batch took, scoring included.
    """

    method: str
    results: tuple[EvalResult, ...]
    done: int
    total: int
    seconds: float


@dataclass(frozen=True)
class _Item:
    """One image to draw: prompt, seed, the wrong prompt of the control (or ""), and whether the picture is kept."""

    prompt: Prompt
    seed: int
    wrong: str
    save: bool


def evaluate(
    pipeline: Pipeline,
    prompts: Sequence[Prompt],
    scorers: Sequence[Scorer],
    methods: Sequence[MethodSpec],
    config: EvaluateConfig,
    out: str | Path,
) -> Iterator[EvalProgress]:
    """Draw and score every image that `out` does not hold yet; at the end write results.json and results.md.

    More methods may be given for a folder later on; everything else must be as it was.

    Args:
        methods: among them "standard", which the others are compared with.

    Yields:
        one record a batch and method, after its results are on disk.

    Raises:
        InputError: nothing to evaluate, a method twice, or a control without a second prompt.
        ConfigError: `out` was made with other settings.
        StoreLockedError: another process evaluates into `out`.
        NoiseError: a method gave noise, or a scorer a score, that is not finite.
    """
    out = Path(out)
    _check(prompts, scorers, methods, config)
    items = _items(prompts, config, pipeline, any(spec.swap for spec in methods))
    built = {spec.label: spec.build() for spec in methods}
    sampling = Sampling(config.guidance_scale, config.num_inference_steps, config.height, config.width)
    for method in built.values():
        method.prepare(pipeline, sampling)
    out.mkdir(parents=True, exist_ok=True)
    with Lock(out / ".lock"):
        settle(out, _settings(pipeline, prompts, scorers, config), {label: m.describe() for label, m in built.items()})
        batches = [items[i : i + config.batch_size] for i in range(0, len(items), config.batch_size)]
        finished = resume(out, [[(item.prompt.id, item.seed) for item in batch] for batch in batches])
        done = sum(len(batches[b]) for b, label in finished if label in built)
        for index, batch in enumerate(batches):
            todo = [spec for spec in methods if (index, spec.label) not in finished]
            for spec, results, seconds in _batch(pipeline, batch, scorers, todo, built, config, out):
                append(out / "results.jsonl", results)
                done += len(results)
                yield EvalProgress(spec.label, tuple(results), done, len(items) * len(methods), seconds)
        summarize_run(out)


def summarize_run(out: str | Path) -> dict[str, Any]:
    """Write results.json and results.md from the lines in `out`, complete or not; returns the summary.

    Raises:
        InputError: no evaluation there.
        StoreError: a damaged line.
    """
    config = read_settings(Path(out))["settings"]["config"]
    summary = summarize(read_results(Path(out)), filter_scorer=config["filter_scorer"], seed=config["seed"])
    replace(Path(out) / "results.json", json.dumps(summary, indent=1) + "\n")
    replace(Path(out) / "results.md", markdown(summary))
    return summary


# --------------------------------------------------------------------------------------------------------- what to draw


def _check(
    prompts: Sequence[Prompt], scorers: Sequence[Scorer], methods: Sequence[MethodSpec], config: EvaluateConfig
) -> None:
    if not prompts or not scorers:
        raise InputError(f"{len(prompts)} prompts and {len(scorers)} scorers", "at least one of each")
    labels = [spec.label for spec in methods]
    if BASELINE not in labels or len(set(labels)) < len(labels):
        raise InputError(
            f"methods {', '.join(labels) or '(none)'}",
            f"different methods, {BASELINE!r} among them: gains are paired with it",
        )
    if config.batch_size < 1 or config.num_seeds < 1:
        raise ConfigError(f"batch_size {config.batch_size}, num_seeds {config.num_seeds}", "1 or more")
    if isinstance(config.save_images, str) and config.save_images not in ("auto", "all", "none"):
        raise ConfigError(f"save_images {config.save_images!r}", '"auto", "all", "none" or a number of prompts')
    low, high = config.seed_range
    if not config.seeds and high - low + 1 < config.num_seeds:
        raise ConfigError(
            f"num_seeds {config.num_seeds} out of seed_range {low}-{high}", "a range that holds as many seeds"
        )


def _items(prompts: Sequence[Prompt], config: EvaluateConfig, pipeline: Pipeline, swap: bool) -> list[_Item]:
    if swap and len({p.text for p in prompts}) < 2:
        raise InputError("a swap control with one prompt", "at least two different prompts")
    kept = _kept_prompts(config, pipeline)
    items = []
    for i, prompt in enumerate(prompts):
        wrong = wrong_prompt(prompts, i).text if swap else ""
        items += [_Item(prompt, seed, wrong, i < kept) for seed in seeds_of(prompt, config)]
    keys = {(item.prompt.id, item.seed) for item in items}
    if len(keys) < len(items):
        raise InputError(
            f"{len(items) - len(keys)} prompts that repeat another with the same seed", "each prompt once per seed"
        )
    return items


def wrong_prompt(prompts: Sequence[Prompt], index: int) -> Prompt:
    """The prompt half the list away, or the next one after it with another text; there must be one."""
    n = len(prompts)
    shifted = (prompts[(index + n // 2 + k) % n] for k in range(n))
    return next(p for p in shifted if p.text != prompts[index].text)


def seeds_of(prompt: Prompt, config: EvaluateConfig) -> list[int]:
    """The seeds of a prompt's source noises, all different."""
    if config.seeds:
        return list(dict.fromkeys(config.seeds))
    if prompt.seed is not None:
        return [prompt.seed + k for k in range(config.num_seeds)]
    seeds: dict[int, None] = {}
    run_seed = config.seed
    while len(seeds) < config.num_seeds:
        seeds[prompt_seed(run_seed, prompt.id, config.seed_range)] = None
        run_seed += 1
    return list(seeds)


def _kept_prompts(config: EvaluateConfig, pipeline: Pipeline) -> float:
    if isinstance(config.save_images, int):
        return config.save_images
    height, width = pipeline.default_size
    small = max(config.height or height, config.width or width) <= SMALL
    return {"all": float("inf"), "none": 0, "auto": float("inf") if small else 24}[config.save_images]


# ------------------------------------------------------------------------------------------------------------ drawing


def _batch(
    pipeline: Pipeline,
    batch: Sequence[_Item],
    scorers: Sequence[Scorer],
    specs: Sequence[MethodSpec],
    methods: dict[str, NoiseMethod],
    config: EvaluateConfig,
    out: Path,
) -> Iterator[tuple[MethodSpec, list[EvalResult], float]]:
    """The results of one batch for each method in turn; texts are encoded once for all of them."""
    if not specs:
        return
    shape = pipeline.latent_shape(config.height, config.width)
    noise = batch_noise([item.seed for item in batch], shape, device=str(pipeline.device))
    embeds = pipeline.encode([item.prompt.text for item in batch])
    swapped = pipeline.encode([item.wrong for item in batch]) if any(spec.swap for spec in specs) else None
    for spec in specs:
        start, calls = _now(pipeline), pipeline.denoiser_calls
        latents = make_noise(spec, methods[spec.label], pipeline, embeds, swapped, noise)
        middle = _now(pipeline)
        images = pipeline.sample(
            embeds,
            latents,
            guidance_scale=config.guidance_scale,
            num_inference_steps=config.num_inference_steps,
            height=config.height,
            width=config.width,
        )
        end = _now(pipeline)
        costs = (
            (pipeline.denoiser_calls - calls) / len(batch),
            (middle - start) / len(batch),
            (end - middle) / len(batch),
        )
        scores = {scorer.name: _score(scorer, images, batch) for scorer in scorers}
        names = [
            save_image(out, spec.label, f"{item.prompt.id}-{item.seed}", image) if item.save else ""
            for item, image in zip(batch, images, strict=True)
        ]
        results = [
            EvalResult(
                spec.label,
                item.prompt.id,
                item.prompt.text,
                item.prompt.kind,
                item.seed,
                {s: scores[s][i] for s in scores},
                *costs,
                names[i],
            )
            for i, item in enumerate(batch)
        ]
        yield spec, results, _now(pipeline) - start


def _score(scorer: Scorer, images: np.ndarray, batch: Sequence[_Item]) -> list[float]:
    scores = [float(s) for s in scorer.score(images, [item.prompt for item in batch])]
    if len(scores) != len(batch) or not np.isfinite(scores).all():
        raise NoiseError(f"scorer {scorer.name!r} gave {scores}", f"{len(batch)} finite numbers")
    return scores


def _now(pipeline: Pipeline) -> float:
    device = torch.device(str(pipeline.device))
    if device.type == "cuda":
        torch.cuda.synchronize(device)
    return time.perf_counter()


def _settings(
    pipeline: Pipeline, prompts: Sequence[Prompt], scorers: Sequence[Scorer], config: EvaluateConfig
) -> dict[str, Any]:
    """Everything the results depend on but the methods."""
    family = pipeline.family
    weights = list(pipeline.denoiser.parameters())[-1].detach().cpu().float().numpy().tobytes()
    resolved = {
        "guidance_scale": family.guidance_scale if config.guidance_scale is None else config.guidance_scale,
        "num_inference_steps": config.num_inference_steps or family.num_inference_steps,
    }
    return {
        "pipeline": {
            "name": pipeline.name,
            "family": family.name,
            "device": str(pipeline.device),
            "dtype": str(pipeline.dtype).removeprefix("torch."),
            "denoiser": hashlib.sha256(weights).hexdigest()[:12],
        },
        "prompts": {"count": len(prompts), "fingerprint": fingerprint({"prompts": [asdict(p) for p in prompts]})},
        "scorers": [scorer.name for scorer in scorers],
        "config": {**to_dict(config), **resolved},
    }
