"""The scorer that steers a method: loaded by name, handed prompts. What steers a method is no judge of its result."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from noiseprompt.core.errors import InputError
from noiseprompt.core.parts import PARTS
from noiseprompt.core.types import Prompt
from noiseprompt.scorers.parts import parts_of
from noiseprompt.shapes import world

if TYPE_CHECKING:
    from noiseprompt.pipelines import Pipeline, TextEmbeds


def load_judge(method: str, scorer: str | None, pipeline: Pipeline) -> Any:
    """The scorer of that name; the world's preference scorer where None and the pipeline is the embedded world.

    Raises:
        InputError: none named, and none shipped for this pipeline.
        UnknownNameError, ModelLoadError: as `load_scorers`.
    """
    from noiseprompt.scorers.base import load_scorers

    if scorer is None and not world.is_world(pipeline.name):
        raise InputError(f"{method} without a scorer", "a scorer's name", f'write for example "{method}:scorer=hpsv2"')
    return load_scorers([scorer or world.PREFERENCE])[0]


def described(judge: Any) -> dict[str, Any]:
    """What `NoiseMethod.describe` says of a method's scorer: its name and its parts; {} where none is loaded yet."""
    return {} if judge is None else {"scorer": judge.name, PARTS: parts_of([judge])}


def prompts_of(method: str, embeds: TextEmbeds) -> list[Prompt]:
    """The prompts that were encoded, one a row.

    Raises:
        InputError: embeds that do not know their texts.
    """
    texts: tuple[str, ...] = getattr(embeds, "texts", ())
    if len(texts) != len(embeds):
        came = f"{method} with {len(embeds)} embeds and {len(texts)} texts"
        raise InputError(came, "embeds with a text a row", "encode the prompts with pipeline.encode")
    return [Prompt(text) for text in texts]
