"""noiseprompt: learn, ship and trust the starting noise of text-to-image diffusion.

Public names are imported on first use; `import noiseprompt` itself loads neither torch nor diffusers nor transformers.
"""

from __future__ import annotations

import importlib
from typing import TYPE_CHECKING, Any

__version__ = "0.1.0"

_PUBLIC = {
    "MethodSpec": "noiseprompt.methods.base",
    "NPNet": "noiseprompt.npnet",
    "NoisepromptError": "noiseprompt.errors",
    "Npd": "noiseprompt.store",
    "PairFilter": "noiseprompt.store",
    "Pipeline": "noiseprompt.pipelines",
    "Prompt": "noiseprompt.types",
    "initial_noise": "noiseprompt.noise",
    "load_prompts": "noiseprompt.prompts",
    "register_scorer": "noiseprompt.scorers.base",
    "winning_noise": "noiseprompt.winning",
}

__all__ = ["__version__", *_PUBLIC]

if TYPE_CHECKING:
    from noiseprompt.errors import NoisepromptError as NoisepromptError
    from noiseprompt.methods.base import MethodSpec as MethodSpec
    from noiseprompt.noise import initial_noise as initial_noise
    from noiseprompt.npnet import NPNet as NPNet
    from noiseprompt.pipelines import Pipeline as Pipeline
    from noiseprompt.prompts import load_prompts as load_prompts
    from noiseprompt.scorers.base import register_scorer as register_scorer
    from noiseprompt.store import Npd as Npd
    from noiseprompt.store import PairFilter as PairFilter
    from noiseprompt.types import Prompt as Prompt
    from noiseprompt.winning import winning_noise as winning_noise


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'noiseprompt' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])
