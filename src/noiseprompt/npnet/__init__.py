"""NPNet, the networks from noise and prompt embedding to better noise: build, save, load, import, carry over.

config.py      what a network is built from and what it was made for
base.py        shape checks, save, load, share
svd.py         singular value prediction (eqs. 6 and 7)
swin.py        the Swin transformer of the residual prediction
paper.py       the network of the paper, correctly (eq. 9); any latent size
published.py   the network as its authors published it, and the import of their checkpoints
tokens.py      a transformer over noise patches and prompt tokens
transfer.py    a network of one model as the start for another, or without its text term
disk.py        folders of networks
share.py       networks on the hub and from it
card.py        the model card in such a folder
table.py       the architectures by name: one line each
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from noiseprompt.npnet.base import NPNet, build
    from noiseprompt.npnet.config import NPNetConfig
    from noiseprompt.npnet.paper import sdxl_config, small_config
    from noiseprompt.npnet.published import import_published
    from noiseprompt.npnet.tokens import tokens_config

__all__ = ["NPNet", "NPNetConfig", "build", "import_published", "sdxl_config", "small_config", "tokens_config"]

_HOMES = {
    "NPNet": "base",
    "NPNetConfig": "config",
    "build": "base",
    "import_published": "published",
    "sdxl_config": "paper",
    "small_config": "paper",
    "tokens_config": "tokens",
}


def __getattr__(name: str) -> Any:
    if name not in _HOMES:
        raise AttributeError(f"module {__name__!r} has no attribute {name!r}")
    return getattr(importlib.import_module(f"{__name__}.{_HOMES[name]}"), name)
