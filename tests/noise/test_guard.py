"""The guard against numpy and scipy figures, and against noise that is known to be wrong."""

from __future__ import annotations

import warnings

import numpy as np
import pytest
import torch
from scipy import stats
from torch.nn import functional as F

from noiseprompt.core.errors import ConfigError, NoiseError, ShapeError
from noiseprompt.noise.guard import ALLOWANCE, STANDARD_ERRORS, Guard, NoiseWarning, carried, inspect_noise
from noiseprompt.noise.seeds import batch_noise

SDXL, SHAPES = (4, 128, 128), (4, 16, 16)


def test_figures_are_those_of_numpy() -> None:
    x = batch_noise([1, 2, 3], (4, 12, 10)) * 1.3 + 0.2
    source = batch_noise([1, 2, 3], (4, 12, 10))
    report = inspect_noise(x, source)
    a, s = x.double().numpy(), source.double().numpy()
    np.testing.assert_allclose(report.mean, a.mean((0, 2, 3)), atol=1e-6)
    np.testing.assert_allclose(report.std, a.std((0, 2, 3)), atol=1e-6)
    z = (a - a.mean((2, 3), keepdims=True)) / a.std((2, 3), keepdims=True)
    assert report.horizontal == pytest.approx(float((z[..., :-1] * z[..., 1:]).mean()), abs=1e-6)
    assert report.vertical == pytest.approx(float((z[..., :-1, :] * z[..., 1:, :]).mean()), abs=1e-6)
    ratio = np.linalg.norm((a - s).reshape(3, -1), axis=1) / np.linalg.norm(s.reshape(3, -1), axis=1)
    assert report.perturbation == pytest.approx(ratio.mean(), rel=1e-5)
    assert report.finite and report.images == 3
    assert "mean" in str(report) and "perturbation" in str(report)


def test_the_band_is_the_stated_number_of_standard_errors() -> None:
    """The documented numbers, and that the standard errors are those of real Gaussian noise."""
    assert 2 * stats.norm.sf(STANDARD_ERRORS) == pytest.approx(1 / 1.7e6, rel=0.05)
    n, pairs = 128 * 128, 4 * 128 * 127
    assert 5 / n**0.5 + ALLOWANCE["mean"] == pytest.approx(0.139, abs=5e-4)
    assert 5 / (2 * n) ** 0.5 + ALLOWANCE["std"] == pytest.approx(0.128, abs=5e-4)
    assert 5 / pairs**0.5 + ALLOWANCE["correlation"] == pytest.approx(0.070, abs=5e-4)
    one = [inspect_noise(batch_noise([seed], SHAPES)) for seed in range(300)]
    assert np.std([r.mean[0] for r in one]) == pytest.approx(1 / 256**0.5, rel=0.15)
    assert np.std([r.std[0] for r in one]) == pytest.approx(1 / 512**0.5, rel=0.15)
    assert np.std([r.horizontal for r in one]) == pytest.approx(1 / 960**0.5, rel=0.15)
    assert not any(r.problems for r in one)


