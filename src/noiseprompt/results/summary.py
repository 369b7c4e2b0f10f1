"""The figures of an evaluation: frozen records, and results.json, which holds them as plain JSON data.

Summary ──> words, tables, charts
Summary ──summary_dict──> results.json ──read_summary──> Summary
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import asdict, dataclass, fields
from typing import Any

from noiseprompt.core.errors import InputError, StoreError
from noiseprompt.core.json_files import read_json
from noiseprompt.core.records import read_value
from noiseprompt.core.stores import Folder, store_of
from noiseprompt.shapes.world import CHECKER

BASELINE = "standard"
"""Label of the method all others are compared with."""

ACCURACY = f"{CHECKER} accuracy"
"""A metric made here: 1 where the checker's score is exactly 1, else 0; its mean is the share of correct images."""


@dataclass(frozen=True)
class Estimate:
    """A mean over `n` prompts with its 95 % interval, in units of the metric; low and high are None where n is 1."""

    mean: float
    low: float | None
    high: float | None
    n: int


@dataclass(frozen=True)
class Wins:
    """Images won, lost and tied against the baseline; rate in [0, 1] with its interval: ties are half a win."""

    wins: int
    losses: int
    ties: int
    rate: float
    low: float
    high: float


@dataclass(frozen=True)
class Comparison:
    """A method beside the baseline, paired by prompt and seed.

    Fields:
        baseline_mean: of the baseline on the pairs, in units of the metric.
        gain: over the baseline.
        p: of the gain, two-sided, in [0, 1].
        detectable: the smallest gain seen with power .8; None where n is 1.
        win: images won, lost and tied.
        p_holm: p corrected over all methods and metrics; None in a category of prompts, which is not corrected.
    """

    baseline_mean: float
    gain: Estimate
    p: float
    detectable: float | None
    win: Wins
    p_holm: float | None = None


@dataclass(frozen=True)
class Row:
    """One metric of one method: `n` prompts and their mean.

    Fields:
        against: the baseline; None for the baseline itself, and where no image pairs with one of it.
        kinds: category -> the same of its prompts; None where the evaluation has no categories.
    """

    n: int
    mean: float
    against: Comparison | None = None
    kinds: Mapping[str, Row] | None = None


@dataclass(frozen=True)
class Diversity:
    """Mean distance between the features of the images of a prompt, over `n` prompts, with its 95 % interval."""

    n: int
    mean: float
    low: float | None
    high: float | None
    against: Comparison | None = None


@dataclass(frozen=True)
class SetFigures:
    """Of all images of a method together: Frechet distance, precision and recall in [0, 1]; None without reference."""

    images: int
    fid: float | None
    precision: float | None
    recall: float | None


@dataclass(frozen=True)
class Reference:
    """What set figures are measured with: the feature extractor, the pictures compared with, and their number."""

    features: str
    reference: str
    reference_images: int


@dataclass(frozen=True)
class Sets:
    """What `results.sets.measure` finds: label -> figures, and label -> prompt id -> distance between its images."""

    reference: Reference
    figures: Mapping[str, SetFigures]
    diversity: Mapping[str, Mapping[str, float]]


@dataclass(frozen=True)
class MethodSummary:
    """The figures of one method.

    Fields:
        control: "swap", "shuffle" or "".
        scorer: that chose or made its noise: no judge of it; or "".
        images: drawn.
        denoiser_calls, noise_seconds, sample_seconds: means of an image.
        metrics: metric -> figures.
        sets: None where they were not measured.
        diversity: None where no prompt has two images.
    """

    control: str
    scorer: str
    images: int
    denoiser_calls: float
    noise_seconds: float
    sample_seconds: float
    metrics: Mapping[str, Row]
    sets: SetFigures | None = None
    diversity: Diversity | None = None

    @property
    def seconds(self) -> float:
        """For the noise and the image, mean of an image."""
        return self.noise_seconds + self.sample_seconds


@dataclass(frozen=True)
class Summary:
    """The figures of an evaluation.

    Fields:
        baseline: label of the baseline, or None where it was not drawn.
        filter_scorers: that chose the training pairs: no judges.
        main_metric: the first that is a judge.
        metrics, kinds: in the order they are shown.
        prompts, images: how many there are.
        refused: methods that were left out -> the reason.
        sets: what the set figures are measured with; None where there are none.
        methods: label -> figures.
    """

    baseline: str | None
    filter_scorers: tuple[str, ...]
    main_metric: str
    metrics: tuple[str, ...]
    kinds: tuple[str, ...]
    prompts: int
    images: int
    refused: Mapping[str, str]
    sets: Reference | None
    methods: Mapping[str, MethodSummary]


# ---------------------------------------------------------------------------------------------------------- on disk


def summary_dict(summary: Summary) -> dict[str, Any]:
    """The content of results.json."""
    plain = {name: list(value) if isinstance(value, tuple) else value for name, value in vars(summary).items()}
    methods = {label: _method(method) for label, method in summary.methods.items()}
    return {**plain, "sets": summary.sets and asdict(summary.sets), "methods": methods}


def row_dict(row: Row | Diversity) -> dict[str, Any]:
    """The content of a row; what a comparison says stands beside what the row says."""
    told = dict(vars(row))
    compared = told.pop("against")
    found = asdict(compared) if compared else {}
    corrected = found.pop("p_holm", None)
    kinds = told.pop("kinds", None)
    ends = {name: told.pop(name) for name in ("low", "high") if name in told}
    told |= found | ends
    if kinds is not None:
        told["kinds"] = {kind: row_dict(part) for kind, part in kinds.items()}
    return told if corrected is None else {**told, "p_holm": corrected}


def _method(method: MethodSummary) -> dict[str, Any]:
    told = {**vars(method), "metrics": {metric: row_dict(row) for metric, row in method.metrics.items()}}
    del told["sets"], told["diversity"]
    told |= {"sets": asdict(method.sets)} if method.sets else {}
    return told | ({"diversity": row_dict(method.diversity)} if method.diversity else {})


def read_summary(folder: Folder) -> Summary:
    """The figures of a finished evaluation.

    Raises:
        InputError: no results.json there.
        StoreError: a key that is missing or unknown, or a value of another type.
    """
    path = store_of(folder).file("results.json")
    expected, fix = "what an evaluation of this version writes", "run `noiseprompt report`"
    if not path.is_file():
        raise InputError(f"there is no {path}", "a finished evaluation", "run the evaluation to its end")
    data = read_json(path, StoreError, expected, fix, nan=True)
    try:
        return read_value(Summary, data, "the summary", _with_against)
    except ValueError as error:
        raise StoreError(f"{path} is damaged or of another version: {error}", expected, fix) from error


def _with_against(kind: Any, data: dict[str, Any]) -> dict[str, Any]:
    """What a comparison says stands beside what its row says, as `row_dict` writes it; here it is a record again."""
    if all(field.name != "against" for field in fields(kind)):
        return data
    told = [field.name for field in fields(Comparison) if field.name in data]
    rest = {name: value for name, value in data.items() if name not in told}
    return {**rest, "against": {name: data[name] for name in told}} if told else rest
