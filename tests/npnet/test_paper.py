from __future__ import annotations

import dataclasses

import pytest
import torch
from torch.nn import functional as F

from noiseprompt.npnet import build, sdxl_config, small_config
from noiseprompt.npnet.paper import PaperNPNet, TextModulation
from tests.npnet import oracles

CONFIG = small_config((4, 16, 16), 12, 128, "stable-diffusion", "shapes")


def filled(config=CONFIG):
    torch.manual_seed(0)
    net = build(config).eval()
    for parameter in net.parameters():
        if parameter.ndim != 1:  # norms keep their ones
            torch.nn.init.normal_(parameter, std=0.1)
    return net


def batch(count=2):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, 4, 16, 16, generator=generator), torch.randn(count, 12, 128, generator=generator)


def test_text_modulation_is_diffusers_ada_group_norm():
    from diffusers.models.normalization import AdaGroupNorm

    ours, theirs = TextModulation(12 * 128, 4), AdaGroupNorm(12 * 128, 4, 1, eps=1e-6)
    theirs.linear.load_state_dict(ours.project.state_dict())
    noise, embeds = batch()
    assert torch.allclose(ours(noise, embeds), theirs(noise, embeds.flatten(1)), atol=1e-6)


def test_equation_9():
    net = filled()
    noise, embeds = batch()
    p = net.state_dict()
    scale, shift = (embeds.reshape(2, -1) @ p["text.project.weight"].T + p["text.project.bias"]).split(4, 1)
    e = oracles.group_norm_one(noise) * (1 + scale[:, :, None, None]) + shift[:, :, None, None]
    seen = F.conv2d(noise + e, p["residual.down.weight"], p["residual.down.bias"])
    features = net.residual.swin(seen)
    assert features.shape == (2, 8, 8, 128)  # half of 16 x 16, channels last
    full = F.interpolate(features.permute(0, 3, 1, 2), (16, 16), mode="bilinear")
    residual = F.conv2d(full, p["residual.up.weight"], p["residual.up.bias"])
    expected = p["alpha"] * e + net.singular(noise) + p["beta"] * residual
    assert residual.std() > 0.01 and p["alpha"].abs() > 1e-3 and p["beta"].abs() > 1e-3
    assert torch.allclose(net(noise, embeds), expected, atol=1e-5)


def test_the_residual_knows_where_things_are():
    net = filled(dataclasses.replace(CONFIG, without=("singular", "text")))
    noise, embeds = batch(1)
    moved = noise.clone()
    moved[..., :4, :4] += 3
    change = (net(moved, embeds) - net(noise, embeds)).abs().sum(1)[0]
    assert change[:6, :6].mean() > 2 * change[10:, 10:].mean()


def test_a_fresh_network_returns_its_input():
    noise, embeds = batch()
    assert torch.allclose(build(CONFIG).eval()(noise, embeds), noise, atol=1e-5)


@pytest.mark.parametrize("branch", ["singular", "residual", "text"])
def test_a_branch_left_out_has_no_parameters(branch):
    net = filled(dataclasses.replace(CONFIG, without=(branch,)))
    scalar = {"residual": "beta", "text": "alpha", "singular": "singular."}[branch]
    assert not any(name.startswith((f"{branch}.", scalar)) for name in net.state_dict())
    noise, embeds = batch()
    other = embeds.flip(0)
    assert net(noise, embeds).shape == noise.shape
    assert torch.equal(net(noise, embeds), net(noise, other)) == (branch == "text")


def test_every_parameter_learns():
    net = filled().train()
    noise, embeds = batch()
    (net(noise, embeds) - 1).square().mean().backward()
    idle = [name for name, p in net.named_parameters() if p.grad is None or not bool(p.grad.abs().max() > 0)]
    assert idle == []


def test_learns_a_shift_that_depends_on_the_prompt():
    torch.manual_seed(0)
    net = build(CONFIG).train()
    embeds = torch.randn(4, 12, 128)
    shifts = 0.2 * torch.randn(4, 4, 1, 1)
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    losses = []
    for _ in range(40):
        noise = torch.randn(4, 4, 16, 16)
        loss = (net(noise, embeds) - noise - shifts).square().mean()
        losses.append(loss.item())
        optimizer.zero_grad()
        loss.backward()
        optimizer.step()
    assert losses[-1] < 0.3 * losses[0]


def test_sizes():
    small = sum(p.numel() for p in build(CONFIG).parameters())
    assert 0.4e6 < small < 1e6
    with torch.device("meta"):
        large = PaperNPNet(sdxl_config())
    swin, text = 28_288_354 - 769_000, 8 * (77 * 2048) + 8
    singular = 2 * (2 * 64 * 256 + 64 + 256) + (256 * 256 + 256) * 2 + 3 * 256 * 256 + 2 * 256 * 1024 + 1024 + 256
    assert sum(p.numel() for p in large.parameters()) == swin + text + singular + (4 * 3 + 3) + (768 * 4 + 4) + 2
