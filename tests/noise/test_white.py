"""Projection onto white noise: exact norms of blocks, white noise nearly kept, against the transform written out."""

from __future__ import annotations

import numpy as np
import pytest
import torch

from noiseprompt.core.errors import InputError
from noiseprompt.noise.seeds import batch_noise
from noiseprompt.noise.white import BLOCK, blocks, project_white
from tests.devices import DEVICE, accelerator

SHAPES = [(16, 16), (8, 12), (7, 9), (1, 5)]


def norms(noise: torch.Tensor, block: int) -> tuple[np.ndarray, np.ndarray]:
    """Energy of each block by numpy's transform, and how many coefficients it holds."""
    place = np.array(blocks(*noise.shape[-2:], block))
    power = np.abs(np.fft.fft2(noise.double().numpy(), norm="ortho")) ** 2
    power = power.reshape(*noise.shape[:2], -1)
    energy = np.stack([power[:, :, place == i].sum(-1) for i in range(place.max() + 1)], -1)
    return energy, np.bincount(place)


def coloured(shape: tuple[int, ...] = (3, 4, 16, 16)) -> torch.Tensor:
    """Noise with a wave and a step in it."""
    x = batch_noise(range(shape[0]), shape[1:]).double()
    wave = torch.sin(torch.arange(shape[-1], dtype=torch.float64) * 2 * torch.pi / 8)
    return 0.7 * x + 0.8 * wave + 0.3


@pytest.mark.parametrize("block", [1, 8, BLOCK, 1000])
@pytest.mark.parametrize("shape", SHAPES)
def test_every_block_has_the_norm_of_white_noise(shape: tuple[int, int], block: int) -> None:
    made = project_white(coloured((3, 4, *shape)), block)
    energy, count = norms(made, block)
    assert np.allclose(energy, np.broadcast_to(count, energy.shape), rtol=1e-9)
    assert torch.allclose(project_white(made, block), made, atol=1e-12), "a projected noise stays"
    assert made.flatten(2).norm(dim=2).numpy() == pytest.approx(np.sqrt(shape[0] * shape[1]))


@pytest.mark.parametrize("shape", SHAPES)
def test_blocks_are_neighbours_of_about_one_size_and_hold_conjugates_together(shape: tuple[int, int]) -> None:
    height, width = shape
    place = np.array(blocks(height, width, 8)).reshape(shape)
    assert np.array_equal(place, np.roll(place[::-1, ::-1], (1, 1), (0, 1)))
    counts = np.bincount(place.ravel())
    assert counts.sum() == height * width and counts.max() <= 17
    assert counts.min() >= min(8, height * width)
    radius = np.hypot(*np.meshgrid(np.fft.fftfreq(height), np.fft.fftfreq(width), indexing="ij"))
    for i in range(len(counts) - 1):
        assert radius[place == i].max() <= radius[place == i + 1].min() + 1e-9


def test_white_noise_hardly_changes_and_coloured_noise_does() -> None:
    white = batch_noise(range(64), (4, 16, 16))
    moved = (project_white(white) - white).flatten(1).norm(dim=1) / white.flatten(1).norm(dim=1)
    spread = (2 * BLOCK) ** -0.5  # of a block's norm: half the relative spread of its energy, sqrt(2 / n)
    assert 0.5 * spread < float(moved.mean()) < 1.3 * spread
    other = coloured()
    assert float((project_white(other) - other).norm() / other.norm()) > 2 * float(moved.mean())


def test_it_is_the_nearest_noise_with_these_norms() -> None:
    x = coloured()
    made = project_white(x)
    for seed in range(20):
        near = made + 0.05 * torch.randn(made.shape, generator=torch.Generator().manual_seed(seed)).double()
        near = project_white(near)
        assert float((near - x).norm()) > float((made - x).norm())


def test_shape_dtype_and_device_are_kept() -> None:
    for dtype in (torch.float16, torch.bfloat16, torch.float32, torch.float64):
        made = project_white(coloured().to(dtype))
        assert made.dtype == dtype and made.shape == (3, 4, 16, 16)
        assert torch.allclose(made.double(), project_white(coloured()), atol=0.1)
    expected = project_white(coloured().float())
    with accelerator():
        made = project_white(coloured().float().to(DEVICE))
        assert made.device == DEVICE
        torch.testing.assert_close(made.cpu(), expected)


def test_rows_do_not_mix_and_there_is_a_gradient() -> None:
    x = coloured()
    assert torch.allclose(project_white(x[1:2]), project_white(x)[1:2])
    assert torch.autograd.gradcheck(project_white, coloured((1, 1, 4, 4)).requires_grad_())


def test_nothing_stays_nothing_and_a_block_holds_something() -> None:
    assert not bool(project_white(torch.zeros(1, 1, 8, 8)).any())
    with pytest.raises(InputError, match="a block of 0"):
        project_white(torch.zeros(1, 1, 8, 8), 0)
