"""The words every stage speaks: frozen records with a shape, unit or range per field."""

from __future__ import annotations

import hashlib
import unicodedata
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Literal

if TYPE_CHECKING:
    import numpy as np

PredictionType = Literal["epsilon", "v_prediction", "flow_prediction"]
"""What a denoiser predicts, in diffusers' words."""

InvertAt = Literal["paper", "published"]
"""Timestep at which the inverting prediction is made: T-k (the paper, eq. 2) or T (the published code)."""


@dataclass(frozen=True)
class Prompt:
    """A text to draw.

    Fields:
        text: the prompt, stripped, never empty.
        kind: a category for per-kind tables, or "".
        seed: the seed of its noise, if the source of the prompt names one, else None.
    """

    text: str
    kind: str = ""
    seed: int | None = None

    @property
    def id(self) -> str:
        """16 hexadecimal digits: a hash of the text alone (NFC), the same on every machine."""
        return hashlib.sha256(unicodedata.normalize("NFC", self.text).encode()).hexdigest()[:16]


@dataclass(frozen=True)
class ScoredPair:
    """One candidate of a noise prompt data set, kept or not.

    Fields:
        id: "{prompt.id}-{seed}".
        prompt: the text's record.
        seed: of the source noise.
        source: (C, H, W) float32, the unit Gaussian noise x_T.
        target: (C, H, W) float32 (stored as float16), the re-denoised noise x'_T; None where rejected.
        scores: scorer name -> (score of the image drawn from source, score of the image drawn from target).
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
