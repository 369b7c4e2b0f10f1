"""The words every stage speaks: frozen records with a shape, unit or range per field."""

from __future__ import annotations

import hashlib
import math
import unicodedata
from dataclasses import dataclass, field, fields, replace
from typing import TYPE_CHECKING, Any, Literal, TypeVar

from noiseprompt.core.arguments import told
from noiseprompt.core.errors import ConfigError, InputError, PromptError
from noiseprompt.core.ranges import (
    COUNT,
    GUIDANCE,
    PIXELS,
    RATE,
    WEIGHT,
    check,
    check_value,
    kind_of,
    plain,
    setting,
    shown,
)
from noiseprompt.core.texts import check_text

if TYPE_CHECKING:
    import numpy as np

T = TypeVar("T")

PredictionType = Literal["epsilon", "v_prediction", "flow_prediction"]
"""What a denoiser predicts, in diffusers' words."""

InvertAt = Literal["paper", "published"]
"""Timestep at which the inverting prediction is made: T-k (the paper, eq. 2) or T (the published code)."""


@told
@dataclass(frozen=True)
class Prompt:
    """A text to draw.

    Fields:
        text: the prompt, stripped, never empty.
        kind: a category for per-kind tables, or "".
        seed: the seed of its noise, if the source of the prompt names one, else None.

    Raises:
        PromptError: a text or category that is none, or holds NUL or half a character.
        ConfigError: a seed that is no whole number; its range is the affair of those who draw noise from it.
    """

    text: str
    kind: str = ""
    seed: int | None = None

    def __post_init__(self) -> None:
        check_text(self.text, "a prompt")
        check_text(self.kind, "the category of a prompt")
        if not self.text.strip():
            raise PromptError("an empty prompt", "a text to draw")
        if (seed := plain(self.seed)) is not self.seed:
            object.__setattr__(self, "seed", seed)
        if self.seed is not None and type(self.seed) is not int:
            check_value("the seed of a prompt", int, self.seed)

    @property
    def id(self) -> str:
        """16 hexadecimal digits: a hash of the text alone (NFC), the same on every machine."""
        return text_id(self.text)


def text_id(text: str) -> str:
    """As `Prompt.id`, of any text that files can hold."""
    return hashlib.sha256(unicodedata.normalize("NFC", text).encode()).hexdigest()[:16]


@told
@dataclass(frozen=True)
class Sampling:
    """How images are drawn. None means the default of the model's family (of the model itself for the size).

    Fields:
        guidance_scale, num_inference_steps: of the sampler.
        height, width: in pixels; `Pipeline.latent_shape` knows which a model can draw.

    Raises:
        ConfigError: fewer than one step or pixel, or a guidance scale beyond -1000 to 1000.
    """

    guidance_scale: float | None = setting(None, GUIDANCE)
    num_inference_steps: int | None = setting(None, COUNT)
    height: int | None = setting(None, PIXELS)
    width: int | None = setting(None, PIXELS)

    def __post_init__(self) -> None:
        check(self)

    @classmethod
    def of(cls, settings: Any) -> Sampling:
        """The fields of these names of a stage's settings."""
        return cls(**{each.name: getattr(settings, each.name) for each in fields(cls)})

    def resolve(self, family: Any, size: tuple[int | None, int | None] = (None, None)) -> Any:
        """This Sampling with the family's guidance and steps, and `size` (height, width) in pixels, where None."""
        return _filled(
            self,
            guidance_scale=family.guidance_scale,
            num_inference_steps=family.num_inference_steps,
            height=size[0],
            width=size[1],
        )


@dataclass(frozen=True)
class Redenoising:
    """One step down and the same step up again (algorithm 1 of the paper). None means the default of the family.

    Fields:
        denoise_guidance_scale, invert_guidance_scale: of the step down and of the step up.
        steps: of the grid whose first step is taken.
        invert_at: timestep of the inverting prediction.

    Raises:
        ConfigError: fewer than one step, or a guidance scale beyond -1000 to 1000.
    """

    denoise_guidance_scale: float | None = setting(None, GUIDANCE)
    invert_guidance_scale: float | None = setting(None, GUIDANCE)
    steps: int | None = setting(None, COUNT)
    invert_at: InvertAt = "paper"

    def __post_init__(self) -> None:
        check(self)

    def resolve(self, family: Any) -> Any:
        """This Redenoising with the family's values where None."""
        return _filled(
            self,
            denoise_guidance_scale=family.denoise_guidance_scale,
            invert_guidance_scale=family.invert_guidance_scale,
            steps=family.collection_steps,
        )


