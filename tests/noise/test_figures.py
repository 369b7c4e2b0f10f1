"""Figures of noise against noise that was made to have them."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch

from noiseprompt.core.errors import InputError, ShapeError
from noiseprompt.noise import figures


def _white(*shape: int) -> torch.Tensor:
    return torch.randn(*shape, generator=torch.Generator().manual_seed(0), dtype=torch.float64)


def test_white_noise_is_flat_and_uncorrelated() -> None:
    noise = _white(16, 4, 32, 32)
    found = figures.measure(noise, noise)
    assert found["perturbation"] == [0.0] * 16
    assert found["std"] == pytest.approx([1.0] * 16, abs=0.06)
    assert np.mean(found["neighbour"]) == pytest.approx(0, abs=0.01)
    assert found["spectrum"] == pytest.approx([1.0] * 8, abs=0.15)


def test_the_perturbation_is_the_relative_norm_of_the_change() -> None:
    noise, change = _white(2, 4, 8, 8), torch.zeros(2, 4, 8, 8, dtype=torch.float64)
    change[1, 0, 0, 0] = 0.5
    norm = float((noise[1] ** 2).sum()) ** 0.5
    assert figures.measure(noise + change, noise)["perturbation"] == pytest.approx([0.0, 0.5 / norm])
    assert figures.measure(1.02 * noise, noise)["perturbation"] == pytest.approx([0.02, 0.02])


def test_neighbours_of_a_moving_average_are_correlated() -> None:
    noise = _white(8, 4, 64, 64)
    smooth = (noise + noise.roll(1, -1)) / 2**0.5  # correlation 1/2 across, 0 down
    assert np.mean(figures.measure(smooth, noise)["neighbour"]) == pytest.approx(0.25, abs=0.01)


@pytest.mark.parametrize(("wave", "band"), [(1, 0), (6, 3), (15, 7), (16, 7)])
def test_a_wave_lands_in_its_band(wave: int, band: int) -> None:
    x = np.arange(32)
    noise = np.tile(np.cos(2 * np.pi * wave * x / 32), (1, 1, 32, 1))
    assert int(np.argmax(figures.noise_spectrum(noise))) == band
    assert figures.BANDS[band] == pytest.approx(wave / 32, abs=1 / 32)


def test_power_adds_up_over_all_frequencies() -> None:
    noise = _white(1, 1, 16, 16).numpy()
    power = np.abs(np.fft.fft2(noise)) ** 2 / 256
    radius = np.hypot(np.fft.fftfreq(16)[:, None], np.fft.fftfreq(16)[None])
    inside = (radius >= 0.25) & (radius < 0.3125)
    assert figures.noise_spectrum(noise)[4] == pytest.approx(power[0, 0][inside].mean())


def test_lines_are_read_back_and_the_last_of_a_batch_counts(tmp_path: Path) -> None:
    noise = _white(3, 4, 16, 16)
    old = figures.record("m", 0, figures.measure(2 * noise, noise))
    new = [
        figures.record("m", 0, figures.measure(1.1 * noise, noise)),
        figures.record("m", 1, figures.measure(1.3 * noise[:1], noise[:1])),
    ]
    (tmp_path / figures.FILE).write_text(old + "".join(new) + new[0][:40])  # the last line was torn
    found = figures.read(tmp_path)["m"]
    assert found["images"] == 4
    assert found["perturbation"][0] == pytest.approx((3 * 0.1 + 0.3) / 4, abs=1e-5)
    assert found["spectrum"][3] == pytest.approx(
        (3 * 1.21 * figures.noise_spectrum(noise.numpy())[3] + 1.69 * figures.noise_spectrum(noise[:1].numpy())[3]) / 4,
        abs=1e-5,
    )
    assert figures.read(tmp_path / "nothing") == {}


def test_bands_without_a_frequency_are_none(tmp_path: Path) -> None:
    noise = _white(2, 4, 4, 4)
    (tmp_path / figures.FILE).write_text(figures.record("m", 0, figures.measure(noise, noise)))
    spectrum = figures.read(tmp_path)["m"]["spectrum"]
    assert spectrum[1] is None
    assert spectrum[4] is not None


@pytest.mark.parametrize("wrong", [np.zeros((4, 8, 8)), np.zeros((0, 4, 8, 8)), 3.0])
def test_what_is_no_noise_has_no_spectrum(wrong) -> None:
    with pytest.raises(ShapeError, match="noise of shape"):
        figures.noise_spectrum(wrong)


@pytest.mark.parametrize(
    ("wrong", "told"),
    [(None, "noise: nothing"), ("a", "noise: a str"), ({}, "noise: a dict"), (np.array(["a"]), "noise of <U1")],
)
def test_what_is_no_number_is_told_as_what_it_is(wrong, told) -> None:
    with pytest.raises(InputError, match=f"^{told}\\. "):
        figures.noise_spectrum(wrong)
