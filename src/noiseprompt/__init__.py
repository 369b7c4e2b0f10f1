"""noiseprompt: learn, ship and trust the starting noise of text-to-image diffusion.

Public names are imported on first use; `import noiseprompt` itself loads neither torch nor diffusers nor transformers.
"""

from __future__ import annotations

from noiseprompt.core.environment import VERSION as __version__

TYPE_CHECKING = False
"""As of `typing`, which takes longer to import than all of this: until then Ctrl-C ends a command with a traceback."""

_PUBLIC = {
    "MethodSpec": "noiseprompt.methods.base",
    "NPNet": "noiseprompt.npnet",
    "NoisepromptError": "noiseprompt.core.errors",
    "Npd": "noiseprompt.npd.reader",
    "PairFilter": "noiseprompt.npd.filter",
    "Pipeline": "noiseprompt.pipelines.pipeline",
    "Prompt": "noiseprompt.core.types",
    "StartLevel": "noiseprompt.core.types",
    "initial_noise": "noiseprompt.noise.seeds",
    "inspect_noise": "noiseprompt.noise.guard",
    "load_prompts": "noiseprompt.prompts.load",
    "mix_noise": "noiseprompt.noise.mix",
    "noise_spectrum": "noiseprompt.noise.figures",
    "perturb_noise": "noiseprompt.stages.generate.winning",
    "register_scorer": "noiseprompt.scorers.base",
    "winning_noise": "noiseprompt.stages.generate.winning",
}

__all__ = ["__version__", *_PUBLIC]

if TYPE_CHECKING:
    from typing import Any

    from noiseprompt.core.errors import NoisepromptError as NoisepromptError
    from noiseprompt.core.types import Prompt as Prompt
    from noiseprompt.core.types import StartLevel as StartLevel
    from noiseprompt.methods.base import MethodSpec as MethodSpec
    from noiseprompt.noise import initial_noise as initial_noise
    from noiseprompt.noise.figures import noise_spectrum as noise_spectrum
    from noiseprompt.noise.guard import inspect_noise as inspect_noise
    from noiseprompt.noise.mix import mix_noise as mix_noise
    from noiseprompt.npd import Npd as Npd
    from noiseprompt.npd import PairFilter as PairFilter
    from noiseprompt.npnet import NPNet as NPNet
    from noiseprompt.pipelines import Pipeline as Pipeline
    from noiseprompt.prompts import load_prompts as load_prompts
    from noiseprompt.scorers.base import register_scorer as register_scorer
    from noiseprompt.stages.generate.winning import perturb_noise as perturb_noise
    from noiseprompt.stages.generate.winning import winning_noise as winning_noise


def __getattr__(name: str) -> Any:
    if name in _PUBLIC:
        import importlib

        return getattr(importlib.import_module(_PUBLIC[name]), name)
    raise AttributeError(f"module 'noiseprompt' has no attribute {name!r}")


def __dir__() -> list[str]:
    return sorted([*globals(), *_PUBLIC])
