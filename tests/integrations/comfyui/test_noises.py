"""What the nodes make: noises, levels and steps by formulas and by the package, what they refuse."""

from __future__ import annotations

import math
from types import SimpleNamespace
from typing import Any

import pytest
import torch

import noiseprompt
from noiseprompt.noise.moves import closed_form
from noiseprompt.npnet import NPNet
from tests.devices import DEVICE, accelerator
from tests.integrations.comfyui.networks import LENGTH, SHAPE, WIDTH, network
from tests.integrations.comfyui.stubs import Diffusion, Flow, Model, RandomNoise

LATENT = {"samples": torch.zeros(2, *SHAPE)}


def embeds(rows: int = 1, chunks: int = 1) -> torch.Tensor:
    return torch.randn(rows, chunks * LENGTH, WIDTH, generator=torch.Generator().manual_seed(3))


def npnet_noise(nodes: Any, net: NPNet, text: torch.Tensor, source: Any = None, **changed: Any) -> Any:
    usual = {"strength": 1.0, "renormalize": False, "no_text": False, "long_prompts": "truncate"}
    given = {"noise": source or RandomNoise(7), "npnet": net, "conditioning": [[text, {}]], **usual, **changed}
    return nodes["NoisepromptNPNetNoise"].execute(**given).result[0]


# -------------------------------------------------------------------------------------------------------------- NPNet


def test_the_noise_of_an_npnet_is_that_of_the_package(nodes) -> None:
    net, text = network(), embeds()
    noise = npnet_noise(nodes, net, text, strength=1.5, renormalize=True)
    made = noise.generate_noise(LATENT)
    source = torch.randn(2, *SHAPE, generator=torch.Generator().manual_seed(7))
    expected = noiseprompt.perturb_noise(net, source, text.expand(2, -1, -1), strength=1.5, renormalize=True)
    assert noise.seed == 7 and made.device.type == "cpu"
    assert torch.equal(made, expected) and not torch.equal(made, source)
    assert torch.equal(noise.generate_noise(LATENT), made)


def test_rows_follow_batch_index_and_prompts_take_turns(nodes) -> None:
    net, text = network(), embeds(2)
    latent = {"samples": torch.zeros(3, *SHAPE), "batch_index": [4, 0, 1]}
    rows = [torch.randn(1, *SHAPE, generator=g) for g in [torch.Generator().manual_seed(7)] for _ in range(5)]
    source = torch.cat([rows[4], rows[0], rows[1]])
    made = npnet_noise(nodes, net, text).generate_noise(latent)
    torch.testing.assert_close(made, noiseprompt.perturb_noise(net, source, text[[0, 1, 0]]))


def test_strength_zero_hands_the_source_on_whatever_it_is(nodes) -> None:
    nested = SimpleNamespace(seed=5, generate_noise=lambda latent: "nested")
    assert npnet_noise(nodes, network("picture"), embeds(3), nested, strength=0.0).generate_noise({}) == "nested"


def test_a_film_of_one_frame_is_a_picture(nodes) -> None:
    net, text = network(), embeds()
    made = npnet_noise(nodes, net, text).generate_noise({"samples": torch.zeros(2, 4, 1, 16, 16)})
    assert made.shape == (2, 4, 1, 16, 16)
    assert torch.equal(made.squeeze(2), npnet_noise(nodes, net, text).generate_noise(LATENT))


def test_long_prompts_are_cut_or_averaged(nodes) -> None:
    net, text = network(), embeds(1, 3)
    cut, mean = (npnet_noise(nodes, net, text, long_prompts=how) for how in ("truncate", "average"))
    first, average = text[:, :LENGTH], text.reshape(1, 3, LENGTH, WIDTH).mean(1)
    for noise, seen in ((cut, first), (mean, average)):
        assert torch.equal(noise.generate_noise(LATENT), npnet_noise(nodes, net, seen).generate_noise(LATENT))


