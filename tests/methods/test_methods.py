"""Names with options, strength, the swap control, and the three methods."""

from __future__ import annotations

import hashlib
import math
from types import SimpleNamespace

import numpy as np
import pytest
import torch

from noiseprompt.core.errors import InputError, ModelMismatchError, NoiseError, ShapeError, UnknownNameError
from noiseprompt.core.types import Sampling
from noiseprompt.methods.base import MethodSpec, NoiseMethod, check_different, make_noise
from noiseprompt.methods.npnet import NpnetMethod
from noiseprompt.methods.redenoise import Redenoise
from noiseprompt.methods.table import METHODS
from noiseprompt.noise.fresh import fresh_noise
from noiseprompt.noise.seeds import batch_noise
from tests.evaluation_fakes import FakeEmbeds, FakePipeline

NOISE = batch_noise([1, 2], (4, 8, 8))
EMBEDS, WRONG = FakeEmbeds(("a cat", "two dogs")), FakeEmbeds(("a house", "a tree"))


class Doubler(NoiseMethod):
    name = "doubler"

    def perturb(self, pipeline, embeds, noise):
        return 2 * noise


def _make(text: str, pipeline: FakePipeline | None = None, noise: torch.Tensor = NOISE) -> torch.Tensor:
    spec = MethodSpec.parse(text)
    return make_noise(spec, spec.build(), pipeline or FakePipeline(), EMBEDS, WRONG, noise)  # type: ignore[arg-type]


# ------------------------------------------------------------------------------------------------------------- parsing


def test_every_registered_method_parses_and_knows_its_name() -> None:
    for name in METHODS:
        spec = MethodSpec.parse(name)
        assert (spec.label, spec.name, dict(spec.options), spec.strength, spec.swap) == (name, name, {}, 1.0, False)
        assert METHODS.get(name).name == name
        assert isinstance(spec.build(), NoiseMethod)


def test_options_are_converted() -> None:
    spec = MethodSpec.parse("redenoise:steps=4, denoise_guidance_scale=3.50,invert_at=published,swap")
    assert spec.options == {"denoise_guidance_scale": 3.5, "invert_at": "published", "steps": 4}
    assert type(spec.options["steps"]) is int
    assert spec.swap
    assert spec.label == "redenoise:denoise_guidance_scale=3.5,invert_at=published,steps=4,swap"
    assert spec.recorded == "redenoise:denoise_guidance_scale=3.5,invert_at=published,num_inference_steps=4,swap"


@pytest.mark.parametrize(
    ("text", "label"),
    [
        ("npnet:strength=1.50", "npnet:strength=1.5"),
        ("npnet:strength=1", "npnet"),
        ("npnet:strength=-1", "npnet:strength=-1"),
        ("npnet:strength=0", "npnet:strength=0"),
        ("redenoise:swap,strength=2", "redenoise:strength=2,swap"),
        ("redenoise:swap=false", "redenoise"),
        ("npnet:path=a/b=c", "npnet:path=a/b=c"),
    ],
)
def test_labels_are_canonical(text: str, label: str) -> None:
    assert MethodSpec.parse(text).label == label
    assert MethodSpec.parse(label) == MethodSpec.parse(text)


@pytest.mark.parametrize(
    ("text", "words"),
    [
        ("redenoise:guidance=3", "denoise_guidance_scale"),
        ("redenoise:rounds", "rounds (an integer)"),
        ("redenoise:num_inference_steps=4", "'steps=4': it has a new name"),
        ("closed_form:num_inference_steps=4", "'steps=4'"),
        ("repaint:num_inference_steps=4", "'steps=4'"),
        ("redenoise:rounds=two", "an integer"),
        ("redenoise:rounds=0", "from 1 to 10,000"),
        ("redenoise:invert_at=T", "paper or published"),
        ("standard:path=x", "swap (a flag), shuffle (a flag)"),
        ("npnet:strength=inf", "a number"),
        ("npnet:path=", "text"),
        ("npnet:strength=1,strength=2", "once"),
        ("npnet:swap=perhaps", "true, false"),
    ],
)
def test_wrong_options_say_what_there_is(text: str, words: str) -> None:
    with pytest.raises(InputError) as error:
        MethodSpec.parse(text).build()
    assert words in str(error.value)


def test_unknown_method() -> None:
    with pytest.raises(UnknownNameError, match="mean 'redenoise'"):
        MethodSpec.parse("redenoize:strength=1")


# ------------------------------------------------------------------------------------------------------------ strength


