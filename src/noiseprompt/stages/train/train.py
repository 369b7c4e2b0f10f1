"""Stage II: train an NPNet on a noise prompt data set (algorithm 2, eqs. 8 and 9), in one process or in several.

The loss is the mean squared error to the target noise, divided by that of "predict the source unchanged" over the
training pairs: 1.0 means nothing learned, 0.0 everything. `explained` = 1 - that ratio, on the validation pairs (at
most 2,048, the same each time): the share of the perturbation the network predicts. With the objective "picture" the
targets are pictures' latents, and "predict no picture" stands for nothing learned.

A run folder holds `settings.json`, `metrics.jsonl`, `state.pt` (weights-only), `best/` (by validation), `last/` and,
where text is kept, `embeds.npy` (encoded once, memory-mapped). The same command continues an interrupted run, bit-equal
on a CPU; so does one with another number of processes, equal but for rounding.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

import numpy as np

from noiseprompt.core.arguments import held
from noiseprompt.core.config import fingerprint, recorded
from noiseprompt.core.digests import weights_digest
from noiseprompt.core.errors import InputError, ModelMismatchError
from noiseprompt.core.files import public_name
from noiseprompt.core.parts import PARTS
from noiseprompt.core.ranges import check_value
from noiseprompt.core.ranks import ALONE, Processes
from noiseprompt.npd import Npd
from noiseprompt.npnet import NPNet
from noiseprompt.npnet.config import NPNetConfig
from noiseprompt.stages.train.data import SOME, PairData, check_model, select_pairs, spread
from noiseprompt.stages.train.pictures import check_pools
from noiseprompt.stages.train.settings import TrainConfig, TrainProgress
from noiseprompt.stages.train.sizes import Rows, check_patches, check_sizes, counted, objective_of
from noiseprompt.stages.train.start import BEGUN, check_batch, check_network, claimed, first_network, starting_network
from noiseprompt.stages.train.table import OBJECTIVES
from noiseprompt.stages.train.texts import (
    FreshTexts,
    KeptTexts,
    Texts,
    cache_embeds,
    check_encoder,
    distinct_texts,
    is_kept,
    prompt_numbers,
    read_embeds,
)
from noiseprompt.stages.train.trainer import Trainer

if TYPE_CHECKING:
    from noiseprompt.pipelines import Pipeline


@held
def train(
    npd: Npd | Sequence[Npd],
    pipeline: Pipeline,
    config: TrainConfig,
    out: str | Path,
    processes: Processes = ALONE,
    encoded: Callable[[int, int], None] | None = None,
) -> Iterator[TrainProgress]:
    """Train, yielding one record a step; afterwards `out/best` holds the NPNet to use.

    Args:
        npd: what is learned from; of pictures also several, one a size: the network then takes any size.
        processes: that call this together, each with the same arguments and a model on its own device
            (`engines.processes.joined`).
        encoded: told how many of how many prompts are encoded, where text is kept.

    Raises:
        ConfigError: `out` was made with other settings, another data set or another text encoder, or a patch that does
            not divide every size.
        ModelMismatchError: a data set was collected with another model.
        InputError: the filter keeps too few pairs, more processes than a step has pairs, a data set of another kind
            than the objective's, or two of one size.
        StoreLockedError: another process, not one of these, trains in `out`.
        DivergedError: a loss is not finite; `best` and `last` are those before.
        ProcessLostError: another of the processes failed or ended.
        NoisepromptError: nothing was learned.
    """
    check_value("npd", Npd | list[Npd], npd)
    out = Path(out)
    npds = [npd] if isinstance(npd, Npd) else list(npd)
    init = first_of(config)
    check_sizes(npds)
    rows = [_selected(one, config, processes) for one in npds]
    text, *_ = [check_model(one.settings, pipeline, one.folder) for one in npds]
    facts = _facts([one.latent_shape for one in npds], text, pipeline)
    check_patches(check_network(config, init, facts), npds)  # a wrong size is told before anything is written
    begun = {"init": weights_digest(init)} if init is not None else {}
    settings = {**recorded(config), **_recorded(npds, begun)}
    with claimed(processes, out / "settings.json", settings, BEGUN):
        texts, listed = _texts(npds, pipeline, config, out / "embeds.npy", processes, encoded)

        def objective_on(one: Npd, chosen: Rows) -> Any:
            data = PairData(one, texts, prompt_numbers(one, listed))
            return OBJECTIVES.get(config.objective)(config, data, *chosen)

        objective = objective_of(objective_on, npds, rows)
        training, validation, starts = counted(rows, [len(one) for one in npds])
        net = first_network(config, facts, init, processes)
        yield from Trainer(objective, net, pipeline.device, config, out, training, validation, processes, starts).run()


def _selected(npd: Npd, config: TrainConfig, processes: Processes) -> Rows:
    """Rows of a data set to train and to validate on.

    Raises:
        InputError: too few of them, for the filter, the processes or the coupling.
    """
    training, validation = check_pairs(npd, config)
    check_batch(config, len(training), processes)
    if config.objective == "picture":
        check_pools(config.coupling, np.unique(npd.prompt_rows()[training], return_counts=True)[1].tolist())
    return training, spread(validation, SOME)


def _recorded(npds: Sequence[Npd], begun: dict[str, str]) -> dict[str, Any]:
    """What a run records of its data sets: of several what it records of one, one after the other."""
    made, pairs = [fingerprint(npd.settings) for npd in npds], [len(npd) for npd in npds]
    parts = {"npd": " ".join(npd.checksum for npd in npds), **begun}
    return {"npd_pairs": pairs[0] if len(npds) == 1 else pairs, "npd": " ".join(made), PARTS: parts}


def _texts(
    npds: Sequence[Npd],
    pipeline: Pipeline,
    config: TrainConfig,
    path: Path,
    processes: Processes,
    encoded: Callable[[int, int], None] | None,
) -> tuple[Texts, list[str]]:
    """The text of the data sets' prompts: on disk, encoded by the main process, or fresh; and the prompts.

    Raises:
        ConfigError, InputError: as `check_encoder`, `cache_embeds` and `read_embeds`.
    """
    listed = distinct_texts(*npds)
    if not processes.once(lambda: is_kept(path, listed, config.keep_text)):
        processes.once(lambda: check_encoder(listed, pipeline, path))
        return FreshTexts(listed, pipeline), listed
    processes.once(lambda: cache_embeds(listed, pipeline, path, encoded))
    return KeptTexts(read_embeds(path, len(listed), npds[0].settings.get("text_embeds"))), listed


def check_pairs(npd: Npd, config: TrainConfig) -> tuple[np.ndarray, np.ndarray]:
    """Training and validation indices of a data set, before a model is loaded.

    Raises:
        InputError: noises where pictures are wanted, or the other way round, or as `select_pairs`.
        UnknownNameError: a filter by scorers that the data set has no scores of.
    """
    check_value("npd", Npd, npd)
    _check_targets(npd, config)
    share, most, per_prompt = config.validation_share, config.max_pairs, config.pictures_per_prompt
    return select_pairs(npd, config.pair_filter, share, most, per_prompt)


def first_of(config: TrainConfig) -> NPNet | None:
    """The network that a training on a data set starts from, None for a new one.

    Raises:
        ModelLoadError: there is none.
        ModelMismatchError: it predicts something else.
    """
    init = starting_network(config)
    if init is not None and (predicts := init.config.predicts) != config.objective:
        came = f"objective {config.objective} from {config.init}, an NPNet that predicts a {predicts}"
        raise ModelMismatchError(
            came, f"one that predicts a {config.objective}", "start from nothing, or from such a one"
        )
    return init


def _check_targets(npd: Npd, config: TrainConfig) -> None:
    """Refuse noises where pictures are wanted, or the other way round (InputError)."""
    kind = "pictures" if npd.pictures else "pairs of noises"
    if config.objective == "reward":
        came = f"objective reward with {npd.folder}, which holds {kind}"
        raise InputError(came, "prompts in place of a data set", "call train_reward, or pass --prompts alone")
    if npd.pictures != (config.objective == "picture"):
        wanted = {"noise": "pairs of noises", "picture": "pictures (collect --pictures)"}[config.objective]
        fix = f"train with --objective {'picture' if npd.pictures else 'noise'}"
        raise InputError(f"objective {config.objective} with {npd.folder}, which holds {kind}", wanted, fix)


def check_begin(
    config: TrainConfig, pipeline: Pipeline, made: dict[str, Any], shape: tuple[int, ...], where: str | Path
) -> NPNetConfig:
    """The network of a training on a data set which is still to be made; one that could not begin is refused.

    Args:
        made: its settings.
        shape: of its latents.
        where: its folder.

    Raises:
        NoisepromptError: as `train`.
    """
    text = check_model(made, pipeline, where)
    return check_network(config, first_of(config), _facts([shape], text, pipeline))


def _facts(shapes: Sequence[tuple[int, ...]], text: tuple[int, int], pipeline: Pipeline) -> dict[str, Any]:
    """What a network for latents of these shapes is made for, as `NPNetConfig` names it; no folders, for it is
    published.

    Args:
        text: shape (L, D) of the prompt embeddings.
    """
    several = {"any_size": True, "positions": "both_corners"} if len(shapes) > 1 else {}
    return {
        "latent_shape": shapes[0],
        "text_length": text[0],
        "text_width": text[1],
        "family": pipeline.family.name,
        "denoiser": public_name(pipeline.name),
        **several,
    }
