from __future__ import annotations

import dataclasses
import json
import subprocess
import sys

import pytest
import torch
from safetensors.torch import load_file, save_file

from noiseprompt.core.config import to_dict
from noiseprompt.core.errors import ConfigError, InputError, ModelLoadError, ModelMismatchError, ShapeError
from noiseprompt.npnet import NPNet, NPNetConfig, build, small_config, tokens_config

PAPER = small_config((4, 16, 16), 12, 128, "stable-diffusion", "shapes")
TOKENS = dataclasses.replace(
    tokens_config((4, 16, 16), 12, 128, "stable-diffusion", "shapes"), width=32, depth=2, heads=4
)
BOTH = pytest.mark.parametrize("config", [PAPER, TOKENS], ids=["paper", "tokens"])


def filled(config, seed=0):
    torch.manual_seed(seed)
    net = build(config).eval()
    for parameter in net.parameters():
        if parameter.ndim != 1:
            torch.nn.init.normal_(parameter, std=0.1)
    return net


def batch(count=3):
    generator = torch.Generator().manual_seed(1)
    return torch.randn(count, 4, 16, 16, generator=generator), torch.randn(count, 12, 128, generator=generator)


@BOTH
def test_saved_and_loaded_bit_equal(config, tmp_path):
    net = filled(config)
    loaded = NPNet.from_pretrained(net.save_pretrained(tmp_path / "deep" / "net"))
    assert type(loaded) is type(net) and loaded.config == config and not loaded.training
    assert torch.equal(loaded(*batch()), net(*batch()))
    net.save_pretrained(tmp_path / "deep" / "net")
    assert sorted(p.name for p in (tmp_path / "deep" / "net").iterdir()) == [
        "README.md",
        "config.json",
        "model.safetensors",
    ]


@BOTH
def test_bfloat16_round_trip_and_values(config, tmp_path):
    net = filled(config)
    noise, embeds = batch()
    exact = net(noise, embeds)
    half = NPNet.from_pretrained(net.to(torch.bfloat16).save_pretrained(tmp_path))
    assert half.dtype == torch.bfloat16
    out = half(noise, embeds.to(torch.bfloat16))
    assert out.dtype == torch.float32
    assert (out - exact).norm() < 0.05 * (exact - noise).norm()
    assert half(noise.to(torch.bfloat16), embeds).dtype == torch.bfloat16
    assert NPNet.from_pretrained(tmp_path, dtype=torch.float32).dtype == torch.float32


def test_swin_alone_in_bfloat16(tmp_path):
    net = filled(PAPER)
    net.save_pretrained(tmp_path / "paper")
    noise, embeds = batch()
    half = NPNet.from_pretrained(tmp_path / "paper", swin_dtype=torch.bfloat16)
    kinds = {name: value.dtype for name, value in half.state_dict().items()}
    assert all((kind == torch.bfloat16) == name.startswith("residual.swin.") for name, kind in kinds.items())
    exact, out = net(noise, embeds), half(noise, embeds)
    assert half.dtype == out.dtype == torch.float32 and not torch.equal(out, exact)
    assert (out - exact).norm() < 0.02 * (exact - noise).norm()
    again = NPNet.from_pretrained(half.save_pretrained(tmp_path / "mixed"))  # each tensor as it was, in one dtype
    assert {value.dtype for value in again.state_dict().values()} == {torch.float32}
    filled(TOKENS).save_pretrained(tmp_path / "tokens")
    with pytest.raises(InputError, match=r"no Swin transformer"):
        NPNet.from_pretrained(tmp_path / "tokens", swin_dtype=torch.bfloat16)


@BOTH
def test_a_loaded_network_learns(config, tmp_path):
    loaded = NPNet.from_pretrained(filled(config).save_pretrained(tmp_path)).train()
    assert all(not value.is_meta for value in (*loaded.parameters(), *loaded.buffers()))
    loaded(*batch()).square().sum().backward()
    assert all(p.grad is not None for p in loaded.parameters())


@BOTH
def test_a_batch_equals_its_rows(config):
    net = filled(config)
    noise, embeds = batch()
    rows = torch.cat([net(noise[i : i + 1], embeds[i : i + 1]) for i in range(3)])
    assert (net(noise, embeds) - rows).abs().max() < 1e-5


def test_deterministic_in_evaluation_only():
    net = filled(dataclasses.replace(PAPER, swin_drop_path=0.5))
    noise, embeds = batch()
    assert torch.equal(net(noise, embeds), net(noise, embeds))
    net.train()
    assert any(not torch.equal(net(noise, embeds), net(noise, embeds)) for _ in range(4))


@BOTH
def test_refuses_what_it_was_not_made_for(config):
    net = build(config)
    noise, embeds = batch()
    with pytest.raises(ShapeError, match=r"\(4, 8, 16\).*\(4, 16, 16\)"):
        net(noise[:, :, :8], embeds)
    with pytest.raises(ShapeError, match=r"\(11, 128\).*\(12, 128\)"):
        net(noise, embeds[:, :11])
    with pytest.raises(ShapeError, match="the same B"):
        net(noise, embeds[:2])
    with pytest.raises(ShapeError):
        net(noise[0], embeds[0])
    net.check((4, 16, 16), (12, 128), "stable-diffusion")
    with pytest.raises(ModelMismatchError, match=r"'hunyuan-dit'.*'stable-diffusion'.*shapes"):
        net.check((4, 16, 16), (12, 128), "hunyuan-dit")
    build(dataclasses.replace(config, family="")).check((4, 16, 16), (12, 128), "hunyuan-dit")


