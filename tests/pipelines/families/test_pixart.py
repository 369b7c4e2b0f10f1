"""PixArt-alpha and Sigma on tiny pipelines of their real classes, against a loop written out here."""

from __future__ import annotations

from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import DPMSolverMultistepScheduler

from noiseprompt.core.errors import ShapeError
from noiseprompt.noise.seeds import batch_noise
from noiseprompt.pipelines import Pipeline
from noiseprompt.pipelines.families import pixart as family_file
from tests.pipelines.families.stages import run_stages
from tests.pipelines.families.tiny_pixart import pixart

PROMPTS = ["a red cube", "two blue ball"]
KINDS = {"PixArtAlphaPipeline": ("pixart-alpha", 120), "PixArtSigmaPipeline": ("pixart-sigma", 300)}


@pytest.fixture(scope="module", params=KINDS)
def folder(request, tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("pixart") / request.param
    pixart(request.param).save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def pipeline(folder) -> Pipeline:
    return Pipeline.load(folder)


def test_facts(pipeline):
    name, length = KINDS[type(pipeline.pipe).__name__]
    family = pipeline.family
    assert (family.name, family.guidance_scale, family.num_inference_steps) == (name, 4.5, 20)
    assert (family.denoise_guidance_scale, family.invert_guidance_scale, family.collection_steps) == (4.5, 1.0, 10)
    assert pipeline.latent_shape() == (4, 8, 8) and pipeline.latent_shape(96, 64) == (4, 12, 8)
    assert not pipeline.is_flow
    assert not pipeline.family.why_no_guidance(pipeline.pipe)
    with pytest.raises(ShapeError, match="multiples of 16"):
        pipeline.latent_shape(72, 64)
    embeds = pipeline.encode(PROMPTS)
    assert embeds.prompt_embeds.shape == (2, length, 24)
    assert embeds.call_kwargs["prompt_attention_mask"].shape == (2, length)


@pytest.mark.parametrize(("size", "guidance"), [((64, 64), 4.5), ((64, 64), 1.0), ((96, 64), 4.5)])
def test_sampling_is_the_plain_diffusers_call(pipeline, size, guidance):
    x = batch_noise([1, 2], pipeline.latent_shape(*size))
    settings = {"guidance_scale": guidance, "num_inference_steps": 3}
    mine = pipeline.sample(pipeline.encode(PROMPTS), x, **settings)
    theirs = pipeline.pipe(
        PROMPTS, latents=x, height=size[0], width=size[1], use_resolution_binning=False, **settings
    ).images
    assert mine.shape == (2, *size, 3) and mine.std() > 1
    assert np.array_equal(mine, np.stack([np.asarray(image) for image in theirs]))


def by_hand(pipe, x, down, up, invert_at, micro=False):
    """Equations 1 and 2 in float64 with PixArt's linear betas, the transformer called directly."""
    t_from, t_to = 999, 899  # of DPM-Solver++ with 10 steps: eleven evenly spaced numbers from 999 to 0
    bar = torch.cumprod(1 - torch.linspace(0.0001, 0.02, 1000, dtype=torch.float64), 0)
    length = KINDS[type(pipe).__name__][1]
    height, width = x.shape[2] * 8, x.shape[3] * 8

    def eps_of(x, t, prompts):
        tokens = pipe.tokenizer(prompts, padding="max_length", max_length=length, return_tensors="pt")
        out = pipe.transformer(
            x.float(),
            encoder_hidden_states=pipe.text_encoder(tokens.input_ids, attention_mask=tokens.attention_mask)[0],
            encoder_attention_mask=tokens.attention_mask,
            timestep=torch.tensor([t] * len(x)),
            added_cond_kwargs={
                "resolution": torch.tensor([[float(height), float(width)]] * len(x)) if micro else None,
                "aspect_ratio": torch.tensor([[height / width]] * len(x)) if micro else None,
            },
        ).sample
        return out[:, :4].double()  # the other half is the learned variance

    def eps(x, t, guidance):
        empty = eps_of(x, t, [""] * len(x))
        return empty + guidance * (eps_of(x, t, PROMPTS) - empty)

    def ddim(x, e, t, to):
        return (bar[to] / bar[t]).sqrt() * (x - (1 - bar[t]).sqrt() * e) + (1 - bar[to]).sqrt() * e

    with torch.no_grad():
        lower = ddim(x.double(), eps(x.double(), t_from, down), t_from, t_to)
        return lower, ddim(lower, eps(lower, t_to if invert_at == "paper" else t_from, up), t_to, t_from)


@pytest.mark.parametrize("invert_at", ["paper", "published"])
@pytest.mark.parametrize("size", [(64, 64), (96, 64)])
def test_redenoise_is_the_loop_written_by_hand(pipeline, invert_at, size):
    x = batch_noise([3, 4], pipeline.latent_shape(*size))
    embeds = pipeline.encode(PROMPTS)
    assert pipeline.levels(10)[:2] == (999, 899)
    lower, upper = by_hand(pipeline.pipe, x, 4.5, 1.0, invert_at)
    mine = pipeline.redenoise(embeds, x, invert_at=invert_at)
    assert (upper - x).abs().max() > 1e-2, "the oracle must move the noise"
    assert (mine - upper).abs().max() < 1e-3 * (upper - x).abs().max()
    down = pipeline.denoise_step(embeds, x, guidance_scale=4.5, num_inference_steps=10)
    assert (down - lower).abs().max() < 1e-4 * lower.abs().max()


def test_one_step_is_the_first_of_its_own_sampler(pipeline):
    x, embeds = batch_noise([5, 6], pipeline.latent_shape()), pipeline.encode(PROMPTS)
    eps = pipeline.predictions(embeds, x, guidance_scale=4.5, num_inference_steps=10)
    own = DPMSolverMultistepScheduler.from_config(pipeline.pipe.scheduler.config)
    own.set_timesteps(10)
    expected = own.step(eps, own.timesteps[0], x).prev_sample
    mine = pipeline.denoise_step(embeds, x, guidance_scale=4.5, num_inference_steps=10)
    assert (mine - expected).abs().max() < 1e-4 * expected.abs().max()


def test_a_grid_of_one_step_makes_a_move(pipeline):
    x, embeds = batch_noise([5, 6], pipeline.latent_shape()), pipeline.encode(PROMPTS)
    assert (pipeline.denoise_step(embeds, x, guidance_scale=4.5, num_inference_steps=1) - x).abs().max() > 0


def test_the_1024_model_is_told_the_real_size():
    pipeline = Pipeline(pixart(sample_size=128, attention_head_dim=12, cross_attention_dim=24))
    assert pipeline.default_size == (1024, 1024)
    x = batch_noise([3, 4], pipeline.latent_shape(96, 64))
    _, upper = by_hand(pipeline.pipe, x, 4.5, 1.0, "paper", micro=True)
    assert (pipeline.redenoise(pipeline.encode(PROMPTS), x) - upper).abs().max() < 1e-3 * (upper - x).abs().max()


@pytest.mark.parametrize("cleans", [True, False])
def test_captions_are_cleaned_where_the_pipeline_would(pipeline, cleans, monkeypatch):
    asked = []
    monkeypatch.setattr(family_file, "can_clean_captions", lambda: cleans)
    own = pipeline.pipe._text_preprocessing
    monkeypatch.setattr(
        pipeline.pipe, "_text_preprocessing", lambda texts, clean_caption: (asked.append(clean_caption), own(texts))[1]
    )
    pipeline.encode(PROMPTS)
    assert set(asked) == {cleans}


def test_the_lcm_checkpoint_is_sampled_without_guidance():
    family = Pipeline(pixart(), "PixArt-alpha/PixArt-LCM-XL-2-1024-MS").family
    assert (family.guidance_scale, family.num_inference_steps) == (1.0, 4)


def test_from_the_command_line(folder, pipeline, tmp_path):
    name, length = KINDS[type(pipeline.pipe).__name__]
    net = run_stages(folder, tmp_path, name)
    assert (net.config.text_length, net.config.text_width) == (length, 24)
