"""The noise prompt network, NPNet: source noise and prompt embedding -> predicted target noise.

base.py        configuration, shape checks, save, load, share
svd.py         singular value prediction (eqs. 6 and 7)
swin.py        the Swin transformer of the residual prediction
paper.py       the network of the paper, correctly (eq. 9); any latent size
published.py   the network as its authors published it, and the import of their checkpoints
tokens.py      a transformer over noise patches and prompt tokens
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from noiseprompt.npnet.base import NPNet, NPNetConfig
    from noiseprompt.npnet.paper import sdxl_config, small_config
    from noiseprompt.npnet.published import import_published
    from noiseprompt.npnet.tokens import tokens_config

__all__ = ["NPNet", "NPNetConfig", "build", "import_published", "sdxl_config", "small_config", "tokens_config"]

_HOMES = {
    "NPNet": "base",
    "NPNetConfig": "base",
    "import_published": "published",
    "sdxl_config": "paper",
    "small_config": "paper",
    "tokens_config": "tokens",
}

_NETWORKS = {"paper": "paper:PaperNPNet", "published": "published:PublishedNPNet", "tokens": "tokens:TokensNPNet"}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)


def build(config: NPNetConfig) -> NPNet:
    """A freshly initialised network.

    Raises:
        ConfigError: sizes that do not fit together.
    """
    module, _, name = _NETWORKS[config.architecture].partition(":")
    return getattr(importlib.import_module(f"{__name__}.{module}"), name)(config)
