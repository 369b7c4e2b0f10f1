from __future__ import annotations

import itertools

import pytest
import torch

from noiseprompt.core.errors import ConfigError
from noiseprompt.npnet.swin import Swin, between, from_timm, order
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


def test_kept_bias_follows_its_table():
    """What is kept between calls gives what a network without memory gives, however its table was changed."""
    torch.manual_seed(0)
    swin, image = Swin(**SIZES).eval(), torch.randn(2, 3, 64, 64)
    table = swin.stages[0][1].attention.bias_table

    def check(kept: torch.Tensor) -> torch.Tensor:
        fresh = Swin(**SIZES).eval().to(swin.norm.weight.dtype)
        fresh.load_state_dict(swin.state_dict())
        assert torch.equal(kept, fresh(image.to(kept.dtype)))
        return kept

    with torch.no_grad():
        outputs = [check(swin(image))]
        torch.nn.init.normal_(table)
        outputs.append(check(swin(image)))
        other = {name: 2 * value if name.endswith("bias_table") else value for name, value in swin.state_dict().items()}
        for assign in (False, True):
            swin.load_state_dict(other, assign=assign)
            outputs.append(check(swin(image)))
            other = {name: value / 2 for name, value in other.items()}
        outputs.append(check(swin.to(torch.bfloat16)(image.bfloat16())).float())
    assert not any(torch.equal(one, two) for one, two in itertools.pairwise(outputs))
    with torch.inference_mode():
        made = Swin(**SIZES).eval()
        assert torch.equal(made(image), made(image))


def test_gradients_reach_the_bias_table_after_a_call_without():
    swin, image = Swin(**SIZES).eval(), torch.randn(1, 3, 64, 64)
    with torch.no_grad():
        swin(image)
    swin(image).square().sum().backward()
    assert all(p.grad is not None for name, p in swin.named_parameters() if name.endswith("bias_table"))


@pytest.mark.parametrize(("side", "window", "shift"), [(8, 4, 0), (8, 4, 2), (14, 7, 3), (7, 7, 0)])
def test_orders_are_those_of_rolls_and_cuts(side, window, shift):
    tokens = torch.randn(2, side, side, 3)
    moved = tokens.roll((-shift, -shift), (1, 2)).view(2, side // window, window, side // window, window, 3)
    expected = moved.transpose(2, 3).reshape(2, side * side, 3)
    own = order(side, window, shift)
    assert torch.equal(tokens.flatten(1, 2)[:, own], expected)
    back = between(own, torch.arange(side * side))
    assert torch.equal(expected if back is None else expected[:, back], tokens.flatten(1, 2))


@pytest.mark.parametrize(
    "change",
    [{"patch": 5}, {"window": 3}, {"heads": (3, 4, 8)}, {"image": 72}],
    ids=["patch", "window", "heads", "map"],
)
def test_sizes_that_do_not_divide_are_refused(change):
    with pytest.raises(ConfigError):
        Swin(**(SIZES | change))
