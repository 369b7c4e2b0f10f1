"""Which pictures are drawn and how: settings, seeds and the list of images that follows; no torch."""

from __future__ import annotations

import re
from collections.abc import Sequence
from dataclasses import dataclass

from noiseprompt.core.arguments import told
from noiseprompt.core.errors import InputError
from noiseprompt.core.ranges import COUNT, GUIDANCE, PIXELS, check_value, setting
from noiseprompt.core.ranges import check as check_ranges
from noiseprompt.core.types import Prompt
from noiseprompt.methods.base import MethodSpec, check_different
from noiseprompt.noise.seeds import check_seed

MAX_SEEDS = 10_000

DEFAULT_SEEDS = (0, 1, 2, 3)
"""Of a prompt that names none."""


Job = tuple[int, Prompt, int]
"""Number of the prompt, prompt and seed of one picture."""


@told
@dataclass(frozen=True)
class GenerateConfig:
    """How pictures are drawn; None means the default of the model's family.

    Args:
        guidance_scale: of the sampler.
        num_inference_steps: of the sampler.
        height: pixels.
        width: pixels.
        batch_size: images drawn at once.

    Raises:
        ConfigError: settings out of range, all of them at once; which sizes a model can draw is seen before the first
            picture.
    """

    guidance_scale: float | None = setting(None, GUIDANCE)
    num_inference_steps: int | None = setting(None, COUNT)
    height: int | None = setting(None, PIXELS)
    width: int | None = setting(None, PIXELS)
    batch_size: int = setting(16, COUNT)

    def __post_init__(self) -> None:
        check_ranges(self)


def parse_seeds(text: str) -> tuple[int, ...]:
    """Seeds from "0-7", "3", or "1,5,8-10" (both ends included).

    Raises:
        InputError: anything else, or more than 10,000 seeds.
    """
    seeds: list[int] = []
    for part in str(text).split(","):
        match = re.fullmatch(r"\s*([0-9]{1,40})\s*(?:-\s*([0-9]{1,40})\s*)?", part)
        if not match:
            raise InputError(f"seeds {text!r:.80}", 'numbers and ranges such as "0-7" or "1,5,9"')
        low = int(match[1])
        high = int(match[2]) if match[2] else low
        if max(low, high) >= 2**63:
            raise InputError(f"seeds {text!r:.80}", "numbers from 0 to 2**63 - 1")
        if high < low or high - low + len(seeds) >= MAX_SEEDS:
            raise InputError(f"seeds {text!r:.80}", f"ranges from low to high, at most {MAX_SEEDS} seeds")
        seeds.extend(range(low, high + 1))
    return tuple(dict.fromkeys(seeds))


def check(prompts: Sequence[Prompt], seeds: Sequence[int] | None, specs: Sequence[MethodSpec]) -> None:
    """Refuse what cannot be drawn, before a model is loaded.

    Raises:
        InputError: nothing to draw, or a seed or method twice, also under two labels.
    """
    check_value("prompts", list[Prompt], prompts)
    check_value("seeds", list[int] | None, seeds)
    check_value("methods", list[MethodSpec], specs)
    if not prompts:
        raise InputError("no prompts", "at least one")
    for seed in seeds or ():
        check_seed(seed)
    for what, given in (("methods", [spec.label for spec in specs]), ("seeds", seeds)):
        if given is not None and (not given or len(set(given)) < len(given)):
            raise InputError(f"{what} {', '.join(map(str, given)) or '(none)'}", "at least one, and each once")
    check_different(specs)


def plan(prompts: Sequence[Prompt], seeds: Sequence[int] | None) -> list[Job]:
    """Every picture of one method, in order.

    Args:
        seeds: of every prompt; where None a prompt's own seed, and `DEFAULT_SEEDS` for one without.
    """
    own = [DEFAULT_SEEDS if prompt.seed is None else (prompt.seed,) for prompt in prompts]
    return [(i, p, seed) for i, p in enumerate(prompts) for seed in (own[i] if seeds is None else seeds)]
