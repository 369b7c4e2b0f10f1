"""Training of the world, at toy size: what is folded into the VAE, resuming, and what is exported."""

from __future__ import annotations

from dataclasses import replace
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import StableDiffusionPipeline
from safetensors.torch import load_file

from noiseprompt.core.averages import Average
from noiseprompt.core.errors import ConfigError, DivergedError, StoreLockedError
from noiseprompt.shapes import captions, model, scenes
from noiseprompt.shapes.features import train_features
from noiseprompt.shapes.phases import Layout, locate, loss_weights
from noiseprompt.shapes.preference import train_preference
from noiseprompt.shapes.settings import FeatureConfig, Phase, PreferenceConfig, WorldConfig
from noiseprompt.shapes.train_world import draw_scenes, export, normalise_latents, train_world
from noiseprompt.shapes.training import average_of, loop, optimize

PHASES = (
    Phase(3, 1e-3, 2, 0.5, 0.35, 0.1, decay_steps=9),
    Phase(3, 8e-4, 1, 0.5, 0.4, 0.05, snr_floor=0.25, layout_weight=0.1, layout_only=1),
)
TOY = WorldConfig(num_scenes=8, vae_steps=2, vae_batch_size=2, phases=PHASES, batch_size=2, checkpoint_seconds=0.0)


