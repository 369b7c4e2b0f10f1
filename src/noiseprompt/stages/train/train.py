"""Stage II: train an NPNet on a noise prompt data set (algorithm 2, eqs. 8 and 9), through accelerate.

The loss is the mean squared error to the target noise, divided by that of "predict the source unchanged" over the
training pairs: 1.0 means nothing learned, 0.0 everything. `explained` = 1 - that ratio, on the validation pairs: the
share of the perturbation the network predicts.

A run folder holds `settings.json`, `metrics.jsonl`, `embeds.npy` (text encoded once, memory-mapped), `state.pt`
(weights-only), `best/` (by validation) and `last/`. The same command continues an interrupted run, bit-equal on a CPU.
"""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path
from typing import TYPE_CHECKING, Any

from noiseprompt.core.config import fingerprint, to_dict
from noiseprompt.core.digests import weights_digest
from noiseprompt.core.files import claim, public_name
from noiseprompt.core.parts import PARTS
from noiseprompt.core.ranges import check_value
from noiseprompt.npd import Npd
from noiseprompt.npnet import NPNet
from noiseprompt.stages.train.data import PairData, cache_embeds, check_model, select_pairs
from noiseprompt.stages.train.settings import TrainConfig, TrainProgress, network_config
from noiseprompt.stages.train.trainer import _Trainer

if TYPE_CHECKING:
    from noiseprompt.pipelines import Pipeline


def train(npd: Npd, pipeline: Pipeline, config: TrainConfig, out: Path) -> Iterator[TrainProgress]:
    """Train, yielding one record a step; afterwards `out/best` holds the NPNet to use.

    Raises:
        ConfigError: `out` was made with other settings, another data set or another text encoder.
        ModelMismatchError: the data set was collected with another model.
        InputError: the filter keeps too few pairs.
        StoreLockedError: another process trains in `out`.
        DivergedError: a loss is not finite; `best` and `last` are those before.
        NoisepromptError: nothing was learned.
    """
    check_value("npd", Npd, npd)
    training, validation = select_pairs(npd, config.pair_filter, config.validation_share, config.max_pairs)
    facts = _facts(npd, pipeline)
    if not config.init:
        network_config(config, **facts)  # a wrong size is told before anything is written
    begun = {"init": weights_digest(NPNet.from_pretrained(config.init))} if config.init else {}
    parts = {PARTS: {"npd": npd.checksum, **begun}}
    settings = {**to_dict(config), "npd_pairs": len(npd), "npd": fingerprint(npd.settings), **parts}
    with claim(out / "settings.json", settings, begun=("metrics.jsonl", "state.pt")):
        embeds, rows = cache_embeds(npd, pipeline, out / "embeds.npy")
        yield from _Trainer(PairData(npd, embeds, rows), pipeline, facts, config, out, training, validation).run()


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
