"""Numbers handed to Python functions: of NumPy they are as good as Python's; what is none, or out of range, is told."""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import numpy as np
import pytest
import torch

from noiseprompt import initial_noise, mix_noise, noise_spectrum
from noiseprompt.core.arguments import held
from noiseprompt.core.arrays import plain_numbers
from noiseprompt.core.errors import ConfigError, InputError, NoisepromptError
from noiseprompt.core.part import parse_part
from noiseprompt.core.ranges import misfit
from noiseprompt.core.types import Sampling
from noiseprompt.engines.options import Sharing
from noiseprompt.methods.base import MethodSpec
from noiseprompt.noise import moves
from noiseprompt.noise.fresh import fresh_noise
from noiseprompt.noise.seeds import prompt_seed
from noiseprompt.noise.white import project_white
from noiseprompt.npd import PairFilter
from noiseprompt.npnet.config import NPNetConfig
from noiseprompt.npnet.transfer import without_text
from noiseprompt.pipelines.early import early_images
from noiseprompt.results import statistics
from noiseprompt.scorers.base import load_scorers
from noiseprompt.scorers.model import check_tensor
from noiseprompt.scorers.mps import MPS
from noiseprompt.scorers.sets import distances
from noiseprompt.shapes.captions import CaptionNoise
from noiseprompt.shapes.checker import check, find_objects
from noiseprompt.shapes.scenes import Scene, parse, random_scene, render
from noiseprompt.shapes.world import reference_scenes, scene_of
from noiseprompt.stages.train.settings import TrainConfig

