"""Starting from another model's network, and removing the text term, against sums written out here."""

from __future__ import annotations

import dataclasses

import pytest
import torch

from noiseprompt.cli import main
from noiseprompt.core.errors import ConfigError, InputError, ModelMismatchError
from noiseprompt.core.types import Sampling
from noiseprompt.methods.base import MethodSpec, make_noise
from noiseprompt.noise.seeds import batch_noise
from noiseprompt.npnet import NPNet, build, small_config, tokens_config
from noiseprompt.npnet.published import published_config
from noiseprompt.npnet.transfer import Transfer, start_from, transfer_config, without_text
from noiseprompt.pipelines import Pipeline
from noiseprompt.stages.generate.winning import winning_noise
from tests import tiny

SDXL = dataclasses.replace(small_config((4, 8, 8), 6, 64, "stable-diffusion-xl", "xl"), svd_hidden=16, swin_width=32)
HUNYUAN = {"latent_shape": (4, 8, 8), "text_length": 6, "text_width": 32, "family": "hunyuan-dit", "denoiser": "dit"}


def filled(config, seed=0):
    torch.manual_seed(seed)
    net = build(config).eval()
    for parameter in net.parameters():
        torch.nn.init.normal_(parameter, mean=0.05, std=0.1)
    return net


def noise(count=2, channels=4, side=8):
    return torch.randn(count, channels, side, side, generator=torch.Generator().manual_seed(3))


def test_another_text_width_keeps_everything_but_the_text_layer():
    source = filled(SDXL)
    net, what = start_from(source, {}, **HUNYUAN)
    assert what.fresh == ("text.project",)
    assert net.config == dataclasses.replace(SDXL, text_width=32, family="hunyuan-dit", denoiser="dit")
    x = noise()
    assert torch.equal(net.singular(x), source.singular(x))
    assert torch.equal(net.eval().residual(x), source.residual(x))
    assert torch.equal(net.alpha, source.alpha) and torch.equal(net.beta, source.beta)
    assert not torch.equal(net.text.project.bias, source.text.project.bias)  # half a layer would be no layer
    net(x, torch.randn(2, 6, 32))
    assert source(x, torch.randn(2, 6, 64)).shape == x.shape  # the source is as it was


def test_the_same_shapes_take_over_everything():
    source = filled(SDXL)
    net, what = start_from(source, {}, **{**HUNYUAN, "text_width": 64})
    embeds = torch.randn(2, 6, 64)
    assert what.fresh == ()
    assert torch.equal(net.eval()(noise(), embeds), source(noise(), embeds))


def test_other_latents_start_the_layers_that_depend_on_them_fresh():
    source = filled(SDXL)
    net, what = start_from(source, {}, **{**HUNYUAN, "text_width": 64, "latent_shape": (16, 8, 8)})
    assert {name.partition(".")[0] for name in what.fresh} == {"singular", "residual", "text"}
    assert "residual.down" in what.fresh and "residual.up" in what.fresh
    assert "residual.swin.norm" in what.taken
    assert net(noise(channels=16), torch.randn(2, 6, 64)).shape == (2, 16, 8, 8)


def test_tokens_keep_their_blocks():
    config = dataclasses.replace(tokens_config((4, 8, 8), 6, 64), width=16, depth=2, heads=2)
    _, what = start_from(filled(config), {}, **HUNYUAN)
    assert what.fresh == ("embed_text", "norm_text")
    assert "blocks.1.qkv" in what.taken and "text_positions" in what.taken and "gain" in what.taken


def test_a_head_for_noises_is_no_start_for_pictures_nor_the_other_way_round():
    source = filled(dataclasses.replace(tokens_config((4, 8, 8), 6, 64), width=16, depth=2, heads=2))
    facts = {**HUNYUAN, "text_width": 64}
    net, what = start_from(source, {}, **facts, predicts="picture")
    assert what.fresh == ("gain", "head") and (net.config.predicts, net.config.gain) == ("picture", 1.0)
    assert torch.equal(net.blocks[1].qkv.weight, source.blocks[1].qkv.weight)
    x, embeds = noise(), torch.randn(2, 6, 64)
    assert torch.equal(net.picture(x, embeds), torch.zeros_like(x))
    trained = filled(net.config)
    again, what = start_from(trained, {}, **facts)
    assert what.fresh == () and torch.equal(again.eval().picture(x, embeds), trained.picture(x, embeds))
    back, what = start_from(trained, {}, **facts, predicts="noise")
    assert what.fresh == ("gain", "head") and back.config.gain == 0.1 and torch.equal(back(x, embeds), x)
    with pytest.raises(ConfigError, match="predicts a picture"):
        start_from(filled(SDXL), {}, **facts, predicts="picture")


def test_a_published_network_stays_one():
    source = published_config(2048, "stable-diffusion-xl", "xl")
    facts = {**HUNYUAN, "latent_shape": (4, 128, 128), "text_length": 77, "text_width": 1024}
    assert transfer_config(source, {}, **facts) == published_config(1024, "hunyuan-dit", "dit")
    with pytest.raises(ConfigError, match="published"):
        build(transfer_config(source, {}, **HUNYUAN))


def test_sizes_override_the_source_and_unknown_ones_are_refused():
    assert transfer_config(SDXL, {"swin_depths": [2, 1]}, **HUNYUAN).swin_depths == (2, 1)
    with pytest.raises(ConfigError, match="wdith"):
        transfer_config(SDXL, {"wdith": 1}, **HUNYUAN)


