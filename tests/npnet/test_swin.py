from __future__ import annotations

import pytest
import torch

from noiseprompt.core.errors import ConfigError
from noiseprompt.npnet.swin import Swin, from_timm
from tests.npnet import oracles

SIZES = {"image": 64, "channels": 3, "patch": 4, "window": 4, "width": 16, "depths": (2, 2, 2), "heads": (2, 4, 8)}
TINY = {"image": 224, "channels": 3, "patch": 4, "window": 7, "width": 96, "depths": (2, 2, 6, 2)}
TINY["heads"] = (3, 6, 12, 24)
SHAPES = oracles.tiny_shapes(width=16, depths=(2, 2, 2), heads=(2, 4, 8), window=4)


def test_agrees_with_windows_written_as_sets_of_tokens():
    state = oracles.random_state(SHAPES, 0)
    swin = Swin(**SIZES).eval()
    swin.load_state_dict(from_timm(state))
    image = torch.randn(2, 3, 64, 64)
    expected = oracles.swin(state, image.double(), (2, 4, 8), 4)
    assert expected.shape == (2, 4, 4, 64)
    assert torch.allclose(swin(image).double(), expected, atol=1e-4)


def test_agrees_with_transformers():
    from transformers import SwinConfig, SwinModel

    config = SwinConfig(image_size=64, patch_size=4, embed_dim=16, depths=[2, 2, 2], num_heads=[2, 4, 8], window_size=4)
    other = SwinModel(config, add_pooling_layer=False).eval()
    state = oracles.random_state(SHAPES, 1)
    theirs = {}
    for name, value in state.items():
        if name.startswith("head."):
            continue
        name = name.replace("patch_embed.proj", "embeddings.patch_embeddings.projection")
        name = name.replace("patch_embed.norm", "embeddings.norm")
        if name.startswith("norm."):
            name = f"layernorm.{name.removeprefix('norm.')}"
        if ".downsample." in name:
            stage, rest = name.removeprefix("layers.").split(".", 1)
            name = f"layers.{int(stage) - 1}.{rest}"
        name = name.replace(".norm1.", ".layernorm_before.").replace(".norm2.", ".layernorm_after.")
        name = name.replace("relative_position_bias_table", "relative_position_bias.relative_position_bias_table")
        name = name.replace(".attn.proj.", ".attention.o_proj.").replace(".attn.", ".attention.")
        if name.startswith("layers."):
            name = f"encoder.{name}"
        if ".qkv." in name:
            for letter, part in zip("qkv", value.chunk(3), strict=True):
                theirs[name.replace(".qkv.", f".{letter}_proj.")] = part
        else:
            theirs[name] = value
    missing, unexpected = other.load_state_dict(theirs, strict=False)
    assert not unexpected and all("index" in name for name in missing)
    swin = Swin(**SIZES).eval()
    swin.load_state_dict(from_timm(state))
    image = torch.randn(2, 3, 64, 64)
    expected = other(image).last_hidden_state.reshape(2, 4, 4, 64)
    assert torch.allclose(swin(image), expected, atol=2e-4)


def test_every_name_of_timm_is_mapped_old_and_new():
    full = oracles.tiny_shapes()
    with torch.device("meta"):
        own = {name: tuple(v.shape) for name, v in Swin(**TINY).state_dict().items()}
        new = from_timm({name: torch.empty(shape) for name, shape in full.items()})
        old = {}
        for name, shape in full.items():
            if ".downsample." in name:
                stage, rest = name.removeprefix("layers.").split(".", 1)
                name = f"layers.{int(stage) - 1}.{rest}"
            old[name.replace("head.fc.", "head.")] = torch.empty(shape)
        old["layers.0.blocks.1.attn_mask"] = torch.empty(64, 49, 49)
        old["layers.0.blocks.1.attn.relative_position_index"] = torch.empty(49, 49)
        old = from_timm(old)
    assert {name: tuple(v.shape) for name, v in new.items()} == own
    assert {name: tuple(v.shape) for name, v in old.items()} == own
    assert sum(torch.Size(shape).numel() for shape in full.values()) == 28_288_354  # torchvision's count of swin_t


def test_unknown_names_stay_visible():
    assert list(from_timm({"layers.0.blocks.0.strange": torch.zeros(1)})) == ["layers.0.blocks.0.strange"]


def test_stochastic_depth_in_training_only():
    torch.manual_seed(0)
    swin = Swin(**SIZES, drop_path=0.5)
    for parameter in swin.parameters():
        torch.nn.init.normal_(parameter, std=0.3)
    image = torch.randn(1, 3, 64, 64)
    swin.eval()
    assert torch.equal(swin(image), swin(image))
    swin.train()
    outputs = [swin(image) for _ in range(4)]
    assert any(not torch.equal(outputs[0], other) for other in outputs[1:])
    still = Swin(**SIZES).train()
    assert torch.equal(still(image), still(image))


@pytest.mark.parametrize(
    "change",
    [{"patch": 5}, {"window": 3}, {"heads": (3, 4, 8)}, {"image": 72}],
    ids=["patch", "window", "heads", "map"],
)
def test_sizes_that_do_not_divide_are_refused(change):
    with pytest.raises(ConfigError):
        Swin(**(SIZES | change))
