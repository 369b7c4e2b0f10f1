from __future__ import annotations

import dataclasses
import json

import pytest
import torch
from safetensors.torch import load_file, save_file

from noiseprompt.core.errors import ConfigError, InputError, ModelMismatchError, ShapeError
from noiseprompt.core.types import StartLevel
from noiseprompt.npnet import NPNet, build, tokens_config
from noiseprompt.npnet.tokens import positions

CONFIG = tokens_config((4, 16, 16), 12, 128, "stable-diffusion", "shapes")
SMALL = dataclasses.replace(CONFIG, width=32, depth=2, heads=4)


def filled(config=SMALL):
    torch.manual_seed(0)
    net = build(config).eval()
    torch.nn.init.normal_(net.head.weight, std=0.1)
    return net


def test_a_fresh_network_returns_exactly_its_input():
    noise, embeds = torch.randn(2, 4, 16, 16), torch.randn(2, 12, 128)
    assert torch.equal(build(CONFIG)(noise, embeds), noise)


def test_about_a_million_parameters_and_256_patches():
    assert 0.8e6 < sum(p.numel() for p in build(CONFIG).parameters()) < 1.2e6
    assert CONFIG.patch == 2 and tokens_config((4, 128, 128), 77, 2048).patch == 8
    with pytest.raises(ConfigError, match="multiples"):
        tokens_config((4, 100, 101), 77, 2048)


def test_positions_are_distinct_and_two_dimensional():
    table = positions(5, 7, 32).reshape(5, 7, 32)
    assert torch.cdist(table.flatten(0, 1), table.flatten(0, 1)).fill_diagonal_(1).min() > 0.1
    assert torch.equal(table[2, 0, :16], table[2, 6, :16]) and torch.equal(table[0, 3, 16:], table[4, 3, 16:])
    row = torch.tensor(3.0) * 10_000 ** (-torch.tensor(2.0) / 8)
    assert torch.allclose(table[3, 0, [2, 10]], torch.stack([row.sin(), row.cos()]))


def test_the_head_writes_each_patch_where_it_was_read():
    net = filled()
    with torch.no_grad():
        net.head.weight.zero_()
        net.head.bias.copy_(torch.arange(16.0))  # channel, row, column inside the patch
    noise = torch.randn(1, 4, 16, 16)
    change = (net(noise, torch.randn(1, 12, 128)) - noise) / net.gain
    expected = torch.arange(16.0).reshape(4, 2, 2).repeat(1, 8, 8)
    assert torch.allclose(change[0], expected, atol=1e-4)


def test_a_patch_changes_its_own_place_most():
    net = filled(dataclasses.replace(SMALL, depth=1))
    noise, embeds = torch.randn(1, 4, 16, 16), torch.randn(1, 12, 128)
    moved = noise.clone()
    moved[..., 6:8, 10:12] += 2
    change = ((net(moved, embeds) - moved) - (net(noise, embeds) - noise)).abs().sum(1)[0]
    blocks = change.reshape(8, 2, 8, 2).sum((1, 3))
    assert divmod(int(blocks.argmax()), 8) == (3, 5)


def test_depends_on_every_word_and_its_place():
    net = filled()
    noise, embeds = torch.randn(1, 4, 16, 16), torch.randn(1, 12, 128)
    out = net(noise, embeds)
    other = embeds.clone()
    other[:, 11] += torch.randn(128)
    assert not torch.allclose(net(noise, other), out, atol=1e-6)
    assert not torch.allclose(net(noise, embeds.flip(1)), out, atol=1e-6)


def test_other_sizes_only_where_the_configuration_says_so():
    noise, embeds = torch.randn(1, 4, 24, 16), torch.randn(1, 12, 128)
    with pytest.raises(ShapeError, match=r"\(4, 24, 16\).*\(4, 16, 16\)"):
        filled()(noise, embeds)
    net = filled(dataclasses.replace(SMALL, any_size=True))
    assert net(noise, embeds).shape == noise.shape
    for bad in ((4, 15, 16), (3, 16, 16)):
        with pytest.raises(ShapeError, match=r"\(4, 16, 16\).*multiples of 2"):
            net.check(bad, (12, 128))


