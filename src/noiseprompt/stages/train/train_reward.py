"""Train an NPNet by rewards: prompts and scorers in, a network out, by back-propagation through a short sampler.

A run folder holds `settings.json`, `reference.json` (scores of standard noise and of the start), `metrics.jsonl`,
`samples/STEP.png` (pictures of a few validation prompts; 0 is the start, and `standard.png` standard noise),
`state.pt`, `best/` (by the validation scorers, the start included) and `last/`. The same command continues an
interrupted run, bit-equal on a CPU.
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from noiseprompt.core.arguments import held
from noiseprompt.core.config import recorded
from noiseprompt.core.digests import weights_digest
from noiseprompt.core.errors import InputError
from noiseprompt.core.files import public_name
from noiseprompt.core.parts import PARTS
from noiseprompt.core.ranges import Limits, check_value
from noiseprompt.core.ranks import ALONE, Processes
from noiseprompt.core.types import Prompt, Sampling, check_pipeline
from noiseprompt.npnet import NPNet
from noiseprompt.pipelines.gradients import check_differentiable
from noiseprompt.pipelines.samplers import drawn_shape
from noiseprompt.scorers.parts import parts_of
from noiseprompt.stages.train.data import is_held_out, spread, text_shape
from noiseprompt.stages.train.judges import Judges, load_judges
from noiseprompt.stages.train.reward import REFERENCE, RewardData, check_gradient
from noiseprompt.stages.train.settings import TrainConfig, TrainProgress
from noiseprompt.stages.train.start import BEGUN, check_batch, check_network, claimed, first_network, starting_network
from noiseprompt.stages.train.table import OBJECTIVES
from noiseprompt.stages.train.trainer import Trainer

if TYPE_CHECKING:
    from noiseprompt.pipelines import Pipeline


@held
def train_reward(
    prompts: Sequence[Prompt],
    pipeline: Pipeline,
    config: TrainConfig,
    out: str | Path,
    judges: Judges | None = None,
    processes: Processes = ALONE,
) -> Iterator[TrainProgress]:
    """Train, yielding one record a step; afterwards `out/best` holds the NPNet to use.

    Args:
        prompts: to train on; a share of them, by the hash of their texts, is held out for validation.
        judges: the scorers that the settings name, where they are loaded already.
        processes: as of `train`.

    Raises:
        ConfigError: `out` was made with other settings, prompts, scorers or another model, or settings of another
            objective.
        InputError: too few prompts, or fewer a step than processes; a scorer without gradient or that is missing; or a
            pipeline, sampler or level that gives no gradient or has no room for a picture.
        ModelMismatchError, ShapeError: a network to start from that was made for another family, text or size.
        StoreLockedError: another process, not one of these, trains in `out`.
        DivergedError: a loss is not finite; `best` and `last` are those before.
        ProcessLostError: another of the processes failed or ended.
        NoisepromptError: nothing was learned.
    """
    check_value("prompts", list[Prompt], prompts, Limits(some=True))
    check_pipeline(pipeline)
    check_value("config", TrainConfig, config)
    out = Path(out)
    if config.objective != "reward":
        came = f"prompts with objective {config.objective!r}"
        raise InputError(came, "objective reward", "pass --objective reward, or a data set (--npd)")
    training, validation = split(prompts, config)
    check_batch(config, len(training), processes)
    judges = judges or load_judges(config, pipeline.name)
    init, facts, begun = check_begin(pipeline, config)
    check_gradient(
        pipeline, judges, prompts[training[0]], Sampling.of(config).resolve(pipeline.family), config.chain_steps
    )
    listed = [[prompt.text, prompt.seed] for prompt in prompts]
    digest = hashlib.sha256(json.dumps(listed).encode()).hexdigest()[:12]
    parts = {PARTS: {"prompts": digest, **pipeline.parts(), **parts_of(judges.all), **begun}}
    settings = {**recorded(config), "prompts": len(prompts), "model": public_name(pipeline.name), **parts}
    with claimed(processes, out / "settings.json", settings, (REFERENCE, *BEGUN)):
        data: Any = RewardData(pipeline, prompts, judges, out)
        objective = OBJECTIVES.get(config.objective)(config, data, training, validation)
        net = first_network(config, facts, init, processes)
        yield from Trainer(objective, net, pipeline.device, config, out, training, validation, processes).run()


def split(prompts: Sequence[Prompt], config: TrainConfig) -> tuple[np.ndarray, np.ndarray]:
    """Rows to train on, and at most `validation_images` of those held out by the hash of their texts.

    Raises:
        InputError: fewer than two of either.
    """
    held = np.array([is_held_out(prompt, config.validation_share) for prompt in prompts], bool)
    training, validation = np.flatnonzero(~held), np.flatnonzero(held)
    if min(len(training), len(validation)) < 2:
        came = f"{len(training)} training and {len(validation)} validation prompts of {len(prompts)}"
        raise InputError(came, "at least 2 of both", "take more prompts, or another validation_share")
    return training, spread(validation, config.validation_images)


def check_begin(pipeline: Pipeline, config: TrainConfig) -> tuple[NPNet | None, dict[str, Any], dict[str, str]]:
    """The network to start from, which must fit; what one is made for, as `NPNetConfig` names it; and its digest.

    Raises:
        InputError, ShapeError, ModelMismatchError, ConfigError: as `train_reward`.
    """
    init = starting_network(config)
    check_differentiable(pipeline)
    run = Sampling.of(config).resolve(pipeline.family)
    if config.guidance_scale is not None:
        pipeline.family.check_guidance(pipeline.pipe, config.guidance_scale)
    shape, (length, width) = drawn_shape(pipeline, run), text_shape(pipeline)
    facts: dict[str, Any] = {
        "latent_shape": shape,
        "text_length": length,
        "text_width": width,
        "family": pipeline.family.name,
        "denoiser": public_name(pipeline.name),
    }
    if init is None:
        check_network(config, None, facts)  # a wrong size is told before anything is written
        return None, facts, {}
    init.check(shape, (length, width), pipeline.family.name)
    if init.config.predicts == "picture":
        pipeline.start_level(run.num_inference_steps, config.height, config.width)
    kept = {"picture_scale": init.config.picture_scale, "centred": init.config.centred}
    return init, {**facts, **kept}, {"init": weights_digest(init)}