@pytest.mark.parametrize("shape", [SDXL, SHAPES])
@pytest.mark.parametrize("mode", ["bilinear", "bicubic"])
def test_resampled_noise_is_outside(shape: tuple[int, int, int], mode: str) -> None:
    """What a user gets who stretches noise to the size of a network."""
    small = batch_noise(range(8), (4, shape[1] // 2, shape[2] // 2))
    assert inspect_noise(F.interpolate(small, shape[1:], mode=mode)).problems
    large = batch_noise(range(8), (4, shape[1] * 3 // 2, shape[2] * 3 // 2))
    assert inspect_noise(F.interpolate(large, shape[1:], mode=mode)).problems


@pytest.mark.parametrize(
    ("change", "word"),
    [
        (lambda x: x + 0.2, "mean"),
        (lambda x: 1.2 * x, "standard deviation"),
        (lambda x: 0.8 * x, "standard deviation"),
        (lambda x: (x + 0.2 * x.roll(1, -1)) / 1.04**0.5, "horizontal"),
        (lambda x: (x - 0.2 * x.roll(1, -2)) / 1.04**0.5, "vertical"),
    ],
)
def test_one_bad_image_among_good_ones_is_named(change, word: str) -> None:
    x = batch_noise(range(5), SDXL)
    assert not inspect_noise(x).problems
    x[3] = change(x[3])
    problems = inspect_noise(x).problems
    assert len(problems) == 1 and word in problems[0]


def test_a_batch_shows_what_one_image_cannot() -> None:
    """A shift too small for one image of 16 x 16 is seen over a hundred of them."""
    x = batch_noise(range(100), SHAPES) + 0.15
    assert not any(inspect_noise(one[None]).problems for one in x[:20])
    assert "mean" in inspect_noise(x).problems[0]


def test_a_perturbation_of_five_per_cent_is_inside() -> None:
    x = batch_noise(range(4), SDXL)
    direction = torch.ones_like(x)
    assert not inspect_noise(x + 0.05 * direction, x).problems
    assert inspect_noise(x + 0.05 * direction, x).perturbation == pytest.approx(0.05, abs=1e-3)


def test_a_picture_that_is_carried_on_purpose_is_inside_and_twice_as_much_is_not() -> None:
    """A picture of unit size, smooth and with channels that are not centred, as at 4 steps of SDXL's schedule."""
    x = batch_noise(range(4), SDXL)
    smooth = torch.nn.functional.interpolate(batch_noise(range(9, 13), (4, 8, 8)), size=x.shape[2:], mode="bicubic")
    h = (smooth / smooth.std() + 0.5) / 1.25**0.5
    made = 0.97 * x + 0.24 * h
    assert inspect_noise(made, x).problems and not inspect_noise(made, x, 0.24).problems
    assert inspect_noise(x + 1.5 * h, x, 0.24).problems
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        Guard().watch("a picture", made, x, 0.24)
    beyond = x + 20 * (made - x)  # at strength 20
    assert inspect_noise(beyond, x, carried(20, 0.24)).problems and carried(-0.5, 0.24) == 0.12


def test_a_guard_refuses_warns_once_and_keeps_figures() -> None:
    guard, x = Guard(), batch_noise(range(6), SHAPES)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        guard.watch("good", x[:2], x[:2])
        guard.watch("good", x[2:], x[2:])
    with pytest.warns(NoiseWarning, match="'bad'.*standard deviation"):
        guard.watch("bad", 2 * x)
    with warnings.catch_warnings():
        warnings.simplefilter("error")
        guard.watch("bad", 2 * x)
    with pytest.raises(NoiseError, match="not finite"):
        guard.watch("worse", x / 0)
    summary = guard.summary()
    assert set(summary) == {"good", "bad"}
    np.testing.assert_allclose(summary["good"]["mean"], x.mean((0, 2, 3)), atol=2e-5)
    np.testing.assert_allclose(summary["good"]["std"], x.std((0, 2, 3), correction=0), atol=2e-5)
    assert summary["good"]["images"] == 6 and summary["good"]["perturbation"] == 0
    assert summary["good"]["outside_band"] == 0 and summary["bad"]["outside_band"] == 2
    assert summary["bad"]["perturbation"] is None
    assert len(guard.lines()) == 2


def test_not_finite_is_reported_and_odd_shapes_are_refused() -> None:
    x = batch_noise([0], SHAPES)
    x[0, 0, 0, 0] = float("nan")
    report = inspect_noise(x)
    assert not report.finite and report.problems
    assert not inspect_noise(batch_noise([0], (4, 1, 1)), None).horizontal
    with pytest.raises(ShapeError):
        inspect_noise(x[0])
    with pytest.raises(ShapeError):
        inspect_noise(x, x[:, :2])


def test_what_is_no_tensor_is_told() -> None:
    with pytest.raises(ConfigError, match="latents"):
        inspect_noise(None)  # type: ignore[arg-type]
    with pytest.raises(ConfigError, match="source"):
        inspect_noise(torch.zeros(1, 4, 8, 8), 3)  # type: ignore[arg-type]