@pytest.mark.parametrize(
    ("shape", "text", "words"),
    [
        ((2, 4, 5, 16, 16), embeds(), "a film of 5 frames"),
        ((2, 4, 99), embeds(), r"latents of shape \(2, 4, 99\)"),
        ((2, 4, 24, 16), embeds(), "never resized"),
        ((1, *SHAPE), embeds(2), "2 prompts for 1 latents"),
        ((2, *SHAPE), embeds()[:, :5], "prompt embeddings of shape"),
    ],
)
def test_what_an_npnet_cannot_take_is_told(nodes, shape, text, words) -> None:
    with pytest.raises(noiseprompt.NoisepromptError, match=words):
        npnet_noise(nodes, network(), text).generate_noise({"samples": torch.zeros(shape)})


def test_nested_latents_and_several_conditionings_are_refused(nodes) -> None:
    nested = SimpleNamespace(seed=1, generate_noise=lambda latent: SimpleNamespace(is_nested=True))
    with pytest.raises(noiseprompt.NoisepromptError, match="nested latents"):
        npnet_noise(nodes, network(), embeds(), nested).generate_noise(LATENT)
    with pytest.raises(noiseprompt.NoisepromptError, match="a NOISE that gives NoneType"):
        npnet_noise(nodes, network(), embeds(), SimpleNamespace(seed=1, generate_noise=lambda _: None)).generate_noise(
            LATENT
        )
    with pytest.raises(noiseprompt.NoisepromptError, match="long_prompts 'mean'"):
        npnet_noise(nodes, network(), embeds(), long_prompts="mean")
    parts = [[embeds(), {}], [embeds(), {"area": ()}]]
    with pytest.raises(noiseprompt.NoisepromptError, match="2 parts"):
        npnet_noise(nodes, network(), embeds(), conditioning=parts).generate_noise(LATENT)


# ------------------------------------------------------------------------------------------------------------- levels


@pytest.mark.parametrize("sigma", [14.6, 9.0, 3.0])
def test_the_noise_carries_the_picture_at_the_samplers_level(nodes, sigma: float) -> None:
    """What the sampler makes of it is sigma x_T + h; at the greatest sigma it scales by sqrt(1 + sigma^2) itself."""
    net, text, model = network("picture"), embeds(), Model(Diffusion())
    made = npnet_noise(nodes, net, text, model=model, sigmas=torch.tensor([sigma, 1.0])).generate_noise(LATENT)
    source = RandomNoise(7).generate_noise(LATENT)
    state = made * (math.sqrt(1 + sigma**2) if sigma == 14.6 else sigma)
    expected = sigma * source + net.picture(source, text.expand(2, -1, -1))
    torch.testing.assert_close(state, expected, atol=1e-4, rtol=1e-4)


def test_the_level_of_a_flow_and_of_no_sigmas(nodes) -> None:
    net, text, source = network("picture"), embeds(), RandomNoise(7).generate_noise(LATENT)
    picture = net.picture(source, text.expand(2, -1, -1))
    made = npnet_noise(nodes, net, text, model=Model(Flow()), sigmas=torch.tensor([0.8, 0.5])).generate_noise(LATENT)
    torch.testing.assert_close(0.8 * made, 0.8 * source + 0.2 * picture, atol=1e-5, rtol=1e-4)
    given = {"model": Model(Diffusion()), "sigmas": torch.tensor([14.6, 1.0])}
    whole, told = (npnet_noise(nodes, net, text, **how) for how in ({"model": given["model"]}, given))
    assert torch.equal(whole.generate_noise(LATENT), told.generate_noise(LATENT))


@pytest.mark.parametrize(
    ("given", "words"),
    [
        ({}, "without the MODEL"),
        ({"model": Model(Flow())}, "no room"),
        ({"model": Model(Diffusion(4000.0))}, "no room"),
        ({"model": Model(Flow()), "sigmas": torch.zeros(0)}, "empty SIGMAS"),
    ],
)
def test_levels_without_room_are_refused_before_sampling(nodes, given, words) -> None:
    with pytest.raises(noiseprompt.NoisepromptError, match=words):
        npnet_noise(nodes, network("picture"), embeds(), **given)


# ------------------------------------------------------------------------------------------------------ training-free


def denoised(x: torch.Tensor, sigma: torch.Tensor, words: float) -> torch.Tensor:
    """x_0 = x - sigma eps, with an eps that depends on everything."""
    return x - sigma * eps(x, sigma, words)


