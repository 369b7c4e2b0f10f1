"""Noise against diffusers' own way to draw it, and its independence of everything but seed and shape."""

from __future__ import annotations

import pytest
import torch
from diffusers.utils.torch_utils import randn_tensor

from noiseprompt.core.errors import InputError, NoiseError
from noiseprompt.noise import initial_noise
from noiseprompt.noise.seeds import PAPER_SEEDS, batch_noise, check_noise, prompt_seed


def test_a_seed_gives_the_latents_a_diffusers_user_gets():
    mine = initial_noise(42, (4, 16, 16))
    theirs = randn_tensor((1, 4, 16, 16), generator=torch.Generator("cpu").manual_seed(42), dtype=torch.float32)
    assert torch.equal(mine, theirs[0])
    generators = [torch.Generator("cpu").manual_seed(seed) for seed in (5, 6, 7)]
    assert torch.equal(batch_noise([5, 6, 7], (4, 8, 8)), randn_tensor((3, 4, 8, 8), generator=generators))


def test_noise_does_not_depend_on_the_batch_or_the_order():
    torch.manual_seed(0)
    seeds = list(range(9))
    whole = batch_noise(seeds, (4, 8, 8))
    torch.manual_seed(99)
    backwards = torch.cat([batch_noise([seed], (4, 8, 8)) for seed in reversed(seeds)])
    assert torch.equal(whole, backwards.flip(0))
    assert not torch.equal(whole[0], whole[1])


def test_half_precision_is_cast_last():
    full, half = initial_noise(3, (4, 8, 8)), initial_noise(3, (4, 8, 8), dtype=torch.bfloat16)
    assert half.dtype == torch.bfloat16
    assert torch.equal(half, full.to(torch.bfloat16))


def test_noise_is_unit_gaussian():
    noise = batch_noise(range(32), (4, 32, 32))
    assert abs(noise.mean().item()) < 0.01  # 131,072 values: standard error 0.003
    assert abs(noise.std().item() - 1) < 0.01


@pytest.mark.parametrize("seed", [-1, 2**63])
def test_a_seed_out_of_range_is_refused(seed):
    with pytest.raises(InputError, match="seed"):
        initial_noise(seed, (4, 8, 8))


def test_prompt_seeds_cover_the_range_and_depend_on_run_and_prompt():
    seeds = [prompt_seed(0, f"prompt {i}") for i in range(20_000)]
    assert (min(seeds), max(seeds)) == PAPER_SEEDS
    assert seeds == [prompt_seed(0, f"prompt {i}") for i in range(20_000)]
    counts = torch.bincount(torch.tensor(seeds), minlength=1025).double()
    expected = 20_000 / 1025
    chi_square = ((counts - expected) ** 2 / expected).sum().item()
    assert chi_square < 1024 + 5 * (2 * 1024) ** 0.5
    assert sum(prompt_seed(1, f"prompt {i}") == seed for i, seed in enumerate(seeds)) < 100
    assert {prompt_seed(0, str(i), (7, 9)) for i in range(50)} == {7, 8, 9}
    with pytest.raises(InputError, match="range"):
        prompt_seed(0, "a", (5, 4))


def test_latents_that_are_not_finite_are_refused():
    noise = initial_noise(0, (4, 8, 8))
    check_noise(noise, "noise")
    noise[0, 0, 0] = torch.nan
    with pytest.raises(NoiseError, match="1 of 256 values of noise"):
        check_noise(noise, "noise")
