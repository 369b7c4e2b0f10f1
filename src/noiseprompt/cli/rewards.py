"""What `noiseprompt train` learns from: a data set, or with rewards prompts and scorers."""

from __future__ import annotations

import shlex
from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from noiseprompt.cli.progress import Bar, say_next
from noiseprompt.core.errors import InputError
from noiseprompt.core.files import public_name
from noiseprompt.core.places import Address
from noiseprompt.core.ranks import Processes
from noiseprompt.core.texts import visible
from noiseprompt.npnet import NPNet
from noiseprompt.pipelines.long_prompts import warn_cut
from noiseprompt.prompts import load_prompts
from noiseprompt.shapes import world
from noiseprompt.stages.train.judges import Judges, load_judges
from noiseprompt.stages.train.settings import TrainConfig
from noiseprompt.stages.train.train_reward import train_reward

if TYPE_CHECKING:
    from noiseprompt.core.types import Prompt
    from noiseprompt.npd import Npd
    from noiseprompt.pipelines import Pipeline


def data_sets(config: TrainConfig, npd: Sequence[Address | Path] | None, *of_prompts: Any) -> Sequence[Address | Path]:
    """The data sets of a training that learns from some.

    Raises:
        InputError: there is none, or there are prompts beside it.
    """
    if any(value is not None for value in of_prompts):
        came = f"prompts with objective {config.objective!r}, which learns from a data set"
        fix = "leave --prompts, --column and --n out, or pass --objective reward"
        raise InputError(came, "a data set (--npd) alone", fix)
    if not npd:
        came = f"objective {config.objective!r} without a data set"
        raise InputError(came, "a folder that `noiseprompt collect` made", "pass --npd FOLDER")
    return npd


def _network(config: TrainConfig) -> str:
    """For a sentence: one that is tuned keeps its architecture."""
    return f"network that begins with {config.init}" if config.init else f"{config.architecture} network"


def train_on(data: Sequence[Npd], pipeline: Pipeline, config: TrainConfig, out: Path, processes: Processes) -> None:
    """Train on data sets, with what validations found as it goes."""
    from noiseprompt.stages.train.train import train

    whole = "the pictures" if config.objective == "picture" else "the perturbation"
    rows, folders = sum(len(one) for one in data), " and ".join(str(one.folder) for one in data)
    plan = f"{_network(config)} on {rows:,} rows of {folders}, into {out}"
    with Bar("encode", "prompt") as text, Bar("train", "step", plan) as bar:
        for progress in train(data, pipeline, config, out, processes, text.show):
            text.close()
            explained = f"{progress.best:.1%}" if progress.best > -1e9 else "?"
            bar.show(progress.step, progress.steps, loss=f"{progress.loss:.3f}", explained=explained)
            if progress.explained is not None:
                told = f"{progress.explained:.1%} of {whole} explained (nothing learned: 0)"
                each = "".join(f", {name} {share:.1%}" for name, share in progress.scores.items())
                bar.say(f"step {progress.step}: {told}{each}")
    tell(out, pipeline.name)


def prepared(
    config: TrainConfig,
    model: str,
    npd: Sequence[Address | Path] | None,
    prompts: str | None,
    *,
    column: str | None,
    n: int | None,
) -> tuple[Sequence[Prompt], Judges]:
    """The prompts and the loaded scorers of a training by reward, before its model is loaded.

    Raises:
        InputError: no prompts, a data set beside them, or as `load_prompts` and `load_judges`.
    """
    if npd is not None:
        came = f"a data set ({', '.join(map(str, npd))}) with objective reward, which learns from prompts and scorers"
        raise InputError(came, "prompts alone", "leave --npd out")
    if prompts is None:
        raise InputError("objective reward without prompts", "a file of prompts or a split", "pass --prompts")
    return load_prompts(prompts, column=column, limit=n, model=model).prompts, load_judges(config, model)


def train(
    listed: Sequence[Prompt],
    pipeline: Pipeline,
    config: TrainConfig,
    out: Path,
    judges: Judges,
    processes: Processes,
) -> None:
    """Train by reward, with what validations found as it goes."""
    warn_cut(pipeline.text_limits, [prompt.text for prompt in listed])
    plan = f"{_network(config)} by reward on {len(listed):,} prompts, into {out}"
    with Bar("train", "step", plan) as bar:
        for progress in train_reward(listed, pipeline, config, out, judges, processes):
            bar.show(progress.step, progress.steps, loss=f"{progress.loss:.3f}", gain=f"{progress.best:+.3f}")
            if progress.explained is not None:
                scores = ", ".join(f"{name} {score:.4g}" for name, score in progress.scores.items())
                bar.say(f"step {progress.step}: {progress.explained:+.3f} deviations over standard noise ({scores})")
    tell(out, pipeline.name)


def tell(out: Path, model: str) -> None:
    """Say where the network of a training is and what to do with it. It must load: a finished training is passed over,
    and its network may be damaged since.

    Raises:
        ModelLoadError: it does not.
    """
    NPNet.from_pretrained(out / "best")
    print(visible(f"NPNet in {out / 'best'}"))
    methods = f"standard,npnet:path={out / 'best'},npnet:path={out / 'best'},swap"
    source = "" if world.is_world(model) else f" --model {public_name(model)} --prompts FILE --scorers NAME"
    say_next(f"noiseprompt evaluate{source} --methods {shlex.quote(methods)} --out evaluation")
