"""What a later stage of a recipe would refuse when it begins, maybe after hours, asked before the first one begins.

Each stage's own checks are asked, on the model, the scorers and the networks that it names; nothing is drawn or
written. What an earlier stage is to make is not asked for, and a stage that an engine hands to other machines is left
to them.
"""

from __future__ import annotations

import os
import re
from collections.abc import Callable, Iterable, Mapping, Sequence
from pathlib import Path
from typing import Any

import torch

from noiseprompt.cli import common, evaluating, rewards
from noiseprompt.core.errors import NoisepromptError
from noiseprompt.engines.options import Sharing
from noiseprompt.npnet import build
from noiseprompt.npnet.config import NPNetConfig
from noiseprompt.pipelines import Pipeline
from noiseprompt.recipes.calls import by_reward
from noiseprompt.scorers.base import Scorer, load_scorers
from noiseprompt.stages.collect.pictures import picture_settings
from noiseprompt.stages.collect.settings import model_settings
from noiseprompt.stages.evaluate.evaluate import check_begin
from noiseprompt.stages.evaluate.plan import plan
from noiseprompt.stages.train import train, train_reward
from noiseprompt.stages.train.data import text_shape
from noiseprompt.stages.train.start import check_network

Call = Mapping[str, Any]
Load = Callable[[Call], Pipeline]
Judging = Callable[[Sequence[str]], list[Scorer]]
Made = dict[Path, NPNetConfig | None]
"""Folder of a stage -> the network that it is to make, where that is known."""


def late_mistakes(calls: Iterable[tuple[str, Call]]) -> list[str]:
    """What is wrong with the stages behind the first one, which tells its own mistakes before it draws.

    Args:
        calls: each stage with the keyword arguments of its command, in order.
    """
    mistakes: list[str] = []
    before: list[tuple[str, Call]] = []
    made: Made = {}
    models, scorers = _kept(common.load_model), _kept(load_scorers)  # stages often have the same

    def load(call: Call) -> Pipeline:
        return models(call["model"], call.get("loading"))

    def judge(names: Sequence[str]) -> list[Scorer]:
        return scorers(tuple(names))

    for name, call in calls:
        folder = Path(os.path.abspath(call["out"]))
        made[folder] = None
        if before and not (call.get("sharing") or Sharing()).engine:
            try:
                if name == "train":
                    made[folder] = _network(call, [one for kind, one in before if kind == "collect"], made, load)
                elif name == "evaluate":
                    _check_evaluation(call, made, load, judge)
            except NoisepromptError as error:
                mistakes.append(f"{name}: {str(error).rstrip('.')}")
        before.append((name, call))
    return list(dict.fromkeys(mistakes))


def _kept(make: Callable[..., Any]) -> Callable[..., Any]:
    """What `make` gives, the last of it kept for the same arguments; it is given up before another is made."""
    last: dict[Any, Any] = {}

    def made(*key: Any) -> Any:
        if key not in last:
            last.clear()
            last[key] = make(*key)
        return last[key]

    return made


def _network(call: Call, collections: list[Call], made: Made, load: Load) -> NPNetConfig | None:
    """The network that a training is to make, None where it follows from what an earlier stage makes.

    Raises:
        NoisepromptError: as its command, where it could not begin.
    """
    config = call["settings"]
    if config.init and _makers(config.init, made):
        return None
    if by_reward(call):
        wanted = {key: call.get(key) for key in ("column", "n")}
        prompts, _ = rewards.prepared(config, call["model"], None, call.get("prompts"), **wanted)
        train_reward.split(prompts, config)
        init, facts, _ = train_reward.check_begin(load(call), config)
        return check_network(config, init, facts)
    npd = call.get("npd") or ()
    named = {str(npd)} if isinstance(npd, Path) else {*map(str, npd)}
    for collection in collections:
        if str(collection["out"]) in named:
            return _regression(call, collection, load)
    return None


def _regression(call: Call, collection: Call, load: Load) -> NPNetConfig:
    """The network of a training on what a collection is to make."""
    how, pipeline = collection["settings"], load(collection)
    size = (how.height or pipeline.default_size[0], how.width or pipeline.default_size[1])
    facts = picture_settings(pipeline, (), how, size) if how.pictures else model_settings(pipeline, ())
    return train.check_begin(call["settings"], load(call), facts, pipeline.latent_shape(*size), collection["out"])


def _check_evaluation(call: Call, made: Made, load: Load, judge: Judging) -> None:
    """Refuse an evaluation that could not begin; of networks that are still to be trained the shapes are held to it.

    Raises:
        NoisepromptError: as its command.
    """
    config = call["settings"]
    how = {key: value for key, value in call.items() if key not in ("out", "loading", "sharing", "report", "verbose")}
    prompts, judges, specs, optional = evaluating.asked(**how, load=judge)
    there = [spec for spec in specs if not _makers(spec.label, made)]
    pipeline = load(call)
    if len(there) < len(specs):
        plan(prompts, config, pipeline, any(spec.swap for spec in specs if spec.label not in optional))
    check_begin(pipeline, prompts, judges, there, config, call["out"], optional)
    for folder in dict.fromkeys(folder for spec in specs for folder in _makers(spec.label, made)):
        if (net := made[folder]) is not None:
            with torch.device("meta"):
                bare = build(net)
            bare.check(pipeline.latent_shape(config.height, config.width), text_shape(pipeline), pipeline.family.name)


def _makers(spec: str, made: Iterable[Path]) -> list[Path]:
    """Folders of the earlier stages that make a network, or those of a method."""
    named = [spec, *re.findall(r"\bpath=([^,+]+)", spec)]
    return [folder for place in named for folder in made if Path(os.path.abspath(place)).is_relative_to(folder)]