def damage_config(folder, **changes):
    data = json.loads((folder / "config.json").read_text())
    (folder / "config.json").write_text(json.dumps(data | changes))


@pytest.mark.parametrize(
    ("changes", "says"),
    [
        ({"format": "other"}, "not the configuration of an NPNet"),
        ({"format_version": 99}, "format version 99"),
        ({"architecture": "unet"}, "architecture 'unet'"),
        ({"strange": 1}, "strange"),
        ({"width": "many"}, "width 'many'"),
        ({"latent_shape": 5}, "latent_shape"),
        ({"without": 5}, "describes no NPNet"),
        ({"patch": 3}, "patch"),
        ({"width": 16}, "of another shape"),
        ({"depth": 3}, r"missing \(blocks.2"),
        ({"depth": 1}, r"unexpected \(blocks.1"),
    ],
)
def test_a_folder_that_holds_something_else_is_one_clear_error(tmp_path, changes, says):
    filled(TOKENS).save_pretrained(tmp_path)
    damage_config(tmp_path, **changes)
    with pytest.raises(ModelLoadError, match=says) as caught:
        NPNet.from_pretrained(tmp_path)
    assert str(tmp_path) in str(caught.value)


def test_damaged_or_missing_files(tmp_path):
    with pytest.raises(ModelLoadError, match=r"config\.json.*local folder"):
        NPNet.from_pretrained(tmp_path)
    (tmp_path / "config.json").write_text("{")
    with pytest.raises(ModelLoadError, match=r"config\.json"):
        NPNet.from_pretrained(tmp_path)
    filled(TOKENS).save_pretrained(tmp_path)
    (tmp_path / "model.safetensors").write_bytes(b"12345")
    with pytest.raises(ModelLoadError, match=r"model\.safetensors"):
        NPNet.from_pretrained(tmp_path)
    (tmp_path / "model.safetensors").unlink()
    with pytest.raises(ModelLoadError, match=r"model\.safetensors"):
        NPNet.from_pretrained(tmp_path)
    filled(TOKENS).save_pretrained(tmp_path / "tokens")
    with pytest.raises(ModelLoadError, match="TokensNPNet"):
        type(build(PAPER)).from_pretrained(tmp_path / "tokens")


@pytest.mark.parametrize("source", ["nobody/nothing-here", "./no/such/folder", "nobody/other:file.pth"])
def test_without_network_the_error_says_how_to_point_at_a_folder(source, monkeypatch):
    from huggingface_hub import constants

    monkeypatch.setattr(constants, "HF_HUB_OFFLINE", True)
    with pytest.raises(ModelLoadError, match=r"there is no folder .*path of a local folder"):
        NPNet.from_pretrained(source)


def test_names_on_disk_are_stable(tmp_path):
    build(PAPER).save_pretrained(tmp_path)
    tensors = load_file(tmp_path / "model.safetensors")
    assert {
        "alpha",
        "beta",
        "text.project.weight",
        "singular.embed_left.0.weight",
        "singular.head.2.bias",
    } <= tensors.keys()
    assert {"residual.swin.stages.1.0.attention.bias_table", "residual.swin.merges.1.project.weight"} <= tensors.keys()
    save_file(tensors | {"extra": torch.zeros(1)}, tmp_path / "model.safetensors")
    with pytest.raises(ModelLoadError, match=r"1 unexpected \(extra\)"):
        NPNet.from_pretrained(tmp_path)


@pytest.mark.parametrize(
    "changes",
    [
        {"architecture": "x"},
        {"latent_shape": (4, 16)},
        {"latent_shape": (4, 0, 16)},
        {"text_width": 1.5},
        {"depth": True},
        {"swin_depths": (2, "2")},
        {"swin_depths": (2,)},
        {"gain": "small"},
        {"without": ("alpha",)},
    ],
    ids=str,
)
def test_configurations_that_make_no_sense(changes):
    with pytest.raises(ConfigError):
        NPNetConfig(**(to_dict_tuples(PAPER) | changes))


def to_dict_tuples(config):
    return {name: tuple(value) if isinstance(value, list) else value for name, value in to_dict(config).items()}


def test_importing_the_package_is_light():
    code = (
        "import noiseprompt.npnet as n, sys; print(sorted({'torch', 'diffusers', 'transformers'} & set(sys.modules)))"
    )
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"
    code = "import noiseprompt.npnet as n, sys; [getattr(n, x) for x in n.__all__]; print(sorted("
    code += "{'diffusers', 'transformers', 'huggingface_hub'} & set(sys.modules)))"
    assert subprocess.run([sys.executable, "-c", code], capture_output=True, text=True, check=True).stdout == "[]\n"


def test_a_path_that_an_older_training_recorded_is_not_published(tmp_path):
    net = filled(dataclasses.replace(PAPER, denoiser="/somebody/models/mine"))
    for name in ("config.json", "README.md"):
        text = (net.save_pretrained(tmp_path) / name).read_text()
        assert "mine" in text and "somebody" not in text and "base_model" not in text
