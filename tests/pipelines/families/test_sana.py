"""Sana on a tiny pipeline of its real classes, against a loop written out here."""

from __future__ import annotations

import inspect
from pathlib import Path

import numpy as np
import pytest
import torch
from diffusers import FlowMatchEulerDiscreteScheduler

from noiseprompt.core.errors import ShapeError
from noiseprompt.noise.seeds import batch_noise
from noiseprompt.pipelines import Pipeline
from tests.pipelines.families.stages import run_stages
from tests.pipelines.families.tiny_sana import sana

PROMPTS = ["a red cube", "two blue ball"]


@pytest.fixture(scope="module")
def folder(tmp_path_factory) -> Path:
    folder = tmp_path_factory.mktemp("sana") / "Sana-tiny"
    sana().save_pretrained(folder)
    return folder


@pytest.fixture(scope="module")
def pipeline(folder) -> Pipeline:
    return Pipeline.load(folder)


@pytest.fixture(scope="module")
def embeds(pipeline):
    return pipeline.encode(PROMPTS)


def test_facts(pipeline, embeds):
    family = pipeline.family
    assert (family.name, family.guidance_scale, family.num_inference_steps) == ("sana", 4.5, 20)
    assert (family.denoise_guidance_scale, family.invert_guidance_scale, family.collection_steps) == (4.5, 1.0, 10)
    assert pipeline.default_size == (64, 64) and pipeline.latent_shape() == (32, 2, 2)
    assert pipeline.latent_shape(128, 96) == (32, 4, 3)
    assert pipeline.is_flow
    assert not pipeline.family.why_no_guidance(pipeline.pipe)
    with pytest.raises(ShapeError, match="multiples of 32"):
        pipeline.latent_shape(80, 64)
    assert embeds.prompt_embeds.shape == (2, 300, 16)
    assert embeds.call_kwargs["prompt_attention_mask"].shape == (2, 300)


@pytest.mark.parametrize(("size", "guidance"), [((64, 64), 4.5), ((64, 64), 1.0), ((128, 96), 4.5)])
def test_sampling_is_the_plain_diffusers_call(pipeline, embeds, size, guidance):
    x = batch_noise([1, 2], pipeline.latent_shape(*size))
    settings = {"guidance_scale": guidance, "num_inference_steps": 3}
    mine = pipeline.sample(embeds, x, **settings)
    theirs = pipeline.pipe(
        PROMPTS, latents=x, height=size[0], width=size[1], use_resolution_binning=False, **settings
    ).images
    assert mine.shape == (2, *size, 3) and mine.std() > 1
    assert np.array_equal(mine, np.stack([np.asarray(image) for image in theirs]))


def flow_sigmas(steps: int, shift: float = 3.0) -> np.ndarray:
    """Sana's grid: levels 0 to 0.999 in equal steps, shifted, from the noisiest down."""
    plain = np.linspace(0, 0.999, steps + 1)
    return (shift * plain / (1 + (shift - 1) * plain))[::-1]


def by_hand(pipe, x, sigmas, told, down, up, invert_at):
    """x + (s_to - s_from) v in float64, the transformer called directly with texts encoded here."""
    instruction = "\n".join(inspect.signature(type(pipe).__call__).parameters["complex_human_instruction"].default)

    def text(prompts, before):
        length = 300 if not before else len(pipe.tokenizer.encode(before)) + 298
        tokens = pipe.tokenizer(
            [before + prompt for prompt in prompts], padding="max_length", max_length=length, return_tensors="pt"
        )
        found = pipe.text_encoder(tokens.input_ids, attention_mask=tokens.attention_mask)[0]
        kept = [0, *range(length - 299, length)]
        return found[:, kept], tokens.attention_mask[:, kept]

    cond, empty = text(PROMPTS, instruction), text(["", ""], "")

    def v_of(x, t, words):
        return pipe.transformer(
            x.float(),
            encoder_hidden_states=words[0],
            encoder_attention_mask=words[1],
            timestep=torch.tensor([t] * len(x)),
        ).sample.double()

    def v(x, t, guidance):
        nothing = v_of(x, t, empty)
        return nothing + guidance * (v_of(x, t, cond) - nothing)

    step = float(sigmas[1] - sigmas[0])
    with torch.no_grad():
        lower = x.double() + step * v(x.double(), told[0], down)
        return lower, lower - step * v(lower, told[1 if invert_at == "paper" else 0], up)


@pytest.mark.parametrize("invert_at", ["paper", "published"])
def test_redenoise_is_the_flow_written_by_hand(pipeline, embeds, invert_at):
    x = batch_noise([3, 4], pipeline.latent_shape(128, 96))
    sigmas = flow_sigmas(10)
    told = [int(s * 1000) for s in sigmas[:2]]  # its scheduler cuts timesteps to integers
    assert pipeline.levels(10) == pytest.approx((*told, *sigmas[:2]), abs=1e-6)
    lower, upper = by_hand(pipeline.pipe, x, sigmas, told, 4.5, 1.0, invert_at)
    mine = pipeline.redenoise(embeds, x, invert_at=invert_at)
    assert (upper - x).abs().max() > 1e-3, "the oracle must move the noise"
    assert (mine - upper).abs().max() < 1e-3 * (upper - x).abs().max()
    down = pipeline.denoise_step(embeds, x, guidance_scale=4.5, num_inference_steps=10)
    assert torch.allclose(down.double(), lower, atol=1e-5)


def test_with_a_flow_match_scheduler(embeds):
    pipeline = Pipeline(sana(scheduler=FlowMatchEulerDiscreteScheduler(shift=3.0)))
    x = batch_noise([3, 4], pipeline.latent_shape())
    euler = FlowMatchEulerDiscreteScheduler(shift=3.0)
    euler.set_timesteps(10)
    v = pipeline.predictions(embeds, x, guidance_scale=4.5, num_inference_steps=10)
    expected = euler.step(v, euler.timesteps[0], x).prev_sample
    mine = pipeline.denoise_step(embeds, x, guidance_scale=4.5, num_inference_steps=10)
    assert torch.allclose(mine, expected, atol=1e-5) and (mine - x).abs().max() > 1e-3
    back = pipeline.invert_step(embeds, mine, guidance_scale=1.0, num_inference_steps=10)
    assert 1e-4 < (back - x).abs().max() < (mine - x).abs().max() * 2


def test_half_precision_keeps_float32_latents(pipeline):
    half = Pipeline(sana().to(torch.bfloat16))
    x = batch_noise([3, 4], half.latent_shape())
    lower = half.denoise_step(half.encode(PROMPTS), x, guidance_scale=1.0, num_inference_steps=10)
    seen = []
    half.pipe.scheduler.step, own = lambda *a, **k: (seen.append(a[2].dtype), own(*a, **k))[1], half.pipe.scheduler.step
    half.sample(half.encode(PROMPTS), x, num_inference_steps=2)
    assert lower.dtype == torch.float32 and set(seen) == {torch.float32}


def test_from_the_command_line(folder, tmp_path):
    net = run_stages(folder, tmp_path, "sana", size=(256, 256))
    assert net.config.latent_shape == (32, 8, 8)
    assert (net.config.text_length, net.config.text_width) == (300, 16)
