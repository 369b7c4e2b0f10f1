from __future__ import annotations

import math

import pytest
import torch
from torch.nn import functional as F

from noiseprompt.core.errors import ConfigError, ModelLoadError, ShapeError
from noiseprompt.npnet import NPNet, NPNetConfig, build, import_published
from noiseprompt.npnet.published import made_for, published_config
from tests.npnet import oracles


def published_file(width=2048, seed=0):
    """A checkpoint in the published layout: nested dictionaries, unused tensors included."""
    swin = oracles.random_state(oracles.tiny_shapes(), seed)
    svd = oracles.random_state(oracles.singular_shapes(), seed + 1)
    svd["mlp4.2.weight"] = 5 * svd["mlp4.2.weight"]
    bn = {f"bn.{name}": torch.ones(256) for name in ("weight", "bias", "running_mean", "running_var")}
    bn["bn.num_batches_tracked"] = torch.tensor(0)
    shapes = {
        "upconv.weight": (4, 7, 1, 1),
        "upconv.bias": (4,),
        "downconv.weight": (3, 4, 1, 1),
        "downconv.bias": (3,),
    }
    convolutions = oracles.random_state(shapes, seed + 2)
    text = oracles.random_state({"linear.weight": (8, 77 * width), "linear.bias": (8,)}, seed + 3)
    return {
        "unet_svd": svd | bn,
        "unet_embedding": convolutions | {f"swin.{name}": value for name, value in swin.items()},
        "embeeding": text,
        "alpha": torch.nn.Parameter(torch.tensor([0.3])),
        "beta": torch.nn.Parameter(torch.tensor([-0.2])),
    }


def straight_line(data, noise, embeds):
    scale, shift = (embeds.reshape(len(embeds), -1) @ data["embeeding"]["linear.weight"].T).split(4, 1)
    scale, shift = (part[:, :, None, None] for part in (scale, shift))
    bias = data["embeeding"]["linear.bias"][None, :, None, None]
    e = oracles.group_norm_one(noise) * (1 + scale + bias[:, :4]) + shift + bias[:, 4:]
    p = data["unet_embedding"]
    nearest = torch.arange(224) * 128 // 224
    image = F.conv2d((noise + e)[..., nearest, :][..., nearest], p["downconv.weight"], p["downconv.bias"])
    tensors = {name.removeprefix("swin."): value for name, value in p.items() if name.startswith("swin.")}
    features = oracles.swin(tensors, image, (3, 6, 12, 24), 7)
    rows, columns = torch.arange(128) * 7 // 128, torch.arange(128) * 768 // 128
    residual = F.conv2d(features[:, :, rows][..., columns], p["upconv.weight"], p["upconv.bias"])
    weight = 2 / (1 + math.exp(-data["alpha"].item())) - 1
    return oracles.singular(data["unet_svd"], noise) + weight * e + data["beta"].item() * residual


def flat(data):
    parts = {"unet_svd": "unet_svd", "unet_embedding": "unet_embedding", "embeeding": "text_embedding"}
    tensors = {f"{new}.{name}": value for old, new in parts.items() for name, value in data[old].items()}
    return tensors | {name: data[name].detach() for name in ("alpha", "beta")}


def count(data):
    nested = [value if isinstance(value, dict) else {"": value} for value in data.values()]
    return sum(t.numel() for part in nested for name, t in part.items() if "running" not in name and "num_" not in name)


@pytest.fixture(scope="module")
def data():
    return published_file()


@pytest.fixture(scope="module")
def imported(data, tmp_path_factory):
    folder = tmp_path_factory.mktemp("published")
    torch.save(data, folder / "sdxl.pth")
    import_published(folder / "sdxl.pth", folder / "npnet")
    (folder / "sdxl.pth").unlink()
    return NPNet.from_pretrained(folder / "npnet")


@pytest.mark.parametrize(
    ("change", "says"),
    [
        (lambda value: (10 * value).to(torch.int8), r"weights that are whole or complex numbers \(residual.swin"),
        (torch.zeros_like, "lie in matrices of one value alone"),
    ],
)
def test_weights_that_no_training_leaves_are_refused(data, change, says, tmp_path):
    swin = {name: change(value) if "swin" in name else value for name, value in data["unet_embedding"].items()}
    torch.save(data | {"unet_embedding": swin}, tmp_path / "sdxl.pth")
    with pytest.raises(ModelLoadError, match=says):
        NPNet.from_pretrained(tmp_path / "sdxl.pth")


def test_agrees_with_the_published_forward_pass(data, imported):
    generator = torch.Generator().manual_seed(5)
    noise = torch.randn(1, 4, 128, 128, generator=generator)
    embeds = torch.randn(1, 77, 2048, generator=generator)
    with torch.no_grad():
        out, expected = imported(noise, embeds), straight_line(data, noise, embeds)
    assert (out - noise).std() > 0.1
    assert (out - expected).abs().max() < 1e-3