def test_the_report_names_what_was_kept_and_what_was_not():
    text = Transfer(("alpha", "residual.swin", "singular.head"), ("residual.up", "text.project")).report("old")
    assert text.splitlines() == [
        "taken over from old: alpha, singular, part of residual",
        "starts fresh: residual.up, text.project",
    ]
    assert Transfer((), ("gain",)).report("x").startswith("taken over from x: nothing")


@pytest.mark.parametrize("left_out", [(), ("singular",), ("residual",)])
def test_without_text_the_other_terms_stay(left_out, tmp_path):
    net = filled(dataclasses.replace(SDXL, without=left_out))
    bare = without_text(net)
    x = noise()
    expected = torch.zeros_like(x)
    if "singular" not in left_out:
        expected = expected + net.singular(x)
    if "residual" not in left_out:
        expected = expected + net.beta * net.residual(x)
    for embeds in (torch.randn(2, 6, 64), torch.randn(2, 77, 12)):
        assert torch.allclose(bare(x, embeds), expected, atol=1e-6)
    with pytest.raises(ModelMismatchError):
        net.check((4, 8, 8), (6, 64), family="stable-diffusion")
    bare.check((4, 8, 8), (77, 12), family="stable-diffusion")
    assert not bare.training and without_text(bare) is bare
    again = NPNet.from_pretrained(bare.save_pretrained(tmp_path))
    assert torch.equal(again(x, torch.randn(2, 1, 1)), bare(x, torch.randn(2, 6, 64)))


def test_without_text_of_a_published_network():
    config = dataclasses.replace(published_config(8), swin_drop_path=0.0)
    net = filled(config)
    bare = without_text(net)
    x = noise(1, side=128)
    expected = net.singular(x) + net.beta * net.residual(x)
    assert torch.allclose(bare(x, torch.zeros(1, 3, 3)), expected, atol=1e-4)
    assert (bare(x, torch.zeros(1, 3, 3)) - net(x, torch.zeros(1, 77, 8))).abs().max() > 1e-3


def test_without_text_is_refused_where_nothing_would_be_left():
    with pytest.raises(InputError, match="text term only"):
        without_text(build(dataclasses.replace(SDXL, without=("singular", "residual"))))
    with pytest.raises(InputError, match="tokens"):
        without_text(build(tokens_config((4, 8, 8), 6, 64)))


def test_an_sdxl_network_starts_stable_diffusion_without_its_text_term(tmp_path):
    pipeline = Pipeline(tiny.stable_diffusion())
    config = dataclasses.replace(SDXL, alpha_init=0.1, beta_init=0.01)
    torch.manual_seed(0)
    net = build(config).eval()
    source = batch_noise([4, 5], (4, 8, 8))
    with pytest.raises(ModelMismatchError, match="stable-diffusion-xl"):
        winning_noise(pipeline, net, ["a", "b"], seeds=[4, 5])
    with torch.no_grad():
        expected = net.singular(source) + net.beta * net.residual(source)
    assert (expected - source).abs().max() > 1e-3
    mine = winning_noise(pipeline, net, ["a", "b"], seeds=[4, 5], no_text=True)
    assert torch.allclose(mine, expected, atol=1e-6)

    net.save_pretrained(tmp_path)
    spec = MethodSpec.parse(f"npnet:no_text,path={tmp_path}")
    method, embeds = spec.build(), pipeline.encode(["a", "b"])
    method.prepare(pipeline, Sampling())
    assert torch.allclose(make_noise(spec, method, pipeline, embeds, None, source), expected, atol=1e-6)
    assert method.describe()["weights"] != ""


def test_no_text_from_the_command_line(tmp_path, capsys):
    folder = tiny.save(tiny.stable_diffusion(), tmp_path / "sd-tiny")
    build(SDXL).save_pretrained(tmp_path / "net")
    common = ["generate", "a red cube", f"--model={folder}", "--device=cpu", "--num_inference_steps=2", "--seeds=0-1"]
    npnet = f"path={tmp_path / 'net'}"
    assert main([*common, f"--out={tmp_path / 'refused'}", f"--methods=npnet:{npnet}"]) == 2
    assert "without its text term (no_text)" in capsys.readouterr().err
    assert main([*common, f"--out={tmp_path / 'out'}", f"--methods=standard,npnet:no_text,{npnet}"]) == 0
    assert len(list((tmp_path / "out").glob("*.png"))) == 2 * 2 + 1


def test_without_text_is_made_once_and_follows_its_network():
    net = build(SDXL).eval()
    bare = without_text(net)
    assert without_text(net) is bare and without_text(build(SDXL).eval()) is not bare
    noise, embeds = torch.randn(1, *SDXL.latent_shape), torch.randn(1, 3, 5)
    with torch.no_grad():
        before = bare(noise, embeds)
        torch.nn.init.normal_(net.residual.up.weight)
        net.beta.fill_(0.5)
        assert not torch.equal(before, bare(noise, embeds))
        assert torch.equal(bare(noise, embeds), net.singular(noise) + 0.5 * net.residual(noise))
    net.load_state_dict({name: value + 1 for name, value in net.state_dict().items()}, assign=True)
    fresh = without_text(net)
    assert fresh is not bare and fresh.beta is net.beta
    assert without_text(net.to(torch.bfloat16)).dtype == torch.bfloat16
