"""How a training begins: its folder, held by one process, and its network."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager, nullcontext
from pathlib import Path
from typing import Any

import torch

from noiseprompt.core.config import fingerprint
from noiseprompt.core.errors import ConfigError, InputError
from noiseprompt.core.files import claim
from noiseprompt.core.kinds import TRAINING, refuse_other
from noiseprompt.core.ranks import Processes
from noiseprompt.npnet import NPNet, build
from noiseprompt.npnet.config import NPNetConfig
from noiseprompt.npnet.transfer import start_from, transfer_config
from noiseprompt.stages.train.settings import TrainConfig, network_config

BEGUN = ("metrics.jsonl", "state.pt", "best/config.json", "best/model.safetensors", "last/config.json")
"""Files of which one shows that a training made something."""


@contextmanager
def claimed(processes: Processes, path: Path, settings: Any, begun: Sequence[str]) -> Iterator[None]:
    """As `core.files.claim`, by the main process; the others go on once it holds the folder, with the same settings.

    Raises:
        InputError: the folder holds another kind of work.
        ConfigError: as `claim`, or this process was started with other settings than the main one.
    """
    if processes.main:
        refuse_other(path.parent, TRAINING)
    with claim(path, settings, begun) if processes.main else nullcontext():
        there, here = processes.once(lambda: fingerprint(settings)), fingerprint(settings)
        if there != here:
            came = f"process {processes.rank} has other settings than process 0 ({here}, not {there})"
            raise ConfigError(came, "the same command in all")
        yield


def check_batch(config: TrainConfig, pairs: int, processes: Processes) -> None:
    """Refuse processes that would have nothing to do.

    Raises:
        InputError: more of them than a step has pairs (or prompts).
    """
    if (most := min(config.batch_size, pairs)) < processes.size:
        came = f"{processes.size} processes for steps of {most} (batch_size {config.batch_size}, {pairs} to train on)"
        raise InputError(came, "one for each process, or more", "start fewer processes, or raise batch_size")


def starting_network(config: TrainConfig) -> NPNet | None:
    """The network that a training begins with, None for a new one.

    Raises:
        ModelLoadError: there is none.
        ConfigError: another architecture is asked for than its own, which is kept; the default is no word of it.
    """
    if not config.init:
        return None
    init = NPNet.from_pretrained(config.init)
    own = init.config.architecture
    if config.architecture not in (own, TrainConfig.architecture):
        came = f"architecture {config.architecture!r} from {config.init}, an NPNet of architecture {own!r}"
        raise ConfigError(came, "its own, which is kept", "leave architecture out, or init")
    return init


def check_network(config: TrainConfig, init: NPNet | None, facts: dict[str, Any]) -> NPNetConfig:
    """The configuration of the network to train, which can be built.

    Raises:
        ConfigError: sizes that do not fit together, or not these latents.
    """
    made = network_config(config, **facts) if init is None else transfer_config(init.config, config.sizes, **facts)
    with torch.device("meta"):
        build(made)
    return made


def first_network(config: TrainConfig, facts: dict[str, Any], init: NPNet | None, processes: Processes) -> NPNet:
    """The network that a training starts from, on the CPU, the same in every process: new, or what fits of `init`."""
    torch.manual_seed(config.seed)
    if init is None:
        return build(network_config(config, **facts))
    net, what = start_from(init, config.sizes, **facts)
    if processes.main:
        print(what.report(config.init))
    return net
