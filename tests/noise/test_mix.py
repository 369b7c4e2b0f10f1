"""Mixing two noises: the ends exactly, the arc in between (scipy's is the oracle), what cannot be mixed."""

from __future__ import annotations

import numpy as np
import pytest
import torch
from scipy.spatial import geometric_slerp

from noiseprompt.core.errors import ConfigError, InputError, NoiseError, ShapeError
from noiseprompt.noise.mix import mix_noise
from noiseprompt.noise.seeds import batch_noise
from tests.devices import DEVICE, accelerator

SHAPE = (4, 16, 16)
A, B = batch_noise([1, 2, 3], SHAPE), batch_noise([4, 5, 6], SHAPE)


def test_the_ends_are_the_noises_themselves() -> None:
    assert mix_noise(A, B, 0.0) is A
    assert torch.equal(mix_noise(A, B, 1.0), B)
    assert mix_noise(A.half(), B, 1).dtype == torch.float16


@pytest.mark.parametrize("amount", [0.1, 0.5, 0.73])
def test_between_them_each_row_lies_on_the_arc(amount: float) -> None:
    mixed = mix_noise(A, B, amount)
    for row, a, b in zip(mixed, A, B, strict=True):
        u, v = (x.double().flatten() / x.double().norm() for x in (a, b))
        expected = geometric_slerp(u.numpy(), v.numpy(), [amount])[0]
        norm = (1 - amount) * float(a.double().norm()) + amount * float(b.double().norm())
        np.testing.assert_allclose(row.flatten().numpy(), norm * expected, atol=2e-5)


def test_a_mix_is_like_unit_gaussian_noise_and_the_chord_is_not() -> None:
    a, b = batch_noise(range(20), (4, 32, 32)), batch_noise(range(100, 120), (4, 32, 32))
    assert float(mix_noise(a, b, 0.5).std()) == pytest.approx(1, abs=0.01)
    assert float((0.5 * (a + b)).std()) == pytest.approx(0.5**0.5, abs=0.01)


def test_rows_without_an_arc_are_mixed_along_the_chord() -> None:
    zero = torch.zeros(1, *SHAPE)
    torch.testing.assert_close(mix_noise(zero, A[:1], 0.25), 0.25 * A[:1])
    torch.testing.assert_close(mix_noise(A, A, 0.3), A)
    torch.testing.assert_close(mix_noise(A, -A, 0.25), 0.5 * A, atol=1e-3, rtol=1e-3)


def test_a_video_and_halves_are_mixed_in_float32() -> None:
    a, b = torch.randn(2, 4, 3, 8, 8), torch.randn(2, 4, 3, 8, 8)
    assert mix_noise(a, b, 0.4).shape == a.shape
    made = mix_noise(a.bfloat16(), b.bfloat16(), 0.4)
    torch.testing.assert_close(made, mix_noise(a.bfloat16().float(), b.bfloat16().float(), 0.4).bfloat16())


@pytest.mark.parametrize(
    ("first", "second", "amount", "error", "words"),
    [
        (A, B, 1.5, ConfigError, "amount 1.5"),
        (A, B, float("nan"), ConfigError, "amount"),
        (A, B[:1], 0.5, ShapeError, "two of one shape"),
        (A, None, 0.5, InputError, "the second noise"),
        (A * float("inf"), B, 0.5, NoiseError, "the first noise"),
    ],
)
def test_what_cannot_be_mixed(first, second, amount, error, words) -> None:
    with pytest.raises(error, match=words):
        mix_noise(first, second, amount)


@pytest.mark.parametrize("amount", [0.3, 1.0])
def test_the_mix_lies_where_the_first_does(amount: float) -> None:
    with accelerator():
        made = mix_noise(A.to(DEVICE), B, amount)
        assert made.device == DEVICE
        torch.testing.assert_close(made.cpu(), mix_noise(A, B, amount), atol=1e-5, rtol=1e-5)