def test_sizes_that_do_not_divide_are_refused():
    with pytest.raises(ConfigError, match="patch"):
        build(dataclasses.replace(SMALL, patch=3))
    with pytest.raises(ConfigError, match="heads"):
        build(dataclasses.replace(SMALL, heads=5))


PICTURE = dataclasses.replace(
    tokens_config((4, 16, 16), 12, 128, "stable-diffusion", "shapes", predicts="picture"), width=32, depth=2, heads=4
)
LEVEL = StartLevel(noise=0.98, signal=0.2)


def test_a_picture_is_carried_at_the_level_that_is_given():
    noise, embeds = torch.randn(2, 4, 16, 16), torch.randn(2, 12, 128)
    assert torch.equal(build(PICTURE).picture(noise, embeds), torch.zeros_like(noise))
    net = filled(PICTURE)
    picture = net.picture(noise, embeds)
    assert picture.std() > 0.1
    assert torch.allclose(net(noise, embeds, LEVEL), 0.98 * noise + 0.2 * picture, atol=1e-6)
    same = build(dataclasses.replace(PICTURE, predicts="noise")).eval()
    same.load_state_dict(net.state_dict())
    assert torch.allclose(same(noise, embeds), noise + picture, atol=1e-6)
    half = noise.to(torch.bfloat16)
    assert net.picture(half, embeds).dtype == net(half, embeds, LEVEL).dtype == torch.bfloat16


CENTRED = dataclasses.replace(PICTURE, centred=True, picture_scale=2.5, any_size=True)


def test_the_scale_leaves_the_mean_picture_as_it_is(tmp_path):
    noise, embeds = torch.randn(2, 4, 16, 16), torch.randn(2, 12, 128)
    plain, net = filled(PICTURE), filled(CENTRED)
    net.mean_picture.normal_(generator=torch.Generator().manual_seed(1))
    mean = net.mean_picture.double()
    expected = mean + 2.5 * (plain.picture(noise, embeds).double() - mean)
    assert torch.allclose(net.picture(noise, embeds).double(), expected, atol=1e-5)
    loaded = NPNet.from_pretrained(net.save_pretrained(tmp_path))
    assert torch.equal(loaded.picture(noise, embeds), net.picture(noise, embeds))
    net.mean_picture.fill_(0.3)  # a flat mean is the same at every size
    wide = torch.randn(1, 4, 8, 24)
    expected = 0.3 + 2.5 * (plain_of_any_size(wide, embeds[:1]) - 0.3)
    assert torch.allclose(net.picture(wide, embeds[:1]), expected, atol=1e-5)
    with pytest.raises(ConfigError, match="centred"):
        dataclasses.replace(SMALL, centred=True)


def plain_of_any_size(noise, embeds):
    return filled(dataclasses.replace(PICTURE, any_size=True)).picture(noise, embeds)


def test_a_picture_reaches_the_weights_with_a_gradient():
    net = filled(PICTURE)
    net(torch.randn(2, 4, 16, 16), torch.randn(2, 12, 128), LEVEL).square().mean().backward()
    assert net.head.weight.grad.abs().max() > 0 and net.gain.grad != 0


def test_a_network_of_one_kind_is_not_used_as_the_other():
    noise, embeds = torch.randn(1, 4, 16, 16), torch.randn(1, 12, 128)
    with pytest.raises(InputError, match=r"predicts a picture, without the level.*start_level"):
        filled(PICTURE)(noise, embeds)
    with pytest.raises(ModelMismatchError, match="predicts noise"):
        filled().picture(noise, embeds)
    assert torch.equal(filled()(noise, embeds, LEVEL), filled()(noise, embeds))
    for changes in ({"predicts": "video"}, {"architecture": "paper"}):
        with pytest.raises(ConfigError, match=next(iter(changes.values()))):
            dataclasses.replace(PICTURE, **changes)