def eps(x: torch.Tensor, sigma: Any, words: float) -> torch.Tensor:
    return torch.tanh(x / (1 + sigma)) * (1 + words) + 0.1 * words


def training_free(nodes: Any, model: Model, sigmas: list[float], method: str, **changed: Any) -> Any:
    how = {"denoise_guidance": 5.5, "invert_guidance": 1.0, "strength": 1.0, "renormalize": False, **changed}
    given = {"noise": RandomNoise(7), "model": model, "positive": 0.3, "negative": 0.1, "sigmas": torch.tensor(sigmas)}
    return nodes["NoisepromptTrainingFreeNoise"].execute(method=method, **given, **how).result[0]


def test_closed_form_is_the_theorem(nodes) -> None:
    """In the package's words: alpha-bar 1 / (1 + sigma^2), eps of the scaled state."""
    model, high, low = Model(Diffusion(), denoised), 14.6, 8.0
    made = training_free(nodes, model, [high, low, 1.0, 0.0], "closed form").generate_noise(LATENT)
    source, alphas = RandomNoise(7).generate_noise(LATENT), [1 / (1 + sigma**2) for sigma in (high, low)]
    state = source * math.sqrt(1 + high**2)
    expected = closed_form(source, eps(state, high, 0.3), eps(state, high, 0.1), *alphas, 5.5 - 1.0)
    torch.testing.assert_close(made, expected, atol=1e-5, rtol=1e-5)
    assert model.evaluations == 2 * len(source)


@pytest.mark.parametrize(("sampling", "high", "scale"), [(Diffusion(), 9.0, 9.0), (Flow(), 1.0, 1.0)])
def test_redenoise_is_a_step_down_and_a_step_up(nodes, sampling, high: float, scale: float) -> None:
    model, low = Model(sampling, denoised), high / 2
    made = training_free(nodes, model, [high, low], "re-denoise", strength=0.5).generate_noise(LATENT)
    source = RandomNoise(7).generate_noise(LATENT).double()
    x = scale * source
    guided = eps(x, high, 0.1) + 5.5 * (eps(x, high, 0.3) - eps(x, high, 0.1))
    lower = x + (low - high) * guided
    upper = lower + (high - low) * eps(lower, low, 0.3)
    torch.testing.assert_close(made.double(), source + 0.5 * (upper / scale - source), atol=1e-5, rtol=1e-5)
    assert model.evaluations == 3 * len(source)


def test_training_free_noise_of_a_film_at_its_norm_and_of_strength_zero(nodes) -> None:
    film, model = {"samples": torch.zeros(2, 4, 3, 8, 8)}, Model(Flow(), denoised)
    made = training_free(nodes, model, [1.0, 0.7], "re-denoise", strength=3.0, renormalize=True).generate_noise(film)
    source = RandomNoise(7).generate_noise(film)
    torch.testing.assert_close(made.flatten(1).norm(dim=1), source.flatten(1).norm(dim=1))
    assert not torch.equal(made, source)
    model.evaluations = 0
    plain = training_free(nodes, model, [1.0, 0.7], "re-denoise", strength=0.0).generate_noise(film)
    assert torch.equal(plain, source) and not model.evaluations


@pytest.mark.parametrize(
    ("sigmas", "changed", "words"),
    [
        ([1.0, 0.5], {"denoise_guidance": 1.0}, "no guidance gap"),
        ([1.0], {}, "at least two falling"),
        ([1.0, 0.0], {}, "at least two falling"),
        ([], {}, "at least two falling"),
        ([0.5, 1.0], {}, "at least two falling"),
        ([float("nan"), 0.5], {}, "at least two falling"),
        ([float("inf"), 0.5], {}, "at least two falling"),
    ],
)
def test_steps_that_are_none_are_refused_before_sampling(nodes, sigmas, changed, words) -> None:
    with pytest.raises(noiseprompt.NoisepromptError, match=words):
        training_free(nodes, Model(Flow(), denoised), sigmas, "re-denoise", **changed)


