"""What an evaluation draws: its settings, and the list of images that follows from prompts and seeds."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import asdict, dataclass
from typing import TYPE_CHECKING, Any

from noiseprompt.core.arguments import told
from noiseprompt.core.config import fingerprint, to_dict
from noiseprompt.core.digests import weights_digest
from noiseprompt.core.errors import ConfigError, InputError
from noiseprompt.core.files import public_name
from noiseprompt.core.parts import PARTS
from noiseprompt.core.ranges import (
    COUNT,
    GUIDANCE,
    NAMED,
    PIXELS,
    SEED,
    SEED_RANGE,
    SEEDS_EACH,
    Limits,
    check_value,
    setting,
)
from noiseprompt.core.ranges import check as check_ranges
from noiseprompt.core.types import EvalResult, Prompt, Sampling
from noiseprompt.methods.base import MethodSpec, check_different
from noiseprompt.methods.table import METHODS
from noiseprompt.noise.seeds import PAPER_SEEDS, prompt_seed
from noiseprompt.prompts.load import wrong_prompt
from noiseprompt.results.summary import BASELINE
from noiseprompt.scorers.base import Scorer
from noiseprompt.scorers.parts import parts_of
from noiseprompt.shapes import world

if TYPE_CHECKING:
    from noiseprompt.pipelines import Pipeline

SMALL = 128
"""Edge in pixels up to which every image is saved by default: a few kilobytes each."""


@told
@dataclass(frozen=True)
class EvaluateConfig:
    """How images are drawn and judged.

    Args:
        seeds: the seeds of every prompt, each drawn once; if empty, `num_seeds` a prompt: from the prompt's own seed
            upwards if it names one, else assigned from `seed` and the prompt within `seed_range` (both ends included).
            The default range is the one training seeds come from, as in the paper: the prompts differ, and table 14
            finds no effect of the range.
        num_seeds: of a prompt; two or more let the diversity between the images of one prompt be measured.
        seed: of the run; also seeds the bootstrap.
        seed_range: of the seeds that are assigned.
        guidance_scale: of the sampler, the family's where None.
        num_inference_steps: of the sampler, the family's where None.
        height: in pixels, the pipeline's where None.
        width: in pixels, the pipeline's where None.
        batch_size: images drawn at once.
        save_images: "all", "none", a number of prompts, or "auto": all up to 128 pixels or where `features` is named,
            else those of 24 prompts.
        filter_scorers: the scorers that filtered the training pairs, marked wherever they appear: they are no judges.
        features: the extractor of the set metrics (Frechet distance, precision, recall, diversity), e.g.
            "inception:path=FILE", or "none"; the world's own for the embedded world where None, else none.
        reference: a folder of pictures that the set metrics compare with; for the embedded world rendered scenes of the
            prompts unless given. Without it diversity alone is measured.

    Raises:
        ConfigError: settings out of range, all of them at once.
    """

    seeds: tuple[int, ...] = setting((), SEED)
    num_seeds: int = setting(1, SEEDS_EACH)
    seed: int = setting(0, SEED)
    seed_range: tuple[int, int] = setting(PAPER_SEEDS, SEED_RANGE)
    guidance_scale: float | None = setting(None, GUIDANCE)
    num_inference_steps: int | None = setting(None, COUNT)
    height: int | None = setting(None, PIXELS)
    width: int | None = setting(None, PIXELS)
    batch_size: int = setting(16, COUNT)
    save_images: int | str = setting("auto", Limits(least=0, words=("auto", "all", "none")))
    filter_scorers: tuple[str, ...] = ()
    features: str | None = setting(None, NAMED)
    reference: str = ""

    def __post_init__(self) -> None:
        check_ranges(self)
        if self.seeds and self.num_seeds not in (1, len(self.seeds)):
            came = f"{len(self.seeds)} seeds with num_seeds {self.num_seeds}"
            raise ConfigError(came, "one of the two", "leave num_seeds out where seeds are given")
        if self.seeds and self.seed_range != EvaluateConfig.seed_range:
            low, high = self.seed_range
            raise ConfigError(f"seeds with seed_range {low}-{high}", "one of the two", "leave seed_range out")


CONTROLLED = ("redenoise", "npnet")
"""Methods whose wrong-prompt control belongs to "all"."""

JUDGING = ("filter_scorers", "features", "reference")
"""Fields that change no image and no score: a folder may be judged again with others."""


@dataclass(frozen=True)
class Item:
    """One image to draw: prompt, seed, the wrong prompt of the control (or ""), and whether the picture is kept."""

    prompt: Prompt
    seed: int
    wrong: str
    save: bool


@dataclass(frozen=True)
class EvalProgress:
    """One batch of one method, committed.

    Fields:
        method: label.
        results: of the batch; none where the method refuses: it is left out from here on.
        done, total: images so far, those of an earlier run and of other processes included, and in all, of the part
            and of the methods that are not left out.
        seconds: this batch took, scoring included.
    """

    method: str
    results: tuple[EvalResult, ...]
    done: int
    total: int
    seconds: float


def check(
    prompts: Sequence[Prompt], scorers: Sequence[Scorer], methods: Sequence[MethodSpec], config: EvaluateConfig
) -> None:
    """Refuse what cannot be evaluated, before anything is drawn.

    Raises:
        InputError: nothing to evaluate, a scorer or method twice, or no baseline.
        ConfigError: more seeds than their range holds.
    """
    check_value("prompts", list[Prompt], prompts)
    check_value("scorers", list[Scorer], scorers)
    check_value("methods", list[MethodSpec], methods)
    check_value("config", EvaluateConfig, config)
    if not prompts or not scorers:
        raise InputError(f"{len(prompts)} prompts and {len(scorers)} scorers", "at least one of each")
    names = [scorer.name for scorer in scorers]
    if len(set(names)) < len(names):
        raise InputError(f"scorers {', '.join(names)}", "each scorer once")
    check_labels([spec.label for spec in methods])
    check_different(methods)
    low, high = config.seed_range
    if not config.seeds and high - low + 1 < config.num_seeds:
        raise ConfigError(
            f"num_seeds {config.num_seeds} out of seed_range {low}-{high}", "a range that holds as many seeds"
        )


def check_labels(labels: Sequence[str]) -> None:
    """Refuse methods that cannot be compared.

    Raises:
        InputError: one twice, or no baseline.
    """
    if BASELINE not in labels or len(set(labels)) < len(labels):
        came = f"methods {', '.join(labels) or '(none)'}"
        raise InputError(came, f"different methods, {BASELINE!r} among them: gains are paired with it")


def all_methods() -> list[MethodSpec]:
    """Every registered method in its default settings, the baseline first, and the controls of `CONTROLLED`."""
    names = [BASELINE, *(name for name in METHODS if name != BASELINE)]
    return [MethodSpec.parse(name) for name in [*names, *(f"{name}:swap" for name in CONTROLLED)]]


def plan(prompts: Sequence[Prompt], config: EvaluateConfig, pipeline: Pipeline, swap: bool) -> list[Item]:
    """Every image of one method, in order.

    Args:
        swap: whether a control needs wrong prompts.

    Raises:
        InputError: a control without a second prompt, or an image twice.
    """
    if swap and len({p.text for p in prompts}) < 2:
        raise InputError("a swap control with one prompt", "at least two different prompts")
    kept = _kept_prompts(config, pipeline)
    items = []
    for i, prompt in enumerate(prompts):
        wrong = wrong_prompt(prompts, i).text if swap else ""
        items += [Item(prompt, seed, wrong, i < kept) for seed in seeds_of(prompt, config)]
    keys = {(item.prompt.id, item.seed) for item in items}
    if len(keys) < len(items):
        raise InputError(
            f"{len(items) - len(keys)} prompts that repeat another with the same seed", "each prompt once per seed"
        )
    return items


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


def extractor_name(config: EvaluateConfig, model: str) -> str:
    """The feature extractor of a run on `model`, or "".

    Raises:
        InputError: pictures to compare with, and none.
    """
    own = world.FEATURES if world.is_world(model) and world.own_size(config.height, config.width) else ""
    found = own if config.features is None else config.features.removeprefix("none")
    if config.reference and not found:
        fix = 'name one, as in --features "inception:path=FOLDER"'
        raise InputError(f"reference {config.reference} without features", "an extractor of features", fix)
    return found


def _kept_prompts(config: EvaluateConfig, pipeline: Pipeline) -> float:
    if isinstance(config.save_images, int):
        return config.save_images
    drawn = Sampling.of(config).resolve(pipeline.family, pipeline.default_size)
    small = max(drawn.height, drawn.width) <= SMALL
    every = small or bool(extractor_name(config, pipeline.name))
    return {"all": float("inf"), "none": 0, "auto": float("inf") if every else 24}[config.save_images]


def run_settings(
    pipeline: Pipeline, prompts: Sequence[Prompt], scorers: Sequence[Scorer], config: EvaluateConfig
) -> dict[str, Any]:
    """Everything the images and scores depend on but the methods: plain JSON data without a path."""
    family = pipeline.family
    resolved = asdict(Sampling.of(config).resolve(family))
    return {
        "pipeline": {
            "name": public_name(pipeline.name),
            "family": family.name,
            "device": str(pipeline.device),
            "dtype": str(pipeline.dtype).removeprefix("torch."),
            "denoiser": weights_digest(pipeline.denoiser),
            **({"changes": pipeline.changes} if pipeline.changes else {}),
        },
        "prompts": {"count": len(prompts), "fingerprint": fingerprint({"prompts": [asdict(p) for p in prompts]})},
        "scorers": [scorer.name for scorer in scorers],
        "config": {**{k: v for k, v in to_dict(config).items() if k not in JUDGING}, **resolved},
        PARTS: {**pipeline.parts(), **parts_of(scorers)},
    }