def test_a_saved_network_keeps_what_it_predicts_and_its_card_tells(tmp_path):
    net = filled(PICTURE)
    loaded = NPNet.from_pretrained(net.save_pretrained(tmp_path))
    assert loaded.config.predicts == "picture"
    assert torch.equal(
        loaded.picture(torch.ones(1, 4, 16, 16), torch.ones(1, 12, 128)),
        net.picture(torch.ones(1, 4, 16, 16), torch.ones(1, 12, 128)),
    )
    card = (tmp_path / "README.md").read_text()
    assert "predicts | the latents of a picture" in card and "net(noise, prompt_embeds, level)" in card
    data = json.loads((tmp_path / "config.json").read_text())
    del data["predicts"]  # as networks were saved before
    (tmp_path / "config.json").write_text(json.dumps(data))
    save_file(load_file(tmp_path / "model.safetensors"), tmp_path / "model.safetensors")
    assert NPNet.from_pretrained(tmp_path).config.predicts == "noise"


def test_a_patch_knows_both_corners_where_the_configuration_says_so(tmp_path):
    """A layer of its own, which changes nothing at first."""
    both = dataclasses.replace(PICTURE, any_size=True, positions="both_corners")
    old, new = filled(PICTURE), build(both).eval()
    assert set(new.state_dict()) - set(old.state_dict()) == {"embed_end.weight"}
    assert not new.load_state_dict(old.state_dict(), strict=False).unexpected_keys
    noise, embeds = torch.randn(1, 4, 16, 16), torch.randn(1, 12, 128)
    torch.testing.assert_close(new.picture(noise, embeds), old.picture(noise, embeds))
    near, far = positions(4, 6, 32).flip(0).reshape(4, 6, 32), positions(6, 8, 32).flip(0).reshape(6, 8, 32)
    assert torch.equal(near, far[-4:, -6:])  # the same distance to the last corner, the same numbers
    with torch.no_grad():
        new.embed_end.weight.copy_(torch.randn(32, 32))
    assert not torch.allclose(new.picture(noise, embeds), old.picture(noise, embeds), atol=1e-3)
    data = json.loads((new.save_pretrained(tmp_path) / "config.json").read_text())
    assert data.pop("positions") == "both_corners"
    with pytest.raises(ConfigError, match="corner"):
        dataclasses.replace(PICTURE, positions="middle")


def test_a_network_that_was_saved_before_there_was_a_choice_loads(tmp_path):
    net = filled(PICTURE)
    net.save_pretrained(tmp_path)
    save_file(net.state_dict(), tmp_path / "model.safetensors")  # without a checksum
    data = json.loads((tmp_path / "config.json").read_text())
    del data["positions"]
    (tmp_path / "config.json").write_text(json.dumps(data))
    noise, embeds = torch.randn(1, 4, 16, 16), torch.randn(1, 12, 128)
    assert torch.equal(NPNet.from_pretrained(tmp_path).picture(noise, embeds), net.picture(noise, embeds))


def test_one_network_learns_and_predicts_pictures_of_several_shapes():
    """Two shapes in turn, neither of them square, as a mixture trains; a third is predicted as well."""
    net = filled(dataclasses.replace(PICTURE, any_size=True, latent_shape=(4, 8, 12))).train()
    optimizer = torch.optim.Adam(net.parameters(), lr=3e-3)
    generator, embeds = torch.Generator().manual_seed(0), torch.randn(16, 12, 128)

    def loss(height, width):
        noise = torch.randn(16, 4, height, width, generator=generator)
        low = torch.nn.functional.avg_pool2d(noise, 2).repeat_interleave(2, 2).repeat_interleave(2, 3)
        return (net.picture(noise, embeds) - 2 * low).square().mean()  # in each patch its own mean

    before = loss(12, 8).item()
    for step in range(120):
        optimizer.zero_grad()
        loss(*((8, 12), (16, 4))[step % 2]).backward()
        optimizer.step()
    assert loss(12, 8).item() < 0.3 * before
    assert net.picture(torch.randn(1, 4, 12, 20), embeds[:1]).shape == (1, 4, 12, 20)
