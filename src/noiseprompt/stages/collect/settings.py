"""Settings of a collection: what they say of the method and the drawing, and what a data set records of them."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from difflib import get_close_matches
from pathlib import Path
from typing import TYPE_CHECKING, Any, ClassVar

from noiseprompt.core.arguments import told
from noiseprompt.core.config import to_dict
from noiseprompt.core.digests import weights_digest
from noiseprompt.core.errors import ConfigError, InputError
from noiseprompt.core.files import public_name
from noiseprompt.core.parts import PARTS
from noiseprompt.core.pictures import FITS
from noiseprompt.core.ranges import (
    COUNT,
    GUIDANCE,
    OF_ONE_STEP,
    PIXELS,
    SEED,
    SEED_RANGE,
    SEEDS_EACH,
    Limits,
    check,
    setting,
)
from noiseprompt.core.types import InvertAt, Redenoising, Sampling
from noiseprompt.methods.base import MethodSpec
from noiseprompt.noise.seeds import PAPER_SEEDS
from noiseprompt.npd.sample import SCORED_SHARE
from noiseprompt.scorers.parts import parts_of
from noiseprompt.shapes import world

if TYPE_CHECKING:
    from noiseprompt.pipelines import Pipeline
    from noiseprompt.scorers.base import Scorer
    from noiseprompt.stages.collect.pairs import Teacher

SHARE = Limits(least=0, most=1)
REDENOISE = "redenoise"
DRAWN = "drawn"
"""The source of pictures that the model draws itself."""

OF_PROMPTS = (DRAWN, world.NAME)
"""Sources of pictures that are made for prompts; all others are files with captions."""

_OF_REDENOISE = {
    "redenoise_steps": "steps",
    "denoise_guidance_scale": "denoise_guidance_scale",
    "invert_guidance_scale": "invert_guidance_scale",
    "invert_at": "invert_at",
}
"""Setting -> the option of re-denoise that it spells out."""


@told
@dataclass(frozen=True)
class CollectConfig:
    """Settings of a collection. None means the default of the model's family.

    Args:
        method: what makes the target noise: "redenoise", as in the paper, or another noise method with its options, as
            in "nlg:rounds=10". The four settings after it are re-denoise's alone.
        redenoise_steps: of the grid on which re-denoise makes its one step down and up.
        denoise_guidance_scale: of that step down.
        invert_guidance_scale: of that step up.
        invert_at: timestep of the inverting prediction, "paper" or "published".
        num_inference_steps: of the sampler, for the image of the source and the image of the target.
        guidance_scale: of the sampler.
        seed: of the run; assigns each prompt without a seed of its own one in `seed_range`.
        seed_range: of the seeds that are assigned, both ends included.
        seeds_per_prompt: pairs a prompt, with different seeds.
        scored_share: of the pairs that are drawn and scored; at 1 a filter can choose among them, below 1 the scores
            are a sample for the report, and at 0 nothing is drawn and no scorer is taken.
        batch_size: pairs at a time; changes speed and memory alone (apart from float rounding).
        shard_size: pairs a file.
        store_source: keep the source noise too; doubles the size on disk.
        height: of the images in pixels.
        width: of the images in pixels.
        pictures: what the targets are, where they are not noises: pictures, for `train --objective picture`. A folder
            of pictures with captions (metadata.jsonl, .csv or .parquet with file_name and text, or NAME.txt beside
            NAME.png), a table of paths and captions, "drawn" for the model's own pictures of the prompts,
            seeds_per_prompt of each, or "shapes" for as many scenes of each in the embedded world.
        fit: how a picture is brought to the size: "crop" (scaled, then cut around its middle), "stretch", or "exact":
            those of another size are rejected.

    Raises:
        ConfigError: settings out of range, all of them at once.
        InputError: as `method_of`.
    """

    method: str = REDENOISE
    redenoise_steps: int | None = setting(None, COUNT)
    denoise_guidance_scale: float | None = setting(None, OF_ONE_STEP)
    invert_guidance_scale: float | None = setting(None, OF_ONE_STEP)
    invert_at: InvertAt = "paper"
    num_inference_steps: int | None = setting(None, COUNT)
    guidance_scale: float | None = setting(None, GUIDANCE)
    seed: int = setting(0, SEED)
    seed_range: tuple[int, int] = setting(PAPER_SEEDS, SEED_RANGE)
    seeds_per_prompt: int = setting(1, SEEDS_EACH)
    scored_share: float = setting(1.0, SHARE)
    batch_size: int = setting(32, COUNT)
    shard_size: int = setting(64, COUNT)
    store_source: bool = False
    height: int | None = setting(None, PIXELS)
    width: int | None = setting(None, PIXELS)
    pictures: str = ""
    fit: str = setting("crop", Limits(words=FITS))

    recorded: ClassVar[Mapping[str, str]] = {
        "redenoise_steps": "num_inference_steps",
        "num_inference_steps": "sampling_steps",
    }
    """Setting -> its name of before, which data sets (and the names of folders) keep."""

    later: ClassVar[tuple[str, ...]] = ("scored_share", "pictures", "fit")
    """Settings that came later: at their defaults they are no part of records, nor of the names of folders."""

    @property
    def of_files(self) -> bool:
        """Whether the targets are pictures on disk, which bring their captions."""
        return self.pictures not in ("", *OF_PROMPTS)

    def __post_init__(self) -> None:
        check(self)
        _check_pictures(self)
        method_of(self)  # refuses what no method takes before anything is loaded


def method_of(config: CollectConfig) -> MethodSpec:
    """The method of a collection, re-denoise with the options that the settings give it.

    Raises:
        InputError: settings of re-denoise with another method, or an option out of its range.
        UnknownNameError: no such method.
    """
    spec = MethodSpec.parse(config.method)
    given = [name for name in _OF_REDENOISE if getattr(config, name) != getattr(CollectConfig, name)]
    if config.method == REDENOISE:
        return spec.with_defaults(**{_OF_REDENOISE[name]: getattr(config, name) for name in given})
    if given:
        came = f"{', '.join(given)} with method {config.method!r}"
        raise InputError(came, "settings of re-denoise alone", 'give a method its own, as in "nlg:rounds=10"')
    return spec


def check_judges(scorers: Sequence[Any], config: CollectConfig) -> None:
    """Refuse scorers without pairs to score, and pairs to score without scorers.

    Args:
        scorers: their names, or themselves.

    Raises:
        ConfigError: with the two settings.
    """
    if not scorers and config.scored_share:
        fix = "pass some, or scored_share 0: then nothing is drawn, and no filter can choose among the pairs"
        raise ConfigError("scorers []", "a list of at least one", fix)
    if scorers and not config.scored_share:
        names = ", ".join(str(getattr(one, "name", one)) for one in scorers)
        raise ConfigError(f"scorers {names} with scored_share 0", "none: nothing is drawn", "leave scored_share out")


def _check_pictures(config: CollectConfig) -> None:
    """Refuse settings that have no effect on pictures, and a source that is misspelt.

    Raises:
        ConfigError: there are, or it is.
    """
    if not config.pictures:
        if config.fit != CollectConfig.fit:
            raise ConfigError(f"fit {config.fit!r} without pictures", "a source of pictures", "pass --pictures")
        return
    meant = get_close_matches(config.pictures.lower(), OF_PROMPTS, n=1) if config.of_files else []
    if meant and not Path(config.pictures).exists():
        came, expected = f"pictures {config.pictures!r}: it is not there", "a folder or table of pictures"
        raise ConfigError(came, f"{expected}, {' or '.join(OF_PROMPTS)}", f"did you mean {meant[0]}?")
    idle = ["method", *_OF_REDENOISE, "store_source", SCORED_SHARE]
    idle += [] if config.pictures == DRAWN else ["guidance_scale", "num_inference_steps"]
    idle += ["seed", "seed_range", "seeds_per_prompt"] if config.of_files else []
    idle += ["fit"] if config.pictures == DRAWN else []
    given = [name for name in idle if getattr(config, name) != getattr(CollectConfig, name)]
    if given:
        raise ConfigError(f"{', '.join(given)} with pictures {config.pictures!r}", "settings that pictures take")


def run_settings(
    pipeline: Pipeline, scorers: Sequence[Scorer], config: CollectConfig, teacher: Teacher
) -> dict[str, Any]:
    """Everything that decides what the pairs are, as recorded in each shard; no paths, no batch size, no device.

    Raises:
        InputError: the same scorer twice.
    """
    drawn = Sampling.of(config).resolve(pipeline.family, pipeline.default_size)
    unsaid = ("batch_size", "method", *_OF_REDENOISE, *config.later)
    own = {key: value for key, value in to_dict(config).items() if key not in unsaid}
    own = {**own, **vars(drawn), **_method_settings(pipeline, config, teacher)}
    own |= {SCORED_SHARE: config.scored_share} if config.scored_share < 1 else {}
    return {
        **{CollectConfig.recorded.get(key, key): value for key, value in own.items()},
        **model_settings(pipeline, scorers),
    }


def model_settings(pipeline: Pipeline, scorers: Sequence[Scorer], *, weights: bool = True) -> dict[str, Any]:
    """What a data set records of the model and of the scorers, whatever its targets.

    Args:
        weights: whether the denoiser's count.

    Raises:
        InputError: the same scorer twice.
    """
    names = [scorer.name for scorer in scorers]
    if len(set(names)) != len(names):
        raise InputError(f"scorers {', '.join(names)}", "each scorer once")
    name = public_name(pipeline.name)
    return {
        "pipeline": Path(pipeline.name).name,
        "family": pipeline.family.name,
        "dtype": str(pipeline.dtype).removeprefix("torch."),
        **({"weights": weights_digest(pipeline.denoiser)} if weights else {}),
        "text_embeds": list(pipeline.encode([""]).prompt_embeds.shape[1:]),
        "scorers": names,
        **({"model": name} if "/" in name else {}),  # a hub id, by which `train` finds the model again
        **({"changes": pipeline.changes} if pipeline.changes else {}),
        PARTS: {**pipeline.parts(), **parts_of(scorers)},
    }


def _method_settings(pipeline: Pipeline, config: CollectConfig, teacher: Teacher) -> dict[str, Any]:
    """The method by its label; plain re-denoise by its four options alone, as before there was a choice."""
    if config.method != REDENOISE:
        return {"method": teacher.spec.recorded, "method_details": teacher.method.describe()}
    how = Redenoising(**teacher.spec.options).resolve(pipeline.family)
    return {name: getattr(how, option) for name, option in _OF_REDENOISE.items()}