def test_strength_zero_is_the_source_bit_for_bit() -> None:
    pipeline = FakePipeline()
    assert _make("redenoise:strength=0", pipeline) is NOISE
    assert pipeline.denoiser_calls == 0
    assert torch.equal(_make("standard"), NOISE)


@pytest.mark.parametrize("strength", [-1.0, 0.5, 1.0, 2.5])
def test_strength_scales_the_perturbation(strength: float) -> None:
    made = make_noise(MethodSpec("x", "x", strength=strength), Doubler(), FakePipeline(), EMBEDS, None, NOISE)  # type: ignore[arg-type]
    assert torch.allclose(made, (1 + strength) * NOISE, atol=1e-6)


def test_dtype_is_kept_and_arithmetic_is_float32() -> None:
    half = NOISE.bfloat16()
    made = make_noise(MethodSpec("x", "x", strength=0.5), Doubler(), FakePipeline(), EMBEDS, None, half)  # type: ignore[arg-type]
    assert made.dtype == torch.bfloat16
    assert torch.equal(made, (half.float() * 1.5).bfloat16())


def test_swap_makes_the_noise_for_the_other_prompt() -> None:
    pipeline = FakePipeline()
    swapped, own = _make("redenoise:swap", pipeline), _make("redenoise", pipeline)
    assert [texts for texts, _ in pipeline.redenoised] == [WRONG.texts, EMBEDS.texts]
    assert not torch.equal(swapped, own)
    spec = MethodSpec.parse("redenoise:swap")
    with pytest.raises(InputError, match="two different prompts"):
        make_noise(spec, spec.build(), pipeline, EMBEDS, None, NOISE)  # type: ignore[arg-type]


def test_shuffle_adds_the_perturbation_of_another_noise() -> None:
    made = make_noise(MethodSpec("x", "x", strength=0.5, shuffle=True), Doubler(), FakePipeline(), EMBEDS, None, NOISE)  # type: ignore[arg-type]
    other = 2 * (made - NOISE)  # Doubler's perturbation is its source
    correlation = np.corrcoef(np.concatenate([other.flatten(1), NOISE.flatten(1)]))
    assert np.abs(correlation - np.eye(4)).max() < 0.3  # 256 values: 0.06 apart as a rule
    assert 0.8 < other.std() < 1.2
    spec = MethodSpec.parse("redenoise:shuffle,swap")
    assert (spec.shuffle, spec.swap, spec.label) == (True, True, "redenoise:swap,shuffle")


def test_fresh_noise_follows_from_its_row_alone() -> None:
    fresh = fresh_noise(NOISE, "test")
    assert torch.equal(fresh_noise(NOISE[1:], "test")[0], fresh[1])
    assert torch.equal(fresh_noise(NOISE.flip(0), "test").flip(0), fresh)
    seed = int(hashlib.sha256(b"test/0/" + NOISE[0].numpy().tobytes()).hexdigest()[:16], 16) // 2
    assert torch.equal(fresh[0], torch.randn(4, 8, 8, generator=torch.Generator().manual_seed(seed)))
    assert not torch.equal(fresh, fresh_noise(NOISE, "test", 1))
    assert not torch.equal(fresh, fresh_noise(NOISE, "other"))


def test_noise_that_is_not_finite_is_refused() -> None:
    class Broken(Doubler):
        def perturb(self, pipeline, embeds, noise):
            return noise * math.nan

    with pytest.raises(NoiseError, match="512 of 512"):
        make_noise(MethodSpec("broken", "x"), Broken(), FakePipeline(), EMBEDS, None, NOISE)  # type: ignore[arg-type]


# ----------------------------------------------------------------------------------------------------------- redenoise


def test_redenoise_hands_on_its_options() -> None:
    pipeline = FakePipeline()
    made = _make("redenoise:denoise_guidance_scale=7,rounds=2", pipeline)
    (_, first), (_, second) = pipeline.redenoised
    expected = {"denoise_guidance_scale": 7.0, "invert_guidance_scale": None, "num_inference_steps": None}
    assert first == second == {**expected, "invert_at": "paper", "lower": None}
    shift = torch.tensor([sum(t.encode()) % 50 / 100 for t in EMBEDS.texts])[:, None, None, None]
    assert torch.equal(made, NOISE + shift + shift)
    assert Redenoise().rounds == 1


# --------------------------------------------------------------------------------------------------------------- npnet


