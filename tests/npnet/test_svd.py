from __future__ import annotations

import pytest
import torch

from noiseprompt.core.errors import ConfigError
from noiseprompt.npnet.svd import SingularBranch, tile, untile
from tests.npnet import oracles

RENAMED = {
    "embed_left.": "mlp1.",
    "embed_right.": "mlp2.",
    "embed_values.": "mlp3.0.",
    "attention.out.": "attention.proj.",
    "head.": "mlp4.",
}


def filled(shape=(4, 8, 8), heads=4, fix_signs=False):
    torch.manual_seed(0)
    branch = SingularBranch(shape, 12, 24, heads, fix_signs=fix_signs)
    for parameter in branch.parameters():
        torch.nn.init.normal_(parameter, std=0.2)
    return branch.eval()


def published_names(state):
    out = {}
    for name, value in state.items():
        for ours, theirs in RENAMED.items():
            if name.startswith(ours):
                name = theirs + name.removeprefix(ours)
                break
        out[name] = value
    return out


def test_tiling_puts_the_channels_in_quadrants():
    x = torch.arange(2 * 4 * 3 * 5.0).reshape(2, 4, 3, 5)
    assert torch.equal(tile(x), oracles.quadrants(x))
    assert torch.equal(untile(tile(x), 4), x)
    wide = torch.randn(1, 16, 2, 3)
    assert tile(wide).shape == (1, 8, 12)
    assert torch.equal(tile(wide)[0, 2:4, 3:6], wide[0, 5])
    assert torch.equal(untile(tile(wide), 16), wide)


def test_agrees_with_a_straight_line_float64_computation():
    branch = filled()
    x = torch.randn(3, 4, 8, 8)
    state = {name: value.double() for name, value in published_names(branch.state_dict()).items()}
    expected = oracles.singular(state, x.double(), heads=4)
    assert torch.allclose(branch(x).double(), expected, atol=1e-4)
    assert (branch(x) - x).abs().max() > 0.01


def test_keeps_the_singular_vectors_and_changes_the_values():
    branch = filled()
    x = torch.randn(1, 4, 8, 8)
    u, s, vh = torch.linalg.svd(tile(x)[0].double())
    core = u.T @ tile(branch(x))[0].double() @ vh.T
    assert torch.allclose(core, core.diagonal().diag(), atol=1e-5)
    assert (core.diagonal() - s).abs().max() > 0.01


def test_a_fresh_branch_returns_its_input():
    torch.manual_seed(1)
    x = torch.randn(2, 4, 8, 8)
    assert torch.allclose(SingularBranch((4, 8, 8), 8, 8, 4)(x), x, atol=1e-5)


def test_fixed_signs_make_the_library_s_choice_irrelevant(monkeypatch):
    x = torch.randn(2, 4, 8, 8)
    loose, fixed = filled(), filled(fix_signs=True)
    before = loose(x), fixed(x)
    svd, signs = torch.linalg.svd, torch.ones(16).index_fill(0, torch.tensor([0, 3, 9]), -1)

    def flipped(*args, **options):
        u, s, vh = svd(*args, **options)
        return u * signs, s, vh * signs[:, None]

    monkeypatch.setattr(torch.linalg, "svd", flipped)
    assert torch.allclose(fixed(x), before[1], atol=1e-5)
    assert not torch.allclose(loose(x), before[0], atol=1e-3)


def test_rectangular_latents():
    branch = filled((4, 8, 12), 4, fix_signs=True)
    x = torch.randn(2, 4, 8, 12)
    out = branch(x)
    assert out.shape == x.shape and torch.isfinite(out).all()


def test_bfloat16_weights_decompose_in_float32():
    branch = filled()
    x = torch.randn(2, 4, 8, 8)
    exact = branch(x)
    half = branch.to(torch.bfloat16)(x)
    assert half.dtype == torch.float32
    assert (half - exact).norm() < 0.05 * (exact - x).norm()
    with torch.autocast("cpu", dtype=torch.bfloat16):
        fresh = SingularBranch((4, 8, 8), 8, 8, 4)(x)
    assert torch.allclose(fresh, x, atol=1e-5)


def test_channels_that_are_no_square_number_tile_to_a_wide_grid():
    x = torch.randn(2, 32, 3, 5)
    assert tile(x).shape == (2, 4 * 3, 8 * 5)
    assert torch.equal(tile(x)[1, 3:6, 5:10], x[1, 8 + 1])
    assert torch.equal(untile(tile(x), 32), x)
    assert tile(torch.randn(1, 3, 2, 2)).shape == (1, 2, 6)
    fresh = SingularBranch((32, 4, 4), 8, 8, 4)
    noise = torch.randn(2, 32, 4, 4)
    assert torch.allclose(fresh(noise), noise, atol=1e-5)


def test_refuses_heads_that_do_not_divide():
    with pytest.raises(ConfigError, match="heads"):
        SingularBranch((4, 8, 8), 8, 8, 5)
