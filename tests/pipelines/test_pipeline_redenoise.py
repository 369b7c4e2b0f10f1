"""Re-denoise against a loop written out here."""

from __future__ import annotations

import pytest
import torch

from noiseprompt.pipelines import Pipeline
from tests import tiny
from tests.pipelines.tiny_pair import PROMPTS, noise


def by_hand(pipe, x, prompts, down, up, steps, invert_at):
    """Re-denoise of a pipeline with a denoiser that predicts eps or v: equations 1 and 2, nothing of ours."""
    betas = torch.linspace(0.00085**0.5, 0.012**0.5, 1000, dtype=torch.float64) ** 2
    bar = torch.cumprod(1 - betas, 0)
    k = 1000 // steps
    t_from, t_to = k * (steps - 1) + 1, k * (steps - 2) + 1

    def embed(texts):
        if not hasattr(pipe, "text_encoder_2"):
            return pipe.text_encoder(tokens(pipe.tokenizer, texts))[0], None
        first = pipe.text_encoder(tokens(pipe.tokenizer, texts), output_hidden_states=True).hidden_states[-2]
        second = pipe.text_encoder_2(tokens(pipe.tokenizer_2, texts), output_hidden_states=True)
        return torch.cat([first, second.hidden_states[-2]], -1), second.text_embeds

    def tokens(tokenizer, texts):
        options = {"padding": "max_length", "max_length": tiny.TEXT_LENGTH, "truncation": True, "return_tensors": "pt"}
        return tokenizer(texts, **options).input_ids

    def empty(text, pooled):
        return embed([""] * len(prompts)) if pooled is None else (text * 0, pooled * 0)

    def predict(x, t, text, pooled):
        size = torch.tensor([[64.0, 64, 0, 0, 64, 64]] * len(x))
        added = None if pooled is None else {"text_embeds": pooled, "time_ids": size}
        return pipe.unet(x.float(), t, encoder_hidden_states=text, added_cond_kwargs=added).sample.double()

    def eps(x, t, guidance):
        text = embed(prompts)
        cond, uncond = predict(x, t, *text), predict(x, t, *empty(*text))
        guided = uncond + guidance * (cond - uncond)
        if pipe.scheduler.config.prediction_type == "v_prediction":
            return bar[t].sqrt() * guided + (1 - bar[t]).sqrt() * x
        return guided

    def ddim(x, e, t, to):
        x_0 = (x - (1 - bar[t]).sqrt() * e) / bar[t].sqrt()
        return bar[to].sqrt() * x_0 + (1 - bar[to]).sqrt() * e

    with torch.no_grad():
        lower = ddim(x.double(), eps(x.double(), t_from, down), t_from, t_to)
        return ddim(lower, eps(lower, t_to if invert_at == "paper" else t_from, up), t_to, t_from)


def assert_close(mine, theirs, source):
    assert (theirs - source).abs().max() > 0.05, "the oracle must move the noise"
    assert (mine - theirs).abs().max() < 1e-4 * theirs.abs().max()


@pytest.mark.parametrize("invert_at", ["paper", "published"])
@pytest.mark.parametrize("scales", [(5.5, 1.0), (1.0, 5.5), (3.0, 2.0)])
def test_redenoise_is_the_loop_written_by_hand(pipeline, invert_at, scales):
    x = noise(pipeline)
    options = {"denoise_guidance_scale": scales[0], "invert_guidance_scale": scales[1], "num_inference_steps": 10}
    mine = pipeline.redenoise(pipeline.encode(PROMPTS), x, **options, invert_at=invert_at)
    assert_close(mine, by_hand(pipeline.pipe, x, PROMPTS, *scales, 10, invert_at), x)


@pytest.mark.parametrize("invert_at", ["paper", "published"])
def test_redenoise_with_v_prediction(invert_at):
    pipeline = Pipeline(tiny.stable_diffusion(prediction_type="v_prediction"))
    x = noise(pipeline)
    mine = pipeline.redenoise(pipeline.encode(PROMPTS), x, invert_at=invert_at, num_inference_steps=4)
    assert_close(mine, by_hand(pipeline.pipe, x, PROMPTS, 5.5, 1.0, 4, invert_at), x)


def test_the_two_places_of_inversion_differ(sd):
    embeds, x = sd.encode(PROMPTS), noise(sd)
    difference = sd.redenoise(embeds, x) - sd.redenoise(embeds, x, invert_at="published")
    assert difference.abs().max() > 1e-3


def test_redenoise_does_not_depend_on_the_sampler(euler):
    x = noise(euler)
    assert_close(euler.redenoise(euler.encode(PROMPTS), x), by_hand(euler.pipe, x, PROMPTS, 5.5, 1.0, 10, "paper"), x)


@pytest.mark.parametrize("dtype", [torch.float32, torch.bfloat16])
@pytest.mark.parametrize("invert_at", ["paper", "published"])
def test_redenoise_is_the_identity_when_the_denoiser_is_constant(dtype, invert_at):
    pipe = tiny.stable_diffusion()
    torch.nn.init.zeros_(pipe.unet.conv_out.weight)
    torch.nn.init.constant_(pipe.unet.conv_out.bias, 0.75)
    pipeline = Pipeline(pipe.to(dtype))
    embeds, x = pipeline.encode(PROMPTS), noise(pipeline)
    lower = pipeline.denoise_step(embeds, x, guidance_scale=5.5, num_inference_steps=10)
    assert (lower - x).abs().max() > 0.1
    back = pipeline.redenoise(embeds, x, invert_at=invert_at)
    assert back.dtype == torch.float32
    assert (back - x).abs().max() < 5e-6  # latents are not rounded to the network's precision on the way
    assert pipeline.redenoise(embeds, x.bfloat16()).dtype == torch.bfloat16
