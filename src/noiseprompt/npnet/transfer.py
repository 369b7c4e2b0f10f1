"""A network trained for one model as the start for another, and one without its text term.

What fits is taken over a layer at a time: a layer of which one tensor has another shape starts fresh as a whole, since
a bias that was learned beside other weights means nothing beside new ones. The singular value branch and the residual
branch depend on the latents alone; the text branch on the text encoder's width and length (paper, table 2: Hunyuan-DiT,
fine-tuned from the network of SDXL). What a head learned of noises means nothing for pictures, nor the other way round:
between networks that predict different things the last layer and its scale start fresh.
"""

from __future__ import annotations

import dataclasses
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any
from weakref import WeakKeyDictionary

import torch

from noiseprompt.core.arguments import held
from noiseprompt.core.errors import ConfigError, InputError
from noiseprompt.npnet.base import NPNet, build
from noiseprompt.npnet.config import NPNetConfig, check_own
from noiseprompt.npnet.tokens import GAINS, LAST_LAYERS


@dataclass(frozen=True)
class Transfer:
    """What a network took over.

    Fields:
        taken: layers (or single parameters) with the other network's values, sorted.
        fresh: those that start fresh, sorted.
    """

    taken: tuple[str, ...]
    fresh: tuple[str, ...]

    def report(self, source: str) -> str:
        """Two lines for a person: branches that were taken over, and every layer that was not."""
        whole = sorted({_branch(name) for name in self.taken} - {_branch(name) for name in self.fresh})
        parts = sorted({_branch(name) for name in self.taken} & {_branch(name) for name in self.fresh})
        taken = ", ".join([*whole, *(f"part of {name}" for name in parts)]) or "nothing"
        return f"taken over from {source}: {taken}\nstarts fresh: {', '.join(self.fresh) or 'nothing'}"


def transfer_config(source: NPNetConfig, sizes: Mapping[str, Any], **facts: Any) -> NPNetConfig:
    """The configuration of `source` for other latents, another text encoder or family, or to predict something else.

    Args:
        sizes: further fields to change.
        facts: latent_shape, text_length, text_width, family, denoiser, predicts.

    Raises:
        ConfigError: an unknown field, or a published network for other latents.
    """
    check_own(source.architecture, sizes)
    latents = tuple(facts.get("latent_shape", source.latent_shape))
    if source.architecture == "published" and latents != source.latent_shape:
        came = f"a published NPNet, which takes latents of {source.latent_shape} alone, for latents of {latents}"
        raise ConfigError(came, 'one of the architecture "paper" or "tokens" to begin with', "leave init out for none")
    changed = {name: tuple(value) if isinstance(value, list) else value for name, value in sizes.items()}
    wanted = {"picture_scale": 1.0, **facts, **changed}
    if wanted.get("predicts", source.predicts) != source.predicts:
        wanted = {"gain": GAINS.get(wanted["predicts"], source.gain), **wanted}
    known = [field.name for field in dataclasses.fields(source)]
    if unknown := [name for name in changed if name not in known]:
        raise ConfigError(f"sizes: {', '.join(unknown)}", f"some of {', '.join(known)}")
    return dataclasses.replace(source, **wanted)


def transfer(source: NPNet, net: NPNet) -> Transfer:
    """Give `net` the values of every layer that both networks have with the same shapes; the rest is left as it is."""
    theirs, ours = source.state_dict(), net.state_dict()
    fits: dict[str, bool] = {}
    if source.config.predicts != net.config.predicts:
        fits = dict.fromkeys(LAST_LAYERS, False)
    for name, value in ours.items():
        layer = _layer(name)
        fits[layer] = fits.get(layer, True) and name in theirs and theirs[name].shape == value.shape
    net.load_state_dict({name: theirs[name] if fits[_layer(name)] else value for name, value in ours.items()})
    taken = sorted(layer for layer, fit in fits.items() if fit)
    return Transfer(tuple(taken), tuple(sorted(set(fits) - set(taken))))


@held
def start_from(source: NPNet, sizes: Mapping[str, Any], **facts: Any) -> tuple[NPNet, Transfer]:
    """A network of the architecture and sizes of `source` for another model, and what it took over.

    Raises:
        ConfigError: that architecture cannot have these shapes, e.g. "published" with latents other than (4, 128, 128).
    """
    net = build(transfer_config(source.config, sizes, **facts))
    return net, transfer(source, net)


@held
def without_text(net: NPNet) -> NPNet:
    """The network less its text term e, in evaluation mode: it then takes any prompt and any family (paper, table 6).

    What is left, singular(x_T) + beta residual(x_T), depends on the noise alone. Its weights are those of `net`, not
    copies, and it is made once for each.

    Raises:
        InputError: an architecture without a term for the text alone, or a network from which nothing would be left.
    """
    config = net.config
    if "text" in config.without and not config.family:
        return net
    if config.architecture == "tokens":
        fix = 'take an NPNet of the architecture "paper" or "published"'
        raise InputError("no_text with an NPNet of tokens, which reads noise and text together", "a text term", fix)
    if {"singular", "residual"} <= set(config.without):
        raise InputError("no_text with an NPNet that has a text term only", "another branch to be left")
    weights, made = dict(net.named_parameters()), _BARE.get(net)
    if made is None or any(weights[name] is not value for name, value in made.named_parameters()):
        without = tuple(sorted({*config.without, "text"}))
        with torch.device("meta"):
            made = build(dataclasses.replace(config, without=without, family=""))
        made.load_state_dict({name: weights[name] for name in made.state_dict()}, assign=True)
        _BARE[net] = made
    return made.to(next(iter(weights.values())).device).eval()


_BARE: WeakKeyDictionary[NPNet, NPNet] = WeakKeyDictionary()
"""Network -> the same without its text term, sharing its weights."""


def _layer(name: str) -> str:
    """Name of the module that holds a tensor; a parameter of the network itself is a layer of its own."""
    return name.rpartition(".")[0] or name


def _branch(layer: str) -> str:
    return layer.partition(".")[0]
