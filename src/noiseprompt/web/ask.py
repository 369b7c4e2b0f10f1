"""What a visitor asks for: the fields of the form, checked before the model is touched.

A visitor chooses among the methods and models that the page was started with; no field names a file.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from noiseprompt.core.errors import InputError, PromptError
from noiseprompt.core.ranges import Limits, check, check_value, setting
from noiseprompt.core.types import Prompt, Sampling
from noiseprompt.methods.base import MethodSpec
from noiseprompt.noise.seeds import check_seed
from noiseprompt.results.summary import BASELINE
from noiseprompt.shapes import world
from noiseprompt.shapes.scenes import COLOURS, COUNTS, RELATIONS, SHAPES, SIZES
from noiseprompt.stages.generate.settings import parse_seeds

LETTERS = 1000
"""Of a prompt, at most."""

PICTURES = 64
"""That one click draws, at most: seeds times methods."""

SEEDS = 500
"""That are compared, at most."""

STRENGTH = Limits(least=-2, most=3)
GUIDANCE = Limits(least=0, most=30)
STEPS = Limits(least=1, most=150)
MANY = Limits(least=2, most=SEEDS)


@dataclass(frozen=True)
class Form:
    """The fields that every tab shares, as they come.

    Args:
        prompt: the text, at most `LETTERS` long.
        methods: labels of those that are offered; "standard" is drawn whether it is among them or not.
        strength: of every method that does not name its own.
        guidance_scale, num_inference_steps: of the sampler.

    Raises:
        ConfigError: fields out of range, all of them at once.
    """

    prompt: str
    methods: tuple[str, ...]
    strength: float = setting(1.0, STRENGTH)
    guidance_scale: float = setting(1.0, GUIDANCE)
    num_inference_steps: int = setting(10, STEPS)

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class Ask:
    """What is to be drawn: each seed with each method, the baseline first."""

    prompt: Prompt
    specs: tuple[MethodSpec, ...]
    seeds: tuple[int, ...]
    sampling: Sampling


def read(form: Form, model: str, offered: Sequence[MethodSpec], seeds: Sequence[int]) -> Ask:
    """The request behind a form.

    Args:
        model: that draws.
        offered: the methods there are.

    Raises:
        PromptError: no prompt, one that is too long, or none that the embedded world can read.
        InputError: no method, or one that is not offered.
    """
    known = {spec.label: spec for spec in offered}
    wrong = [label for label in form.methods if label not in known]
    if wrong:
        raise InputError(f"method {wrong[0]!r}", f"some of {', '.join(known)}")
    chosen = [known[label] for label in known if label in form.methods or label == BASELINE]
    if len(chosen) < 2:
        raise InputError("no method beside standard", "at least one to compare it with", "tick one under Methods")
    specs = [spec if spec.name == BASELINE else spec.with_defaults(strength=float(form.strength)) for spec in chosen]
    sampling = Sampling(float(form.guidance_scale), form.num_inference_steps)
    return Ask(_prompt(form.prompt, model), tuple(specs), tuple(seeds), sampling)


def _prompt(text: str, model: str) -> Prompt:
    text = " ".join(text.split())
    if not text:
        raise PromptError("there is no prompt", "a text to draw", "type one, or pick an example")
    if len(text) > LETTERS:
        raise PromptError(f"a prompt of {len(text):,} letters", f"at most {LETTERS:,}")
    if world.is_world(model) and not world.is_sentence(text):
        words = ", ".join((*COLOURS, *SHAPES, *SIZES, *COUNTS, *RELATIONS))
        raise PromptError(
            f"the world of shapes cannot read {text[:80]!r}",
            'a sentence such as "a red circle above a blue square", "two green rings" or "a small white star"',
            f"its words: {words}",
        )
    return Prompt(text)


def few_seeds(text: str, methods: int) -> tuple[int, ...]:
    """Seeds of one click, from "0-3" or "1,5,9".

    Args:
        methods: that are drawn with each.

    Raises:
        InputError: no seeds, seeds out of range, or more pictures than `PICTURES`.
    """
    seeds = parse_seeds(text)
    for seed in seeds:
        check_seed(seed)
    if len(seeds) * methods > PICTURES:
        came = f"{len(seeds)} seeds with {methods} methods are {len(seeds) * methods} pictures"
        raise InputError(came, f"at most {PICTURES} a click", "the tab Compare takes many seeds")
    return seeds


def many_seeds(first: int, count: int) -> tuple[int, ...]:
    """`count` seeds from `first` upwards.

    Raises:
        InputError: a number out of range.
    """
    check_value("the first seed", int, first)
    check_value("the number of seeds", int, count, MANY)
    check_seed(first)
    check_seed(first + count - 1)
    return tuple(range(first, first + count))