ROWS = np.random.default_rng(0).normal(size=(6, 3))
X = torch.zeros(1, 2, 4, 4)
HALVES = torch.zeros(1, 1024).half().index_fill_(1, torch.tensor(0), 6e4)
RNG = np.random.default_rng(0)
FILTER, ALL = PairFilter(("a",), best_share=0.5), np.ones(6, bool)
REFUSED: dict[str, tuple[Callable[[], Any], str]] = {
    "a method without a label": (lambda: MethodSpec("", "redenoise"), "label ''"),
    "a scene of no size": (lambda: scene_of("a red circle", 1, (0, 64)), r"size \[0, 64\]"),
    "half a seed of a scene": (lambda: scene_of("a red circle", 1.5), "seed 1.5"),  # type: ignore[arg-type]
    "a scene below its least size": (lambda: random_scene(RNG, parse("a red circle"), (0, 64)), r"size \[0, 64\]"),
    "a picture of no size": (lambda: render(Scene((), 0.1), (-1, 64)), r"size \[-1, 64\]. Expected a list of 2"),
    "a picture beyond memory": (lambda: render(Scene((), 0.1), (10**6, 10**6)), "from 64 to 16,384"),
    "no scenes": (lambda: next(reference_scenes(["a red circle"], 0)), "each 0"),
    "a share above 1": (lambda: early_images(None, None, X, share=2), "share 2"),  # type: ignore[arg-type]
    "layers dropped twice": (lambda: NPNetConfig(swin_drop_path=2.0), "swin_drop_path 2.0"),
    "an option of a scorer": (
        lambda: load_scorers(["shapes-preference:batch_size=0"]),
        "shapes-preference:batch_size 0",
    ),
    "texts": (lambda: statistics.win_rate(["1", "2"], [1, 2]), "texts in place of numbers"),
    "a table": (lambda: statistics.win_rate([[1, 2]], [[1, 2]]), r"shape \(1, 2\)"),
    "one number": (lambda: statistics.detectable_effect(3.0), r"shape \(\)"),
    "nothing": (lambda: statistics.win_rate([None, 1], [1, 2]), "nothing in place of numbers"),
    "a dict": (lambda: statistics.win_rate({"a": 1}, {"a": 2}), "a dict in place of numbers"),
    "several lengths": (lambda: statistics.paired_bootstrap([[1], [1, 2]]), "lists of several lengths"),  # type: ignore[list-item]
    "a mask": (lambda: statistics.sign_flip_test(np.ma.masked_array([1.0, 2.0], [0, 1])), "masked numbers"),
    "dates": (lambda: statistics.sign_flip_test(np.array(["2020-01-01"], "M8[D]")), "dates in place of numbers"),
    "complex": (lambda: statistics.sign_flip_test([1j, 2.0]), "complex numbers"),
    "beyond sums": (lambda: statistics.paired_bootstrap([1e308, 1e308]), r"1e\+308"),
    "level in per cent": (
        lambda: statistics.win_rate([1, 2], [2, 3], level=95),
        "level 95. Expected a number between 0",
    ),
    "level text": (lambda: statistics.paired_bootstrap([1, 2], level="0.95"), "level '0.95'"),  # type: ignore[arg-type]
    "no resamples": (lambda: statistics.paired_bootstrap([1, 2], resamples=0), "resamples 0"),
    "resamples without end": (lambda: statistics.paired_bootstrap([1, 2], resamples=10**12), "resamples 10{12}"),
    "no permutations": (lambda: statistics.sign_flip_test([1, 2], permutations=0), "permutations 0"),
    "a seed below 0": (lambda: statistics.sign_flip_test([1, 2], seed=-1), "seed -1"),
    "no trials": (lambda: statistics.wilson(0.5, 0), "n 0"),
    "a rate in per cent": (lambda: statistics.wilson(48.6, 10), "rate 48.6"),
    "p above 1": (lambda: statistics.holm([0.1, 1.5]), "p_values"),
    "p as a text": (lambda: statistics.holm("0.1"), "p_values '0.1'"),  # type: ignore[arg-type]
    "p that is none": (lambda: statistics.holm([0.1, float("nan")]), "p_values"),
    "features of texts": (lambda: distances.diversity({"a": np.array([["x"], ["y"]])}), "numbers"),
    "features of one row": (lambda: distances.diversity({"a": np.zeros(3)}), r"\(N, D\)"),
    "features of NaN": (lambda: distances.diversity({"a": np.full((2, 2), np.nan)}), "not finite"),
    "no width": (lambda: distances.FeatureStore(0), "width 0"),
    "features beyond sums": (lambda: distances.fid(ROWS * 1e200, ROWS), r"features up to .*e\+200"),
    "features beyond sums of a prompt": (lambda: distances.diversity({"a": ROWS * 1e200}), r"of 'a' up to .*e\+200"),
    "neighbours of NaN": (lambda: distances.precision_recall(ROWS * np.nan, ROWS), "features that are not finite"),
    "a spectrum beyond sums": (lambda: noise_spectrum(np.full((1, 4, 8, 8), 1e300)), r"noise up to 1e\+300"),
    "a mix beyond halves": (lambda: mix_noise(HALVES, HALVES * 0 + 6e4, 0.1), "the mix are not finite"),
    "a share of captions above 1": (lambda: CaptionNoise(1.5), "unrelated 1.5. Expected a number from 0 to 1"),
    "a picture of NaN": (lambda: find_objects(np.full((64, 64, 3), np.nan)), "an image that is not finite"),
    "a list of features": (lambda: distances.FeatureStore(2).add([[1.0, 2.0]]), "a list"),  # type: ignore[arg-type]
    "one side": (lambda: distances.frechet_distance([0, 0], [[1, 5], [0, 1]], [0, 0], np.eye(2)), "not symmetric"),
    "means of texts": (lambda: distances.frechet_distance(["a"], np.eye(1), [0], np.eye(1)), "a mean: texts"),  # type: ignore[list-item]
    "a level beyond 1": (lambda: moves.move(X, X, 1.5, 0.5), "alpha_from 1.5"),
    "no level": (lambda: moves.move(X, X, None, 0.5), "alpha_from null"),  # type: ignore[arg-type]
    "a gap beyond all guidance": (lambda: moves.closed_form(X, X, X, 0.1, 0.2, 1e39), r"guidance_gap 1e\+39"),
    "fresh noise of nothing": (lambda: fresh_noise(None, "a"), "noise: nothing"),  # type: ignore[arg-type]
    "white noise of one row": (lambda: project_white(X[0, 0]), r"shape \(4, 4\)"),
    "half a seed of a run": (lambda: prompt_seed(0.5, "a"), r"run_seed 0\.5"),  # type: ignore[arg-type]
    "flags in numbers": (lambda: FILTER.mask({"a": ROWS[:, :2]}, np.ones(6)), r"usable: float64 \(6,\)"),
    "prompts in fractions": (lambda: FILTER.mask({"a": ROWS[:, :2]}, ALL, np.zeros(6)), "prompts: float64"),
    "prompts below 0": (lambda: FILTER.mask({"a": ROWS[:, :2]}, ALL, -np.ones(6, int)), "numbers .* from 0"),
    "scores in words": (lambda: FILTER.mask({"a": np.full((6, 2), "x")}, ALL), "scores of a: <U1"),
    "no scores": (lambda: FILTER.mask(None, ALL), "scores null"),  # type: ignore[arg-type]
    "a picture of NumPy": (lambda: check_tensor(np.zeros((1, 3, 8, 8)), []), "images: a ndarray"),  # type: ignore[arg-type]
    "a text for prompts": (lambda: check_tensor(torch.zeros(1, 3, 8, 8), ["a"]), "prompts"),  # type: ignore[list-item]
    "another shape": (lambda: moves.move(X, X[:, :1], 0.5, 0.6), r"shape \(1, 1, 4, 4\)"),
    "a gap of words": (lambda: moves.closed_form(X, X, X, 0.1, 0.2, "wide"), "guidance_gap 'wide'"),  # type: ignore[arg-type]
    "level 0": (lambda: moves.coefficient(0.1, 0.0), "alpha_Tk 0.0"),
    "a blank address": (lambda: Sharing(engine="ray", ray_address=""), "ray_address ''"),
    "a sentence that is none": (lambda: parse(7), "text 7. Expected a text"),  # type: ignore[arg-type]
    "a request that is a text": (lambda: check(np.zeros((64, 64, 3), np.uint8), "a red circle"), "request 'a red"),  # type: ignore[arg-type]
    "a picture that is a list": (lambda: find_objects([1]), r"image \[1\]"),  # type: ignore[arg-type]
    "a network that is a text": (lambda: without_text("npnet"), "net 'npnet'"),  # type: ignore[arg-type]
    "a part that is a number": (lambda: parse_part(2), "part 2. Expected a text"),  # type: ignore[arg-type]
    "every token hidden": (lambda: MPS(path="nowhere", threshold=2.0, device="cpu"), "threshold 2.0"),
}


