"""What `noiseprompt train` learns from: a data set, or with rewards prompts and scorers."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from typing import TYPE_CHECKING, Any

from noiseprompt.cli.progress import Bar
from noiseprompt.core.errors import InputError
from noiseprompt.npnet import NPNet
from noiseprompt.pipelines.long_prompts import warn_cut
from noiseprompt.prompts import load_prompts
from noiseprompt.stages.train.judges import Judges, load_judges
from noiseprompt.stages.train.settings import TrainConfig
from noiseprompt.stages.train.train_reward import train_reward

if TYPE_CHECKING:
    from noiseprompt.core.types import Prompt
    from noiseprompt.pipelines import Pipeline


def data_set(config: TrainConfig, npd: Path | None, *of_prompts: Any) -> Path:
    """The data set of a training that learns from one.

    Raises:
        InputError: there is none, or there are prompts beside it.
    """
    if any(value is not None for value in of_prompts):
        came = f"prompts with objective {config.objective!r}, which learns from a data set"
        fix = "leave --prompts, --column and --n out, or pass --objective reward"
        raise InputError(came, "a data set (--npd) alone", fix)
    if npd is None:
        came = f"objective {config.objective!r} without a data set"
        raise InputError(came, "a folder that `noiseprompt collect` made", "pass --npd FOLDER")
    return npd


def prepared(
    config: TrainConfig, model: str, npd: Path | None, prompts: str | None, *, column: str | None, n: int | None
) -> tuple[Sequence[Prompt], Judges]:
    """The prompts and the loaded scorers of a training by reward, before its model is loaded.

    Raises:
        InputError: no prompts, a data set beside them, or as `load_prompts` and `load_judges`.
    """
    if npd is not None:
        came = f"a data set ({npd}) with objective reward, which learns from prompts and scorers"
        raise InputError(came, "prompts alone", "leave --npd out")
    if prompts is None:
        raise InputError("objective reward without prompts", "a file of prompts or a split", "pass --prompts")
    return load_prompts(prompts, column=column, limit=n, model=model).prompts, load_judges(config, model)


def train(listed: Sequence[Prompt], pipeline: Pipeline, config: TrainConfig, out: Path, judges: Judges) -> None:
    """Train by reward, with what validations found as it goes."""
    warn_cut(pipeline.text_limits, [prompt.text for prompt in listed])
    with Bar("train", "step") as bar:
        for progress in train_reward(listed, pipeline, config, out, judges):
            bar.show(progress.step, progress.steps, loss=f"{progress.loss:.3f}", gain=f"{progress.best:+.3f}")
            if progress.explained is not None:
                scores = ", ".join(f"{name} {score:.4g}" for name, score in progress.scores.items())
                bar.say(f"step {progress.step}: {progress.explained:+.3f} deviations over standard noise ({scores})")
    tell(out)


def tell(out: Path) -> None:
    """Say where the network of a training is, which must load: a finished one is passed over and may be damaged since.

    Raises:
        ModelLoadError: it does not.
    """
    NPNet.from_pretrained(out / "best")
    print(f"NPNet in {out / 'best'}")