def test_words_that_no_list_offers_are_told(nodes) -> None:
    with pytest.raises(
        noiseprompt.NoisepromptError, match=r"method 'redenoise'\. Expected one of closed form, re-deno"
    ):
        training_free(nodes, Model(Flow(), denoised), [1.0, 0.5], "redenoise")
    with pytest.raises(noiseprompt.NoisepromptError, match=r"device 'cuda:7'\. Expected one of default, cpu"):
        nodes["NoisepromptLoadNPNet"].execute(source="mine", device="cuda:7")


def test_noise_that_is_not_finite_is_refused(nodes) -> None:
    broken = Model(Flow(), lambda x, sigma, words: x * float("nan"))
    with pytest.raises(noiseprompt.NoisepromptError, match="not finite"):
        training_free(nodes, broken, [1.0, 0.5], "closed form").generate_noise(LATENT)


@pytest.mark.parametrize("method", ["closed form", "re-denoise"])
def test_the_model_may_run_elsewhere(nodes, method: str) -> None:
    here, there = Model(Flow(), denoised), Model(Flow(), denoised)
    expected = training_free(nodes, here, [1.0, 0.7], method).generate_noise(LATENT)
    with accelerator():
        there.device = DEVICE
        made = training_free(nodes, there, [1.0, 0.7], method).generate_noise(LATENT)
        assert made.device.type == "cpu"
    torch.testing.assert_close(made, expected, atol=1e-5, rtol=1e-5)


# --------------------------------------------------------------------------------------------------------- mix, doctor


def test_mixing_two_noises(nodes) -> None:
    def mixed(amount: float) -> Any:
        return nodes["NoisepromptMixNoise"].execute(RandomNoise(1), RandomNoise(2), amount).result[0]

    first, second = (RandomNoise(seed).generate_noise(LATENT) for seed in (1, 2))
    assert mixed(0.3).seed == 1
    assert torch.equal(mixed(0.3).generate_noise(LATENT), noiseprompt.mix_noise(first, second, 0.3))
    assert torch.equal(mixed(0.0).generate_noise(LATENT), first)
    assert torch.equal(mixed(1.0).generate_noise(LATENT), second)


def test_the_doctor_tells_good_noise_from_resampled(nodes) -> None:
    doctor, latent = nodes["NoisepromptNoiseDoctor"], {"samples": torch.zeros(2, 4, 64, 64)}
    picture, text = doctor.execute(RandomNoise(1), latent).result
    assert picture.shape[0] == 1 and picture.shape[-1] == 3 and 0 <= float(picture.min()) < float(picture.max()) <= 1
    report = noiseprompt.inspect_noise(RandomNoise(1).generate_noise(latent))
    assert f"mean {' '.join(f'{x:.3f}' for x in report.mean)} (0)" in text
    assert text.splitlines()[0] == "2 x 4 channels of 64 x 64" and text.endswith("like unit Gaussian noise")

    def resampled(latent: Any) -> torch.Tensor:
        half = torch.randn(2, 4, 32, 32, generator=torch.Generator().manual_seed(1))
        return torch.nn.functional.interpolate(half, scale_factor=2, mode="bilinear")

    wide, text = doctor.execute(SimpleNamespace(seed=1, generate_noise=resampled), latent, source=RandomNoise(1)).result
    assert "outside: " in text and "perturbation" in text and wide.shape[2] > picture.shape[2]


def test_the_doctor_looks_at_noise_that_is_broken(nodes) -> None:
    broken = SimpleNamespace(seed=1, generate_noise=lambda latent: torch.full((1, 4, 8, 8), float("nan")))
    latent = {"samples": torch.zeros(1, 4, 8, 8)}
    picture, text = nodes["NoisepromptNoiseDoctor"].execute(broken, latent, source=RandomNoise(1)).result
    assert "not finite" in text and bool(torch.isfinite(picture).all())


def test_the_doctor_asks_the_model_for_the_channels(nodes) -> None:
    doctor, latent = nodes["NoisepromptNoiseDoctor"], {"samples": torch.zeros(1, 4, 32, 32)}
    _, text = doctor.execute(RandomNoise(1), latent, model=Model(Flow(), channels=16)).result
    assert text.startswith("1 x 16 channels of 32 x 32")
    shown = doctor.execute(RandomNoise(1), latent).ui["images"]
    assert shown.dtype == torch.float32