@pytest.mark.parametrize("case", REFUSED)
def test_what_is_no_number_or_out_of_range_is_told(case: str) -> None:
    call, words = REFUSED[case]
    with pytest.raises(NoisepromptError, match=words) as caught:
        call()
    assert "\n" not in str(caught.value)


def test_symmetric_up_to_rounding_is_symmetric() -> None:
    covariance = np.cov(ROWS.T)
    skewed = covariance + np.triu(np.full((3, 3), 1e-9))
    assert distances.frechet_distance(ROWS.mean(0), skewed, ROWS.mean(0), covariance) < 1e-6


@held
def _taken(count: int, share: float, flag: bool, many: list[int], some: list[float] | None = None) -> list[Any]:
    return [count, share, flag, many, some]


def test_numbers_of_numpy_come_as_python_s() -> None:
    taken = _taken(np.int64(3), np.float32(0.5), np.bool_(True), np.array([1, 2]), some=np.array([0.5]))  # type: ignore[arg-type]
    assert taken == [3, 0.5, True, [1, 2], [0.5]] and json.dumps(taken)
    assert [type(one) for one in taken[:3]] == [int, float, bool]
    with pytest.raises(ConfigError, match=r"count 3\.0, many \[0\.5\]"):
        _taken(np.float64(3.0), 0.5, True, np.array([0.5]))  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="share nan"):
        _taken(1, np.float32("nan"), True, [])  # type: ignore[arg-type]


def test_records_keep_python_s_numbers() -> None:
    kept = Sampling(np.float32(3.5), np.int64(4))  # type: ignore[arg-type]
    assert type(kept.guidance_scale) is float and type(kept.num_inference_steps) is int
    assert json.dumps(vars(kept)) and TrainConfig(epochs=np.int32(3)).epochs == 3  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match=r"epochs 2\.0"):
        TrainConfig(epochs=np.float64(2.0))  # type: ignore[arg-type]


def test_a_wrong_name_of_an_argument_is_told_with_those_there_are() -> None:
    with pytest.raises(InputError, match=r"_taken\(\): no argument 'shares'\. Expected .*count, share.*'share'"):
        _taken(1, 0.5, True, [], shares=2)  # type: ignore[call-arg]


def test_seeds_of_an_array_are_seeds() -> None:
    assert misfit(int, np.int64(3)) == "" and misfit(int, True)
    assert torch.equal(initial_noise(np.int64(3), (2, 2)), initial_noise(3, (2, 2)))  # type: ignore[arg-type]


@pytest.mark.parametrize("given", [[1, 2.5], (True, 3), np.arange(3, dtype=np.int8), torch.ones(2), [np.float32(2)]])
def test_plain_numbers_are_taken_as_they_are(given: Any) -> None:
    np.testing.assert_array_equal(plain_numbers(given), np.asarray(given, np.float64))