MOST_VALUES = 2**26
"""Values of the latents of one image at most: those of 16 channels at 16,384 x 16,384 pixels."""


def check_shape(name: str, shape: Any) -> None:
    """Refuse what is no shape of the latents of one image, before anything of its size is made.

    Raises:
        ConfigError: no whole numbers, or more than `MOST_VALUES` values.
    """
    check_value(name, tuple[int, ...], shape, replace(COUNT, some=True))
    if math.prod(shape) > MOST_VALUES:
        raise ConfigError(f"{name} {shown(shape)}", f"at most {MOST_VALUES:,} values")


def check_tensor(value: object, label: str, shape: str) -> None:
    """Refuse what holds no floating point numbers that can be computed with.

    Args:
        shape: for the message, as in "(B, L, D)".

    Raises:
        InputError: no tensor, one of other numbers, a sparse one, or one on "meta", which has no values.
    """
    import torch

    came = "" if isinstance(value, torch.Tensor) else kind_of(value)
    if isinstance(value, torch.Tensor):
        plain = "" if value.layout == torch.strided else f"{value.layout}"
        came = f"{value.dtype}" if not value.is_floating_point() else "without values (meta)" * value.is_meta or plain
    if came:
        raise InputError(f"{label}: {came}", f"a dense torch tensor {shape} of floating point numbers")


def check_pipeline(pipeline: Any) -> None:
    """Refuse what is no `noiseprompt.Pipeline`, such as one of diffusers.

    Raises:
        ConfigError: it has none of its methods.
    """
    if not hasattr(pipeline, "latent_shape") or not hasattr(pipeline, "encode"):
        fix = "wrap one of diffusers: noiseprompt.Pipeline(pipe)"
        raise ConfigError(f"pipeline: {kind_of(pipeline)}", "a noiseprompt.Pipeline", fix)


def _filled(record: T, **defaults: Any) -> T:
    """A frozen record with `defaults` for those of its fields that are None."""
    return replace(record, **{name: value for name, value in defaults.items() if getattr(record, name) is None})  # type: ignore[type-var]


@told
@dataclass(frozen=True)
class StartLevel:
    """The level at which a sampler begins, in the latents that a user hands to the pipeline.

    Noise that carries a picture as the forward process makes it there is noise x_T + signal h, with h in the scale of
    x_0: the latents that the pipeline's autoencoder encodes a picture to, shifted and scaled as the denoiser saw them.

    Fields:
        noise: factor of the unit Gaussian noise.
        signal: factor of the picture; 0 where sampling begins at pure noise.

    Raises:
        ConfigError: noise that is not positive, a signal below 0, or numbers that are not finite.
    """

    noise: float = setting(limits=RATE)
    signal: float = setting(limits=WEIGHT)

    def __post_init__(self) -> None:
        check(self)


@dataclass(frozen=True)
class ScoredPair:
    """One candidate of a noise prompt data set, kept or not.

    Fields:
        id: "{prompt.id}-{seed}".
        prompt: the text's record.
        seed: of the source noise.
        source: (C, H, W) float32, the unit Gaussian noise x_T; None of a picture.
        target: (C, H, W) float32 (stored as float16), the re-denoised noise x'_T or a picture's latents; None where
            rejected.
        scores: scorer name -> (score of the image drawn from source, score of the image drawn from target); of a
            picture (NaN, its score).
        rejected: "" or why there is no usable target.
    """

    id: str
    prompt: Prompt
    seed: int
    source: np.ndarray | None
    target: np.ndarray | None
    scores: dict[str, tuple[float, float]] = field(default_factory=dict)
    rejected: str = ""


@dataclass(frozen=True)
class EvalResult:
    """One image of one method in an evaluation.

    Fields:
        method: label of the method, e.g. "npnet:strength=1.5".
        prompt_id, text, kind: of the prompt.
        seed: of the source noise.
        scores: scorer name -> score of the image.
        denoiser_calls: denoiser evaluations spent on the noise and the image, per image (a guided step counts two).
        noise_seconds: time to make the noise, per image.
        sample_seconds: time to draw the image, per image.
        image: file name under the run's images folder, or "".
        settings: mark of what it was drawn with (`results.folder.mark`), or "" in lines of earlier releases.
    """

    method: str
    prompt_id: str
    text: str
    kind: str
    seed: int
    scores: dict[str, float]
    denoiser_calls: float
    noise_seconds: float
    sample_seconds: float
    image: str = ""
    settings: str = ""