def test_says_what_it_was_made_for(imported):
    config = imported.config
    assert (config.architecture, config.family, config.text_width) == ("published", "stable-diffusion-xl", 2048)
    assert config.denoiser == "stabilityai/stable-diffusion-xl-base-1.0" and not imported.training
    with pytest.raises(ShapeError, match=r"\(4, 96, 128\).*\(4, 128, 128\)"):
        imported(torch.zeros(1, 4, 96, 128), torch.zeros(1, 77, 2048))


def test_counts_of_parameters(data, imported):
    assert count(data) == 30_470_427
    assert sum(p.numel() for p in imported.parameters()) == 30_470_427 - (768 * 1000 + 1000) - 2 * 256


def test_flat_safetensors_and_hunyuan(tmp_path):
    from safetensors.torch import save_file

    data = published_file(width=1024, seed=9)
    save_file(flat(data), tmp_path / "dit.safetensors")
    net = import_published(tmp_path / "dit.safetensors", tmp_path / "npnet", denoiser="me/mine")
    assert (net.config.family, net.config.denoiser, net.config.text_width) == ("hunyuan-dit", "me/mine", 1024)
    assert torch.equal(net.text.project.weight, data["embeeding"]["linear.weight"])
    assert torch.equal(
        net.residual.swin.merges[1].project.weight, data["unet_embedding"]["swin.layers.1.downsample.reduction.weight"]
    )
    assert net.alpha.item() == pytest.approx(0.3) and net.alpha.shape == ()


def test_what_a_file_was_made_for(tmp_path):
    assert made_for(2048, "DreamShaper.pth") == ("stable-diffusion-xl", "Lykon/dreamshaper-xl-v2-turbo")
    assert made_for(2048, "sdxl.pth")[1].startswith("stabilityai/") and made_for(768, "x.pth") == ("", "")
    torch.save(broken("unexpected"), tmp_path / "x.pth")
    with pytest.raises(ModelLoadError, match=r"width 1.*2048"):
        import_published(tmp_path / "x.pth", tmp_path / "b", text_width=2048)
    assert not (tmp_path / "b").exists()


def broken(kind):
    tiny = torch.zeros(1)
    if kind == "missing":
        return {"unet_svd": {}, "embeeding": {"linear.weight": torch.zeros(8, 77), "linear.bias": torch.zeros(8)}}
    if kind == "unexpected":
        return {"embeeding": {"linear.weight": torch.zeros(8, 77)}, "unet_svd": {"conv_strange.weight": tiny}}
    if kind == "foreign":
        return {"state_dict": tiny, "epoch": tiny}
    if kind == "text":
        return {"embeeding": {"linear.weight": torch.zeros(8, 100)}}
    if kind == "values":
        return {"embeeding": {"linear.weight": "no tensor"}}
    return [tiny]


@pytest.mark.parametrize(
    ("kind", "says"),
    [
        ("missing", r"missing \(alpha, beta"),
        ("unexpected", r"1 unexpected \(unet_svd.conv_strange.weight\)"),
        ("foreign", "no text branch .*epoch, state_dict"),
        ("text", r"\(8, 100\)"),
        ("values", "no tensor under embeeding.linear.weight"),
        ("list", "holds a list"),
    ],
)
def test_other_layouts_are_refused_in_one_message(tmp_path, kind, says):
    torch.save(broken(kind), tmp_path / "x.pth")
    with pytest.raises(ModelLoadError, match=says):
        import_published(tmp_path / "x.pth", tmp_path / "out")
    assert not (tmp_path / "out").exists()


class Evil:
    def __reduce__(self):
        return (print, ("executed",))


def test_files_that_cannot_be_read_are_refused(tmp_path, capsys):
    with pytest.raises(ModelLoadError, match="no file"):
        import_published(tmp_path / "none.pth", tmp_path / "out")
    for name in ("noise.pth", "noise.safetensors"):
        (tmp_path / name).write_bytes(b"not a checkpoint at all")
        with pytest.raises(ModelLoadError, match="is a text"):
            import_published(tmp_path / name, tmp_path / "out")
    torch.save({"alpha": Evil()}, tmp_path / "evil.pth")
    with pytest.raises(ModelLoadError, match="cannot read"):
        import_published(tmp_path / "evil.pth", tmp_path / "out")
    assert "executed" not in capsys.readouterr().out


def test_only_the_published_sizes():
    with pytest.raises(ConfigError, match="published"):
        build(NPNetConfig(architecture="published", latent_shape=(4, 64, 64)))
    assert published_config(1024).text_width == 1024