@pytest.fixture
def network_folder(tmp_path):
    from noiseprompt.npnet import build
    from noiseprompt.npnet.config import NPNetConfig

    torch.manual_seed(0)
    config = NPNetConfig(
        "tokens",
        family="stable-diffusion",
        latent_shape=(4, 8, 8),
        text_length=2,
        text_width=3,
        width=16,
        depth=1,
        heads=2,
    )
    net = build(config)
    for parameter in net.parameters():  # a fresh network changes nothing
        torch.nn.init.normal_(parameter, std=0.1)
    return net.save_pretrained(tmp_path / "net")


def test_npnet_predicts_what_its_network_predicts(network_folder, monkeypatch) -> None:
    from noiseprompt.npnet.base import NPNet

    net = NPNet.from_pretrained(network_folder)
    loads = []
    monkeypatch.setattr(NPNet, "from_pretrained", lambda source, **_: loads.append(source) or net)
    method = NpnetMethod(str(network_folder))
    pipeline = FakePipeline()
    method.prepare(pipeline, Sampling())  # type: ignore[arg-type]
    made = method.perturb(pipeline, EMBEDS, NOISE)  # type: ignore[arg-type]
    method.perturb(pipeline, EMBEDS, NOISE)  # type: ignore[arg-type]
    with torch.no_grad():
        expected = net(NOISE, EMBEDS.prompt_embeds)
    assert torch.equal(made, expected)
    assert not torch.equal(made, NOISE)
    assert not made.requires_grad
    assert loads == [str(network_folder)]
    assert pipeline.denoiser_calls == 0


def test_npnet_describes_its_weights(network_folder) -> None:
    from noiseprompt.npnet.base import NPNet

    first, second = NpnetMethod(str(network_folder)), NpnetMethod(str(network_folder))
    first.prepare(FakePipeline(), Sampling())  # type: ignore[arg-type]
    net = NPNet.from_pretrained(network_folder)
    with torch.no_grad():
        next(net.parameters()).add_(1e-3)
    net.save_pretrained(network_folder)
    second.prepare(FakePipeline(), Sampling())  # type: ignore[arg-type]
    assert len(first.describe()["weights"]) == 12
    assert first.describe() != second.describe()


def test_npnet_of_another_pipeline_is_refused(network_folder) -> None:
    method, pipeline = NpnetMethod(str(network_folder)), FakePipeline()
    with pytest.raises(InputError, match="prepare"):
        method.perturb(pipeline, EMBEDS, NOISE)  # type: ignore[arg-type]
    method.prepare(pipeline, Sampling())  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match=r"\(4, 16, 16\).*\(4, 8, 8\).*re-denoise"):
        method.prepare(pipeline, Sampling(height=16, width=16))  # type: ignore[arg-type]
    with pytest.raises(ShapeError, match=r"\(4, 16, 16\).*\(4, 8, 8\)"):
        method.perturb(pipeline, EMBEDS, torch.randn(2, 4, 16, 16))  # type: ignore[arg-type]
    pipeline.family = SimpleNamespace(name="stable-diffusion-xl")
    with pytest.raises(ModelMismatchError, match="stable-diffusion-xl"):
        method.perturb(pipeline, EMBEDS, NOISE)  # type: ignore[arg-type]


def test_npnet_without_a_path_needs_the_shipped_world(monkeypatch) -> None:
    from noiseprompt.npnet.base import NPNet, build
    from noiseprompt.npnet.config import NPNetConfig
    from noiseprompt.shapes import world

    with pytest.raises(InputError, match="npnet:path="):
        NpnetMethod().prepare(FakePipeline(), Sampling())  # type: ignore[arg-type]
    pipeline, asked = FakePipeline(), []
    pipeline.name = "shapes"
    monkeypatch.setattr(world, "npnet_folder", lambda: "the folder")
    net = build(NPNetConfig("tokens", latent_shape=(4, 8, 8), text_length=2, text_width=3))
    monkeypatch.setattr(NPNet, "from_pretrained", lambda source, **_: asked.append(source) or net)
    NpnetMethod().prepare(pipeline, Sampling())  # type: ignore[arg-type]
    assert asked == ["the folder"]


@pytest.mark.parametrize(
    ("one", "other"),
    [("redenoise", "redenoise:rounds=1"), ("nlg:rounds=20,swap", "nlg:swap"), ("npnet:no_text=false", "npnet")],
)
def test_one_method_under_two_labels_is_refused(one: str, other: str) -> None:
    specs = [MethodSpec.parse(text) for text in ("standard", one, other)]
    with pytest.raises(InputError, match="which are the same method"):
        check_different(specs)
    check_different(
        [*specs[:2], MethodSpec.parse(f"{other},strength=0.5" if ":" in other else f"{other}:strength=0.5")]
    )
