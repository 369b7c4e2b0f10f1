"""Where the pictures of a collection come from: drawn by the model, rendered by the embedded world, or files.

A source gives a picture of each item, or the reason why there is none; what is wrong with a whole disk is raised.
"""

from __future__ import annotations

import hashlib
from collections.abc import Callable, Mapping, Sequence
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import numpy as np

from noiseprompt.core.errors import InputError, StoreError
from noiseprompt.core.pictures import fitted, open_picture
from noiseprompt.core.places import expanded
from noiseprompt.core.types import Prompt, Sampling
from noiseprompt.noise.seeds import batch_noise, sampler_generators
from noiseprompt.prompts import load_prompts
from noiseprompt.prompts.captions import Captioned, load_captioned
from noiseprompt.shapes import world
from noiseprompt.stages.collect.failures import NotEncodedError
from noiseprompt.stages.collect.pairs import Item, pair_id
from noiseprompt.stages.collect.settings import DRAWN, OF_PROMPTS, CollectConfig

if TYPE_CHECKING:
    from noiseprompt.pipelines import Pipeline
    from noiseprompt.prompts.load import PromptList

Listed: TypeAlias = "Sequence[Prompt] | PromptList | Sequence[Captioned]"
"""What a collection is made of: prompts, or pictures that bring their captions."""

Pictures = Callable[[Sequence[Item]], "list[np.ndarray | str]"]
"""Items -> of each its picture, uint8 (height, width, 3), or why there is none."""


def read_source(
    prompts: str | None, config: CollectConfig, *, column: str | None = None, n: int | None = None, model: str = ""
) -> PromptList | list[Captioned]:
    """What a collection with these settings is made of.

    Args:
        prompts, column, n, model: as of `load_prompts`; `column` is that of the captions, `n` counts captions.

    Raises:
        InputError: no prompts where they are needed, or prompts beside captions; as `load_prompts`, `load_captioned`.
    """
    if not config.of_files:
        if prompts is None:
            raise InputError("no prompts", "a file of prompts or a split", "pass --prompts, or --pictures FOLDER")
        return load_prompts(prompts, column=column, limit=n, model=model)
    if prompts is not None:
        absent = not expanded(config.pictures).exists()
        came = f"prompts {prompts!r} with pictures of {config.pictures}{', which is not there' * absent}"
        fix = f"pass --pictures {' or '.join(OF_PROMPTS)}" if absent else "leave the prompts out"
        raise InputError(came, "one of the two: pictures on disk bring their captions", fix)
    return load_captioned(config.pictures, column=column, limit=n)


def rows_of(listed: Listed) -> Sequence[Prompt | Captioned]:
    """The prompts or captioned pictures themselves."""
    return getattr(listed, "prompts", listed)  # type: ignore[return-value]


def texts_of(listed: Listed) -> list[str]:
    """The prompts or captions, as texts."""
    return [one.prompt.text if isinstance(one, Captioned) else one.text for one in rows_of(listed)]


def file_seed(name: str) -> int:
    """The seed of a captioned picture: a hash of its file's name, below 2**63."""
    return int.from_bytes(hashlib.sha256(name.encode()).digest()[:8], "big") >> 1


def find_pictures(pipeline: Pipeline, listed: Listed, config: CollectConfig, size: tuple[int, int]) -> Pictures:
    """The source that a collection asks for.

    Args:
        size: (height, width) in pixels.

    Raises:
        InputError: a prompt of which the embedded world has no scenes.
    """
    if config.pictures == DRAWN:
        return _Drawn(pipeline, Sampling.of(config).resolve(pipeline.family, size))
    if config.pictures == world.NAME:
        strange = [text for text in texts_of(listed) if not world.is_sentence(text)]
        if strange:
            came = f"scenes of {strange[0]!r}"
            raise InputError(came, "prompts of the shapes world", f'take for example --prompts "{world.NAME}:train"')
        return _Scenes(size, config.fit)
    captioned = [one for one in rows_of(listed) if isinstance(one, Captioned)]
    paths = {pair_id((one.prompt, file_seed(one.name))): one.path for one in captioned}
    return _Files(paths, size, config.fit)


class _Drawn:
    """Pictures that the model draws from the noise of each seed."""

    def __init__(self, pipeline: Pipeline, sampling: Sampling) -> None:
        from noiseprompt.pipelines.samplers import drawn_shape

        self.pipeline, self.sampling = pipeline, sampling
        self.shape = drawn_shape(pipeline, sampling)

    def __call__(self, items: Sequence[Item]) -> list[np.ndarray | str]:
        try:
            embeds = self.pipeline.encode([prompt.text for prompt, _ in items])
        except Exception as error:
            raise NotEncodedError from error
        seeds = [seed for _, seed in items]
        noise = batch_noise(seeds, self.shape)
        return list(self.pipeline.sample(embeds, noise, **vars(self.sampling), generator=sampler_generators(seeds)))


class _Scenes:
    """Scenes of the embedded world that show the prompt, each a function of prompt, seed and size.

    A scene has the size itself, and objects of as many pixels as ever; sides below those of the world's own pictures
    are what these are brought to.
    """

    def __init__(self, size: tuple[int, int], fit: str) -> None:
        self.size, self.fit = size, fit
        self.drawn = size if min(size) >= world.SIDE else (world.SIDE, world.SIDE)

    def __call__(self, items: Sequence[Item]) -> list[np.ndarray | str]:
        from PIL import Image

        scenes = (Image.fromarray(world.scene_of(prompt.text, seed, self.drawn)) for prompt, seed in items)
        return [fitted(scene, *self.size, self.fit) for scene in scenes]


class _Files:
    """Pictures on disk by the id of their item."""

    def __init__(self, paths: Mapping[str, Path], size: tuple[int, int], fit: str) -> None:
        self.paths, self.size, self.fit = paths, size, fit

    def __call__(self, items: Sequence[Item]) -> list[np.ndarray | str]:
        return [self._read(self.paths[pair_id(item)]) for item in items]

    def _read(self, path: Path) -> np.ndarray | str:
        try:
            return fitted(open_picture(path), *self.size, self.fit)
        except InputError as error:
            cause = error.__cause__
            if isinstance(cause, OSError) and cause.errno is not None:  # of the disk, not of what the file holds
                raise StoreError(f"cannot read {path}: {cause.strerror}", "a file that can be read") from error
            why = str(error).replace(str(path), path.name)  # what is recorded names no folder of a machine
            return why if path.name in why else f"{path.name}: {why}"
