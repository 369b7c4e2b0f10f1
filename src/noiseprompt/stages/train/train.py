"""Stage II: train an NPNet on a noise prompt data set (algorithm 2, eqs. 8 and 9), through accelerate.

The loss is the mean squared error to the target noise, divided by that of "predict the source unchanged" over the
training pairs: 1.0 means nothing learned, 0.0 everything. `explained` = 1 - that ratio, on the validation pairs: the
share of the perturbation the network predicts. With the objective "picture" the targets are pictures' latents, and
"predict no picture" stands for nothing learned.

A run folder holds `settings.json`, `metrics.jsonl`, `embeds.npy` (text encoded once, memory-mapped), `state.pt`
(weights-only), `best/` (by validation) and `last/`. The same command continues an interrupted run, bit-equal on a CPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from noiseprompt.core.arguments import held
from noiseprompt.core.config import fingerprint, recorded
from noiseprompt.core.digests import weights_digest
from noiseprompt.core.errors import InputError, ModelMismatchError
from noiseprompt.core.files import claim, public_name
from noiseprompt.core.parts import PARTS
from noiseprompt.core.ranges import check_value
from noiseprompt.npd import Npd
from noiseprompt.npnet import NPNet
from noiseprompt.stages.train.data import PairData, cache_embeds, check_model, select_pairs, spread
from noiseprompt.stages.train.pictures import SOME, check_pools
from noiseprompt.stages.train.settings import TrainConfig, TrainProgress, network_config
from noiseprompt.stages.train.table import OBJECTIVES
from noiseprompt.stages.train.trainer import _Trainer

if TYPE_CHECKING:
    from noiseprompt.pipelines import Pipeline


@held
def train(npd: Npd, pipeline: Pipeline, config: TrainConfig, out: Path) -> Iterator[TrainProgress]:
    """Train, yielding one record a step; afterwards `out/best` holds the NPNet to use.

    Raises:
        ConfigError: `out` was made with other settings, another data set or another text encoder.
        ModelMismatchError: the data set was collected with another model.
        InputError: the filter keeps too few pairs, or the data set is of another kind than the objective's.
        StoreLockedError: another process trains in `out`.
        DivergedError: a loss is not finite; `best` and `last` are those before.
        NoisepromptError: nothing was learned.
    """
    check_value("npd", Npd, npd)
    _check_targets(npd, config)
    share, most, per_prompt = config.validation_share, config.max_pairs, config.pictures_per_prompt
    training, validation = select_pairs(npd, config.pair_filter, share, most, per_prompt)
    facts = _facts(npd, pipeline)
    if not config.init:
        network_config(config, **facts)  # a wrong size is told before anything is written
    if config.objective == "picture":
        validation = spread(validation, SOME)
        check_pools(config.coupling, np.unique(npd.prompt_rows()[training], return_counts=True)[1].tolist())
    begun = {"init": weights_digest(NPNet.from_pretrained(config.init))} if config.init else {}
    parts = {PARTS: {"npd": npd.checksum, **begun}}
    settings = {**recorded(config), "npd_pairs": len(npd), "npd": fingerprint(npd.settings), **parts}
    with claim(out / "settings.json", settings, begun=("metrics.jsonl", "state.pt")):
        embeds, rows = cache_embeds(npd, pipeline, out / "embeds.npy")
        objective = OBJECTIVES.get(config.objective)(config, PairData(npd, embeds, rows), training, validation)
        yield from _Trainer(objective, pipeline, facts, config, out, training, validation).run()


def _check_targets(npd: Npd, config: TrainConfig) -> None:
    """Refuse noises where pictures are wanted, or the other way round.

    Raises:
        InputError: a data set of the other kind.
        ModelMismatchError: a network to start from that predicts the other.
    """
    kind = "pictures" if npd.pictures else "pairs of noises"
    if config.objective == "reward":
        came = f"objective reward with {npd.folder}, which holds {kind}"
        raise InputError(came, "prompts in place of a data set", "call train_reward, or pass --prompts alone")
    if npd.pictures != (config.objective == "picture"):
        wanted = {"noise": "pairs of noises", "picture": "pictures (collect --pictures)"}[config.objective]
        fix = f"train with --objective {'picture' if npd.pictures else 'noise'}"
        raise InputError(f"objective {config.objective} with {npd.folder}, which holds {kind}", wanted, fix)
    if config.init and (predicts := NPNet.from_pretrained(config.init).config.predicts) != config.objective:
        came = f"objective {config.objective} from {config.init}, an NPNet that predicts a {predicts}"
        raise ModelMismatchError(
            came, f"one that predicts a {config.objective}", "start from nothing, or from such a one"
        )


def _facts(npd: Npd, pipeline: Pipeline) -> dict[str, Any]:
    """What a network for these pairs is made for, as `NPNetConfig` names it; no folders, for it is published.

    Raises:
        ModelMismatchError, InputError: as `check_model`.
    """
    length, width = check_model(npd, pipeline)
    return {
        "latent_shape": npd.latent_shape,
        "text_length": length,
        "text_width": width,
        "family": pipeline.family.name,
        "denoiser": public_name(pipeline.name),
    }