def test_normalised_vae_gives_shifted_latents_and_the_same_pictures() -> None:
    torch.manual_seed(0)
    plain, folded = model.build_vae().eval(), model.build_vae().eval()
    folded.load_state_dict(plain.state_dict())
    mean, std = torch.tensor([1.0, 2.0, -0.2, -4.0]), torch.tensor([1.5, 2.0, 1.3, 0.7])
    normalise_latents(folded, mean, std)
    x = torch.rand(2, 3, 64, 64) * 2 - 1
    with torch.no_grad():
        before, after = plain.encode(x).latent_dist, folded.encode(x).latent_dist
        expected = (before.mean - mean.view(1, -1, 1, 1)) / std.view(1, -1, 1, 1)
        torch.testing.assert_close(after.mean, expected, atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(after.std, before.std / std.view(1, -1, 1, 1), atol=1e-5, rtol=1e-4)
        torch.testing.assert_close(
            folded.decode(after.mean).sample, plain.decode(before.mean).sample, atol=1e-4, rtol=1e-4
        )


def test_an_interrupted_training_ends_with_the_same_weights_and_loads_in_plain_diffusers(tmp_path: Path) -> None:
    list(train_world(tmp_path / "whole", TOY))
    export(tmp_path / "whole", TOY, tmp_path / "whole-model")

    class Killed(Exception):
        pass

    calls = 0
    original = Average.update

    def dying(self: Average, step: int) -> None:
        nonlocal calls
        calls += 1
        if calls in (2, 5):  # once in the autoencoder, once in the U-Net
            raise Killed
        original(self, step)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(Average, "update", dying)
        for _ in range(3):
            try:
                list(train_world(tmp_path / "parts", TOY))
            except Killed:
                continue
    export(tmp_path / "parts", TOY, tmp_path / "parts-model")
    for part in ("unet", "vae", "text_encoder"):
        whole, parts = (
            load_file(next((tmp_path / f"{run}-model" / part).glob("*.safetensors"))) for run in ("whole", "parts")
        )
        assert whole.keys() == parts.keys()
        assert all(torch.equal(whole[name], parts[name]) for name in whole), part
    pipe = StableDiffusionPipeline.from_pretrained(tmp_path / "whole-model", torch_dtype=torch.float32)
    pipe.set_progress_bar_config(disable=True)
    image = pipe("a red circle", num_inference_steps=2, output_type="np").images
    assert image.shape == (1, 64, 64, 3)
    with pytest.raises(ConfigError, match="other settings"):
        next(train_world(tmp_path / "whole", replace(TOY, batch_size=3)))


def test_training_pictures_come_from_the_training_split_and_show_their_request() -> None:
    requests, drawn = draw_scenes(0, 200)
    assert {scenes.split_of(r) for r in requests} == {"train"}
    assert [r.text for r in draw_scenes(0, 20)[0]] == [r.text for r in requests[:20]]
    for request, scene in zip(requests, drawn, strict=True):
        shown = [(o.colour, o.shape) for o in scene.objects]
        assert shown == list(request.things) * request.count
        assert not set(shown) & scenes.HELD_OUT


def test_caption_noise_has_the_shares_it_is_given() -> None:
    rng = np.random.default_rng(0)
    request = scenes.parse("a red circle above a blue square")
    texts = [captions.CaptionNoise(0.35, 0.1, 0.1).caption(rng, request) for _ in range(4000)]
    assert texts.count("") / 4000 == pytest.approx(0.10, abs=0.02)
    assert texts.count(request.text) / 4000 == pytest.approx(0.45, abs=0.03)


def test_schedule_is_that_of_sdxl() -> None:
    """Betas of stabilityai/stable-diffusion-xl-base-1.0's scheduler, written out in float64."""
    betas = np.linspace(0.00085**0.5, 0.012**0.5, 1000) ** 2
    scheduler = model.build_scheduler()
    np.testing.assert_allclose(scheduler.alphas_cumprod.numpy(), np.cumprod(1 - betas), rtol=1e-4)
    scheduler.set_timesteps(10)
    assert scheduler.timesteps.tolist() == [901, 801, 701, 601, 501, 401, 301, 201, 101, 1]
    assert scheduler.config.prediction_type == "epsilon" and scheduler.config.clip_sample is False


def test_phases_follow_each_other_and_end_where_the_last_ends() -> None:
    assert [locate(PHASES, step) for step in (0, 2, 3, 5)] == [(0, 0), (0, 2), (1, 0), (1, 2)]
    assert PHASES[0].rate(2) > 0.9e-3, "a phase may stop before its cosine does"
    assert PHASES[1].captions(0, 0.1).unrelated == 0 and PHASES[1].captions(2, 0.1).unrelated == 0.4


def test_loss_weights_are_min_snr_with_a_floor() -> None:
    """Times SNR they are the weight of the clean picture's error: min(SNR, 5), or at least the floor."""
    alphas = torch.tensor([0.999, 0.5, 0.01])
    snr = alphas / (1 - alphas)
    torch.testing.assert_close(loss_weights(alphas, 0.0) * snr, torch.tensor([5.0, 1.0, 0.01 / 0.99]))
    torch.testing.assert_close(loss_weights(alphas, 0.25) * snr, torch.tensor([5.0, 1.0, 0.25]))


def test_the_layout_loss_breaks_the_tie_between_relations() -> None:
    """Embeddings that start without any trace of "left" or "right" come to tell them apart."""
    torch.manual_seed(0)
    latents = torch.zeros(2, 4, 16, 16)
    latents[0, :, :, :8], latents[1, :, :, 8:] = 1.0, 1.0
    embeds = (0.01 * torch.randn(1, 12, 128)).repeat(2, 1, 1).requires_grad_()
    layout = Layout(128)
    optimizer = torch.optim.Adam([embeds, *layout.parameters()], lr=1e-2)
    first = layout(embeds, latents).item()
    for _ in range(60):
        optimizer.zero_grad()
        loss = layout(embeds, latents)
        loss.backward()
        optimizer.step()
    assert loss.item() < 0.2 * first
    assert (embeds[0] - embeds[1]).norm() > 0.1


def test_a_second_training_in_the_same_folder_is_refused_until_the_first_ends(tmp_path: Path) -> None:
    first = train_preference(tmp_path, PreferenceConfig(steps=1, batch_size=2))
    next(first)
    for second in (train_world(tmp_path, TOY), train_features(tmp_path, FeatureConfig(steps=1))):
        with pytest.raises(StoreLockedError, match="another process"):
            next(second)
    first.close()
    with pytest.raises(ConfigError, match="other settings"):
        next(train_world(tmp_path, TOY))


def test_a_loss_that_is_not_finite_stops_and_leaves_the_last_checkpoint(tmp_path: Path) -> None:
    net = torch.nn.Linear(2, 1)
    ema, optimizer = average_of(net, 0.9), torch.optim.SGD(net.parameters(), lr=0.1)
    state = {"model": net, "ema": ema, "optimizer": optimizer}

    def step_fn(step: int) -> float:
        loss = net(torch.full((1, 2), float("inf") if step == 2 else 1.0)).square().mean()
        optimize(optimizer, ema, loss, 0.1, step)
        return loss.item()

    with pytest.raises(DivergedError, match="step 3"):
        list(loop(tmp_path, "toy", 5, state, step_fn, every=-1))
    saved = torch.load(tmp_path / "toy.pt", weights_only=True)
    assert saved["step"] == 2
    for name, value in net.state_dict().items():
        assert value.isfinite().all() and torch.equal(saved["model"][name], value)
